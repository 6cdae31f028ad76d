"""recording.toml: its tables, what their values may be, and the error that says what is wrong."""

from __future__ import annotations

import reprlib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from litdome.config import nearest, read_toml
from litdome.errors import ConfigError
from litdome.lighting import HdriConvention
from litdome.media.planes import ColorRange, Matrix

Role = Literal["body", "face"]
CalibrationFit = Literal["crop-left", "crop-centre", "scale"]
LONGEST_WHERE = 120
MOST_CAMERAS = 1000


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that cannot be printed")
    return text


def _plain(text: str) -> str:
    if "/" in text or "\\" in text:
        raise ValueError("holds a slash")
    return _printable(text)


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
PathText = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
Pixels = Annotated[int, Field(ge=1, le=65535)]


class _Table(BaseModel):
    # strict: TOML has types, and `fps = true` is not 1
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Consent(_Table):
    """What the subject agreed to; travels to every dataset, run and output."""

    version: Text = Field(description="version of the consent form")
    uses: tuple[Literal["research", "train", "publish", "likeness-synthesis"], ...] = Field(
        strict=False, description="allowed uses"
    )
    expires: date | None = Field(None, description="last day of the consent")
    withdrawn: date | None = Field(None, description="day on which the subject took it back")


class Lights(_Table):
    """Where the lighting schedule lies and how HDRIs are turned."""

    schedule: PathText | None = Field(None, description="lights.csv, or a Goliath-style lights json")
    hdri_convention: HdriConvention = Field("physical", description="where the centre of an HDRI lies in the world")
    light_gain: float = Field(
        1.0, gt=0, le=1_000_000, description="session gain: linear light in the pictures over radiance of the HDRIs"
    )


class Board(_Table):
    """The calibration board."""

    kind: Literal["charuco", "chessboard"] = Field(description="kind of board")
    columns: int = Field(gt=2, le=1000, description="squares, not inner corners")
    rows: int = Field(gt=2, le=1000, description="squares, not inner corners")
    square_mm: float = Field(gt=0, le=10_000, description="edge of a square, mm")
    marker_mm: float | None = Field(None, gt=0, le=10_000, description="edge of a marker, mm (charuco)")
    dictionary: Text | None = Field(None, description="ArUco dictionary, for example DICT_4X4_100 (charuco)")


class CaptureSettings(_Table):
    """How a camera was set; kept, never applied."""

    exposure_ms: float | None = Field(None, gt=0, le=10_000, description="exposure time, ms")
    gain_db: float | None = Field(None, ge=-100, le=100, description="gain, dB")
    iso: float | None = Field(None, gt=0, le=10_000_000, description="sensitivity, ISO")
    white_balance_k: float | None = Field(None, ge=1000, le=40_000, description="white balance, K")
    focal_mm: float | None = Field(None, gt=0, le=10_000, description="focal length, mm")
    lens: Text | None = Field(None, description="name of the lens")


class CameraTable(CaptureSettings):
    """One [cameras.ID] table."""

    source: PathText = Field(description="video file or folder of pictures, relative to the recording")
    role: Role = Field("body", description="body or face")
    frame_offset: int | None = Field(None, ge=-(10**7), le=10**7, description="rig frame of this file's frame 0")
    calibration_size: tuple[Pixels, Pixels] | None = Field(
        None, strict=False, description="width, height that the calibration saw, px"
    )
    calibration_fit: CalibrationFit = Field("scale", description="how the calibration's picture became this one")


class RecordingTable(_Table):
    """recording.toml."""

    name: Label | None = Field(None, description="name of the take")
    subject: Label = Field("unknown", description="a pseudonym")
    fps: float | None = Field(None, ge=0.01, le=10_000, description="rig frames per second")
    transfer: Literal["srgb", "bt709", "linear", "log3g10"] | None = Field(None, description="transfer curve")
    matrix: Matrix | None = Field(None, description="overrides the stream's YCbCr matrix")
    range: ColorRange | None = Field(None, description="overrides the stream's range")
    exposure_ev: float = Field(0.0, ge=-30, le=30, description="exposure of linear and log3g10 footage, stops")
    consent: Consent | None = Field(None, description="what the subject agreed to")
    lights: Lights = Field(default_factory=Lights, description="lighting schedule")
    board: Board | None = Field(None, description="calibration board")
    cameras: dict[str, CameraTable] = Field(default_factory=dict, max_length=MOST_CAMERAS, description="cameras by id")


def read_recording_table(file: Path) -> RecordingTable:
    """Read recording.toml.

    Raises:
        ConfigError: Not TOML, an unknown key (with the nearest name), or an impossible value.
    """
    try:
        return RecordingTable.model_validate(read_toml(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        where = where if len(where) <= LONGEST_WHERE else where[:LONGEST_WHERE] + "..."
        if first["type"] == "extra_forbidden":
            hint = nearest(str(first["loc"][-1]), _keys_of(first["loc"][:-1]))
            raise ConfigError(f"{file}: unknown key {where}", hint=hint) from error
        if first["type"] == "missing":
            raise ConfigError(f"{file}: {where} is missing", hint=f"add it to {file.name}") from error
        message = f"{file}: {where} = {reprlib.repr(first['input'])}: {first['msg'].lower()}"
        raise ConfigError(message, hint="docs/recording.md lists what it may be") from error


def _keys_of(table: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"consent": Consent, "lights": Lights, "board": Board, "cameras": CameraTable}
    model = models[str(table[0])] if table else RecordingTable
    return list(model.model_fields)
