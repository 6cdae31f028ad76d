"""Masks that another program made: folders by camera and number, or HumanOLAT's by frame and camera.

masks/c00/flat/000000.png    the n-th flat picture of c00, as masks/c00/relit/ is of the relit ones
masks/c00/000000.png         the picture of c00 at a rig frame, whatever its light
masks/000/c00.png            HumanOLAT (its segmentations folder, or masks within it): rig frame, then camera
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from litdome.errors import InputError
from litdome.media.folders import numbered_pictures, picture_files
from litdome.preprocess.segmenters.protocol import Masks
from litdome.stage import Kind, SessionLike, UInt8Array

KINDS: tuple[Kind, ...] = ("flat", "relit")
LAYOUTS = "DIR/CAMERA/flat/000000.png by number, DIR/CAMERA/000000.png by rig frame, or DIR/000/CAMERA.png (HumanOLAT)"


@dataclass(frozen=True)
class MaskFiles:
    """The mask files of one camera: ``by_kind`` names the n-th picture of a kind."""

    by_kind: Mapping[Kind, Mapping[int, Path]]

    @property
    def paths(self) -> list[Path]:
        """All of them, in order."""
        return sorted(path for files in self.by_kind.values() for path in files.values())


def find_masks(session: SessionLike, folder: Path) -> dict[str, MaskFiles]:
    """Which file is which picture's mask, by camera.

    Raises:
        InputError: No such folder, or a camera of which there is no mask.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of masks", hint=LAYOUTS)
    frames = {kind: [int(frame) for frame in session.frames(kind)] for kind in KINDS}
    by_frame = _frame_folders(folder)
    found = {camera: _of_camera(folder / camera, camera, frames, by_frame) for camera in session.cameras}
    without = [camera for camera, files in found.items() if not files.paths]
    if without:
        raise InputError(f"{folder}: no masks of camera {', '.join(without)}", hint=LAYOUTS)
    return found


def read_mask(path: Path, size: tuple[int, int], *, scale: float = 1.0) -> UInt8Array:
    """Coverage in a mask file, shape (y, x), 0..255: its alpha where it has one, else its grey; 0 and 1 are 0 and 255.

    Args:
        path: PNG, JPEG or TIFF of 8 or 16 bits.
        size: (width, height) of the stored pictures, px; what comes back.
        scale: Size of the mask to that of the stored pictures.

    Raises:
        InputError: Unreadable, a colour picture, or another size.
    """
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if codes is None:
        raise InputError(f"{path}: not a readable picture", hint="copy the file again")
    if codes.ndim == 3 and codes.shape[2] == 3 and (codes.min(axis=2) != codes.max(axis=2)).any():
        raise InputError(f"{path}: a colour picture, not a mask", hint="save masks as grey, or in the alpha channel")
    plane = codes if codes.ndim == 2 else codes[..., -1]
    height, width = plane.shape
    if max(abs(width - size[0] * scale), abs(height - size[1] * scale)) >= 1:
        wanted = f"{size[0] * scale:g}x{size[1] * scale:g}"
        hint = f"--set segment.masks_scale={width / size[0]:.6g}, if they are of the whole picture"
        raise InputError(
            f"{path}: {width}x{height}, the stored pictures are {size[0]}x{size[1]}, so it should be {wanted}",
            hint=hint,
        )
    brightest = plane.max()
    if brightest > 255:
        plane = plane // 257
    plane = plane.astype(np.uint8)  # a file of 16 bits may hold codes of 8
    if brightest == 1:
        plane = plane * np.uint8(255)
    if (width, height) != size:
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if width > size[0] else cv2.INTER_LINEAR)
    return np.asarray(plane, np.uint8)


def masks_from_files(
    session: SessionLike, camera: str, files: MaskFiles, scale: float, kind: Kind, numbers: range
) -> Masks:
    """Masks of a camera's pictures of a kind; empty where one is absent or has no file.

    Raises:
        InputError: As `read_mask`.
    """
    width, height = session.size(camera)
    coverage = np.zeros((len(numbers), height, width), np.uint8)
    for row, n in enumerate(numbers):
        if n in files.by_kind[kind] and session.is_present(camera, kind, n):
            coverage[row] = read_mask(files.by_kind[kind][n], (width, height), scale=scale)
    return Masks(coverage)


def describe_gaps(session: SessionLike, found: Mapping[str, MaskFiles]) -> list[str]:
    """A warning for every camera and kind where recorded pictures have no mask, with the numbers that there are."""
    warnings = []
    for camera, files in found.items():
        for kind in KINDS:
            recorded = [n for n in range(session.count(kind)) if session.is_present(camera, kind, n)]
            missing = [n for n in recorded if n not in files.by_kind[kind]]
            if missing:
                warnings.append(
                    f"camera {camera}: {len(missing)} of {len(recorded)} {kind} pictures have no mask in the folder, "
                    f"{kind} {missing[0]} first; theirs are empty"
                )
    return warnings


def _of_camera(
    folder: Path, camera: str, frames: Mapping[Kind, list[int]], by_frame: Mapping[int, Mapping[str, Path]]
) -> MaskFiles:
    if folder.is_dir() and any((folder / kind).is_dir() for kind in KINDS):
        own = {kind: numbered_pictures(folder / kind) if (folder / kind).is_dir() else {} for kind in KINDS}
        return MaskFiles(
            {kind: {n: own[kind][n] for n in range(len(frames[kind])) if n in own[kind]} for kind in KINDS}
        )
    if folder.is_dir():
        of_frame: Mapping[int, Path] = numbered_pictures(folder)
    else:
        of_frame = {frame: files[camera] for frame, files in by_frame.items() if camera in files}
    return MaskFiles(
        {kind: {n: of_frame[frame] for n, frame in enumerate(frames[kind]) if frame in of_frame} for kind in KINDS}
    )


def _frame_folders(folder: Path) -> dict[int, dict[str, Path]]:
    """HumanOLAT's files by rig frame and camera; empty where ``folder`` is laid out otherwise."""
    root = next((root for root in (folder / "segmentations" / "masks", folder / "masks") if root.is_dir()), folder)
    numbered = {int(path.name): path for path in sorted(root.iterdir()) if path.name.isdecimal() and path.is_dir()}
    return {frame: {path.stem: path for path in picture_files(at)} for frame, at in numbered.items()}
