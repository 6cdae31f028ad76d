"""What the colour stage writes: corrections by camera, and the patches that they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.color import ColorCorrection
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
BY_CAMERA = ("found", "delta_e_before", "delta_e_after", "white_balance", "patches")
MEASURED = (*BY_CAMERA, "black_level", "vignetting")  # of charts; None where they were not used


@dataclass(frozen=True, eq=False)
class CameraColor:
    """What was found for one camera.

    Attributes:
        correction: None: not found.
        before, after: The patches as the camera gives them and corrected, linear, shape (24, 3); NaN where not used.
        delta_e_before, delta_e_after: Mean CIEDE2000 to the reference over the patches that were used; NaN: not found.
        white_balance: Gains of red, green and blue that make grey grey, shape (3,).
        words: How it was found, or why not.
    """

    correction: ColorCorrection | None
    before: FloatArray
    after: FloatArray
    delta_e_before: float
    delta_e_after: float
    white_balance: FloatArray
    words: str


def not_found(words: str) -> CameraColor:
    """A camera without colour calibration, and why."""
    nothing = np.full((24, 3), np.nan)
    return CameraColor(None, nothing, nothing, np.nan, np.nan, np.full(3, np.nan), words)


def write_patches(
    session: SessionLike, name: str, display: npt.NDArray[np.floating[Any]], attrs: Mapping[str, Any]
) -> None:
    """``color/<name>``: chart patches, display-referred 0..1, shape (24, 3) or (camera, 24, 3); NaN where not used."""
    session.write_small(
        f"color/{name}",
        display.astype(np.float32),
        ("camera", "patch", "channel")[3 - display.ndim :],
        unit="1",
        description=f"chart patches, {name}; display-referred, NaN where not used",
        attrs=attrs,
    )


def write_corrections(session: SessionLike, found: Sequence[ColorCorrection | None], about: Mapping[str, Any]) -> None:
    """``rig/color_affine``, ``black_level`` and ``vignetting``; NaN rows for cameras without a correction.

    Args:
        session: Written to.
        found: By camera; None: not found.
        about: Attributes of ``rig/color_affine``, ``light_gain`` among them.
    """

    def rows(name: str, shape: tuple[int, ...]) -> FloatArray:
        return np.stack([np.full(shape, np.nan) if one is None else getattr(one, name) for one in found])

    def write(name: str, shape: tuple[int, ...], dims: tuple[str, ...], unit: str, description: str) -> None:
        session.write_small(
            f"rig/{name}", rows(name, shape), ("camera", *dims), unit=unit, description=description, attrs={}
        )

    write("black_level", (3,), ("channel",), "1", "linear light in the dark; NaN: no colour calibration")
    write("vignetting", (6,), ("coefficient",), "1, px", "of r^2, r^4, r^6, then middle x, y and length of r = 1")
    affine = np.stack([np.full((3, 4), np.nan) if one is None else one.affine for one in found])
    session.write_small(
        "rig/color_affine",
        affine,
        ("camera", "row", "column"),
        unit="1",
        description="linear light without black level and fall-off to linear light; NaN: no colour calibration",
        attrs=about,
    )
