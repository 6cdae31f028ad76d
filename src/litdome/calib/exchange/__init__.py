"""Calibrations from and to other programs: one module per format, one door (docs/conventions.md)."""

from pathlib import Path

from litdome.calib.exchange.formats import (
    FORMATS,
    calibration_files,
    files_read,
    format_of_name,
    read_calibration,
    recognise,
    write_calibration,
)
from litdome.geometry import Rig

__all__ = [
    "FORMATS",
    "calibration_files",
    "files_read",
    "format_of_name",
    "read_calibration",
    "recognise",
    "write_calibration",
    "write_transforms",
]


def write_transforms(path: Path, rig: Rig) -> None:
    """Write a rig as a nerfstudio transforms.json."""
    write_calibration(path, rig, "nerfstudio")
