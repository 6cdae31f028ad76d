"""WebDataset: tar shards whose files share a name per sample: 0000042.flat.png, 0000042.relit.png, 0000042.json.

train-000000.tar, train-000001.tar, ..., test_light-000000.tar    wds.WebDataset("OUT/train-{000000..000007}.tar")

A sample holds all that the dataset stores of it (`STORED_KEYS`), its light as env_ldr and env_log, and JSON. The same
dataset gives the same bytes: headers hold no time, owner or mode of this machine.

Source: github.com/webdataset/webdataset, whose reader takes what comes before the first dot as the sample's key.
"""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from litdome.datasets.export.shots import Selection, Shot, png

SHARD_SAMPLES = 128  # about 1 GB of full-size pictures: what streams well


def jobs(selection: Selection, folder: Path, shard_samples: int = SHARD_SAMPLES) -> list[Callable[[], None]]:
    """One piece of work per shard; a shard is of one split."""
    splits: dict[str, list[Shot]] = defaultdict(list)
    for shot in selection.shots:
        splits[shot.split].append(shot)
    found: list[Callable[[], None]] = []
    for split, shots in splits.items():
        for number, start in enumerate(range(0, len(shots), shard_samples)):
            path = folder / f"{split}-{number:06d}.tar"
            found.append(partial(_write_shard, selection, shots[start : start + shard_samples], path))
    return found


def sample_files(selection: Selection, shot: Shot) -> Iterator[tuple[str, bytes]]:
    """The files of one sample: suffix and content."""
    for key in selection.keys:
        yield f"{key}.png", png(selection.picture(shot, key))
    if shot.hdri:
        yield "env_ldr.png", png(selection.environment(shot, "ldr"))
        yield "env_log.png", png(selection.environment(shot, "log"))
    yield "json", json.dumps(selection.words(shot)).encode()


def _write_shard(selection: Selection, shots: Sequence[Shot], path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for shot in shots:
            for suffix, content in sample_files(selection, shot):
                header = tarfile.TarInfo(f"{shot.sample:07d}.{suffix}")
                header.size = len(content)
                shard.addfile(header, BytesIO(content))
