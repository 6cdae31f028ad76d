"""A session that holds only a rig: the morning's calibration, before any take."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from litdome.calib.boards.footage import BoardFootage, read_footage
from litdome.calib.settings import CalibrateConfig
from litdome.calib.stage import read_rig
from litdome.errors import CalibrationError
from litdome.geometry import Rig
from litdome.media.images import probe_source
from litdome.store.session import RIG_ONLY, Session

Sizes = dict[str, tuple[int, int]]


def new_rig_session(url: str, config: CalibrateConfig) -> Session:
    """An empty session with the cameras that a calibration names, ready to be calibrated.

    Args:
        url: Where; nothing is there yet.
        config: Settings of calibrate; they name a folder of board takes or a file.

    Raises:
        CalibrationError: They name neither, or what they name cannot be read.
        InputError: A board take cannot be decoded.
    """
    roles: dict[str, str] = {}
    if config.source == "import":
        rig = _imported(config)
        sizes = {camera.id: (camera.width, camera.height) for camera in rig.cameras}
        roles = {camera.id: camera.role for camera in rig.cameras}
    else:
        sizes = _filmed(config)
    name = PurePosixPath(url).name.removesuffix(".zarr")
    session = Session.new(url, {"holds": RIG_ONLY, "name": name})
    none = [None] * len(sizes)
    attrs = {
        "camera_ids": list(sizes),
        "roles": [roles.get(id, "body") for id in sizes],
        "models": ["pinhole5"] * len(sizes),
        "recorded_sizes": [list(size) for size in sizes.values()],
        "crops": none,
        "calibration_sizes": none,
        "calibration_fits": ["scale"] * len(sizes),
        "capture": [{} for _ in sizes],
    }
    values = np.array(list(sizes.values()), np.int32)
    description = "width and height of the pictures that the rig was calibrated on"
    session.write_small("rig/size", values, ("camera", "axis"), unit="px", description=description, attrs=attrs)
    return session


def _imported(config: CalibrateConfig) -> Rig:
    if config.import_file is None:
        raise CalibrationError("calibrate: source is import, but no file", hint="--import FILE")
    return read_rig(Path(config.import_file))


def _filmed(config: CalibrateConfig) -> Sizes:
    """Size of each camera's pictures, of those that were filmed for their pose."""
    if config.boards_dir is None:
        raise CalibrationError(
            "a new session for a rig needs its board takes or a file", hint="--boards DIR, or --import FILE"
        )
    footage: BoardFootage = read_footage(Path(config.boards_dir))
    takes = {id: camera.extrinsic or camera.intrinsic for id, camera in footage.cameras.items()}
    probes = {id: probe_source(take) for id, take in takes.items() if take is not None}
    return {id: (probe.width, probe.height) for id, probe in probes.items()}
