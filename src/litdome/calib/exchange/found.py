"""What a reader finds of a camera in another program's file, and the checks that all formats share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from litdome.camera_formats import CORNER as CORNER
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig, scaled_intrinsics

FloatArray = npt.NDArray[np.float64]
Sizes = Mapping[str, tuple[int, int]]
POSE_TOLERANCE = 1e-4  # of a rotation's entries: files with four decimals still pass
MAX_SKEW_PX = 0.01  # what a skew may move a pixel at the picture's border: our lenses have none
MAX_SIDE_PX = 2**17
LARGEST_BYTES = 64 * 2**20
NUMBERED = re.compile(r"(?:frame|img|image)?[_-]?\d+", re.IGNORECASE)
PICTURE_FOLDERS = ("", ".", "images", "cameras")


@dataclass(frozen=True, eq=False)
class FoundCamera:
    """A camera as a file states it, in our conventions.

    Attributes:
        id: Its name in the file.
        size: (width, height), px; None where the file does not say.
        intrinsics: K, shape (3, 3), px, pixel centres at integers; or, where `relative`, in picture widths from the
            picture's corner.
        distortion: As in `Camera`, shape (8,).
        world_from_camera: Shape (4, 4), metres; None where the file holds no pose.
        model: Lens model.
        relative: K counts in picture widths.
        aspect: Height of the picture in widths, where the file says it.
    """

    id: str
    size: tuple[int, int] | None
    intrinsics: FloatArray
    distortion: FloatArray
    world_from_camera: FloatArray | None
    model: LensModel = "pinhole5"
    relative: bool = False
    aspect: float | None = None

    def completed(self, where: str, sizes: Sizes) -> Camera:
        """The camera; one without a pose stands at the origin.

        Raises:
            CalibrationError: No size known, values that are not finite, a skew, or a pose that is not rigid.
        """
        size = _need_size(self, where, sizes)
        if not all(0 < side <= MAX_SIDE_PX for side in size):
            raise CalibrationError(f"{where}: its pictures are {size[0]}x{size[1]} px")
        intrinsics = _in_pixels(self.intrinsics, size[0]) if self.relative else self.intrinsics
        _need_finite(where, intrinsics, self.distortion)
        lens = _need_triangular(where, intrinsics, size)
        pose = np.eye(4) if self.world_from_camera is None else rigid(self.world_from_camera, where)
        return Camera(self.id, *size, lens, self.distortion, pose, self.model)


def _in_pixels(relative: FloatArray, width: int) -> FloatArray:
    at_one = relative.copy()
    at_one[:2, 2] -= CORNER
    return scaled_intrinsics(at_one, width, width)


def known_size(camera: FoundCamera, sizes: Sizes) -> tuple[int, int] | None:
    """The size of a camera's pictures as its file states it, or else as ``sizes`` do, whatever their case."""
    if camera.size is not None:
        return camera.size
    return sizes.get(camera.id) or {id.lower(): size for id, size in sizes.items()}.get(camera.id.lower())


def _need_size(camera: FoundCamera, where: str, sizes: Sizes) -> tuple[int, int]:
    size = known_size(camera, sizes)
    if size is None:
        raise CalibrationError(
            f"{where}: the file does not say how large its pictures are",
            hint="litdome calibrate SESSION --import FILE takes the session's size",
        )
    if camera.size is None and camera.aspect is not None and abs(size[1] - camera.aspect * size[0]) > 1:
        raise CalibrationError(
            f"{where}: its sensor is {camera.aspect:.4f} as high as wide, its pictures are {size[0]}x{size[1]} px"
        )
    return size


def _need_finite(where: str, *values: FloatArray) -> None:
    if not all(np.isfinite(value).all() for value in values):
        raise CalibrationError(f"{where}: values that are not finite numbers")


def _need_triangular(where: str, intrinsics: FloatArray, size: tuple[int, int]) -> FloatArray:
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    if focal_x <= 0 or focal_y <= 0:
        raise CalibrationError(f"{where}: focal lengths {focal_x:g} and {focal_y:g} px")
    if intrinsics[1, 0] or not np.array_equal(intrinsics[2], [0, 0, 1]):
        raise CalibrationError(f"{where}: its camera matrix is no K (transposed?)")
    shift = abs(intrinsics[0, 1]) * size[1] / (2 * focal_y)
    if shift > MAX_SKEW_PX:
        raise CalibrationError(
            f"{where}: skew moves pixels by up to {shift:.3g} px > {MAX_SKEW_PX} px",
            hint="calibrate without skew (Metashape: b2 fixed at 0)",
        )
    lens = intrinsics.copy()
    lens[0, 1] = 0.0
    return lens


def rigid(pose: FloatArray, where: str) -> FloatArray:
    """``pose`` with the rotation nearest to its own, shape (4, 4).

    Raises:
        CalibrationError: Its rotation is off by more than `POSE_TOLERANCE`, mirrored, or not finite.
    """
    _need_finite(where, pose)
    rotation = pose[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > POSE_TOLERANCE or np.linalg.det(rotation) < 0:
        raise CalibrationError(f"{where}: its rotation is off by {error:.1e} > {POSE_TOLERANCE:.0e}, or mirrored")
    u, _, v = np.linalg.svd(rotation)
    found = np.eye(4)
    found[:3, :3] = u @ v
    found[:3, 3] = pose[:3, 3]
    return found


def pose_of(rotation: FloatArray, translation: FloatArray, *, turned: FloatArray | None = None) -> FloatArray:
    """A transform, shape (4, 4), in a world ``turned`` by a rotation."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    if turned is not None:
        pose[:3] = turned @ pose[:3]
    return pose


def lens(focal_x: float, focal_y: float, centre_x: float, centre_y: float, skew: float = 0.0) -> FloatArray:
    """K, shape (3, 3)."""
    return np.array([[focal_x, skew, centre_x], [0, focal_y, centre_y], [0, 0, 1]], np.float64)


def coefficients(*values: float) -> FloatArray:
    """Distortion in OpenCV's order, zero-padded, shape (8,)."""
    padded = np.zeros(8)
    padded[: len(values)] = values
    return padded


def numbers(values: object, shape: tuple[int, ...]) -> FloatArray:
    """Floats of one shape.

    Raises:
        ValueError: Another number of values, or what are no numbers.
    """
    array = np.array(values, np.float64)
    if array.size != int(np.prod(shape)):
        raise ValueError(f"{array.size} numbers where {int(np.prod(shape))} belong")
    return array.reshape(shape)


@contextmanager
def told(where: str) -> Iterator[None]:
    """What goes wrong in parsing, as one `CalibrationError` that begins with ``where``."""
    try:
        yield
    except CalibrationError:
        raise
    except KeyError as error:
        raise CalibrationError(f"{where}: it has no {error.args[0]}") from error
    except OSError as error:
        raise CalibrationError(f"{where}: {error.strerror}") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CalibrationError(f"{where}: {str(error) or type(error).__name__}") from error


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        CalibrationError: Far larger than a calibration.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise CalibrationError(f"{path}: {path.stat().st_size:,} bytes; no calibration is so large")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        CalibrationError: Not UTF-8, or far larger than a calibration.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path}: not a text file ({error.reason} at byte {error.start})") from error


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        CalibrationError: Not XML.
    """
    try:
        return ElementTree.fromstring(read_bytes(path))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise CalibrationError(f"{path}: not a whole XML file ({error})") from error


def id_of_file(file_path: str) -> str:
    """A camera's id from the path of one of its pictures: the file's name, or, where pictures are numbered, that of
    their folder."""
    path = PurePosixPath(file_path.replace("\\", "/"))
    numbered = NUMBERED.fullmatch(path.stem) is not None and path.parent.name not in PICTURE_FOLDERS
    return path.parent.name if numbered else path.stem


def need_models(rig: Rig, program: str, *allowed: LensModel) -> None:
    """Refuse lens models that a format cannot hold.

    Raises:
        CalibrationError: Names the cameras.
    """
    wrong = [f"{camera.id} ({camera.model})" for camera in rig.cameras if camera.model not in allowed]
    if wrong:
        raise CalibrationError(f"{program} holds no such lens: {', '.join(wrong)}; it takes {', '.join(allowed)}")
