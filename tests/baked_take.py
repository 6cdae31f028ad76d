"""Small sessions made by hand, as a dataset reads them: a bright square walks over a dim wall; all arrays exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from litdome.geometry import look_at
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

WIDTH, HEIGHT, SIDE = 72, 56, 16
START, STEP = 12, 1  # px: column of the square at rig frame 0, and how far it walks a frame
PART_NAMES = ["Background", "Face_Neck", "Left_Hand", "Torso"]
PART_REGIONS = ["", "face", "hands", "body"]
SPEED = 25.0  # frames per second


def sky(seed: int, height: int = 16) -> np.ndarray:
    """A map that no rotation or gain turns into one of another seed; other heights are the same map, finer."""
    rows = np.random.default_rng(seed).random((8, 16, 3)).astype(np.float32) + np.float32(0.1)
    return rows.repeat(height // 8, axis=0).repeat(height // 8, axis=1)


def square(frame: int, camera: int) -> tuple[slice, slice]:
    """Rows and columns of the square."""
    left = START + STEP * frame % 24 + camera
    return slice(20, 20 + SIDE), slice(left, left + SIDE)


def make_take(
    path: Path,
    *,
    lights: Mapping[str, np.ndarray] | None = None,
    cameras: Sequence[str] = ("c00", "c01", "c02"),
    pairs: int = 24,
    seed: int = 0,
    consent: dict[str, object] | None = None,
    parts: bool = False,
    aligned: bool = True,
    lost: tuple[int, ...] = (),
) -> Session:
    """A calibrated, segmented (and aligned) session; lights come by turns of three pairs.

    Args:
        path: The store to make.
        lights: Radiance by name.
        cameras: Ids; the last has role face where its id begins with ``f``.
        pairs: Flat and relit frames by turns, one flat more.
        seed: Of the noise that makes every picture its own.
        consent: As recorded.
        parts: Whether a network labelled the square: left half face, two rows of it hands.
        aligned: Whether motion was measured and compensated.
        lost: Rig frames that the first camera lost.
    """
    lights = lights or {"sky": sky(1), "sun": sky(2), "room": sky(3)}
    entries = tuple(HdriEntry(name) for name in sorted(lights))
    frames = 2 * pairs + 1
    kind = np.array([1, 2] * pairs + [1], np.uint8)
    hdri = np.where(kind == 2, np.arange(frames) // 6 % len(entries), -1).astype(np.int32)
    schedule, time_ns = LightingSchedule(kind, hdri, entries), np.arange(frames, dtype=np.int64) * int(1e9 / SPEED)
    attrs = {"name": path.stem, "subject": f"s{seed}", "fps": SPEED, "hdri_convention": "physical", "transfer": "srgb"}
    session = Session.new(str(path), {**attrs, "consent": consent})
    roles = ["face" if id.startswith("f") else "body" for id in cameras]
    about = {"camera_ids": list(cameras), "roles": roles, "models": ["pinhole5"] * len(cameras)}
    session.write_small("rig/size", np.array([[WIDTH, HEIGHT]] * len(cameras), np.int32), ("camera", "2"), attrs=about)
    intrinsics = np.array([[90.0, 0, (WIDTH - 1) / 2], [0, 90.0, (HEIGHT - 1) / 2], [0, 0, 1]])
    poses = [look_at([np.sin(n), 1.2, 3 * np.cos(n)], [0, 1, 0]) for n in range(len(cameras))]
    session.write_small("rig/intrinsics", np.stack([intrinsics] * len(cameras)), ("camera", "row", "column"))
    session.write_small("rig/distortion", np.zeros((len(cameras), 8)), ("camera", "k"))
    session.write_small("rig/world_from_camera", np.stack(poses), ("camera", "row", "column"))
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", hdri, ("frame",), attrs={"entries": [asdict(entry) for entry in entries]})
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    present = np.ones((len(cameras), frames), bool)
    present[0, list(lost)] = False
    session.write_small("schedule/present", present, ("camera", "frame"))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for name, radiance in lights.items():
        session.write_small(f"hdris/{name}", radiance.astype(np.float32), ("v", "u", "channel"))
    for c, id in enumerate(cameras):
        _film(session, id, c, schedule, seed, parts)
    write_record(session, "ingest", {"recording": f"recording-{path.stem}-{seed}"})
    if aligned:
        _align(session, cameras, pairs, seed)
    return session


def write_record(session: Session, stage: str, inputs: dict[str, str], *, version: int = 1) -> None:
    """Mark a stage as finished on these inputs."""
    moment = "2026-01-01T00:00:00+00:00"
    mark = f"{stage}-{sorted(inputs.values())}"
    session.write_record(StageRecord(stage, version, mark, inputs, {}, started=moment, finished=moment))


def _film(session: Session, id: str, camera: int, schedule: LightingSchedule, seed: int, parts: bool) -> None:
    rng = np.random.default_rng([seed, camera])
    session.write_small(f"cameras/{id}/background", np.full((HEIGHT, WIDTH, 3), 40, np.uint8), ("y", "x", "channel"))
    for kind, word, level in (("flat", "flat", 200), ("relit", "hdri", 120)):
        frames = frames_of_kind(schedule, word)
        session.write_small(f"frames/{kind}", frames, (kind,))
        pictures = rng.integers(30, 50, (len(frames), HEIGHT, WIDTH, 3)).astype(np.uint8)
        masks, labels = (np.zeros((len(frames), HEIGHT, WIDTH), np.uint8) for _ in range(2))
        for n, frame in enumerate(frames):
            rows, columns = square(int(frame), camera)
            pictures[n, rows, columns] += level - 40
            masks[n, rows, columns] = 255
            labels[n, rows, columns] = 3
            labels[n, rows, columns.start : columns.start + SIDE // 2] = 1
            labels[n, rows.stop - 2 : rows.stop, columns] = 2
        group = f"cameras/{id}/{kind}"
        stacks = {"rgb": pictures, "mask_raw": masks, **({"parts": labels} if parts else {})}
        for name, values in stacks.items():
            dims, attrs = ("n", "y", "x", "channel")[: values.ndim], None
            if name == "parts":
                attrs = {"names": PART_NAMES, "regions": PART_REGIONS}
            session.create(f"{group}/{name}", values.shape, "u1", dims, attrs=attrs)
            session.write(f"{group}/{name}", 0, values)


def _align(session: Session, cameras: Sequence[str], pairs: int, seed: int) -> None:
    rng = np.random.default_rng(seed + 100)
    shape = (len(cameras), pairs)
    scores = {"shift_px": rng.random(shape) * 6, "reliability": rng.random(shape), "keep": np.ones(shape, bool)}
    for name, values in scores.items():
        kind = bool if name == "keep" else np.float32
        session.write_small(f"quality/{name}", values.astype(kind), ("camera", "pair"))
    session.write_small(
        "quality/reason", np.zeros(shape, np.uint16), ("camera", "pair"), attrs={"names": ["absent", "shift"]}
    )
    for id in cameras:
        moved = np.stack([session.read_at(f"cameras/{id}/flat/rgb", n) for n in range(pairs)])
        session.create(f"compensated/{id}", moved.shape, "u1", ("pair", "y", "x", "channel"))
        session.write(f"compensated/{id}", 0, moved)
        for kind, left in (("flat", 0), ("compensated", 128)):
            weights = np.full((pairs, HEIGHT // 2, WIDTH // 2), 255, np.uint8)
            weights[:, :, : WIDTH // 4] = left  # the left half counts less
            session.create(f"weights/{id}/{kind}", weights.shape, "u1", ("pair", "y", "x"))
            session.write(f"weights/{id}/{kind}", 0, weights)
    write_record(session, "align", {"seed": str(seed)}, version=2)
