"""Flat-lit clips: of a dataset, of a video, of a folder of pictures; any length, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from litdome.color import display_from_codes
from litdome.datasets.views import DatasetView
from litdome.errors import InputError, UsageError
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import HdriConvention
from litdome.media.folders import numbered_pictures, read_matte, read_picture
from litdome.media.images import iter_pictures, probe_source
from litdome.media.index import SourceIndex, index_source
from litdome.media.planes import PictureCodes, rgb_from_planes
from litdome.media.video import VideoProbe
from litdome.train_plugins.fitting import Size

FloatArray = npt.NDArray[np.float32]
FRONT_VIEW = np.eye(4)  # looks along world -z, upright: the centre of a physical HDRI is behind the subject
FRONT_VIEW[:3, :3] = OPENCV_FROM_OPENGL
FRONT_VIEW.setflags(write=False)
FOLDER_FPS = 25.0
SMALLEST = np.float32(2.0**-24)  # step of half floats
DISPLAY = ("srgb", "bt709", "linear", "log3g10")  # transfer curves that `display_from_codes` knows


class Pictures(Protocol):
    """Pictures in order, shape (3, h, w) or with a matte (4, h, w), float32, 0..1, straight alpha."""

    def __len__(self) -> int: ...

    def start_at(self, number: int) -> Iterator[FloatArray]:
        """The pictures from ``number`` on, one by one."""
        ...


@dataclass(frozen=True)
class Clip:
    """A flat-lit clip of one camera.

    Attributes:
        name: What it shows, for people.
        pictures: Its pictures.
        size: Height and width, px.
        world_from_camera: Pose, shape (4, 4), OpenCV axes.
        convention: Where the centre of an HDRI lies in this world.
        fps: Pictures per second.
        light_gain: Session gain: multiplies any HDRI before it is projected, as it did in the dataset.
        has_matte: Whether its pictures have a fourth channel.
        notes: What somebody who relights it should know, one sentence each.
    """

    name: str
    pictures: Pictures
    size: Size
    world_from_camera: npt.NDArray[np.floating[Any]]
    convention: HdriConvention = "physical"
    fps: float = FOLDER_FPS
    light_gain: float = 1.0
    has_matte: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArrayPictures:
    """Pictures in memory, shape (t, 3 or 4, h, w)."""

    array: FloatArray

    def __len__(self) -> int:
        return len(self.array)

    def start_at(self, number: int) -> Iterator[FloatArray]:
        """See `Pictures`."""
        return iter(self.array[number:])


@dataclass(frozen=True)
class PartOfPictures:
    """The pictures ``start`` to ``stop`` of others, half-open."""

    pictures: Pictures
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def start_at(self, number: int) -> Iterator[FloatArray]:
        """See `Pictures`."""
        return islice(self.pictures.start_at(self.start + number), len(self) - number)


def array_clip(pictures: FloatArray, world_from_camera: npt.NDArray[np.floating[Any]] = FRONT_VIEW) -> Clip:
    """A clip of pictures in memory, shape (t, 3 or 4, h, w), 0..1."""
    size = (pictures.shape[2], pictures.shape[3])
    return Clip("pictures", ArrayPictures(pictures), size, world_from_camera, has_matte=pictures.shape[1] == 4)


@dataclass(frozen=True)
class DatasetPictures:
    """Flat pictures of a dataset's samples; with ``matte``, their ``mask_flat`` is the fourth channel."""

    view: DatasetView
    matte: bool = False

    def __len__(self) -> int:
        return len(self.view)

    def start_at(self, number: int) -> Iterator[FloatArray]:
        """See `Pictures`."""
        keys = ("flat", "mask_flat") if self.matte else ("flat",)
        for i in range(number, len(self.view)):
            sample = self.view.read(i, keys)
            yield np.concatenate([sample[key][0].numpy() for key in keys])


def dataset_clip(data: DatasetView, camera: str | None = None, pairs: tuple[int, int] | None = None) -> Clip:
    """The flat pictures of one camera of a dataset, in the order of pairs.

    Args:
        data: The dataset.
        camera: Camera id, of the first session or as SESSION/CAMERA; by default a held-out one, else the first.
        pairs: Half-open range of pairs; all by default.

    Raises:
        UsageError: No such camera, or no pairs in the range.
    """
    session, index = _held_out_camera(data) if camera is None else _named_camera(data, camera)
    about = data.attrs["sessions"][session]
    name = about["cameras"][index]
    view = data.where(session=session, camera=index)
    order = np.argsort(view.column("pair"), kind="stable")
    numbers = view.column("pair")[order]
    start, stop = pairs or (0, int(numbers.max(initial=0)) + 1)
    view = view.at(order[(start <= numbers) & (numbers < stop)])
    if not len(view):
        raise UsageError(f"camera {name} has no pairs in {start}:{stop}", hint=f"litdome dataset show {data.path}")
    first = view.read(0, ["flat", "world_from_camera"])
    size = (int(first["flat"].shape[2]), int(first["flat"].shape[3]))
    return Clip(
        f"{about['name']} {name}",
        DatasetPictures(view),
        size,
        first["world_from_camera"][0].numpy(),
        about["hdri_convention"],
        float(about["fps"]) / 2,
        float(about.get("light_gain", 1.0)),
    )


def masked(clip: Clip) -> Clip:
    """A clip of a dataset with the masks of its flat pictures as their mattes.

    Raises:
        UsageError: The dataset has none, or the clip is not of a dataset.
    """
    pictures = clip.pictures
    if not isinstance(pictures, DatasetPictures) or "mask_flat" not in pictures.view.keys:
        raise UsageError(f"{clip.name}: no masks of flat pictures", hint="litdome segment, then litdome dataset build")
    return replace(clip, pictures=replace(pictures, matte=True), has_matte=True)


@dataclass(frozen=True)
class FilePictures:
    """Pictures of a video or a folder, brought to display-referred values as a recording's are."""

    source: Path
    index: SourceIndex
    probe: VideoProbe

    @cached_property
    def files(self) -> list[Path]:
        """The pictures of a folder in order, or the one video."""
        return list(numbered_pictures(self.source).values()) if self.source.is_dir() else [self.source]

    def __len__(self) -> int:
        return len(self.files) if self.source.is_dir() else len(self.index)

    def start_at(self, number: int) -> Iterator[FloatArray]:
        """See `Pictures`.

        Raises:
            InputError: A picture is damaged, missing, or of another size than the first.
        """
        return self._of_folder(number) if self.source.is_dir() else self._of_video(number)

    def _of_video(self, start: int) -> Iterator[FloatArray]:
        expected = start
        for number, codes in iter_pictures(self.source, self.index, start):
            if number != expected:
                break
            yield self._displayed(codes, codes.alpha)
            expected += 1
        if expected < len(self):
            lost = f"{self.source}: picture {expected} of {len(self)} cannot be decoded as it was recorded"
            raise InputError(lost, hint="copy the file again, or export it as a folder of pictures")

    def _of_folder(self, start: int) -> Iterator[FloatArray]:
        for path in self.files[start:]:
            codes = PictureCodes(rgb=read_picture(path))
            if codes.size != (self.probe.width, self.probe.height):
                found, first = "x".join(map(str, codes.size)), f"{self.probe.width}x{self.probe.height}"
                raise InputError(f"{path}: {found} px, the first picture is {first}", hint="one size in a folder")
            yield self._displayed(codes, read_matte(path))

    def _displayed(self, codes: PictureCodes, alpha: npt.NDArray[Any] | None) -> FloatArray:
        matte = None if alpha is None else _unit(alpha)
        if codes.luma is not None and codes.chroma is not None:
            rgb = rgb_from_planes(
                codes.luma,
                codes.chroma,
                subsampling=self.probe.subsampling,
                matrix=self.probe.matrix,
                range=self.probe.range,
                bits=self.probe.bits,
                dtype="float32",
            )
        else:
            rgb = _unit(codes.picture)
            if codes.picture.dtype.kind == "f" and matte is not None:  # an .exr is premultiplied, in linear light
                rgb = rgb / np.maximum(matte, SMALLEST)[..., None]
        transfer = self.probe.transfer or "srgb"
        shown = np.asarray(display_from_codes(rgb, transfer, 0.0), np.float32).transpose(2, 0, 1)
        return np.clip(shown if matte is None else np.concatenate([shown, matte[None]]), 0, 1)


def file_clip(
    source: Path,
    *,
    world_from_camera: npt.NDArray[np.floating[Any]] = FRONT_VIEW,
    convention: HdriConvention = "physical",
    fps: float | None = None,
    part: tuple[int, int] | None = None,
) -> Clip:
    """A clip of a video file, or of a folder of pictures in the order of their names.

    Args:
        source: The file or the folder; a matte (alpha) in it is kept.
        world_from_camera: Pose of the camera, shape (4, 4), OpenCV axes.
        convention: Where the centre of an HDRI lies in the world of that pose.
        fps: Pictures per second in place of the video's own; of a folder `FOLDER_FPS` by default.
        part: Half-open range of its pictures, counted from 0; all by default.

    Raises:
        UsageError: No pictures in that range.
        InputError: Missing, empty, cut off, or in a transfer curve that has no display-referred values here.
    """
    if not source.exists():
        raise InputError(f"{source}: no such clip", hint="--clip CAMERA:START:STOP, FOLDER or VIDEO")
    probe, index = probe_source(source), index_source(source)
    if (probe.transfer or "srgb") not in DISPLAY:
        raise InputError(f"{source}: transfer curve {probe.transfer}", hint="export it as sRGB or BT.709")
    if index.claimed is not None and index.claimed > len(index):
        there = f"{len(index)} of the {index.claimed} pictures that its header promises"
        raise InputError(f"{source}: cut off, it holds {there}", hint="copy the file again")
    pictures = FilePictures(source, index, probe)
    if not len(pictures):
        raise InputError(f"{source}: no pictures in it")
    start, stop = part or (0, len(pictures))
    if not 0 <= start < stop <= len(pictures):
        raise UsageError(f"{source}: no pictures {start}:{stop}, it holds {len(pictures)}", hint=f"{source}:0:1")
    has_matte = len(next(pictures.start_at(start))) == 4
    rate = fps or probe.fps or FOLDER_FPS
    size = (probe.height, probe.width)
    return Clip(
        source.name,
        PartOfPictures(pictures, start, stop),
        size,
        world_from_camera,
        convention,
        rate,
        has_matte=has_matte,
        notes=_notes(source, index),
    )


def _notes(source: Path, index: SourceIndex) -> tuple[str, ...]:
    if index.left_out:
        few = ", ".join(map(str, index.left_out[:3])) + (", ..." if len(index.left_out) > 3 else "")
        return (f"{source}: numbers {few} are left out; its pictures follow each other without them",)
    if index.times_ns is not None and index.slots is None:
        return (f"{source}: pictures at uneven times; they are written at even ones",)
    return ()


def _unit(codes: npt.NDArray[Any]) -> FloatArray:
    """Codes as float32: integers of full scale to 0..1."""
    top = 1.0 if codes.dtype.kind == "f" else float(np.iinfo(codes.dtype).max)
    return np.asarray(codes, np.float32) / np.float32(top)


def is_camera(data: DatasetView, text: str) -> bool:
    """Whether a dataset has a camera called so."""
    return text in _cameras(data)


def _cameras(data: DatasetView) -> dict[str, tuple[int, int]]:
    """Session and camera by CAMERA (of the first session that has it) and SESSION/CAMERA."""
    found: dict[str, tuple[int, int]] = {}
    for s, session in enumerate(data.attrs["sessions"]):
        for c, camera in enumerate(session["cameras"]):
            found.setdefault(camera, (s, c))
            found[f"{session['name']}/{camera}"] = s, c
    return found


def _named_camera(data: DatasetView, text: str) -> tuple[int, int]:
    cameras = _cameras(data)
    if text not in cameras:
        known = ", ".join(name for name in cameras if "/" in name)
        raise UsageError(f"--clip {text}: no such camera, folder or video", hint=f"cameras: {known}")
    return cameras[text]


def _held_out_camera(data: DatasetView) -> tuple[int, int]:
    split = next((name for name in data.splits if "camera" in name), None)
    sample = (data if split is None else data.split(split)).read(0, ["session", "camera"])
    return int(sample["session"][0]), int(sample["camera"][0])
