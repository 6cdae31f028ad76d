"""The relighter in three lines, for notebooks."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import InputError
from litdome.lighting import HdriConvention
from litdome.media.latlong import mend_latlong, read_latlong
from litdome.train_plugins.clips import FRONT_VIEW, array_clip
from litdome.train_plugins.devices import best_device
from litdome.train_plugins.fitting import Size, fit_into
from litdome.train_plugins.origin import find_training
from litdome.train_plugins.registry import load_trainer
from litdome.train_plugins.relighting import Course, Light, LitClip, need_readable, relit_from
from litdome.train_plugins.run import RunFolder

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]


class Relighter:
    """A trained relighter that takes and gives numpy arrays.

    Args:
        run: The run's folder.
        device: cpu, cuda or auto.
        size: Height and width that the model works in, px; the training's by default. See `fit_into`.

    Raises:
        StoreError: Not a run, or damaged.
        ConsentError: Somebody whom the run was trained on no longer agrees.
        PluginError: No checkpoint, or too little memory.

    Example:
        >>> from litdome import Relighter
        >>> relighter = Relighter("runs/take01")
        >>> pictures = relighter(flat, "sunset.exr", rotate_deg=90)  # flat: (t, y, x, 3) uint8, pictures alike
    """

    def __init__(self, run: str | Path, *, device: str = "auto", size: Size | None = None) -> None:
        folder = RunFolder.open(Path(run))
        training = find_training(folder)
        for note in training.notes:
            warnings.warn(note, stacklevel=2)
        self._size = size or training.frame
        self._renderer = load_trainer(folder.record.plugin).load(folder, best_device(device))

    def __call__(
        self,
        flat: Picture,
        hdri: str | Path | npt.NDArray[np.floating[Any]],
        *,
        rotate_deg: Course = 0.0,
        gain: Course = 1.0,
        world_from_camera: npt.NDArray[np.floating[Any]] = FRONT_VIEW,
        convention: HdriConvention = "physical",
        backdrop: float = 1.0,
        seed: int = 0,
    ) -> Picture:
        """Relight pictures.

        Args:
            flat: One picture (y, x, channel) or a clip (t, y, x, channel), RGB, or RGBA of straight alpha; uint8, or
                float of 0..1; display-referred.
            hdri: An .hdr or .exr file, or scene-linear radiance, shape (v, u, 3).
            rotate_deg: Turn of the light from world +z towards +x: one angle, (first, last), or one per picture.
            gain: Multiplies the light; as ``rotate_deg``.
            world_from_camera: Pose of the camera, shape (4, 4), OpenCV axes; from the front by default.
            convention: Where the centre of the HDRI lies in that world.
            backdrop: What the model sees behind a person with alpha, 0 black to 1 white.
            seed: Of the noise that sampling starts from.

        Returns:
            Pictures of as many axes, channels and the dtype of ``flat`` (float32 of any float); alpha is that of
            ``flat``. Smaller than ``flat`` where that is larger than the model's frame.

        Raises:
            InputError: Arrays of another shape or dtype, or an HDRI that is none.
            UsageError: As many angles or gains as neither a line nor the clip has.
        """
        pictures = _floats(flat)
        if isinstance(hdri, np.ndarray):
            hdr, said = mend_latlong(np.asarray(hdri, np.float32), "hdri")
        else:
            hdr, said = read_latlong(Path(hdri), convention)
        for sentence in said:
            warnings.warn(sentence, stacklevel=2)
        clip = replace(array_clip(pictures, world_from_camera), convention=convention)
        need_readable(self._renderer.reads, clip)
        light = Light.over(hdr, len(pictures), rotate_deg=rotate_deg, gain=gain)
        frames = LitClip(clip, light, fit_into(clip.size, self._size), backdrop)
        relit = np.stack([frames.fit.cut(one.numpy()) for one in relit_from(self._renderer, frames, seed=seed)])
        if clip.has_matte:
            mattes = np.stack([frames.fit.cut(one)[3:] for one in frames.flat_from(0)])
            relit = np.concatenate([relit, mattes], axis=1)
        found = np.ascontiguousarray(relit.transpose(0, 2, 3, 1))
        codes = (found * 255 + 0.5).astype(np.uint8) if flat.dtype == np.uint8 else found
        return codes if flat.ndim == 4 else codes[0]


def _floats(flat: Picture) -> npt.NDArray[np.float32]:
    """Pictures as (t, channel, y, x), float32, 0..1."""
    is_known = flat.dtype == np.uint8 or np.issubdtype(flat.dtype, np.floating)
    if flat.ndim not in (3, 4) or flat.shape[-1] not in (3, 4) or not is_known or 0 in flat.shape:
        raise InputError(
            f"flat: shape {flat.shape}, {flat.dtype}; a picture is (y, x, 3 or 4), a clip (t, y, x, 3 or 4)",
            hint="uint8, or float of 0..1",
        )
    top = np.float32(255 if flat.dtype == np.uint8 else 1)
    pictures = np.asarray(flat if flat.ndim == 4 else flat[None], np.float32) / top
    low, high = float(pictures.min()), float(pictures.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise InputError(f"flat: values of {low:g} to {high:g}", hint="display-referred, uint8 or float of 0..1")
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
