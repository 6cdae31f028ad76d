"""Relight a flat-lit clip under an HDRI with a trained renderer: what the renderer reads, and pictures as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.datasets.metrics import Relight
from litdome.errors import InputError, PluginError, UsageError
from litdome.geometry import rotation_about_y
from litdome.lighting import clean_hdri, project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.progress import Progress, silent
from litdome.train_plugins.clips import SMALLEST, ArrayPictures, Clip
from litdome.train_plugins.fitting import Fit, fit_into
from litdome.train_plugins.protocol import Renderer, StreamingRenderer

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.float32]
Course = float | Sequence[float] | npt.NDArray[np.floating[Any]]
"""One value for the whole clip, (first, last) with a straight line between, or one per picture."""
READABLE = ("flat", "flat_compensated", "mask_flat", "env_ldr", "env_log", "env_direction")
PIECE = 128  # pictures at once of a renderer that makes no pieces itself
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, eq=False)
class Light:
    """An HDRI with its turn and its gain at every picture of a clip.

    Attributes:
        hdr: Scene-linear lat-long map, shape (v, u, 3).
        rotation_deg: From world +z towards +x about +y, shape (t,).
        gain: Multiplies the radiance, over and above the clip's session gain, shape (t,).
    """

    hdr: FloatArray
    rotation_deg: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]

    @classmethod
    def over(cls, hdr: FloatArray, pictures: int, *, rotate_deg: Course = 0.0, gain: Course = 1.0) -> Light:
        """The light of a clip of so many pictures.

        Raises:
            UsageError: As many values as neither a line nor the clip has; a gain that is negative; not finite.
        """
        turns, gains = along(rotate_deg, pictures, "rotation"), along(gain, pictures, "gain")
        if gains.min() < 0:
            raise UsageError(f"gain {gains.min():g}: below 0", hint="--gain 1")
        return cls(hdr, turns, gains)


def along(course: Course, pictures: int, what: str) -> npt.NDArray[np.float64]:
    """A `Course` at every picture, shape (pictures,).

    Raises:
        UsageError: Neither 1, 2 nor ``pictures`` values, or one that is not finite.
    """
    values = np.atleast_1d(np.asarray(course, np.float64))
    if not np.isfinite(values).all():
        raise UsageError(f"{what}: {values.tolist()} is not finite")
    if values.shape == (pictures,):
        return values
    if values.shape not in ((1,), (2,)):
        raise UsageError(f"{what}: {values.size} values for {pictures} pictures", hint="one, first and last, or all")
    return np.linspace(values[0], values[-1], pictures)


@dataclass(frozen=True, eq=False)
class LitClip:
    """A clip under a light, as a renderer reads it.

    Attributes:
        clip: Flat-lit pictures.
        light: At every picture of it.
        fit: Where the pictures lie in the model's frame.
        backdrop: Laid behind the person where there is a matte, 0 black to 1 white (which the original takes).
    """

    clip: Clip
    light: Light
    fit: Fit
    backdrop: float = 1.0

    def __len__(self) -> int:
        return len(self.clip.pictures)

    def flat_from(self, start: int) -> Iterator[FloatArray]:
        """The pictures from ``start`` on in the model's frame and before the backdrop, (3, H, W) or with the matte
        (4, H, W).

        Raises:
            InputError: One cannot be read.
        """
        return map(self._placed, self.clip.pictures.start_at(start))

    def inputs_from(self, start: int, reads: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """What a renderer reads of each picture from ``start`` on, shape (c, H, W) each.

        Raises:
            UsageError: The renderer reads what a clip does not have.
            InputError: A picture cannot be read.
        """
        need_readable(reads, self.clip)
        return self._inputs_from(start, reads)

    def _inputs_from(self, start: int, reads: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        import torch

        direction = torch.from_numpy(_channels_first(view_directions(*self.fit.frame)))
        lit: tuple[tuple[float, float], tuple[Tensor, Tensor]] | None = None
        # who reads the matte lays the person before black alone: a backdrop would show at soft edges
        shown = (
            map(self._cut_out, self.clip.pictures.start_at(start)) if "mask_flat" in reads else self.flat_from(start)
        )
        for number, picture in enumerate(shown, start):
            now = float(self.light.rotation_deg[number]), float(self.light.gain[number])
            if lit is None or lit[0] != now:
                lit = now, self._maps(*now)
            flat = torch.from_numpy(picture[:3])
            inputs = {"flat": flat, "flat_compensated": flat, "env_direction": direction}
            inputs |= dict(zip(("env_ldr", "env_log"), lit[1], strict=True))
            if len(picture) == 4:
                inputs["mask_flat"] = torch.from_numpy(picture[3:])
            yield {key: inputs[key] for key in reads}

    def _cut_out(self, picture: FloatArray) -> FloatArray:
        """Straight colours and the matte in the model's frame; colours under a matte of 0 do not reach its edge."""
        matte = self.fit.place(picture[3:], 0.0)
        return np.concatenate([self.fit.place(picture[:3] * picture[3:], 0.0) / np.maximum(matte, SMALLEST), matte])

    def _placed(self, picture: FloatArray) -> FloatArray:
        if len(picture) == 3:
            return self.fit.place(picture, 0.0)
        matte = picture[3:]
        placed = self.fit.place(picture[:3] * matte + np.float32(self.backdrop) * (1 - matte), self.backdrop)
        return np.concatenate([placed, self.fit.place(matte, 0.0)])

    @cached_property
    def _hdr(self) -> FloatArray:
        """The light's map, averaged down to the frame where it is twice as fine or more: a small sun would else lie
        between the places that are read, and come and go as the light turns."""
        (height, width), hdr = self.fit.frame, self.light.hdr
        if hdr.shape[1] < 2 * width:
            return hdr
        averaged = cv2.resize(clean_hdri(hdr), (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(averaged, np.float32)

    def _maps(self, rotation_deg: float, gain: float) -> tuple[Tensor, Tensor]:
        """ldr and log map, shape (3, H, W), -1..1."""
        import torch

        radiance = project_hdri(
            self._hdr * np.float32(gain * self.clip.light_gain),
            self.clip.world_from_camera,
            *self.fit.frame,
            convention=self.clip.convention,
            rotation_deg=rotation_deg,
        )
        ldr, log = tone_map_ldr(radiance), tone_map_log(radiance)
        return torch.from_numpy(_channels_first(ldr) * 2 - 1), torch.from_numpy(_channels_first(log) * 2 - 1)


def need_readable(reads: Sequence[str], clip: Clip) -> None:
    """Refuse a renderer that needs more than a flat-lit clip and a light.

    Raises:
        UsageError: It does.
    """
    missing = [key for key in reads if key not in READABLE]
    if missing:
        raise UsageError(f"this run reads {', '.join(missing)}: it relights no pictures", hint="use a relighter run")
    if "mask_flat" in reads and not clip.has_matte:
        hint = "give pictures with alpha, or a camera of a dataset with masks"
        raise UsageError(f"{clip.name}: this run saw people before black only and needs a matte", hint=hint)


def relit_from(
    renderer: Renderer, frames: LitClip, done: int = 0, *, seed: int = 0, made: Callable[[int], Tensor] | None = None
) -> Iterator[Tensor]:
    """Relit pictures from number ``done`` on, shape (3, H, W), float32, 0..1, in the model's frame.

    Args:
        renderer: One that does not stream is handed `PIECE` pictures at once.
        frames: What it reads.
        done: Pictures that are there already.
        seed: Of its noise.
        made: Gives a picture that is there already, shape (3, H, W), uint8.

    Raises:
        UsageError: The renderer reads what a clip does not have.
        PluginError: The memory does not suffice.
    """
    need_readable(renderer.reads, frames.clip)
    with _room_in_memory():
        if not isinstance(renderer, StreamingRenderer):
            start = done // PIECE * PIECE
            pictures = _rendered(renderer, frames, start, seed)
        else:
            start = renderer.resume_at(done) if done else 0
            before = [made(number) for number in range(start, done)] if made is not None else []
            pictures = renderer.stream(frames.inputs_from(start, renderer.reads), seed=seed, before=before)
        yield from islice(pictures, done - start, None)


def _rendered(renderer: Renderer, frames: LitClip, start: int, seed: int) -> Iterator[Tensor]:
    import torch

    coming = frames.inputs_from(start, renderer.reads)
    while piece := list(islice(coming, PIECE)):
        stacked = {key: torch.stack([one[key] for one in piece]) for key in renderer.reads}
        yield from renderer.render(stacked, seed=seed).rgb.cpu()


def relight_clip(
    renderer: Renderer,
    clip: Clip,
    hdr: FloatArray,
    *,
    gain: Course = 1.0,
    rotate_deg: Course = 0.0,
    seed: int = 0,
    frame: tuple[int, int] | None = None,
    backdrop: float = 1.0,
    progress: Progress = silent,
) -> FloatArray:
    """Light a clip with an HDRI, all of it in memory.

    Args:
        renderer: A trained relighter.
        clip: Flat-lit pictures.
        hdr: Scene-linear lat-long map, shape (v, u, 3).
        gain: Multiplies the radiance, over and above the clip's session gain.
        rotate_deg: Turn of the light, from world +z towards +x.
        seed: Of the renderer's noise.
        frame: Height and width that the model works in, px; see `fit_into`.
        backdrop: Laid behind the person where the clip has a matte.
        progress: Called per picture.

    Returns:
        Pictures, shape (t, 3, h, w), 0..1.
    """
    light = Light.over(hdr, len(clip.pictures), rotate_deg=rotate_deg, gain=gain)
    frames = LitClip(clip, light, fit_into(clip.size, frame), backdrop)
    done: list[FloatArray] = []
    progress("relight", 0, len(frames))
    for picture in relit_from(renderer, frames, seed=seed):
        done.append(frames.fit.cut(picture.numpy()))
        progress("relight", len(done), len(frames))
    return np.stack(done)


def relight_one(renderer: Renderer, clip: Clip, seed: int) -> Relight:
    """The first picture of a clip under any HDRI, as the physics checks ask for it."""
    picture = np.stack(list(islice(clip.pictures.start_at(0), 1)))
    first = replace(clip, pictures=ArrayPictures(picture))

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
        yield as_codes(np.concatenate(frames, axis=2))


def as_codes(picture: FloatArray) -> npt.NDArray[np.uint8]:
    """A picture of shape (c, h, w), 0..1, as (h, w, c), uint8."""
    return np.ascontiguousarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


@contextmanager
def _room_in_memory() -> Iterator[None]:
    """Say which knob helps where torch finds no memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError; on a CPU it is just that
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        hint = "--size 352x640, or a smaller sampling.chunk_frames in the run's config.toml"
        raise PluginError(
            f"out of memory: {str(error).splitlines()[0] if str(error) else 'no more'}", hint=hint
        ) from error


def _channels_first(picture: npt.NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
