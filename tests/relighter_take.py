"""The small baked dataset with what training as D-Rex can ask for: flat masks, motion, windows, subjects, drivers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import zarr
from baked_dataset import CAMERAS, HEIGHT, LEFT_OUT, PAIRS, SESSIONS, WIDTH, baked_dataset

from litdome.datasets.views import DatasetView, open_dataset
from litdome.store.arrays import ArrayStore
from litdome.train_plugins.drivers import Driver, DriverRecord, Fold, write_drivers

TRAIN, TEST = (0, LEFT_OUT), (LEFT_OUT + 1, PAIRS)  # pairs of the two splits, half-open
SHIFT_PX = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 0.5, 1.0], np.float32)  # by pair


def relighter_take(path: Path) -> DatasetView:
    """Write it: each session of its own subject; masks cover rows 8 to 24, of 24 columns that begin at 8 in flat and at
    12 in relit."""
    baked_dataset(path)
    store = ArrayStore(str(path), zarr.open_group(path, mode="r+"), writable=True)
    for session in SESSIONS:
        store.write_small(f"pairs/{session}/time_first", np.arange(PAIRS) * 0.08, ("n",))
        # every pair also reads the one after it
        store.write_small(f"pairs/{session}/time_last", np.arange(PAIRS) * 0.08 + 0.12, ("n",))
        for camera in CAMERAS:
            group = f"cameras/{session}/{camera}"
            for name, left in (("mask_flat", 8), ("mask", 12)):
                mask = np.zeros((PAIRS, HEIGHT, WIDTH), np.uint8)
                mask[:, 8:24, left : left + 24] = 255
                where = f"{group}/{name}"
                if not store.has(where):
                    store.create(where, mask.shape, mask.dtype, ("n", "y", "x"), shard=4, chunk=(1, HEIGHT, WIDTH))
                store.write(where, 0, mask)
    pair = store.read("samples/pair")
    store.write_small("samples/shift_px", SHIFT_PX[pair], ("sample",))
    sessions = store.root.attrs["sessions"]
    store.set_attrs("", sessions=[{**about, "subject": f"s{n}"} for n, about in enumerate(sessions)])
    return open_dataset(path)


def copied(view: DatasetView, path: Path) -> DatasetView:
    """The whole of a dataset again, to change it; sooner than writing it anew."""
    return open_dataset(Path(shutil.copytree(view.path, path)))


def driver_picture(session: str, camera: str, pair: int) -> np.ndarray:
    """A rendering that says whose it is: half covered in its middle rows, transparent elsewhere."""
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[..., 0] = 20 * pair + 50
    picture[..., 1] = 100 * SESSIONS.index(session) + 30 * CAMERAS.index(camera)
    picture[8:24, :, 3] = 255
    return picture


def driver_record(view: DatasetView) -> DriverRecord:
    """Two folds over the training pairs, in both sessions: 0 to 2 are held out of ``a``, 2 to 4 of ``b``."""
    folds = [("a", (0, 2)), ("b", (2, 4))]
    held = {
        name: Fold(name=name, run=f"runs/{name}", held_out=dict.fromkeys(SESSIONS, (pairs,))) for name, pairs in folds
    }
    return DriverRecord(dataset=view.fingerprint, size=(HEIGHT, WIDTH), folds=tuple(held.values()))


def write_all_drivers(folder: Path, view: DatasetView, *, but: int | None = None) -> DriverRecord:
    """Renderings of every training sample, except of pair ``but``."""
    record = driver_record(view)
    write_drivers(
        folder,
        record,
        (
            Driver("a" if pair < 2 else "b", session, camera, pair, driver_picture(session, camera, pair))
            for session in SESSIONS
            for camera in CAMERAS
            for pair in range(*TRAIN)
            if pair != but
        ),
    )
    return record
