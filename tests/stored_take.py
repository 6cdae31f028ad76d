"""A small session made by hand: one camera, six pictures in tiles, pairs, one HDRI; ingest is marked finished."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import zarr

from litdome.lighting import HdriEntry
from litdome.media.planes import rgb_from_planes
from litdome.store.provenance import StageRecord
from litdome.store.session import PAIR_FIELDS, Session

SIZE = (96, 70)  # width, height
SKY = HdriEntry("sky")
COLUMNS = (
    (0, 1, 2),
    (0, 1, 2),
    (1, 2, -1),
    (0, 2, 4),
    (1, 3, 5),
    (2, 4, -1),
    (0, 0, 0),
    (40, 40, 40),
    (0.5, 0.5, np.nan),
)


def stored_take(url: str, *, dtype: str = "uint8", subsampling: str = "420") -> Session:
    """The session, written at ``url``; the relit picture 1 is absent."""
    session = Session.new(url, {"name": "take", "transfer": "srgb", "hdri_convention": "physical", "fps": 25.0})
    width, height = SIZE
    about = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.array([SIZE], np.int32), ("camera", "axis"), attrs=about)
    entries = {"entries": [asdict(SKY)]}
    session.write_small("schedule/kind", np.array([1, 2] * 3, np.uint8), ("frame",))
    session.write_small("schedule/hdri", np.array([-1, 0] * 3, np.int32), ("frame",), attrs=entries)
    session.write_small("schedule/present", np.array([[True, True, True, False, True, True]]), ("camera", "frame"))
    for name, values in zip(PAIR_FIELDS, COLUMNS, strict=True):
        kind = np.float32 if name in ("gap_ms", "alpha") else np.int32
        session.write_small(f"pairs/{name}", np.array(values, kind), ("pair",))
    session.write_small(f"hdris/{SKY.entry}", np.ones((4, 8, 3), np.float32), ("v", "u", "channel"))
    attrs = {"subsampling": subsampling, "matrix": "bt601", "range": "limited", "bits": 8 if dtype == "uint8" else 10}
    rng = np.random.default_rng(3)
    small = (height // (2 if subsampling == "420" else 1), width // (1 if subsampling == "444" else 2))
    for kind, first in (("flat", 0), ("relit", 1)):
        session.write_small(f"frames/{kind}", np.arange(first, 6, 2, dtype=np.int32), (kind,))
        group = f"cameras/c00/{kind}"
        for plane, shape, dims, chunk in (
            ("luma", (height, width), ("y", "x"), (1, 24, 32)),
            ("chroma", (2, *small), ("cbcr", "y2", "x2"), (1, 2, 12, 16)),
            ("mask", (height, width), ("y", "x"), (1, 35, 96)),
        ):
            stored = "uint8" if plane == "mask" else dtype
            session.create(f"{group}/{plane}", (3, *shape), stored, ("n", *dims), shard=2, chunk=chunk, attrs=attrs)
            values = rng.integers(0, 2 ** attrs["bits"], (3, *shape)).astype(stored)
            session.write(f"{group}/{plane}", 0, values)
    record = StageRecord(
        "ingest", 1, "f", {}, {}, started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:00:01+00:00"
    )
    session.write_record(record)
    session.write_small("steps/ingest/done", np.ones(1, bool), ("unit",))
    return session


def whole_rgb(session: Session, kind: str, n: int) -> np.ndarray:
    """A stored picture as RGB by the plain way: all of both planes through zarr-python, then converted."""
    luma, chroma = (session.root[f"cameras/c00/{kind}/{plane}"] for plane in ("luma", "chroma"))
    about = {name: luma.attrs[name] for name in ("subsampling", "matrix", "range", "bits")}
    return np.asarray(rgb_from_planes(luma[n], chroma[n], **about))


def digests(session: Session) -> dict[str, str]:
    """sha256 of every array's values, by path."""
    found = {}
    for path, node in sorted(session.root.members(max_depth=None)):
        if isinstance(node, zarr.Array):
            values = np.ascontiguousarray(node[...])
            known = hashlib.sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes())
            found[path] = known.hexdigest()
    return found


if __name__ == "__main__":  # python tests/stored_take.py tests/stores/NAME: keeps stores of the installed version
    for codes in ("uint8", "uint16"):
        kept = Path(f"{sys.argv[1]}-{codes}.zarr")
        made = digests(stored_take(str(kept), dtype=codes))
        kept.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")
