"""The one door to every source: video files and folders of pictures, in native codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from litdome.errors import InputError
from litdome.media.folders import numbered_pictures, picture_codes, picture_tags
from litdome.media.folders import picture_files as picture_files
from litdome.media.folders import read_picture as read_picture
from litdome.media.index import SourceIndex
from litdome.media.planes import PictureCodes
from litdome.media.seek import iter_video
from litdome.media.video import VideoProbe, iter_planes, probe_video

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".mxf", ".webm", ".ts", ".mts", ".r3d")


def probe_source(source: Path) -> VideoProbe:
    """What a video file or a folder of pictures holds, from its first readable picture.

    Raises:
        InputError: Missing, empty or undecodable.
    """
    if not source.is_dir():
        return probe_video(source)
    files = numbered_pictures(source)
    path, codes = _first_readable(files)
    first, suffix = codes.picture, path.suffix.lower()
    tags = picture_tags(path)
    height, width = first.shape[:2]
    return VideoProbe(
        width=width,
        height=height,
        frames=len(files),
        fps=None,
        pix_fmt=suffix.lstrip("."),
        subsampling="rgb",
        matrix="bt601",
        range="full",
        transfer="linear" if first.dtype == np.float16 else None,
        bits=first.dtype.itemsize * 8,
        dtype=first.dtype.name,
        metadata=tags,
        timecode=tags.get("timecode"),
    )


def iter_source(source: Path, *, threads: int = 1) -> Iterator[PictureCodes]:
    """The pictures of a video file or of a folder, one by one, as native codes.

    Raises:
        InputError: As `iter_planes`; or a picture of the folder is unreadable.
    """
    if not source.is_dir():
        yield from iter_planes(source, threads=threads)
        return
    for path in numbered_pictures(source).values():
        yield picture_codes(path)


def iter_pictures(
    source: Path, index: SourceIndex, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, PictureCodes]]:
    """The pictures ``start`` to ``stop`` of a source with their numbers, each as when decoded from the beginning.

    A picture that cannot be decoded as it was recorded is left out, and so are those predicted from it; the numbers
    of the others stay. What the codec cannot notice (HEVC and VP9 carry no check sums) is not noticed.

    Args:
        source: A video file or a folder of pictures.
        index: Of the same source, from `index_source`.
        start, stop: Picture numbers, half-open; None: to the end.

    Yields:
        Picture number, rising, and native codes, upright; all of one size and type.

    Raises:
        InputError: The source cannot be opened or has vanished, or it is asked for whole and gives not one picture.
    """
    stop = len(index) if stop is None else min(stop, len(index))
    found = _iter_folder(source, start, stop) if source.is_dir() else iter_video(source, index, start, stop)
    first = next(found, None)
    if first is not None:
        yield first
        yield from found
    elif start == 0 and stop == len(index):
        raise InputError(f"{source}: not one picture can be decoded", hint="copy it again; is the copy complete?")


def _iter_folder(folder: Path, start: int, stop: int) -> Iterator[tuple[int, PictureCodes]]:
    files = numbered_pictures(folder)
    like = _first_readable(files)[1].picture
    for number, path in files.items():
        if not start <= number < stop:
            continue
        try:
            codes = picture_codes(path)
        except InputError:  # a lost picture, seen by its missing number
            if not folder.is_dir():
                raise
            continue
        if codes.picture.shape == like.shape and codes.picture.dtype == like.dtype:
            yield number, codes


def _first_readable(files: dict[int, Path]) -> tuple[Path, PictureCodes]:
    for path in files.values():
        try:
            return path, picture_codes(path)
        except InputError as error:
            failure = error
    raise failure
