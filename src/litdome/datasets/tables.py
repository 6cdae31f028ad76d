"""The small arrays of a dataset, and its empty large ones: rig, pairs, samples, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.datasets.plan import Plan
from litdome.datasets.selection import frames_read
from litdome.datasets.spec import DatasetSpec, Region
from litdome.datasets.splits import LEFT_OUT
from litdome.lighting import view_directions
from litdome.store.arrays import ArrayStore

PICTURES = ("flat", "relit", "flat_compensated")
REGION_MASKS: dict[str, Region] = {"mask_face": "face", "mask_hands": "hands"}
COVERAGES = ("mask", "mask_flat", "mask_wide", *REGION_MASKS, "weight", "weight_compensated")
LARGEST_WHOLE_PX = 2**20  # crops of larger pictures read 2 to 4 times faster from tiles (docs/loading.md)
SCORES = ("reliability", "shift_px")
NEEDS = {"weight_compensated": "flat_compensated"} | {name: name for name in ("flat_compensated", *REGION_MASKS)}
CROP_PICTURES = (*PICTURES, "mask")


def stored_names(plan: Plan, names: Sequence[str]) -> tuple[str, ...]:
    """Those of ``names`` that a dataset of this plan holds."""
    return tuple(name for name in names if name not in NEEDS or NEEDS[name] in plan.optional)


def picture_paths(plan: Plan, id: str) -> list[str]:
    """Every array with a row per pair of one camera, in the order in which a shard is written."""
    group = f"cameras/{plan.name}/{id}"
    paths = [f"{group}/{name}" for name in stored_names(plan, (*PICTURES, *COVERAGES))]
    for region in plan.crops[id]:
        paths += [f"{group}/crops/{region}/{name}" for name in stored_names(plan, CROP_PICTURES)]
    return paths


def light_paths(plan: Plan, id: str) -> list[str]:
    """The arrays with a row per HDRI entry of one camera."""
    return [f"hdri_views/{plan.name}/{id}/{name}" for name in ("ldr", "log")]


def create_arrays(store: ArrayStore, plan: Plan, spec: DatasetSpec) -> None:
    """Make the large arrays of a session, empty."""
    height, width, compression = spec.size.height, spec.size.width, f"{spec.store.codec}-1"
    count, lights = len(plan.pairs), len(plan.session.hdri_names)
    for id in plan.session.cameras:
        for path in picture_paths(plan, id):
            crop = next((spec.crops[region] for region in plan.crops[id] if f"/crops/{region}/" in path), None)
            size = (height, width) if crop is None else (crop, crop)
            is_picture = path.rsplit("/", 1)[1] in PICTURES
            shape = (count, *size, 3) if is_picture else (count, *size)
            dims = ("n", "y", "x", "channel")[: len(shape)]
            whole = (1, *shape[1:]) if size[0] * size[1] <= LARGEST_WHOLE_PX else None  # larger ones in tiles
            store.create(path, shape, np.uint8, dims, chunk=whole, compression=compression)
        for path in light_paths(plan, id):
            shape, dims = (lights, height, width, 3), ("hdri", "v", "u", "channel")
            store.create(path, shape, np.float16, dims, chunk=(1, *shape[1:]), compression=compression)


def write_session(store: ArrayStore, plan: Plan, spec: DatasetSpec) -> None:
    """The cameras as the dataset has them, and when its pairs were taken."""
    session, rig = plan.session, f"rig/{plan.name}"
    targets = [plan.framings[id].target for id in session.cameras]
    dims = ("camera", "row", "column")
    ids = {"camera_ids": list(session.cameras)}
    store.write_small(f"{rig}/intrinsics", _stack([t.intrinsics for t in targets]), dims, unit="px", attrs=ids)
    store.write_small(f"{rig}/world_from_camera", _stack([t.world_from_camera for t in targets]), dims, unit="m")
    store.set_attrs(rig, light_gain=plan.light_gain)
    pairs, chosen = session.pairs, list(plan.pairs)
    times = session.read("schedule/time_ns") / 1e9
    first, last = frames_read(session)
    group = f"pairs/{plan.name}"
    store.write_small(f"{group}/pair", np.array(chosen, np.int32), ("n",), description="pair of the session")
    about = {
        "time_flat": (pairs.flat_frame, "when the flat picture was taken"),
        "time_relit": (pairs.relit_frame, "when the relit picture was taken"),
        "time_first": (first, "the first frame that any stage read for this pair"),
        "time_last": (last, "the last frame that any stage read for this pair"),
    }
    for name, (frames, description) in about.items():
        store.write_small(f"{group}/{name}", times[frames[chosen]], ("n",), unit="s", description=description)
    for id in session.cameras:
        for region, path in plan.crops[id].items():
            intrinsics = _stack([path.intrinsics(pair) for pair in chosen])
            where = f"cameras/{plan.name}/{id}/crops/{region}/intrinsics"
            store.write_small(where, intrinsics, ("n", "row", "column"), unit="px", attrs={"scale": path.scale})
    directions = view_directions(spec.size.height, spec.size.width).astype(np.float16)
    description = "x right, y up, z to the viewer"
    store.write_small("hdri_views/direction", directions, ("v", "u", "channel"), description=description)


def write_samples(store: ArrayStore, plans: Sequence[Plan]) -> None:
    """One row per sample, and what the dataset's attributes say of its sessions."""
    names = sorted({str(name) for plan in plans for name in np.unique(plan.splits)} - {LEFT_OUT}, key=_train_first)
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    for index, plan in enumerate(plans):
        camera, pair = np.nonzero(plan.splits != LEFT_OUT)
        rows = {
            "session": np.full(len(pair), index),
            "camera": camera,
            "pair": pair,
            "hdri": plan.session.pairs.hdri[pair],
            "split": _positions(names, plan.splits[camera, pair]),
        }
        for name, values in rows.items():
            columns.setdefault(name, []).append(values.astype(np.int32))
        for name in SCORES:
            path = f"quality/{name}"
            scores = plan.session.read(path) if plan.session.has(path) else np.full(plan.splits.shape, np.nan)
            columns.setdefault(name, []).append(scores[camera, pair].astype(np.float32))
    units = {"shift_px": "px of the recorded picture"}
    for name, parts in columns.items():
        store.write_small(f"samples/{name}", np.concatenate(parts), ("sample",), unit=units.get(name, ""))
    left_out = sum(plan.left_out for plan in plans)
    store.set_attrs("", splits=names, left_out=left_out, sessions=[session_attrs(plan) for plan in plans])


def session_attrs(plan: Plan) -> dict[str, Any]:
    """What a dataset says of one of its sessions."""
    attrs = plan.session.attrs
    kept = {key: attrs.get(key) for key in ("subject", "fps", "consent", "hdri_convention")}
    lights = {"hdris": list(plan.session.hdri_names), "light_groups": list(plan.groups), "light_gain": plan.light_gain}
    return {"name": plan.name, "cameras": list(plan.session.cameras), **lights, **kept}


def _train_first(name: str) -> tuple[bool, str]:
    return name != "train", name


def _positions(names: Sequence[str], values: npt.NDArray[np.str_]) -> npt.NDArray[np.intp]:
    found, inverse = np.unique(values, return_inverse=True)
    return np.array([names.index(str(name)) for name in found], np.intp)[inverse]


def _stack(matrices: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.stack(matrices) if matrices else np.zeros((0, 3, 3))
