"""Environment maps as each camera sees them: what the relighter is conditioned on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.lighting import ToneMap, environment_maps, view_directions
from litdome.stage import SessionLike, StageConfig, Summary, Unit

Float32Array = npt.NDArray[np.float32]
DIRECTION_PATH = "hdri_views/direction"


def prefilter_hdri(hdr: Float32Array, height: int, width: int) -> Float32Array:
    """``hdr``, shape (v, u, 3), area-averaged to about the size of its views, so that a small sun cannot be missed."""
    factor = min(hdr.shape[0] / height, hdr.shape[1] / width)
    if factor < 2:
        return hdr
    size = (round(hdr.shape[1] / int(factor)), round(hdr.shape[0] / int(factor)))
    return np.asarray(cv2.resize(hdr, size, interpolation=cv2.INTER_AREA), np.float32)


class HdriConfig(StageConfig):
    """Settings of the environment maps."""

    height: int = Field(352, ge=8, description="Rows of the projected maps.")
    width: int = Field(640, ge=16, description="Columns of the projected maps.")
    prefilter: bool = Field(
        False, description="Average the map to the projected size first; off is what DiffusionRenderer does."
    )
    project: Literal["requested", "effective"] = Field(
        "requested", description="requested: the HDRI; effective: what the LEDs made of it (litdome lights effective)"
    )

    tone_map: Literal["diffusionrenderer", "simple", "extended", "luminance", "photographic"] = Field(
        "diffusionrenderer", description="Of the ldr map; its weights know diffusionrenderer only (docs/lighting.md)."
    )
    white: float = Field(16.0, gt=0, description="Radiance that becomes white: extended, luminance, photographic.")
    key: float = Field(0.18, gt=0, description="Where photographic brings a map's log-average luminance.")

    def recorded(self) -> dict[str, Any]:
        """As records hold it: without what is the default or unread, so that earlier runs stay what they are."""
        unread = {"project"} if self.project == "requested" else set()
        if self.tone_map == "diffusionrenderer":
            unread |= {"tone_map", "white", "key"}
        return self.model_dump(mode="json", exclude=unread)

    @property
    def also_needs(self) -> tuple[str, ...]:
        """Stages beyond those that every run needs."""
        return ("lights",) if self.project == "effective" else ()


class Hdri:
    """Each HDRI entry turned into each camera's frame and tone-mapped two ways."""

    name: ClassVar[str] = "hdri"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "project HDRIs into the cameras' frames"
    needs: ClassVar[tuple[str, ...]] = ("calibrate",)
    Config: ClassVar[type[StageConfig]] = HdriConfig

    def prepare(self, session: SessionLike, config: HdriConfig) -> list[Unit]:
        """One unit per camera and shard of HDRI entries."""
        size = (config.height, config.width, 3)
        entries = len(session.hdri_names)
        for camera in session.cameras:
            for kind in ("ldr", "log"):
                session.create(
                    f"hdri_views/{camera}/{kind}",
                    (entries, *size),
                    "f2",
                    ("hdri", "v", "u", "channel"),
                    unit="display-referred, 0..1",
                    description=f"HDRI entries in the camera's frame, tone map {kind}",
                )
        session.write_small(
            DIRECTION_PATH,
            view_directions(config.height, config.width).astype(np.float16),
            ("v", "u", "channel"),
            unit="unit vector",
            description="direction of each pixel in the camera's frame, x right, y up, z to the viewer",
        )
        return [Unit(camera, *shard) for camera in session.cameras for shard in session.shards(entries)]

    def run(self, session: SessionLike, config: HdriConfig, unit: Unit) -> None:
        """Project one shard of entries into one camera's frame."""
        camera = session.rig[str(unit.camera)]
        views: dict[str, list[Float32Array]] = {"ldr": [], "log": []}
        for index in range(unit.start, unit.stop):
            hdr = session.read_hdri(index, effective=config.project == "effective")
            if config.prefilter:
                hdr = prefilter_hdri(hdr, config.height, config.width)
            maps = environment_maps(
                hdr,
                camera.world_from_camera,
                config.height,
                config.width,
                convention=session.hdri_convention,
                gain=session.light_gain,
                tone_map=ToneMap(config.tone_map, config.white, config.key),
            )
            for kind, picture in zip(views, maps, strict=True):
                views[kind].append(np.asarray(picture, np.float32))
        for kind, pictures in views.items():
            session.write(f"hdri_views/{unit.camera}/{kind}", unit.start, np.stack(pictures).astype(np.float16))

    def finish(self, session: SessionLike, config: HdriConfig) -> Summary:
        """How many maps for how many cameras."""
        return {"entries": len(session.hdri_names), "cameras": len(session.cameras)}
