"""Bake sessions and decisions into a frozen dataset: one crop per camera, undistorted, at training size."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.compute import default_workers, run_units
from litdome.datasets.plan import Plan, freeze_spec, plan_session
from litdome.datasets.spec import DatasetSpec
from litdome.errors import StoreError, UsageError
from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.store.arrays import ArrayStore
from litdome.store.schema import SHARD_FRAMES, make_array
from litdome.store.session import Session

DATASET_FORMAT, DATASET_SCHEMA = "litdome-dataset", "1.0"
PICTURES = ("flat", "relit", "flat_compensated")
COVERAGES = ("mask", "mask_flat", "mask_wide", "weight")


@dataclass(frozen=True)
class DatasetSummary:
    """What a build made."""

    path: Path
    fingerprint: str
    samples: int
    splits: Mapping[str, int]
    left_out: int


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
        UsageError: ``out`` exists with another spec, or nothing is left to bake.
        CalibrationError: A session without calibration.
    """
    frozen = freeze_spec(sessions, spec)
    if out.exists():
        return existing_summary(out, frozen)
    plans = [
        plan_session(i, ref.name, s, frozen) for i, (ref, s) in enumerate(zip(frozen.sessions, sessions, strict=True))
    ]
    if not any(plan.samples for plan in plans):
        kept = "no pair is kept and usable" if frozen.select.filter == "keep" else "no pair was recorded whole"
        raise UsageError(f"{out}: nothing to bake: {kept}", hint=f"litdome pairs {sessions[0].url}")
    partial = out.with_name(out.name + ".partial")
    root = _open_partial(partial, frozen)
    for plan in plans:
        _write_plan(root, plan, frozen)
    _write_samples(root, plans)
    store = ArrayStore(str(partial), root, writable=True)
    if not _bake(store, plans, workers or default_workers(), progress, should_stop):
        return None
    root.attrs["finished"] = True
    partial.rename(out)
    return existing_summary(out, frozen)


def existing_summary(out: Path, frozen: DatasetSpec | None = None) -> DatasetSummary:
    """What the dataset at ``out`` holds.

    Raises:
        UsageError: It was built from another spec than ``frozen``.
    """
    root = zarr.open_group(out, mode="r")
    attrs: dict[str, Any] = dict(root.attrs)
    if frozen is not None and attrs.get("fingerprint") != frozen.fingerprint:
        raise UsageError(
            f"{out}: exists already, from other settings or sessions", hint="give another -o, or remove it"
        )
    names = attrs["splits"]
    array = root["samples/split"]
    assert isinstance(array, zarr.Array)
    counts = Counter(names[int(i)] for i in np.asarray(array[...]))
    total = sum(counts.values())
    return DatasetSummary(out, attrs["fingerprint"], total, dict(sorted(counts.items())), int(attrs["left_out"]))


def _open_partial(partial: Path, spec: DatasetSpec) -> zarr.Group:
    if partial.exists():
        try:
            root = zarr.open_group(partial, mode="r+")
            if root.attrs.get("fingerprint") == spec.fingerprint:
                return root
        except (OSError, ValueError) as error:
            raise StoreError(f"{partial}: damaged unfinished build", hint=f"rm -r {partial}") from error
        shutil.rmtree(partial)
    root = zarr.create_group(partial, zarr_format=3)
    root.attrs.update(
        {
            "format": DATASET_FORMAT,
            "schema": DATASET_SCHEMA,
            "spec": spec.model_dump(mode="json"),
            "fingerprint": spec.fingerprint,
        }
    )
    return root


def _write_small(root: zarr.Group, path: str, values: npt.ArrayLike, dims: tuple[str, ...], **attrs: Any) -> None:
    array = np.asarray(values)
    made = make_array(root, path, array.shape, array.dtype, dims, shard=None, chunk=array.shape, fill=0, attrs=attrs)
    made[...] = array


def _write_plan(root: zarr.Group, plan: Plan, spec: DatasetSpec) -> None:
    session, height, width = plan.session, spec.size.height, spec.size.width
    rig = f"rig/{plan.name}"
    ids = list(session.cameras)
    targets = [plan.framings[id].target for id in ids]
    _write_small(
        root,
        f"{rig}/intrinsics",
        [t.intrinsics for t in targets],
        ("camera", "row", "column"),
        camera_ids=ids,
        unit="px",
    )
    _write_small(
        root, f"{rig}/world_from_camera", [t.world_from_camera for t in targets], ("camera", "row", "column"), unit="m"
    )
    pairs, chosen = session.pairs, list(plan.pairs)
    times = session.read("schedule/time_ns") / 1e9
    _write_small(root, f"pairs/{plan.name}/pair", np.array(chosen, np.int32), ("n",), description="pair of the session")
    for kind in ("flat", "relit"):
        frames = getattr(pairs, f"{kind}_frame")[chosen]
        _write_small(root, f"pairs/{plan.name}/time_{kind}", times[frames], ("n",), unit="s")
    directions = view_directions(height, width).astype(np.float16)
    _write_small(
        root, "hdri_views/direction", directions, ("v", "u", "channel"), description="x right, y up, z to the viewer"
    )
    for id in ids:
        group = f"cameras/{plan.name}/{id}"
        for name in PICTURES if plan.has_compensated else PICTURES[:2]:
            _make(root, f"{group}/{name}", (len(chosen), height, width, 3), ("n", "y", "x", "channel"))
        for name in COVERAGES:
            _make(root, f"{group}/{name}", (len(chosen), height, width), ("n", "y", "x"))
        count = len(session.hdri_names)
        for name in ("ldr", "log"):
            path, shape = f"hdri_views/{plan.name}/{id}/{name}", (count, height, width, 3)
            make_array(
                root,
                path,
                shape,
                np.float16,
                ("hdri", "v", "u", "channel"),
                shard=None,
                chunk=(1, *shape[1:]),
                fill=0,
                attrs={},
            )


def _make(root: zarr.Group, path: str, shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    make_array(root, path, shape, np.uint8, dims, shard=SHARD_FRAMES, chunk=(1, *shape[1:]), fill=0, attrs={})


def _write_samples(root: zarr.Group, plans: Sequence[Plan]) -> None:
    samples = [sample for plan in plans for sample in plan.samples]
    names = sorted({sample.split for sample in samples}, key=lambda name: (name != "train", name))
    for field in ("session", "camera", "pair", "hdri"):
        _write_small(root, f"samples/{field}", np.array([getattr(s, field) for s in samples], np.int32), ("sample",))
    _write_small(root, "samples/split", np.array([names.index(s.split) for s in samples], np.int32), ("sample",))
    root.attrs.update(
        {
            "splits": names,
            "left_out": sum(plan.left_out for plan in plans),
            "sessions": [_session_attrs(plan) for plan in plans],
        }
    )


def _session_attrs(plan: Plan) -> dict[str, Any]:
    attrs = plan.session.attrs
    kept = {key: attrs.get(key) for key in ("subject", "fps", "consent", "hdri_convention")}
    return {"name": plan.name, "cameras": list(plan.session.cameras), "hdris": list(plan.session.hdri_names), **kept}


def _bake(store: ArrayStore, plans: Sequence[Plan], workers: int, progress: Progress, should_stop: ShouldStop) -> bool:
    root = store.root
    units = [
        (plan, id, start)
        for plan in plans
        for id in plan.session.cameras
        for start in (-1, *range(0, len(plan.pairs), SHARD_FRAMES))
    ]
    finished = set(cast(list[int], root.attrs.get("baked", [])))
    pending = [i for i in range(len(units)) if i not in finished]
    progress("dataset", len(finished), len(units))

    def work(index: int) -> None:
        plan, id, start = units[index]
        if start < 0:
            _bake_lights(root, plan, id)
        else:
            _bake_shard(store, plan, id, start, min(start + SHARD_FRAMES, len(plan.pairs)))

    def mark(index: int) -> None:
        finished.add(index)
        root.attrs["baked"] = sorted(finished)
        progress("dataset", len(finished), len(units))

    return run_units(work, pending, workers=workers, on_done=mark, should_stop=should_stop)


def _bake_lights(root: zarr.Group, plan: Plan, id: str) -> None:
    session, target = plan.session, plan.framings[id].target
    size = (target.height, target.width)
    for i in range(len(session.hdri_names)):
        hdr = session.read_hdri(i, effective=plan.effective_light)
        view = project_hdri(hdr, target.world_from_camera, *size, convention=session.hdri_convention)
        for name, tone_map in (("ldr", tone_map_ldr), ("log", tone_map_log)):
            _array(root, f"hdri_views/{plan.name}/{id}/{name}")[i] = tone_map(view).astype(np.float16)
    background = f"cameras/{id}/background"
    if session.has(background):
        plate = session.read(background)
        is_corrected = plan.corrected_colors and len(plan.keeps(id)) > 0
        picture = plan.framings[id].bake(session.corrected(id, plate) if is_corrected else plate)
        _write_small(root, f"cameras/{plan.name}/{id}/background", picture, ("y", "x", "channel"))


def _bake_shard(store: ArrayStore, plan: Plan, id: str, start: int, stop: int) -> None:
    framing = plan.framings[id]
    keeps = plan.keeps(id)
    group = f"cameras/{plan.name}/{id}"
    names = [name for name in (*PICTURES, *COVERAGES) if name != "flat_compensated" or plan.has_compensated]
    shards = {name: np.zeros((stop - start, *store.array(f"{group}/{name}").shape[1:]), np.uint8) for name in names}
    for row, pair in enumerate(plan.pairs[start:stop]):
        if pair not in keeps:
            continue
        for name, picture in _sources(plan, id, pair).items():
            shards[name][row] = framing.bake(picture)
        shards["weight"][row] = framing.coverage * np.uint8(255)
    for name, values in shards.items():
        store.write(f"{group}/{name}", start, values)


def _sources(plan: Plan, id: str, pair: int) -> dict[str, npt.NDArray[np.uint8]]:
    session, pairs = plan.session, plan.session.pairs
    found = {
        "flat": session.read_rgb(id, "flat", pair, corrected=plan.corrected_colors),
        "relit": session.read_rgb(id, "relit", pair, corrected=plan.corrected_colors),
        "mask": session.read_mask(id, "relit", pair),
        "mask_flat": session.read_mask(id, "flat", pair),
    }
    wide = f"cameras/{id}/relit/mask_wide"
    found["mask_wide"] = session.read_at(wide, int(pairs.relit[pair])) if session.has(wide) else found["mask"]
    if plan.has_compensated:
        moved = session.read_at(f"compensated/{id}", pair)
        found["flat_compensated"] = session.corrected(id, moved) if plan.corrected_colors else moved
    return found


def _array(root: zarr.Group, path: str) -> zarr.Array[Any]:
    found = root[path]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{root.store_path}: no array {path}")
    return found
