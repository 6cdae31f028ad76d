"""Calibrations from and to other programs: one module per format, one door."""

from litdome.calib.exchange.transforms import read_calibration, read_qualisys, read_transforms, write_transforms

__all__ = ["read_calibration", "read_qualisys", "read_transforms", "write_transforms"]
