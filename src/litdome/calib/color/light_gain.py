"""How much brighter one session's flat light is than another's, from what both show without the person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.errors import CalibrationError
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
EXPOSED = (0.01, 0.9)  # linear light at which a plate's pixel says something
MIN_PIXELS = 1000
MAX_DISAGREEMENT = 0.1  # between cameras: something moved, or the light changed its shape


def measure_light_gain(session: SessionLike, reference: SessionLike) -> tuple[float, float]:
    """The factor that brings ``session``'s flat light to the level of ``reference``'s, and how far cameras disagree.

    Args:
        session, reference: Takes on one stage with the same cameras where they were, each with clean plates.

    Returns:
        Median over cameras of (reference / session), and the largest deviation of a camera from it, a share.

    Raises:
        CalibrationError: A plate is missing, hardly exposed, or the cameras disagree.
    """
    ratios = {id: _ratio(session, reference, id) for id in session.cameras}
    gain = float(np.median(list(ratios.values())))
    worst = max(ratios, key=lambda id: abs(ratios[id] / gain - 1))
    spread = abs(ratios[worst] / gain - 1)
    if spread > MAX_DISAGREEMENT:
        raise CalibrationError(
            f"camera {worst}: light changed by {ratios[worst]:.3f}, the others' by {gain:.3f}; more than "
            f"{100 * MAX_DISAGREEMENT:.0f} % apart",
            hint="was a camera or its exposure moved between the sessions? litdome color SESSION --charts DIR",
        )
    return gain, spread


def _ratio(session: SessionLike, reference: SessionLike, id: str) -> float:
    now, then = _plate(session, id), _plate(reference, id)
    if now.shape != then.shape:
        raise CalibrationError(f"camera {id}: clean plates of different sizes", hint="ingest both sessions alike")
    exposed = ((now > EXPOSED[0]) & (now < EXPOSED[1]) & (then > EXPOSED[0]) & (then < EXPOSED[1])).all(axis=2)
    if exposed.sum() < MIN_PIXELS:
        raise CalibrationError(
            f"camera {id}: {exposed.sum()} pixels of the clean plates are exposed in both, {MIN_PIXELS} are needed",
            hint="litdome color SESSION --charts DIR",
        )
    return float(np.median(then[exposed].mean(axis=1) / now[exposed].mean(axis=1)))


def _plate(session: SessionLike, id: str) -> FloatArray:
    path = f"cameras/{id}/background"
    if not session.has(path):
        raise CalibrationError(
            f"camera {id}: no clean plate to measure the light by", hint="litdome segment SESSION, or --charts DIR"
        )
    return np.asarray(linear_from_srgb(np.asarray(session.read(path)) / 255.0), np.float64)
