"""Settings of calibrate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from litdome.geometry import LensModel
from litdome.stage import StageConfig

World = Literal["auto", "floor", "points", "cameras", "file"]
WORLD_SETTINGS = {"world", "world_points", "free_scale"}


@dataclass(frozen=True)
class SolveSettings:
    """What lenses and poses depend on; fields as in `CalibrateConfig`."""

    refine: str = "auto"
    max_rms_px: float = 2.0
    max_pictures: int = 160
    max_views: int = 100
    model: LensModel = "pinhole5"
    models: Mapping[str, LensModel] | None = None

    def model_of(self, id: str) -> LensModel:
        """The lens model of a camera."""
        return (self.models or {}).get(id, self.model)


def _absolute(name: str) -> str:
    """The same file, whatever directory the command is typed in; a URL stays."""
    path = Path(name)
    return name if "://" in name else str(path.resolve() if ".." in path.parts else path.absolute())


PathName = Annotated[str, AfterValidator(_absolute)]


class CalibrateConfig(StageConfig):
    """Settings of calibrate."""

    source: Literal["boards", "import"] = Field("boards", description="board takes, or another program's file")
    import_file: PathName | None = Field(None, description="another program's file, or a session that is calibrated")
    boards_dir: PathName | None = Field(
        None, description="folder with the board takes; default the recording's boards/"
    )
    board: str | None = Field(
        None, description="the board, charuco:9x7:100:75:DICT_4X4_100; default as footage or recording say"
    )
    intrinsics_file: PathName | None = Field(
        None, description="take the lenses from this file, the poses from the boards"
    )
    model: LensModel = Field("pinhole5", description="lens model: pinhole5, pinhole8 or fisheye4")
    models: dict[str, LensModel] = Field({}, description="lens model by camera, where it is another one")
    refine: str = Field("auto", description="lens values refined with the poses: auto, none, or a list: f,k1,k2")
    max_rms_px: float = Field(2.0, gt=0, description="largest reprojection error of a camera that is believed, px")
    max_pictures: int = Field(160, ge=3, description="pictures of a board take that are searched")
    max_views: int = Field(100, ge=3, description="views of the pose take that are solved: the best of those found")
    world: World = Field("auto", description="what says where up, floor and origin are: floor, points, cameras, file")
    world_points: PathName | None = Field(None, description="TOML file of marked points (docs/calibration.md)")
    free_scale: bool = Field(False, description="take the scale from the marked points, not from the board or file")

    def solve_settings(self) -> SolveSettings:
        """Those that lenses and poses depend on."""
        return SolveSettings(self.refine, self.max_rms_px, self.max_pictures, self.max_views, self.model, self.models)
