"""Check a dataset: every array readable, every sample sound, nothing of a test in train, nothing changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

from litdome.compute import default_workers, run_units
from litdome.consent import refusal
from litdome.datasets.freeze import changes, decision_copies, session_ref
from litdome.datasets.leaks import leaks
from litdome.datasets.samples import SampleTable
from litdome.datasets.spec import DATASET_SCHEMA, DatasetSpec
from litdome.datasets.views import open_dataset
from litdome.errors import LitdomeError, StoreError
from litdome.progress import Progress, silent
from litdome.store.arrays import ArrayStore
from litdome.store.session import Session

Array = npt.NDArray[Any]
SHOWN = 5  # findings of one kind, before they are counted


@dataclass
class Seen:
    """What the threads of a check have found; each writes its own key."""

    findings: dict[int, list[str]] = field(default_factory=dict)
    relit: dict[int, int] = field(default_factory=dict)


def check_dataset(path: Path, *, workers: int | None = None, progress: Progress = silent) -> list[str]:
    """Findings about a dataset, one line each; empty when it is fine. Every stored byte is read once.

    Args:
        path: The dataset.
        workers, progress: Threads, and a callback.

    Raises:
        StoreError: No dataset there, or unfinished.
    """
    open_dataset(path)
    store = ArrayStore(str(path), zarr.open_group(path, mode="r"), writable=False)
    attrs: dict[str, Any] = dict(store.root.attrs)
    table = SampleTable.of(store)
    findings = [*spec_findings(attrs), *consent_findings(table.sessions), *leaks(store, table)]
    if "train" not in table.names:
        findings.append(f"{path}: no training sample; litdome dataset build --set splits.lights=0, or record more")
    units = np.split(np.arange(len(table)), np.flatnonzero(_unit_changes(store, table)) + 1) if len(table) else []
    seen, done = Seen(), 0

    def work(index: int) -> None:
        seen.findings[index] = check_shard(store, table, units[index], seen.relit)

    def mark(index: int) -> None:
        nonlocal done
        done += len(units[index])
        progress("check", done, len(table))

    progress("check", 0, len(table))
    run_units(work, range(len(units)), workers=workers or default_workers(), on_done=mark)
    found = [line for index in sorted(seen.findings) for line in seen.findings[index]]
    return [*findings, *found, *duplicates(table, seen.relit), *light_findings(store, table)]


def spec_findings(attrs: dict[str, Any]) -> list[str]:
    """Whether the spec is the one that the fingerprint was made of, and what changed in its sessions since.

    A session that is no longer where it was says nothing: datasets travel.
    """
    if attrs.get("schema") != DATASET_SCHEMA:
        return []
    spec = DatasetSpec.model_validate(attrs["spec"])
    found = (
        [] if spec.fingerprint == attrs["fingerprint"] else ["the spec is not the one that was baked: it was edited"]
    )
    plain = spec.model_dump(mode="json")
    for n, ref in enumerate(spec.sessions):
        try:
            session = Session.open(ref.path)
        except StoreError:
            continue
        others = [each for each in spec.decisions if each.session != ref.name]
        refs = [*spec.sessions[:n], session_ref(ref.name, session, spec), *spec.sessions[n + 1 :]]
        copies = sorted([*others, *decision_copies(ref.name, session)], key=lambda each: each.model_dump_json())
        was = sorted(spec.decisions, key=lambda each: each.model_dump_json())
        now = spec.model_copy(update={"sessions": tuple(refs), "decisions": tuple(copies)})
        then = {**plain, "decisions": [each.model_dump(mode="json") for each in was]}
        found += [f"{line} since it was baked" for line in changes(then, now.model_dump(mode="json"))]
        found += consent_findings([{**session.attrs, "name": ref.path}])
    return found


def consent_findings(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sessions, as their attributes describe them, whose subject no longer agrees to training."""
    reasons = ((about, refusal(about.get("consent"), "train")) for about in sessions)
    return [f"{about['name']} (subject {about.get('subject')}): {why}" for about, why in reasons if why is not None]


def check_shard(store: ArrayStore, table: SampleTable, rows: Array, relit: dict[int, int]) -> list[str]:
    """What is wrong with some samples of one camera; puts a hash of each relit picture into ``relit``."""
    group = f"cameras/{table.place(int(rows[0]))}"
    names = picture_names(store, group)
    findings = []
    for index in rows.tolist():
        try:
            sample = {name: store.read_at(f"{group}/{name}", int(table.row[index])) for name in names}
        except LitdomeError as error:
            findings.append(f"{said(table, index)}: cannot be read: {error.message}")
            continue
        findings += [f"{said(table, index)}: {what}" for what in sample_findings(sample)]
        relit[index] = _hash(sample["relit"])
    return findings


def picture_names(store: ArrayStore, group: str) -> list[str]:
    """Names of a camera's arrays with a picture per pair, those of crops as ``crops/face/flat``."""
    camera = cast(zarr.Group, store.root[group])
    names = {name for name, _ in camera.arrays()} - {"background"}
    for region in cast(zarr.Group, camera["crops"]).group_keys() if "crops" in camera else ():
        inside = cast(zarr.Group, camera[f"crops/{region}"])
        names |= {f"crops/{region}/{name}" for name, _ in inside.arrays()} - {f"crops/{region}/intrinsics"}
    return sorted(names)


def sample_findings(sample: dict[str, Array]) -> list[str]:
    """What is wrong with the pictures and coverages of one sample, in words."""
    found = [f"{name} is empty" for name in ("flat", "relit", "flat_compensated") if _is_empty(sample, name)]
    found += [f"empty {name}" for name in ("mask", "mask_flat") if _is_empty(sample, name)]
    padding = sample["weight"] == 0
    for name, values in sample.items():
        if not name.startswith("crops/") and values[padding].any():
            found.append(f"{name} shows something where the weight is 0")
    if padding.all():
        found.append("no pixel has a weight")
    return found


def duplicates(table: SampleTable, relit: dict[int, int]) -> list[str]:
    """Relit pictures that come more than once, counted by the pair of cameras that share them."""
    known: dict[int, int] = {}
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for index in sorted(relit):
        first = known.setdefault(relit[index], index)
        if first != index:
            found[table.place(first), table.place(index)].append((first, index))
    lines = []
    for places, same in sorted(found.items()):
        first, second = same[0]
        example = f"for one, {said(table, first)} and {said(table, second)}"
        lines.append(f"{' and '.join(dict.fromkeys(places))}: {len(same)} relit pictures come twice, {example}")
    return lines


def light_findings(store: ArrayStore, table: SampleTable) -> list[str]:
    """Lights that samples are lit by and that no map shows, or a damaged one."""
    found = []
    lit = sorted({(int(s), int(c), int(h)) for s, c, h in zip(table.session, table.camera, table.hdri, strict=True)})
    for session, camera, hdri in lit:
        about = table.sessions[session]
        place = f"{about['name']}/{about['cameras'][camera]}"
        if hdri < 0:
            found.append(f"{place}: samples under a light that is not known")
            continue
        for name in ("ldr", "log"):
            where = f"{place}: light {about['hdris'][hdri]}, {name} map"
            try:
                view = store.read_at(f"hdri_views/{place}/{name}", hdri)
            except LitdomeError as error:
                found.append(f"{where}: {error.message}")
                continue
            if not np.isfinite(view).all() or float(view.min()) < 0 or float(view.max()) > 1:
                found.append(f"{where}: values outside 0..1")
            elif not view.any():
                found.append(f"{where}: empty")
    return found


def said(table: SampleTable, index: int) -> str:
    """A sample in words."""
    return f"{table.place(index)} pair {table.pair[index]} (sample {index})"


def _unit_changes(store: ArrayStore, table: SampleTable) -> npt.NDArray[np.bool_]:
    """Where the next sample lies in another shard."""
    keys = np.stack([table.session, table.camera, table.row // store.shard_frames])
    return np.asarray((np.diff(keys, axis=1) != 0).any(axis=0))


def _is_empty(sample: dict[str, Array], name: str) -> bool:
    return name in sample and not sample[name].any()


def _hash(picture: Array) -> int:
    """64 bits of a picture: crc32c of its even and of its odd rows."""
    parts = (np.ascontiguousarray(picture[first::2]) for first in (0, 1))
    high, low = (int(google_crc32c.value(part.tobytes())) for part in parts)
    return high << 32 | low
