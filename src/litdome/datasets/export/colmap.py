"""COLMAP: every moment a folder with pictures, masks and a sparse model, as COLMAP and Gaussian splatting read it.

train/take01/relit_000012/images/c00.png, masks/c00.png.png, sparse/0/cameras.txt, images.txt, points3D.txt, test.txt

PINHOLE cameras; camera from world, OpenCV axes, metres, +y up, the first pixel's centre at (0.5, 0.5). Points are not
triangulated: they lie on the visual hull of the masks, held-out cameras left aside, and have no tracks; none where
fewer than three cameras see the moment. test.txt names the pictures of held-out cameras; Gaussian splatting reads it.

Source: colmap.github.io/format.html; masks as in its FAQ (the picture's name and .png, black where nothing counts).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from litdome.camera_formats import CORNER, colmap_pose
from litdome.datasets.export.hull import View, hull_points
from litdome.datasets.export.moments import Moment, moments_of, write_views
from litdome.datasets.export.shots import MASKS, Selection, UInt8Array
from litdome.geometry import FloatArray


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per moment."""
    return [partial(_write_moment, selection, moment, folder / moment.folder) for moment in moments_of(selection)]


def model_texts(selection: Selection, moment: Moment, points: tuple[FloatArray, UInt8Array]) -> dict[str, str]:
    """The files of sparse/0. Picture n is camera n's; points and their colours have shape (n, 3)."""
    lenses, images = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"], ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"]
    for number, shot in enumerate(moment.shots, start=1):
        camera = selection.camera(shot)
        k = camera.intrinsics
        lens = map(repr, map(float, (k[0, 0], k[1, 1], k[0, 2] + CORNER, k[1, 2] + CORNER)))
        lenses.append(" ".join([str(number), "PINHOLE", str(camera.width), str(camera.height), *lens]))
        pose = map(repr, colmap_pose(camera))
        images += [" ".join([str(number), *pose, str(number), f"{shot.camera}.png"]), ""]
    held_out = [f"{shot.camera}.png" for shot in moment.shots if shot.is_held_out_camera]
    texts = {"cameras.txt": lenses, "images.txt": images, "points3D.txt": point_lines(*points), "test.txt": held_out}
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in texts.items()}


def point_lines(points: FloatArray, colours: UInt8Array) -> list[str]:
    """points3D.txt; an error of -1 is COLMAP's word for one that is not known."""
    rows = zip(points.tolist(), colours.tolist(), strict=True)
    lines = [f"{n} {x:.5f} {y:.5f} {z:.5f} {r} {g} {b} -1" for n, ((x, y, z), (r, g, b)) in enumerate(rows, start=1)]
    return ["# POINT3D_ID X Y Z R G B ERROR TRACK[]", *lines]


def moment_points(selection: Selection, moment: Moment) -> tuple[FloatArray, UInt8Array]:
    """Points on the person and their colours, from the cameras that are not held out."""
    keys = moment.light, MASKS[moment.light], "weight"
    kept = [shot for shot in moment.shots if not shot.is_held_out_camera]
    return hull_points([View(selection.camera(shot), *(selection.picture(shot, key) for key in keys)) for shot in kept])


def _write_moment(selection: Selection, moment: Moment, folder: Path) -> None:
    write_views(selection, moment, folder, "{camera}.png.png")
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    texts = model_texts(selection, moment, moment_points(selection, moment))
    for name, text in texts.items():
        (model / name).write_text(text)
