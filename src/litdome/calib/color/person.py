"""Colour of cameras without a chart: gains from the flat frames of a calibrated, segmented take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from litdome.calib.color.arrays import CameraColor
from litdome.calib.color.sources import SensorEvidence
from litdome.calib.color.surface_match import differences, fit_gains, shared_colors
from litdome.color import ColorCorrection, linear_from_srgb
from litdome.errors import CalibrationError
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
MOMENTS = 24  # flat frames, half of them to fit the gains and half to measure what they achieve
NOTHING = np.full((24, 3), np.nan)


def person_colors(
    session: SessionLike, sensors: Mapping[str, SensorEvidence], reference: str | None
) -> tuple[list[CameraColor], str]:
    """Colour of every camera, and in words how it was found.

    Args:
        session: Calibrated, with de-flickered masks.
        sensors: Black level and fall-off by camera.
        reference: The camera whose colours the others get; None: their average.

    Raises:
        CalibrationError: Not calibrated, or a camera shares too little of the person with the others.
    """
    ids, rig = session.cameras, session.rig
    moments = _moments(session)
    plain = {id: ColorCorrection(np.eye(3, 4), sensor.floor, sensor.vignetting) for id, sensor in sensors.items()}
    found = []
    for n in moments:
        pictures = {id: _light(session, id, n, plain[id]) for id in ids}
        found.append(shared_colors(rig, pictures, {id: session.read_at(f"cameras/{id}/flat/mask", n) for id in ids}))
    gains = fit_gains(np.concatenate(found[0::2]), ids, reference)
    held_out = np.concatenate(found[1::2])
    before, after = differences(held_out, np.ones_like(gains)), differences(held_out, gains)
    colors = []
    for k, id in enumerate(ids):
        affine = np.column_stack([np.diag(gains[k]), np.zeros(3)])
        correction = ColorCorrection(affine, plain[id].black_level, plain[id].vignetting)
        points = int(np.isfinite(held_out[:, k, 0]).sum())
        words = f"no chart; {points} points of the person shared with other cameras"
        balance = gains[k] / gains[k, 1]
        colors.append(CameraColor(correction, NOTHING, NOTHING, float(before[k]), float(after[k]), balance, words))
    to = f"camera {reference}" if reference else "their average"
    return colors, f"the person in {len(moments)} flat frames, cameras brought to {to}; gains only, between cameras"


def _moments(session: SessionLike) -> list[int]:
    """Flat frames that every camera recorded, spread over the take."""
    whole = [
        n for n in range(session.count("flat")) if all(session.is_present(id, "flat", n) for id in session.cameras)
    ]
    if len(whole) < 2:
        raise CalibrationError(
            f"{len(whole)} flat frames were recorded by all cameras, 2 are needed",
            hint="litdome color SESSION --charts DIR",
        )
    at = np.unique(np.linspace(0, len(whole) - 1, min(len(whole), MOMENTS)).astype(int))
    return [whole[k] for k in at]


def _light(session: SessionLike, id: str, n: int, plain: ColorCorrection) -> npt.NDArray[np.float32]:
    """A flat frame in linear light, without black level and fall-off, shape (y, x, 3)."""
    picture = session.read_frame(id, "flat", n)
    share = plain.falloff((0, 0, picture.shape[1], picture.shape[0]))
    light = linear_from_srgb(np.arange(256, dtype=np.float32) / 255)[picture] - plain.black_level.astype(np.float32)
    return np.asarray(light if share is None else light / share[..., None], np.float32)
