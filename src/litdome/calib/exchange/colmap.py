"""COLMAP's sparse models, text and binary: camera from world (Hamilton quaternions), OpenCV axes.

The first pixel's centre lies at (0.5, 0.5). COLMAP states neither up nor scale: the world is taken as it is, in metres.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.spatial.transform import Rotation

from litdome.calib.exchange.found import CORNER, FoundCamera, coefficients, id_of_file, lens, pose_of, told
from litdome.camera_formats import colmap_pose
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig, invert_rigid

MODELS = {  # name: (number in binary files, parameters in their order)
    "SIMPLE_PINHOLE": (0, ("f", "cx", "cy")),
    "PINHOLE": (1, ("fx", "fy", "cx", "cy")),
    "SIMPLE_RADIAL": (2, ("f", "cx", "cy", "k1")),
    "RADIAL": (3, ("f", "cx", "cy", "k1", "k2")),
    "OPENCV": (4, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
    "OPENCV_FISHEYE": (5, ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")),
    "FULL_OPENCV": (6, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": (8, ("f", "cx", "cy", "k1")),
    "RADIAL_FISHEYE": (9, ("f", "cx", "cy", "k1", "k2")),
}
NAMES = {number: name for name, (number, _) in MODELS.items()}
OPENCV_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE_ORDER = ("k1", "k2", "k3", "k4")
POINT_BYTES = 24  # x, y (f8) and the number of a 3D point (i8) in images.bin
LONGEST_NAME = 4096
FILES = {"cameras.txt", "images.txt", "cameras.bin", "images.bin"}


@dataclass(frozen=True)
class Lens:
    """A line of cameras.txt."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Image:
    """The first line of an image in images.txt."""

    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str


def model_folder(path: Path) -> Path | None:
    """The folder that holds the model: ``path``, its sparse/0 or sparse, or the folder of one of its files."""
    if path.is_file():
        return path.parent if path.name in FILES else None
    folders = (path, path / "sparse" / "0", path / "sparse")
    return next((f for f in folders if any((f / name).is_file() for name in FILES)), None)


def files(path: Path) -> tuple[Path, Path]:
    """Where lenses and pictures are. As in COLMAP, binary files go first, unless ``path`` is a text file.

    Raises:
        CalibrationError: No model there.
    """
    folder = model_folder(path)
    if folder is None:
        raise CalibrationError(f"{path}: no COLMAP model in it (cameras.txt or .bin, images.txt or .bin)")
    suffix = ".bin" if path.suffix != ".txt" and (folder / "cameras.bin").is_file() else ".txt"
    return folder / f"cameras{suffix}", folder / f"images{suffix}"


def read(path: Path) -> list[FoundCamera]:
    """Cameras by the names of their pictures (see `id_of_file`); of several pictures of one camera the first counts.

    Raises:
        CalibrationError: A file is missing, cut short or damaged, a lens model that litdome does not know, or two
            cameras whose pictures have one name.
    """
    lens_file, image_file = files(path)
    binary = lens_file.suffix == ".bin"
    for file in (lens_file, image_file):
        if not file.is_file():
            raise CalibrationError(f"{file}: not there", hint="export the whole model from COLMAP")
    with told(str(lens_file)):
        lenses = dict(_lenses_of_binary(lens_file) if binary else _lenses_of_text(lens_file))
    found: dict[str, tuple[int, FoundCamera]] = {}
    with told(str(image_file)):
        for image in _images_of_binary(image_file) if binary else _images_of_text(image_file):
            id = id_of_file(image.name)
            with told(f"{lens_file.parent}: camera {id}"):
                if image.camera not in lenses:
                    raise ValueError(f"picture {image.name} is of camera {image.camera}, which {lens_file.name} lacks")
                if id in found and found[id][0] != image.camera:
                    raise ValueError("pictures of two cameras have this name; give each camera its own folder")
                found.setdefault(id, (image.camera, _camera(id, lenses[image.camera], image)))
    return [found[id][1] for id in sorted(found)]


def _camera(id: str, seen: Lens, image: Image) -> FoundCamera:
    names = MODELS[seen.model][1]
    if len(seen.parameters) != len(names):
        raise ValueError(f"{len(seen.parameters)} parameters; {seen.model} has {len(names)}")
    values = dict(zip(names, seen.parameters, strict=True))
    focal_x, focal_y = values.get("fx", values.get("f", 0.0)), values.get("fy", values.get("f", 0.0))
    fisheye = "FISHEYE" in seen.model
    bent = coefficients(*(values.get(name, 0.0) for name in (FISHEYE_ORDER if fisheye else OPENCV_ORDER)))
    model: LensModel = "fisheye4" if fisheye else "pinhole8" if bent[5:].any() else "pinhole5"
    quaternion = np.array(image.quaternion)
    if not np.isfinite(quaternion).all() or abs(np.linalg.norm(quaternion) - 1) > 1e-3:
        raise ValueError(f"its quaternion {quaternion} is not of length 1")
    rotation = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    pose = invert_rigid(pose_of(rotation, np.array(image.translation)))
    k = lens(focal_x, focal_y, values["cx"] - CORNER, values["cy"] - CORNER)
    return FoundCamera(id, seen.size, k, bent, pose, model)


def _need_model(name: str | None, what: object) -> str:
    if name not in MODELS:
        raise ValueError(f"lens model {what} is not supported; it may be one of {', '.join(MODELS)}")
    return name


def _lenses_of_text(path: Path) -> Iterator[tuple[int, Lens]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            model = _need_model(words[1], words[1])
            yield int(words[0]), Lens(model, (int(words[2]), int(words[3])), tuple(map(float, words[4:])))


def _images_of_text(path: Path) -> Iterator[Image]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split(maxsplit=9)
            if not words or words[0].startswith("#"):
                continue
            values = tuple(map(float, words[1:8]))
            yield Image(values[:4], values[4:7], int(words[8]), words[9].strip())
            next(lines, None)  # the second line of an image holds its points and may be empty


def _lenses_of_binary(path: Path) -> Iterator[tuple[int, Lens]]:
    with path.open("rb") as file:
        for _ in range(_count(file)):
            id, number, width, height = _unpack(file, "<iiQQ")
            model = _need_model(NAMES.get(number), f"number {number}")
            yield id, Lens(model, (width, height), _unpack(file, f"<{len(MODELS[model][1])}d"))


def _images_of_binary(path: Path) -> Iterator[Image]:
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_count(file)):
            _, *values, camera = _unpack(file, "<i7di")
            name = _name(file)
            points = _count(file)
            if file.tell() + POINT_BYTES * points > size:
                raise ValueError(f"cut short: {points} points of picture {name} do not fit into {size:,} bytes")
            file.seek(POINT_BYTES * points, 1)
            yield Image(tuple(values[:4]), tuple(values[4:]), camera, name)


def _count(file: BinaryIO) -> int:
    return int(_unpack(file, "<Q")[0])


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise ValueError("cut short")
    return struct.unpack(layout, data)


def _name(file: BinaryIO) -> str:
    name = bytearray()
    while (letter := file.read(1)) != b"\0":
        name += letter
        if not letter or len(name) > LONGEST_NAME:
            raise ValueError("cut short in a picture's name")
    return name.decode()


def write_text(rig: Rig) -> dict[str, bytes]:
    """cameras.txt, images.txt and an empty points3D.txt. Picture n belongs to camera n; it is called ID.png."""
    lenses, images = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"], ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"]
    for number, camera in enumerate(rig.cameras, start=1):
        seen, image = _of_camera(number, camera)
        lenses.append(" ".join([str(number), seen.model, *map(str, seen.size), *map(repr, seen.parameters)]))
        pose = map(repr, image.quaternion + image.translation)
        images += [" ".join([str(number), *pose, str(number), image.name]), ""]
    texts = {"cameras.txt": lenses, "images.txt": images, "points3D.txt": []}
    return {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in texts.items()}


def write_binary(rig: Rig) -> dict[str, bytes]:
    """cameras.bin, images.bin and an empty points3D.bin, as `write_text`."""
    count = struct.pack("<Q", len(rig.cameras))
    lenses, images = [count], [count]
    for number, camera in enumerate(rig.cameras, start=1):
        seen, image = _of_camera(number, camera)
        lenses.append(struct.pack("<iiQQ", number, MODELS[seen.model][0], *seen.size))
        lenses.append(struct.pack(f"<{len(seen.parameters)}d", *seen.parameters))
        images.append(struct.pack("<i7di", number, *image.quaternion, *image.translation, number))
        images.append(image.name.encode() + b"\0" + struct.pack("<Q", 0))
    return {
        "cameras.bin": b"".join(lenses),
        "images.bin": b"".join(images),
        "points3D.bin": struct.pack("<Q", 0),
    }


def _of_camera(number: int, camera: Camera) -> tuple[Lens, Image]:
    bent = camera.distortion
    plain = "FULL_OPENCV" if bent[4:].any() else "OPENCV" if bent.any() else "PINHOLE"
    model = "OPENCV_FISHEYE" if camera.model == "fisheye4" else plain
    order = FISHEYE_ORDER if camera.model == "fisheye4" else OPENCV_ORDER
    k = camera.intrinsics
    values = {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2] + CORNER, "cy": k[1, 2] + CORNER}
    values |= dict(zip(order, bent, strict=False))
    parameters = tuple(float(values[name]) for name in MODELS[model][1])
    pose = colmap_pose(camera)
    image = Image(pose[:4], pose[4:], number, f"{camera.id}.png")
    return Lens(model, (camera.width, camera.height), parameters), image
