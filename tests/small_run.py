"""A run of the relighter small enough for a test: one step of one small random network on a dataset made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from baked_dataset import baked_dataset

from litdome.datasets.views import open_dataset
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_hdr
from litdome.train_plugins.registry import load_trainer
from litdome.train_plugins.run import RunFolder

CONSENT = {"version": "2026-01", "uses": ["research", "train"]}
NETWORK = {"heads": 1, "head_dim": 24, "blocks": 1, "adaln_dim": 8}


def small_run(folder: Path, **settings: Any) -> Path:
    """The run in ``folder / "run"``, its dataset in ``folder / "data"`` (two sessions, c00 and c01, 32x48 px)."""
    baked_dataset(folder / "data")
    root = zarr.open_group(folder / "data", mode="r+")
    more = {"hdri_convention": "physical", "subject": "s03", "consent": CONSENT}
    root.attrs["sessions"] = [{**session, **more} for session in root.attrs["sessions"]]
    data = open_dataset(folder / "data")
    trainer = load_trainer("relighter")
    table = {"base": "random", "mode": "full", "steps": 1, "batch": 1, "network": NETWORK, **settings}
    config = trainer.Config.model_validate(table)
    run = RunFolder.create(
        folder / "run",
        plugin="relighter",
        config=config,
        dataset=str(folder / "data"),
        dataset_fingerprint=data.fingerprint,
        subjects=("s03",),
    )
    with run:
        trainer.fit(data.split("train"), config, run)
    return run.path


def one_lamp(path: Path) -> Path:
    """An HDRI with one lamp to the right of its centre."""
    hdr = np.full((32, 64, 3), 0.2, np.float32)
    hdr[10:14, 40:46] = 30
    write_hdr(path, hdr)
    return path


def moving_block(path: Path, pictures: int, height: int = 30, width: int = 44) -> Path:
    """A video of a block that moves to the right."""
    with VideoWriter(path, fps=30, crf=1) as video:
        for k in range(pictures):
            picture = np.full((height, width, 3), 40, np.uint8)
            picture[6:24, k : k + 16] = (200, 150, 100)
            video.write(picture)
    return path
