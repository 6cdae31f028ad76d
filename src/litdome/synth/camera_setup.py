"""How the cameras of a simulated stage are set, by name, with what each setting allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from litdome.errors import UsageError

SMALLEST_DEEP_PX = 64  # x265 4.2 corrupts memory on pictures of 48x80 px
MOST_COLOR_SPREAD = 0.2
CORNERS_LOSE = 3  # times the colour spread, at most: see `litdome.synth.sensors.make_sensors`
MOST_LOST = 0.9  # of the light in the corners


def _setting(default: float | None, low: float, high: float, text: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "text": text})


@dataclass(frozen=True)
class CameraSetup:
    """How the cameras of a take are set, all alike; a spread draws each camera's own.

    The defaults take instant pictures, sharp everywhere, as bright as the light.

    Attributes:
        face_cameras: Cameras with long lenses that hold the face; None: as many as the subject's session had.

    Raises:
        UsageError: A value that cannot be.
    """

    face_cameras: int | None = None
    exposure_spread_ev: float = _setting(0.0, 0, 3, "cameras are up to this many stops too dark or too bright")
    vignetting: float = _setting(0.0, 0, 0.9, "share of the light that the corners lose")
    aperture_mm: float = _setting(0.0, 0, 200, "width of the lens: what is out of focus blurs")
    focus_error_m: float = _setting(0.0, 0, 1, "the focus lies up to this far before or behind the person")
    shutter_ms: float = _setting(0.0, 0, 1000, "exposure time: what moves blurs")
    rolling_shutter_ms: float = _setting(0.0, 0, 1000, "how much later the last row is exposed than the first")
    gain_db: float = _setting(0.0, -6, 48, "noise as at this gain")
    bits: int = _setting(8, 8, 10, "of a stored code, 8 or 10 (else 8)")
    distance_m: float | None = _setting(None, 0, 10, "from the person to the body cameras (else the subject's)")

    def __post_init__(self) -> None:
        if self.face_cameras is not None and self.face_cameras < 0:
            raise UsageError(f"face_cameras = {self.face_cameras}, at least 0 is needed")
        for knob in fields(self)[1:]:
            value, low, high = getattr(self, knob.name), knob.metadata["low"], knob.metadata["high"]
            if value is not None and not low <= value <= high:
                raise UsageError(f"camera {knob.name} = {value:g}, must be within {low:g}..{high:g}")
        if self.bits not in (8, 10):
            raise UsageError(f"camera bits = {self.bits:g}, must be 8 or 10")

    def need_time(self, frame_ms: float) -> None:
        """Refuse shutters that are open longer than the light stays the same.

        Raises:
            UsageError: Exposure and rolling shutter together are longer than a frame.
        """
        open_ms = self.shutter_ms + self.rolling_shutter_ms
        if open_ms > frame_ms:
            raise UsageError(
                f"shutter_ms and rolling_shutter_ms make {open_ms:g} ms, but the light changes after {frame_ms:g} ms",
                hint="--fault mixed-light shows what that does",
            )

    def need_size(self, width: int, height: int) -> None:
        """Refuse pictures that cannot be stored with so many bits.

        Raises:
            UsageError: They are too small.
        """
        if self.bits == 10 and min(width, height) < SMALLEST_DEEP_PX:
            raise UsageError(
                f"{width}x{height} px: with 10 bits at least {SMALLEST_DEEP_PX} each way",
                hint="--camera bits=8, or larger",
            )

    def need_light(self, color_spread: float) -> None:
        """Refuse lenses that might take all light, and more, from the corners.

        Raises:
            UsageError: ``color_spread`` is out of its range, or loses too much together with the vignetting.
        """
        if not 0 <= color_spread <= MOST_COLOR_SPREAD:
            raise UsageError(f"color_spread = {color_spread:g}, must be within 0..{MOST_COLOR_SPREAD:g}")
        lost = self.vignetting + CORNERS_LOSE * color_spread
        if lost > MOST_LOST + 1e-9:
            most = max(MOST_LOST - CORNERS_LOSE * color_spread, 0)
            raise UsageError(
                f"vignetting {self.vignetting:g} and color_spread {color_spread:g} take up to {lost:.0%} of the light "
                f"from the corners, at most {MOST_LOST:.0%}",
                hint=f"--camera vignetting={most:g}",
            )


CAMERA_SETTINGS = {knob.name: str(knob.metadata["text"]) for knob in fields(CameraSetup)[1:]}


def parse_camera_setup(assignments: Sequence[str], face_cameras: int | None = None) -> CameraSetup:
    """The setup from ``NAME=VALUE`` texts.

    Raises:
        UsageError: Not of that form, an unknown name (the known ones are named), or a value that cannot be.
    """

    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f"--camera {text}: expected NAME=VALUE", hint="--camera shutter_ms=8")
        if name not in CAMERA_SETTINGS:
            said = f"no camera setting {name!r} among {', '.join(CAMERA_SETTINGS)}"
            raise UsageError(said, hint="litdome synth --help")
        try:
            values[name] = int(value) if name == "bits" else float(value)
        except ValueError as error:
            raise UsageError(f"--camera {text}: {value!r} is not a number", hint=f"{name}: see --help") from error
    return CameraSetup(face_cameras=face_cameras, **values)
