"""A session to review, and what stands before a test: a page in the process, or a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

CAMERAS = ("c00", "c01")
WIDTH, HEIGHT = 48, 64
MAX_SHIFT_PX = 6.0
LIGHTS = ("park", "street")


def make_session(
    path: Path,
    pairs: int = 12,
    *,
    name: str = "take09",
    cameras: tuple[str, str] = CAMERAS,
    lights: tuple[str, str] = LIGHTS,
) -> Session:
    """A take of two cameras: the shift of pair p is p / 2 px in c00 and 2.5 px in c01; above 6 px align leaves out.

    Flat pictures are light, relit ones dark, both bluer with the pair; c01 did not record pair 1.
    """
    entries = tuple(map(HdriEntry, lights))
    attrs = {"name": name, "subject": "s03", "fps": 25.0, "transfer": "srgb", "hdri_convention": "physical"}
    session = Session.new(str(path), {**attrs, "recording": "/stage/take09"})
    about = {"camera_ids": list(cameras), "roles": ["body", "face"], "models": ["pinhole5"] * 2}
    session.write_small("rig/size", np.tile(np.int32([WIDTH, HEIGHT]), (2, 1)), ("camera", "2"), attrs=about)
    kind = np.tile(np.uint8([1, 2]), pairs)
    lit = np.where(kind == 2, np.arange(2 * pairs) // 2 % 2, -1).astype(np.int32)
    present = np.ones((2, 2 * pairs), bool)
    present[1, 3] = False
    time_ns = np.arange(2 * pairs) * 40_000_000
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", lit, ("frame",), attrs={"entries": [asdict(entry) for entry in entries]})
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    session.write_small("schedule/present", present, ("camera", "frame"))
    for stored, word in (("flat", "flat"), ("relit", "hdri")):
        session.write_small(f"frames/{stored}", frames_of_kind(LightingSchedule(kind, lit, entries), word), (stored,))
    for column, values in vars(make_pairs(LightingSchedule(kind, lit, entries), time_ns)).items():
        session.write_small(f"pairs/{column}", values, ("pair",))
    for camera in cameras:
        for stored, level in (("flat", 200), ("relit", 60)):
            pictures = np.full((pairs, HEIGHT, WIDTH, 3), level, np.uint8)
            pictures[..., 2] = (np.arange(pairs) * 200 // pairs)[:, None, None]
            session.write_small(f"cameras/{camera}/{stored}/rgb", pictures, ("n", "y", "x", "channel"))
    _write_scores(session, pairs)
    for stage in ("ingest", "align"):
        session.write_record(StageRecord(stage, 1, f"f-{stage}", {}, {}, started="a", finished="b"))
    return session


def _write_scores(session: Session, pairs: int) -> None:
    shift = np.stack([np.arange(pairs) / 2, np.full(pairs, 2.5)]).astype(np.float32)
    shift[1, 1] = np.nan
    left_out = shift > MAX_SHIFT_PX
    reason = left_out.astype(np.uint16)
    reason[1, 1] = 2
    dims = ("camera", "pair")
    session.write_small("quality/shift_px", shift, dims, unit="px", description="mean motion")
    session.write_small("quality/reliability", 1 / (1 + shift), dims, unit="part")
    regions = np.stack([shift, 2 * shift], -1)
    names = {"names": ["face", "hands"]}
    session.write_small("quality/region_shift_px", regions, (*dims, "region"), unit="px", attrs=names)
    session.write_small("quality/keep", reason == 0, dims)
    session.write_small("quality/reason", reason, dims, attrs={"names": ["shift", "absent"]})


@contextmanager
def served(url: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``litdome review`` as a process, with the address that it printed; killed in the end if it lives."""
    command = [sys.executable, "-m", "litdome", "review", url, "--no-browser", "--author", "ann", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stderr is not None
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.stderr.read()
        yield server, address
    finally:
        if server.poll() is None:
            os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server.stdout.close()
        server.stderr.close()
