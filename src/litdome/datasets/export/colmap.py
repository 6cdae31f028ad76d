"""COLMAP: every moment a folder with pictures, masks and a sparse model, as COLMAP and Gaussian splatting read it.

train/take01/relit_000012/images/c00.png, masks/c00.png.png, sparse/0/cameras.txt, images.txt, points3D.txt, test.txt

PINHOLE cameras; camera from world, OpenCV axes, metres, +y up, the first pixel's centre at (0.5, 0.5). There are no
points: nothing was triangulated. test.txt names the pictures of held-out cameras; Gaussian splatting reads it.

Source: colmap.github.io/format.html; masks as in its FAQ (the picture's name and .png, black where nothing counts).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from litdome.camera_formats import CORNER, colmap_pose
from litdome.datasets.export.moments import Moment, moments_of, write_views
from litdome.datasets.export.shots import Selection


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per moment."""
    return [partial(_write_moment, selection, moment, folder / moment.folder) for moment in moments_of(selection)]


def model_texts(selection: Selection, moment: Moment) -> dict[str, str]:
    """The files of sparse/0. Picture n is camera n's."""
    lenses, images = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"], ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"]
    for number, shot in enumerate(moment.shots, start=1):
        camera = selection.camera(shot)
        k = camera.intrinsics
        lens = map(repr, map(float, (k[0, 0], k[1, 1], k[0, 2] + CORNER, k[1, 2] + CORNER)))
        lenses.append(" ".join([str(number), "PINHOLE", str(camera.width), str(camera.height), *lens]))
        pose = map(repr, colmap_pose(camera))
        images += [" ".join([str(number), *pose, str(number), f"{shot.camera}.png"]), ""]
    held_out = [f"{shot.camera}.png" for shot in moment.shots if shot.is_held_out_camera]
    points = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    texts = {"cameras.txt": lenses, "images.txt": images, "points3D.txt": points, "test.txt": held_out}
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in texts.items()}


def _write_moment(selection: Selection, moment: Moment, folder: Path) -> None:
    write_views(selection, moment, folder, "{camera}.png.png")
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    for name, text in model_texts(selection, moment).items():
        (model / name).write_text(text)
