"""A session without charts takes the colour calibration of another one on the same stage, at its own light level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from litdome.calib.color.arrays import BY_CAMERA, MEASURED, write_corrections, write_patches
from litdome.calib.color.light_gain import measure_light_gain
from litdome.color import ColorCorrection
from litdome.errors import CalibrationError
from litdome.stage import SessionLike
from litdome.store.lock import absolute_url
from litdome.store.session import Session


def take_over(session: SessionLike, like: str) -> None:
    """Write another session's colour calibration, with the gain that brings this session's light to that one's.

    Args:
        session: Written to; of the same stage, its cameras as they were.
        like: Path or URL of a session with a colour calibration.

    Raises:
        CalibrationError: ``like`` is the session itself, has no colour calibration, not all cameras, pictures of
            another size, or no light to compare.
    """
    other = Session.open(like)
    if isinstance(session, Session) and absolute_url(other.url) == absolute_url(session.url):
        raise CalibrationError(f"{like}: the session itself", hint="name another one, or --charts DIR")
    if not other.has("rig/color_affine"):
        raise CalibrationError(f"{like}: no colour calibration", hint=f"litdome color {like}")
    missing = [id for id in session.cameras if id not in other.cameras]
    if missing:
        raise CalibrationError(f"{like} has no camera {', '.join(missing)}", hint="litdome color SESSION --charts DIR")
    affine, black, vignetting = (other.read(f"rig/{name}") for name in ("color_affine", "black_level", "vignetting"))
    gain, spread = measure_light_gain(session, other)
    at = [other.cameras.index(id) for id in session.cameras]
    known = [bool(np.isfinite(affine[k]).all()) for k in at]
    same_size = all(session.size(id) == other.size(id) for id in session.cameras)
    if not same_size and np.nan_to_num(vignetting[:, :3]).any():
        raise CalibrationError(
            f"{like} stores pictures of another size: its fall-off does not fit", hint="ingest both alike"
        )
    found = [
        ColorCorrection(affine[k], black[k], vignetting[k]) if ok else None for k, ok in zip(at, known, strict=True)
    ]
    gain *= float(cast(float, other.array("rig/color_affine").attrs["light_gain"]))
    warnings = [f"camera {id}: none in {like}" for id, ok in zip(session.cameras, known, strict=True) if not ok]
    about = {
        **dict.fromkeys(MEASURED),
        "cameras": list(session.cameras),
        "source": f"session {like}, light {gain:.4f} of this one's (cameras differ by {100 * spread:.1f} %)",
        "found": known,
        "light_gain": gain,
        "warnings": warnings,
    }
    if other.has("color/after"):
        source, of_other = {"source": about["source"]}, cast(Mapping[str, Any], other.array("color/after").attrs)
        measured = {key: [of_other[key][k] for k in at] for key in BY_CAMERA}
        for name in ("before", "after"):
            write_patches(session, name, other.read(f"color/{name}")[at], {**measured, **source})
        write_patches(session, "reference", other.read("color/reference"), source)
    write_corrections(session, found, about)
