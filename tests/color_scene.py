"""A rig of three simulated cameras that see colour differently, as a session, with pictures of a colour chart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera, Rig
from litdome.lighting import HdriEntry
from litdome.store.provenance import StageRecord
from litdome.store.session import PAIR_FIELDS, Session
from litdome.synth.charts import chart_corners, chart_pose, film_chart
from litdome.synth.dome import wall_picture
from litdome.synth.rig import make_rig
from litdome.synth.sensors import Sensor, expose, make_sensors
from litdome.synth.shading import flat_lights
from litdome.synth.truth import made, write_png

WIDTH, HEIGHT = 180, 320
SCENE_SEED = 22
COLUMNS = ((0,), (0,), (-1,), (0,), (1,), (-1,), (0,), (40,), (np.nan,))


@dataclass(frozen=True, eq=False)
class ColorScene:
    """What is known of the scene.

    Attributes:
        rig, sensors: The cameras, and how they see colour.
        charts: Linear light of each camera's chart picture before its sensor, shape (y, x, 3), by id.
        corners: Of the charts, shape (4, 2), px, by id.
        folder: charts/: the chart pictures, and flat/ with the flat fields.
        session: The chart pictures as its only flat frame.
    """

    rig: Rig
    sensors: tuple[Sensor, ...]
    charts: dict[str, npt.NDArray[np.float32]]
    corners: dict[str, npt.NDArray[np.float64]]
    folder: Path
    session: Session


def make_scene(path: Path, *, cameras: int = 3, spread: float = 0.1, dark: bool = False) -> ColorScene:
    """The scene, written under ``path``; with ``dark``, a dark frame was recorded too."""
    rig, sensors = _rig(cameras), make_sensors(cameras, spread, 0)
    charts, corners, seen = {}, {}, {}
    for k, (camera, sensor) in enumerate(zip(rig.cameras, sensors, strict=True)):
        rng = np.random.default_rng([SCENE_SEED, k])
        charts[camera.id], corners[camera.id] = _filmed(camera, k)
        seen[camera.id] = expose(charts[camera.id], rng, sensor)
        write_png(made(path / "charts" / f"{camera.id}.png"), seen[camera.id])
        white = np.full_like(charts[camera.id], 0.45)
        write_png(made(path / "charts" / "flat" / f"{camera.id}.png"), expose(white, rng, sensor))
    session = _session(path / "take.zarr", rig, seen, dark)
    for k, camera in enumerate(rig.cameras if dark else ()):
        black = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        _write_picture(session, camera.id, "dark", expose(black, np.random.default_rng([SCENE_SEED, k, 1]), sensors[k]))
    return ColorScene(rig, sensors, charts, corners, path / "charts", session)


@lru_cache
def _rig(cameras: int) -> Rig:
    return make_rig(cameras, width=WIDTH, height=HEIGHT)


@lru_cache
def _filmed(camera: Camera, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    pose = chart_pose(camera, np.random.default_rng([SCENE_SEED, k, 2]))
    return film_chart(camera, pose, wall_picture(camera, flat_lights())), chart_corners(camera, pose)


def _session(url: Path, rig: Rig, pictures: dict[str, npt.NDArray[np.uint8]], dark: bool) -> Session:
    session = Session.new(str(url), {"name": "charts", "transfer": "srgb", "hdri_convention": "physical"})
    count = len(rig.cameras)
    attrs = {
        "camera_ids": list(rig.ids),
        "roles": ["body"] * count,
        "models": ["pinhole5"] * count,
        "recorded_sizes": [[WIDTH, HEIGHT]] * count,
        "crops": [None] * count,
    }
    session.write_small("rig/size", np.full((count, 2), (WIDTH, HEIGHT), np.int32), ("camera", "axis"), attrs=attrs)
    kinds = np.array([1, 2, 0] if dark else [1, 2], np.uint8)
    hdri = np.where(kinds == 2, 0, -1).astype(np.int32)
    session.write_small("schedule/kind", kinds, ("frame",))
    session.write_small("schedule/hdri", hdri, ("frame",), attrs={"entries": [asdict(HdriEntry("sky"))]})
    session.write_small("schedule/present", np.ones((count, len(kinds)), bool), ("camera", "frame"))
    for name, values in zip(PAIR_FIELDS, COLUMNS, strict=True):
        kind = np.float32 if name in ("gap_ms", "alpha") else np.int32
        session.write_small(f"pairs/{name}", np.array(values, kind), ("pair",))
    session.write_small("frames/flat", np.array([0], np.int32), ("flat",))
    if dark:
        session.write_small("frames/dark", np.array([2], np.int32), ("dark",))
    for id, picture in pictures.items():
        _write_picture(session, id, "flat", picture)
    times = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:01+00:00"}
    session.write_record(StageRecord("ingest", 1, "f", {}, {}, **times))
    session.write_small("steps/ingest/done", np.ones(1, bool), ("unit",))
    return session


def _write_picture(session: Session, id: str, kind: str, picture: npt.NDArray[np.uint8]) -> None:
    session.create(f"cameras/{id}/{kind}/rgb", (1, *picture.shape), "u1", ("n", "y", "x", "channel"), shard=1)
    session.write(f"cameras/{id}/{kind}/rgb", 0, picture[None])
