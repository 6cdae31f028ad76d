"""The board takes of a whole rig: are they fit for each other, and where do they show the board."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np

from litdome.calib.boards import BoardSpec, BoardTake, detect_take
from litdome.calib.boards.footage import BoardFootage
from litdome.calib.boards.pictures import BoardPictures
from litdome.errors import CalibrationError
from litdome.geometry import Rig
from litdome.media.images import probe_source
from litdome.progress import Progress

FILM_HINT = "film alike: the same size, crop and zoom in all board takes"
Size = tuple[int, int]
Search = Callable[[BoardSpec, str | None], BoardTake]


def need_pose_takes(footage: BoardFootage) -> None:
    """Refuse footage in which a camera has no extrinsic take.

    Raises:
        CalibrationError: Names the cameras.
    """
    lacking = [id for id, camera in footage.cameras.items() if camera.extrinsic is None]
    if lacking:
        raise CalibrationError(
            f"no extrinsic board take of camera{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}: lens takes say "
            "nothing about poses",
            hint="film boards/extrinsic/<camera> with all cameras in step, or --import FILE",
        )


def picture_size(source: Path) -> Size:
    """(width, height) of a take's pictures, px.

    Raises:
        InputError: It cannot be decoded.
    """
    probe = probe_source(source)
    return probe.width, probe.height


def need_common_sizes(footage: BoardFootage, lenses: Rig | None) -> None:
    """Refuse a camera whose takes, or whose known lens, have pictures of different sizes.

    Raises:
        CalibrationError: Names the camera and both sizes.
    """
    for id, camera in footage.cameras.items():
        if camera.extrinsic is None:
            continue
        size = picture_size(camera.extrinsic)
        if lenses is not None:
            need_size(id, "known lens", (lenses[id].width, lenses[id].height), "extrinsic take", size)
        elif camera.intrinsic is not None:
            need_size(id, "intrinsic take", picture_size(camera.intrinsic), "extrinsic take", size)


def need_size(id: str, one: str, size: Size, other: str, expected: Size) -> None:
    """Refuse ``one`` whose pictures have another size than those of ``other``."""
    if size != expected:
        raise CalibrationError(
            f"camera {id}: {one} {size[0]}x{size[1]} px, {other} {expected[0]}x{expected[1]} px", hint=FILM_HINT
        )


def search_takes(
    footage: BoardFootage, spec: BoardSpec, most: int, progress: Progress, *, with_lenses: bool
) -> tuple[dict[str, BoardTake], dict[str, BoardTake]]:
    """Find the board in the takes of all cameras, on all cores; how it is printed, the first take tells the others.

    Args:
        footage: Where they lie.
        spec: The board.
        most: Pictures of one take that are searched.
        progress: Told after each take.
        with_lenses: Whether intrinsic takes are searched too.

    Returns:
        By camera, the extrinsic takes, whose pictures are called by their views, and the intrinsic ones.

    Raises:
        CalibrationError: A take without the board.
        InputError: A take cannot be decoded.
    """
    views = _views_to_search(footage, most)
    work: dict[tuple[str, str], Search] = {}
    for id, camera in footage.cameras.items():
        if camera.extrinsic is not None:
            view_of = camera.picture_of(views)
            work["extrinsic", id] = _search_job(camera.extrinsic, view_of, most)
        if with_lenses and camera.intrinsic is not None:
            work["intrinsic", id] = _search_job(camera.intrinsic, None, most)
    found: dict[tuple[str, str], BoardTake] = {}
    progress("boards", 0, len(work))
    variant = footage.variant
    if variant is None and spec.kind == "charuco" and work:
        key, first = next(iter(work.items()))
        found[key] = first(spec, None)
        spec, variant = found[key].spec, found[key].variant
        progress("boards", 1, len(work))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        running = {pool.submit(job, spec, variant): key for key, job in work.items() if key not in found}
        try:
            for ended in as_completed(running):
                found[running[ended]] = ended.result()
                progress("boards", len(found), len(work))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    takes = [
        {id: found[kind, id] for id in footage.cameras if (kind, id) in found} for kind in ("extrinsic", "intrinsic")
    ]
    return takes[0], takes[1]


def _search_job(source: Path, view_of: Mapping[int, int] | None, most: int) -> Search:
    """Searches one take; with ``view_of``, pictures are then called by their views."""

    def job(spec: BoardSpec, variant: str | None) -> BoardTake:
        if view_of is None:
            return detect_take(source, spec, max_pictures=most, variant=variant)
        take = detect_take(source, spec, pictures=sorted(view_of), variant=variant)
        views = {view_of[n]: view for n, view in take.views.items()}
        return replace(take, views=views, sharpness={view_of[n]: value for n, value in take.sharpness.items()})

    return job


def _views_to_search(footage: BoardFootage, most: int) -> list[int]:
    """Views that at least two cameras have (or the only one), evenly thinned: the same ones in every camera."""
    counts: dict[int, int] = {}
    for camera in footage.cameras.values():
        if camera.extrinsic is None:
            continue
        numbers = camera.view_of if camera.view_of is not None else BoardPictures.of(camera.extrinsic).numbers
        for view in map(int, numbers):
            counts[view] = counts.get(view, 0) + (view >= 0)
    needed = min(2, len(footage.cameras))
    shared = sorted(view for view, count in counts.items() if count >= needed)
    thinned = np.unique(np.linspace(0, len(shared) - 1, min(most, len(shared))).round().astype(int))
    return [shared[n] for n in thinned]
