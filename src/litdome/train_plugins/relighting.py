"""Relight a flat-lit clip under an HDRI with a trained renderer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.datasets.metrics import Relight
from litdome.datasets.views import DatasetView
from litdome.errors import InputError, UsageError
from litdome.geometry import rotation_about_y
from litdome.lighting import HdriConvention, project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.progress import Progress, silent
from litdome.train_plugins.protocol import Renderer

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """A flat-lit clip of one camera.

    Attributes:
        name: What it shows, for people.
        flat: Pictures, shape (t, 3, h, w), 0..1.
        world_from_camera: Pose, shape (4, 4).
        convention: Where the centre of an HDRI lies in this world.
        fps: Pictures per second.
        light_gain: Session gain: multiplies any HDRI before it is projected, as it did in the dataset.
    """

    name: str
    flat: FloatArray
    world_from_camera: npt.NDArray[np.floating[Any]]
    convention: HdriConvention
    fps: float
    light_gain: float = 1.0


def dataset_clip(data: DatasetView, camera: str | None = None, pairs: tuple[int, int] | None = None) -> Clip:
    """The flat pictures of one camera of a dataset, in the order of pairs.

    Args:
        data: The dataset.
        camera: Camera id; by default a held-out one, else the first with samples.
        pairs: Half-open range of pairs; all by default.

    Raises:
        UsageError: No such camera, or no pairs in the range.
    """
    session = data.attrs["sessions"][0]
    ids: list[str] = session["cameras"]
    if camera is not None and camera not in ids:
        raise UsageError(f"--clip {camera}: no such camera", hint=f"cameras: {', '.join(ids)}")
    index = ids.index(camera) if camera is not None else _held_out_camera(data)
    view = data.where(session=0, camera=index)
    chosen = [
        i for i in range(len(view)) if pairs is None or pairs[0] <= int(view.read(i, ["pair"])["pair"][0]) < pairs[1]
    ]
    if not chosen:
        raise UsageError(f"camera {ids[index]} has no pairs in {pairs}", hint=f"litdome dataset show {data.path}")
    flat = np.concatenate([view.read(i, ["flat"])["flat"].numpy() for i in chosen])
    pose = view.read(chosen[0], ["world_from_camera"])["world_from_camera"][0].numpy()
    name, fps = f"{session['name']} {ids[index]}", float(session["fps"]) / 2
    return Clip(name, flat, pose, session["hdri_convention"], fps, float(session.get("light_gain", 1.0)))


def relight_clip(
    renderer: Renderer,
    clip: Clip,
    hdr: FloatArray,
    *,
    gain: float = 1.0,
    rotate_deg: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
    chunk: int = 128,
) -> FloatArray:
    """Light a clip with an HDRI.

    Args:
        renderer: A trained relighter.
        clip: Flat-lit pictures.
        hdr: Scene-linear lat-long map, shape (v, u, 3).
        gain: Multiplies the radiance, over and above the clip's session gain.
        rotate_deg: Turn of the light over the whole clip, from world +z towards +x.
        seed: Of the renderer's noise.
        progress: Called per ``chunk`` pictures.
        chunk: Pictures handed to the renderer at once, which cross-fades within them: the bound on memory.

    Returns:
        Pictures, shape (t, 3, h, w), 0..1.
    """
    import torch

    count, _, height, width = clip.flat.shape
    done: list[FloatArray] = []
    progress("relight", 0, count)
    direction = _channels_first(view_directions(height, width))
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        angles = [rotate_deg * k / max(count - 1, 1) for k in range(start, stop)]
        views = [project(hdr * np.float32(gain * clip.light_gain), clip, height, width, angle) for angle in angles]
        inputs = {
            "flat": clip.flat[start:stop],
            "env_ldr": np.stack([_channels_first(tone_map_ldr(view)) for view in views]) * 2 - 1,
            "env_log": np.stack([_channels_first(tone_map_log(view)) for view in views]) * 2 - 1,
            "env_direction": np.repeat(direction[None], stop - start, axis=0),
        }
        tensors = {key: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for key, value in inputs.items()}
        done.append(renderer.render({key: tensors[key] for key in renderer.reads}, seed=seed).rgb.cpu().numpy())
        progress("relight", stop, count)
    return np.concatenate(done)


def project(hdr: FloatArray, clip: Clip, height: int, width: int, rotation_deg: float) -> FloatArray:
    """An HDRI in the clip's view, shape (height, width, 3)."""
    view = project_hdri(
        hdr, clip.world_from_camera, height, width, convention=clip.convention, rotation_deg=rotation_deg
    )
    return np.asarray(view, np.float32)


def relight_one(renderer: Renderer, clip: Clip, seed: int) -> Relight:
    """The first picture of a clip under any HDRI, as the physics checks ask for it."""
    first = replace(clip, flat=clip.flat[:1])

    def relight(hdr: npt.NDArray[np.floating[Any]], /, *, turn_deg: float = 0.0) -> npt.NDArray[np.floating[Any]]:
        turned = np.eye(4)
        turned[:3, :3] = rotation_about_y(turn_deg)
        placed = replace(first, world_from_camera=turned @ clip.world_from_camera)
        relit = relight_clip(renderer, placed, np.asarray(hdr, np.float32), seed=seed)
        return np.asarray(relit[0].transpose(1, 2, 0))

    return relight


def side_by_side(clips: Sequence[FloatArray]) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames, (y, x, 3) uint8, showing clips of equal length and size next to each other."""
    lengths = {len(clip) for clip in clips}
    if len(lengths) != 1:
        raise InputError(f"clips of different lengths: {sorted(lengths)}")
    for frames in zip(*clips, strict=True):
        row = np.concatenate([frame.transpose(1, 2, 0) for frame in frames], axis=1)
        yield (np.clip(row, 0, 1) * 255 + 0.5).astype(np.uint8)


def _held_out_camera(data: DatasetView) -> int:
    for name in data.splits:
        if "camera" in name:
            return int(data.split(name).read(0, ["camera"])["camera"][0])
    return int(data.read(0, ["camera"])["camera"][0])


def _channels_first(picture: npt.NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
