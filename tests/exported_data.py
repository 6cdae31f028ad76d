"""A small dataset to export: three cameras around a person of one colour, six pairs, two lights, the last camera and
the second light held out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from litdome.datasets.build import build_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import DatasetView, open_dataset
from litdome.geometry import look_at, rotation_about_y
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

CAMERAS = ("c00", "c01", "c02")
WIDTH, HEIGHT, PAIRS = 64, 80, 6
ENTRIES = (HdriEntry("park"), HdriEntry("street"))
CONSENT = {"version": "2026-01", "uses": ["research", "train"], "expires": "2099-01-01"}
SPEC = DatasetSpec.model_validate(
    {
        "size": {"height": 48, "width": 96},
        "splits": {"lights": ["street"], "motion_from": None, "cameras": ["c02"]},
        "select": {"filter": "all"},
    }
)


def make_session(path: Path, consent: dict[str, object] | None = CONSENT) -> Session:
    """A calibrated take with masks. Blue counts the pairs, green the cameras; c01 did not record pair 1."""
    attrs = {"name": "take09", "subject": "s03", "fps": 25.0, "transfer": "srgb", "hdri_convention": "physical"}
    session = Session.new(str(path), {**attrs, "consent": consent})
    about = {"camera_ids": list(CAMERAS), "roles": ["body"] * 3, "models": ["pinhole5"] * 3}
    session.write_small("rig/size", np.tile(np.int32([WIDTH, HEIGHT]), (3, 1)), ("camera", "axis"), attrs=about)
    lens = np.array([[90.0, 0, 31.2], [0, 91.0, 40.7], [0, 0, 1]])
    poses = [look_at(rotation_about_y(70.0 * i) @ [0.1, 1.3, 3.0], [0, 1, 0]) for i in range(3)]
    for name, values in (("intrinsics", [lens] * 3), ("distortion", [np.zeros(8)] * 3), ("world_from_camera", poses)):
        session.write_small(f"rig/{name}", np.stack(values), ("camera", "row", "column")[: np.ndim(values)])
    kind = np.tile(np.uint8([1, 2]), PAIRS)
    lit = np.where(kind == 2, np.arange(2 * PAIRS) // 2 // 3, -1).astype(np.int32)  # three pairs park, three street
    present = np.ones((3, 2 * PAIRS), bool)
    present[1, 3] = False
    time_ns = np.arange(2 * PAIRS) * 40_000_000
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", lit, ("frame",), attrs={"entries": [asdict(entry) for entry in ENTRIES]})
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    session.write_small("schedule/present", present, ("camera", "frame"))
    for stored, word in (("flat", "flat"), ("relit", "hdri")):
        session.write_small(f"frames/{stored}", frames_of_kind(LightingSchedule(kind, lit, ENTRIES), word), (stored,))
    for name, values in vars(make_pairs(LightingSchedule(kind, lit, ENTRIES), time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for i, entry in enumerate(ENTRIES):
        light = np.full((8, 16, 3), 0.5, np.float32)
        light[1 + 4 * i, 3] = 20, 10 + i, 5
        session.write_small(f"hdris/{entry.entry}", light, ("v", "u", "channel"))
    for i, camera in enumerate(CAMERAS):
        for stored, level in (("flat", 200), ("relit", 60)):
            pictures = np.full((PAIRS, HEIGHT, WIDTH, 3), level, np.uint8)
            pictures[..., 2] = (np.arange(PAIRS) * 20 + 100)[:, None, None]
            pictures[..., 1] = 50 * i + np.arange(WIDTH)[None, None]
            masks = np.zeros((PAIRS, HEIGHT, WIDTH), np.uint8)
            masks[:, 15 : 70 if stored == "flat" else 60, 20:45] = 255
            session.write_small(f"cameras/{camera}/{stored}/rgb", pictures, ("n", "y", "x", "channel"))
            for name in ("mask_raw", "mask"):
                session.write_small(f"cameras/{camera}/{stored}/{name}", masks, ("n", "y", "x"))
    for stage in ("ingest", "calibrate", "segment", "deflicker"):
        session.write_record(StageRecord(stage, 1, f"f-{stage}", {}, {}, started="a", finished="b"))
    return session


def make_dataset(folder: Path, consent: dict[str, object] | None = CONSENT) -> DatasetView:
    """The dataset, built the real way as ``folder``/data from ``folder``/take.zarr."""
    build_dataset([make_session(folder / "take.zarr", consent)], folder / "data", SPEC, workers=1)
    return open_dataset(folder / "data")
