"""Simulated takes brought through the real pipeline to datasets; each step only where it is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litdome.calib.exchange import write_transforms
from litdome.compute import Threads
from litdome.config import build_config
from litdome.datasets.build import build_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import DatasetView, open_dataset
from litdome.pipeline import config_for, ingest_recording, processing_stages, run_stage
from litdome.store.session import Session
from litdome.synth import make_recording
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.ground_truth import read_truth

SEED = 7  # one for all takes: the same lights and moves, so that subjects differ in nothing else
NOVEL, SEEN = "test_light_motion_camera", "test_motion_camera"


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        cameras, held_cameras: Body cameras, and the share of them that is never trained on.
        pairs, hdris: Of an ordinary take.
        light_counts: Of E2; its take holds more lights than the largest.
        speeds_px: Of E4, px a frame at a height of 1080.
        subjects: Whom E1 and E6 train on.
        far_lights: Lights at infinity.
        film, picture: Height and width of the recorded and of the dataset's pictures, px.
        steps, batch, seeds: Of every training.
        tests: Samples scored of each split and subject.
        arms: Labels left out in this scale.
    """

    name: str
    cameras: int
    held_cameras: float
    pairs: int
    hdris: int
    light_counts: tuple[int, ...]
    speeds_px: tuple[int, ...]
    subjects: tuple[str, ...]
    far_lights: int
    film: tuple[int, int]
    picture: tuple[int, int]
    steps: int
    batch: int
    seeds: int
    tests: int
    without: frozenset[str] = frozenset()


FEW_ARMS_PX = 2  # at this speed the small scale runs the ends only
SMALL = Scale(
    name="small",
    cameras=5,
    held_cameras=0.4,
    pairs=40,
    hdris=20,
    light_counts=(4, 16),
    speeds_px=(FEW_ARMS_PX, 8),
    subjects=("s2", "s3"),
    far_lights=64,
    film=(200, 112),
    picture=(96, 160),
    steps=60,
    batch=4,
    seeds=3,
    tests=8,
    without=frozenset(
        {"LoRA r4", "random 4x", "filter, equal samples 8 px"}
        | {f"{arm} {FEW_ARMS_PX} px" for arm in ("all", "weight", "filter", "filter, equal samples")}
    ),
)
FULL = Scale(
    name="full",
    cameras=10,
    held_cameras=0.2,
    pairs=200,
    hdris=40,
    light_counts=(4, 16, 64, 256),
    speeds_px=(0, 2, 4, 8, 12),
    subjects=("s2", "s3"),
    far_lights=128,
    film=(400, 224),
    picture=(128, 224),
    steps=500,
    batch=4,
    seeds=5,
    tests=48,
)


@dataclass(frozen=True)
class Take:
    """A simulated take."""

    subject: str
    pairs: int
    hdris: int
    speed_px: int | None = None

    @property
    def name(self) -> str:
        speed = "" if self.speed_px is None else f"-{self.speed_px}px"
        return f"{self.subject}-{self.pairs}pairs-{self.hdris}lights{speed}"


@dataclass(frozen=True)
class Stage:
    """Where takes and datasets lie, and how large they are."""

    folder: Path
    scale: Scale

    def recording(self, take: Take) -> Path:
        """Film it, unless it is there."""
        path = self.folder / "takes" / take.name
        if not path.exists():
            height, width = self.scale.film
            with self.timed(f"film {take.name}"):
                make_recording(
                    path,
                    cameras=self.scale.cameras,
                    pairs=take.pairs,
                    hdris=take.hdris,
                    lights=self.scale.far_lights,
                    width=width,
                    height=height,
                    boards=False,
                    workers=1,
                    subject=take.subject,
                    speed_px=take.speed_px,
                    seed=SEED,
                    camera=CameraSetup(face_cameras=0),
                )
        return path

    def session(self, take: Take) -> Session:
        """Ingest it, take over the exact calibration, and run every stage, unless that is done."""
        recording, url = self.recording(take), str(self.folder / "takes" / f"{take.name}.zarr")
        exact, done = recording.with_suffix(".transforms.json"), recording.with_suffix(".done")
        if not done.exists():
            with self.timed(f"process {take.name}"):
                write_transforms(exact, read_truth(recording).rig)
                ingest_recording(recording, url, {}, executor=Threads(1))
                session = Session.open(url, writable=True)
                height, width = self.scale.picture
                tables: dict[str, Any] = {
                    "calibrate": {"source": "import", "import_file": str(exact)},
                    "hdri": {"height": height, "width": width, "prefilter": True},
                }
                for stage in processing_stages().values():
                    run_stage(session, stage, config_for(stage, tables), executor=Threads(1))
                done.touch()
        return Session.open(url)

    def dataset(self, name: str, takes: tuple[Take, ...]) -> DatasetView:
        """Bake takes into one dataset, unless it is there; every pair is in it, also those that moved far."""
        path = self.folder / "data" / name
        if not path.exists():
            sessions = [self.session(take) for take in takes]
            height, width = self.scale.picture
            wanted = {
                "size": {"height": height, "width": width},
                "select": {"filter": "all"},
                "splits": {"lights": 0.3, "motion_from": 0.6, "cameras": self.scale.held_cameras},
            }
            with self.timed(f"bake {name}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                build_dataset(sessions, path, build_config(DatasetSpec, "dataset", {"dataset": wanted}), workers=1)
        return open_dataset(path)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Keep CPU and wall seconds of what is inside in costs.json."""
        cpu, wall = time.process_time(), time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
        yield
        costs = self.costs()
        costs[what] = {"cpu_s": round(time.process_time() - cpu, 1), "wall_s": round(time.monotonic() - wall, 1)}
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "costs.json.partial"
        partial.write_text(json.dumps(costs, indent=1))
        partial.rename(self.folder / "costs.json")

    def costs(self) -> dict[str, dict[str, float]]:
        """CPU and wall seconds of what was done so far."""
        path = self.folder / "costs.json"
        return json.loads(path.read_text()) if path.exists() else {}
