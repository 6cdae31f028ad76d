"""A small finished dataset made by hand, every value known: two sessions, two cameras each, ids readable in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from litdome.datasets.views import DatasetView, open_dataset
from litdome.store.arrays import ArrayStore

HEIGHT, WIDTH, PAIRS, CROP = 32, 48, 7, 16
SESSIONS, CAMERAS, LIGHTS = ("one", "two"), ("c00", "c01"), 3
SPLITS = ("train", "test_motion")
LEFT_OUT = 4  # the guard pair between both splits
RELIABILITY = np.array([0.9, 0.5, 0.0, np.nan, 0.7, 0.2, 1.0], np.float32)  # by pair


@dataclass(frozen=True)
class Baked:
    """The dataset, and what was written: by array path below its root."""

    view: DatasetView
    written: dict[str, np.ndarray]


def baked_dataset(path: Path, *, compression: str = "zstd-1") -> Baked:
    """Write it. Pair 2 of camera c01 has an empty mask; pair 5 of every camera shows no face."""
    rng = np.random.default_rng(4)
    store = ArrayStore(str(path), zarr.create_group(path), writable=True)
    written: dict[str, np.ndarray] = {}

    def small(where: str, values: np.ndarray) -> None:
        written[where] = values
        store.write_small(where, values, tuple("abcd"[: values.ndim]))

    def large(where: str, values: np.ndarray) -> None:
        written[where] = values
        dims = ("n", "y", "x", "channel")[: values.ndim]
        store.create(
            where, values.shape, values.dtype, dims, shard=4, chunk=(1, *values.shape[1:]), compression=compression
        )
        store.write(where, 0, values)

    small("hdri_views/direction", rng.random((HEIGHT, WIDTH, 3)).astype(np.float16))
    for session in SESSIONS:
        small(f"rig/{session}/intrinsics", rng.uniform(20, 40, (len(CAMERAS), 3, 3)))
        small(f"rig/{session}/world_from_camera", rng.normal(size=(len(CAMERAS), 4, 4)))
        small(f"pairs/{session}/pair", np.arange(PAIRS, dtype=np.int32))
        for n, kind in enumerate(("flat", "relit")):
            small(f"pairs/{session}/time_{kind}", np.arange(PAIRS) * 0.08 + 0.04 * n)
        for camera in CAMERAS:
            folder = f"{session}/{camera}"
            for kind in ("ldr", "log"):
                large(f"hdri_views/{folder}/{kind}", rng.random((LIGHTS, HEIGHT, WIDTH, 3)).astype(np.float16))
            for kind in ("flat", "relit"):
                large(f"cameras/{folder}/{kind}", rng.integers(0, 256, (PAIRS, HEIGHT, WIDTH, 3), np.uint8))
                large(f"cameras/{folder}/crops/face/{kind}", rng.integers(0, 256, (PAIRS, CROP, CROP, 3), np.uint8))
            mask = np.zeros((PAIRS, HEIGHT, WIDTH), np.uint8)
            mask[:, 20:28, 20:30] = 255
            mask[2] *= camera != "c01"
            face = np.zeros((PAIRS, CROP, CROP), np.uint8)
            face[:, 3:12, 4:13] = 255
            face[5] = 0
            large(f"cameras/{folder}/mask", mask)
            large(f"cameras/{folder}/weight", rng.integers(1, 256, mask.shape, np.uint8))
            large(f"cameras/{folder}/crops/face/mask", face)
            small(f"cameras/{folder}/crops/face/intrinsics", rng.uniform(20, 40, (PAIRS, 3, 3)))
            small(f"cameras/{folder}/background", rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    kept = [pair for pair in range(PAIRS) if pair != LEFT_OUT]
    rows = [(s, c, pair) for s in range(len(SESSIONS)) for c in range(len(CAMERAS)) for pair in kept]
    session, camera, pair = np.array(rows, np.int32).T
    columns = {"session": session, "camera": camera, "pair": pair, "hdri": pair % LIGHTS}
    for name, values in (columns | {"split": (pair > LEFT_OUT).astype(np.int32)}).items():
        small(f"samples/{name}", values)
    small("samples/reliability", RELIABILITY[pair])
    about = [{"name": name, "cameras": list(CAMERAS), "hdris": ["a", "b", "c"], "fps": 25.0} for name in SESSIONS]
    head = {"format": "litdome-dataset", "schema": "1.1", "fingerprint": "f", "finished": True}
    store.set_attrs("", **head, splits=list(SPLITS), sessions=about)
    return Baked(open_dataset(path), written)
