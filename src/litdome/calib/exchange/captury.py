"""HumanOLAT's cameras.calib, which is Captury's text format ("tc camera calibration v0.3").

The lens in mm of the sensor, the camera's centre in mm of the world, its right and up in the world, which is +y up.
The file does not say how many pixels a picture has: all is in picture widths, along both axes, from the picture's
corner. Commented matrices repeat it; where a file holds only those, extrinsics are camera to world in mm, as in
HumanOLAT's writer of training files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from litdome.calib.exchange.found import (
    FloatArray,
    FoundCamera,
    coefficients,
    lens,
    need_models,
    numbers,
    pose_of,
    read_text,
    told,
)
from litdome.camera_formats import CAPTURY_HEADER as HEADER
from litdome.camera_formats import MM, captury_lines
from litdome.geometry import LensModel, Rig

BLOCKS = {"extrinsic": "extrinsic", "extrinsics": "extrinsic", "intrinsic": "intrinsic", "intrinsics": "intrinsic"}
Fields = Mapping[str, list[str]]
Blocks = Mapping[str, list[str]]


def read(path: Path) -> list[FoundCamera]:
    """Its cameras, by name.

    Raises:
        CalibrationError: Not such a file, a camera with more than one frame (it moves), a lens that is not OpenCV's, or
            values that are missing or no numbers.
    """
    sections: list[list[str]] = []
    for line in read_text(path).splitlines():
        words = line.split()
        if words[:1] == ["camera"]:
            sections.append([line])
        elif sections:
            sections[-1].append(line)
    return [_camera(path, lines) for lines in sections]


def _camera(path: Path, lines: list[str]) -> FoundCamera:
    words = lines[0].split("#")[0].split()
    id = " ".join(words[2:]) or " ".join(words[1:])
    with told(f"{path}: camera {id}"):
        fields, blocks, frames = _parsed(lines[1:])
        if frames > 1:
            raise ValueError(f"{frames} frames: it moves, which cannot be held")
        if fields.get("distortionModel", ["OpenCV"]) != ["OpenCV"]:
            raise ValueError(f"distortion model {' '.join(fields['distortionModel'])}; only OpenCV is supported")
        bent = np.array(fields.get("distortion", []), np.float64)
        if bent.size not in (0, 4, 5, 8):
            raise ValueError(f"{bent.size} distortion values; 4, 5 or 8 can be")
        model: LensModel = "pinhole8" if bent[5:].any() else "pinhole5"
        k, aspect = _lens(fields, blocks)
        width, height = (int(float(side)) for side in fields.get("size", ["0", "0"]))
        size = (width, height) if width > 0 and height > 0 else None
        pose = _pose(fields, blocks)
        return FoundCamera(id, size, k, coefficients(*bent), pose, model, relative=True, aspect=aspect)


def _parsed(lines: list[str]) -> tuple[Fields, Blocks, int]:
    fields: dict[str, list[str]] = {}
    blocks: dict[str, list[str]] = {}
    frames = 0
    for n, line in enumerate(lines):
        words = line.strip().lstrip("#").split()
        if not words:
            continue
        if (block := BLOCKS.get(words[0])) is not None:
            blocks[block] = [value for row in lines[n + 1 : n + 4] for value in row.strip().lstrip("#").split()]
        elif not line.lstrip().startswith("#") or words[0] == "size":
            kept = line.split("#")[0].split() or words
            frames += kept[0] == "frame"
            fields[kept[0]] = kept[1:]
    return fields, blocks, frames


def _lens(fields: Fields, blocks: Blocks) -> tuple[FloatArray, float | None]:
    """K in picture widths from the picture's corner, and the sensor's height in widths where it is known."""
    if "focalLength" not in fields:
        return numbers(blocks["intrinsic"], (3, 3)), None
    wide, high = numbers(fields["sensorSize"], (2,))
    focal = float(numbers(fields["focalLength"], (1,))[0]) / wide
    tall = float(numbers(fields.get("pixelAspect", ["1"]), (1,))[0])
    offset = numbers(fields.get("centerOffset", ["0", "0"]), (2,))
    return lens(focal, focal * tall, 0.5 + offset[0] / wide, (high / 2 + offset[1]) / wide), float(high / wide)


def _pose(fields: Fields, blocks: Blocks) -> FloatArray | None:
    if "origin" in fields:
        right, up = numbers(fields["right"], (3,)), numbers(fields["up"], (3,))
        return pose_of(np.column_stack([right, -up, np.cross(right, -up)]), numbers(fields["origin"], (3,)) / MM)
    if "extrinsic" in blocks:
        matrix = numbers(blocks["extrinsic"], (3, 4))
        return pose_of(matrix[:, :3], matrix[:, 3] / MM)
    return None


def write(rig: Rig) -> dict[str, bytes]:
    """The file, with the pictures' sizes in comments (``# size W H``) and the matrices that HumanOLAT's loader reads.

    Raises:
        CalibrationError: Fisheye lenses.
    """
    need_models(rig, "cameras.calib", "pinhole5", "pinhole8")
    lines = [HEADER, *(line for n, camera in enumerate(rig.cameras) for line in captury_lines(n, camera.id, camera))]
    return {"": "".join(f"{line}\n" for line in lines).encode()}
