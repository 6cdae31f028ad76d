"""Find what is damaged or lost in a session."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from litdome.compute import default_workers, run_units
from litdome.errors import StoreError
from litdome.progress import Progress, silent
from litdome.store.files import FileSystem, list_files, open_files, read_blocks
from litdome.store.layout import ShardLayout
from litdome.store.session import Session
from litdome.store.shards import ShardReader

MAKERS = {  # the stage that has written every chunk of an array once its record is finished
    **dict.fromkeys(("rig", "schedule", "frames", "pairs", "hdris", "looks", "luma", "chroma", "rgb"), "ingest"),
    **{"mask_raw": "segment", "mask": "deflicker", "mask_wide": "deflicker", "hdri_views": "hdri"},
    **{"hdri_background": "segment", "hdri_coverage": "segment"},
    **{"motion": "flow", "motion_backward": "flow"},
    **dict.fromkeys(("compensated", "weights", "quality", "quality_parts"), "align"),
}


@dataclass(frozen=True)
class Damage:
    """Something wrong in a store.

    Attributes:
        array: Path of the array or group.
        file: Path of the file, below the session.
        what: What is wrong with it.
    """

    array: str
    file: str
    what: str


def verify_session(url: str, progress: Progress = silent) -> list[Damage]:
    """Read every byte of a session's arrays against its checksums, and look for files that should be there.

    Covers the crc32c of every chunk and shard index, and the files of arrays whose stage is finished. Arrays of stores
    made before chunks had checksums are decoded instead.

    Returns:
        What is damaged or missing, by array and file; empty when nothing is.

    Raises:
        StoreError: No session at ``url``, or it cannot be reached.
    """
    session = Session.open(url)
    files, root = open_files(url)
    names = list_files(files, root)
    damaged, arrays = _read_metadata(session, files, root, names)
    checks = [check for path in arrays for check in _checks(session, files, root, path, names)]
    found: list[list[Damage]] = [[] for _ in checks]
    finished = 0
    progress("verify", 0, len(checks))

    def check(index: int) -> None:
        found[index] = checks[index].run()

    def count(index: int) -> None:
        nonlocal finished
        finished += 1
        progress("verify", finished, len(checks))

    run_units(check, range(len(checks)), workers=default_workers(), on_done=count)
    return damaged + [damage for part in found for damage in part]


@dataclass(frozen=True)
class _Check:
    """One file of an array to be read against its checksums; without a reader, one that is missing."""

    session: Session
    array: str
    file: str
    shard: int = 0
    reader: ShardReader | None = None
    is_missing: bool = False

    def run(self) -> list[Damage]:
        if self.is_missing:
            return [Damage(self.array, self.file, "is missing")]
        try:
            if self.reader is None:
                self.session.read(self.array)
                return []
            chunks = self.reader.damage(self.shard)
        except StoreError as error:
            return [Damage(self.array, self.file, error.message)]
        if not chunks:
            return []
        some = ", ".join(map(str, chunks[:4])) + (", ..." if len(chunks) > 4 else "")
        return [Damage(self.array, self.file, f"{len(chunks)} chunks do not match their crc32c: {some}")]


def _read_metadata(
    session: Session, files: FileSystem, root: str, names: Mapping[str, int]
) -> tuple[list[Damage], list[str]]:
    damaged, arrays = [], []
    for name in sorted(names):
        if not name.endswith("/zarr.json"):
            continue
        path = name.removesuffix("/zarr.json")
        try:
            about = json.loads(b"".join(read_blocks(files, f"{root}/{name}", names[name])))
            if about["node_type"] == "array":
                session.array(path)
                arrays.append(path)
        except (ValueError, KeyError, TypeError, StoreError) as error:
            damaged.append(Damage(path, name, f"is not the metadata of an array or a group: {error}"))
    return damaged, arrays


def _checks(session: Session, files: FileSystem, root: str, path: str, names: Mapping[str, int]) -> Iterator[_Check]:
    array = session.array(path)
    layout = ShardLayout.of(array)
    reader = ShardReader(files, f"{root}/{path}", layout) if layout else None
    keys = [f"{path}/{key}" for key in _chunk_keys(array)]
    for shard, file in enumerate(keys):
        if file not in names and _is_finished(session, path):
            yield _Check(session, path, file, is_missing=True)
        elif file in names and reader is not None:
            yield _Check(session, path, file, shard, reader)
    if reader is None and any(file in names for file in keys):
        yield _Check(session, path, path)


def _chunk_keys(array: Any) -> list[str]:
    """Paths of an array's files, below its folder; the n-th shard's is the n-th."""
    steps = array.shards or array.chunks
    counts = [range(-(-size // step)) for size, step in zip(array.shape, steps, strict=True)]
    return [cast(str, array.metadata.encode_chunk_key(place)) for place in product(*counts)]


def _is_finished(session: Session, path: str) -> bool:
    """Whether the stage that makes an array is; pictures are known by their last name, all else by their first."""
    first, *_, last = path.split("/")
    record = session.record(MAKERS.get(last if first == "cameras" else first, ""))
    return record is not None and bool(record.finished)
