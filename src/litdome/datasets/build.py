"""Bake sessions and decisions into a frozen dataset: one crop per camera, undistorted, at training size."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr

from litdome.compute import default_workers, run_units
from litdome.consent import require_use
from litdome.datasets.bake import bake, bake_background, bake_units
from litdome.datasets.freeze import changes, freeze_spec
from litdome.datasets.plan import Plan, plan_dataset
from litdome.datasets.spec import DATASET_SCHEMA, DatasetSpec
from litdome.datasets.splits import LEFT_OUT
from litdome.datasets.statistics import dataset_statistics
from litdome.datasets.tables import create_arrays, write_samples, write_session
from litdome.errors import StoreError, UsageError
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.store.arrays import ArrayStore
from litdome.store.files import need_outside_stores
from litdome.store.session import Session

DATASET_FORMAT = "litdome-dataset"
SHOWN_CHANGES = 3


@dataclass(frozen=True)
class DatasetSummary:
    """What a build made.

    Attributes:
        path, fingerprint: The dataset.
        samples, splits: How many, and of each split.
        left_out: Usable ones that the guard gaps cost.
        notes: What a user should know: a split that stayed empty, pictures that not every session has.
    """

    path: Path
    fingerprint: str
    samples: int
    splits: Mapping[str, int]
    left_out: int
    notes: tuple[str, ...] = ()


def build_dataset(
    sessions: Sequence[Session],
    out: Path,
    spec: DatasetSpec,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> DatasetSummary | None:
    """Freeze a selection over sessions and bake it.

    Args:
        sessions: Calibrated, segmented sessions.
        out: The dataset to make; an interrupted build beside it (``.partial``) is continued.
        spec: What to select and hold out.
        workers, progress, should_stop: Threads and callbacks.

    Returns:
        What was made; None when ``should_stop`` ended it (call again to continue).

    Raises:
        ConsentError: A subject did not agree to training, or no longer does.
        UsageError: ``out`` exists with another spec or lies inside a session, or nothing is left to bake.
        CalibrationError: A session without calibration.
    """
    need_outside_stores(out)
    for session in sessions:
        require_use(session.attrs.get("consent"), "train", f"{session.url} (subject {session.attrs.get('subject')})")
    frozen = freeze_spec(sessions, spec)
    if out.exists():
        return existing_summary(out, frozen)
    plans = plan_dataset(sessions, frozen, workers=workers, progress=progress, should_stop=should_stop)
    if plans is None:
        return None
    if not any(plan.pairs for plan in plans):
        kept = "no pair is kept and usable" if frozen.select.filter == "keep" else "no pair was recorded whole"
        fits = f" and fits {frozen.select.where}" if frozen.select.where else ""
        raise UsageError(f"{out}: nothing to bake: {kept}{fits}", hint=f"litdome pairs {sessions[0].url}")
    partial = out.with_name(out.name + ".partial")
    store = _open_partial(partial, frozen)
    for plan in plans:
        write_session(store, plan, frozen)
        create_arrays(store, plan, frozen)
    write_samples(store, plans)
    store.set_attrs("", notes=notes(plans, frozen))
    if not _bake(store, plans, frozen, workers or default_workers(), progress, should_stop):
        return None
    store.set_attrs("", statistics=dataset_statistics(store), finished=True)
    partial.rename(out)
    return existing_summary(out, frozen)


def existing_summary(out: Path, frozen: DatasetSpec | None = None) -> DatasetSummary:
    """What the dataset at ``out`` holds.

    Raises:
        UsageError: It is no dataset, or was built from another spec than ``frozen``; says what differs.
    """
    try:
        root = zarr.open_group(out, mode="r")
    except (FileNotFoundError, NotADirectoryError, ValueError, zarr.errors.ContainsArrayError) as error:
        raise UsageError(f"{out}: exists already and is no dataset", hint="give another -o") from error
    attrs: dict[str, Any] = dict(root.attrs)
    if attrs.get("format") != DATASET_FORMAT:
        raise UsageError(f"{out}: exists already and is no dataset", hint="give another -o")
    if frozen is not None and attrs.get("fingerprint") != frozen.fingerprint:
        found = changes(attrs.get("spec", {}), frozen.model_dump(mode="json"))
        if attrs.get("schema") != DATASET_SCHEMA:
            found.insert(0, f"built by another version (schema {attrs.get('schema')}, now {DATASET_SCHEMA})")
        more = f", and {len(found) - SHOWN_CHANGES} more" if len(found) > SHOWN_CHANGES else ""
        raise UsageError(
            f"{out}: exists already, from other settings or sessions: {'; '.join(found[:SHOWN_CHANGES])}{more}",
            hint="give another -o, or remove it",
        )
    names = attrs["splits"]
    array = cast("zarr.Array[Any]", root["samples/split"])
    counts = Counter(names[int(i)] for i in np.asarray(array[...]))
    total, left_out = sum(counts.values()), int(attrs["left_out"])
    noted = tuple(attrs.get("notes", ()))
    return DatasetSummary(out, attrs["fingerprint"], total, dict(sorted(counts.items())), left_out, noted)


def notes(plans: Sequence[Plan], spec: DatasetSpec) -> list[str]:
    """What a user should know of a dataset before training on it, a line each."""
    names = {str(name) for plan in plans for name in np.unique(plan.splits)} - {LEFT_OUT}
    found = [] if "train" in names else ["no training sample: less must be held out, or more recorded"]
    asked = {
        "light": spec.splits.lights != 0 and len({group for plan in plans for group in plan.groups}) > 1,
        "motion": spec.splits.motion_from is not None,
        "camera": isinstance(spec.splits.cameras, tuple),
    }
    for factor, is_asked in asked.items():
        if is_asked and not any(factor in name.split("_") for name in names):
            found.append(f"no test of a held-out {factor}: no usable pair shows it outside the guard gaps")
    if not asked["camera"] and spec.splits.cameras != 0 and not any("camera" in name.split("_") for name in names):
        found.append("no camera is held out: a share is drawn of 3 body cameras or more")
    unnamed = sum(int((plan.splits != LEFT_OUT)[:, plan.session.pairs.hdri < 0].sum()) for plan in plans)
    if unnamed:
        found.append(f"{unnamed} samples under a light that nobody named: they have no light maps to train on")
    if "background" not in plans[0].optional:
        found.append("no background: not every camera of every session has a clean plate")
    return found


def _open_partial(partial: Path, spec: DatasetSpec) -> ArrayStore:
    if partial.exists():
        try:
            root = zarr.open_group(partial, mode="r+")
            if root.attrs.get("fingerprint") == spec.fingerprint:
                return ArrayStore(str(partial), root, writable=True)
        except (OSError, ValueError) as error:
            raise StoreError(f"{partial}: damaged unfinished build", hint=f"rm -r {partial}") from error
        shutil.rmtree(partial)
    described = {
        "format": DATASET_FORMAT,
        "schema": DATASET_SCHEMA,
        "spec": spec.model_dump(mode="json"),
        "fingerprint": spec.fingerprint,
    }
    return ArrayStore(
        str(partial), zarr.create_group(partial, zarr_format=3, attributes=described), writable=True
    )  # one write: whole or not there


def _bake(
    store: ArrayStore,
    plans: Sequence[Plan],
    spec: DatasetSpec,
    workers: int,
    progress: Progress,
    should_stop: ShouldStop,
) -> bool:
    for plan in plans:
        for id in plan.session.cameras if "background" in plan.optional else ():
            path = f"cameras/{plan.name}/{id}/background"
            store.write_small(path, bake_background(plan, id, spec), ("y", "x", "channel"))
    units = [unit for plan in plans for unit in bake_units(store, plan)]
    pending = [n for n, unit in enumerate(units) if not unit.is_done(store)]
    done = len(units) - len(pending)
    progress("dataset", done, len(units))

    def work(index: int) -> None:
        bake(store, units[index], spec)

    def mark(index: int) -> None:
        nonlocal done
        done += 1
        progress("dataset", done, len(units))

    return run_units(work, pending, workers=workers, on_done=mark, should_stop=should_stop)
