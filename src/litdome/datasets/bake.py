"""Bake one shard of one camera: pictures, masks, weights and crops of its pairs, or the lights in its frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.datasets.crops import region_labels
from litdome.datasets.plan import Plan
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.tables import CROP_PICTURES, REGION_MASKS, light_paths, picture_paths, stored_names
from litdome.lighting import environment_maps
from litdome.stage import Array
from litdome.store.arrays import ArrayStore

UInt8Array = npt.NDArray[np.uint8]
FULL = np.full((1, 1), 255, np.uint8)


@dataclass(frozen=True)
class BakeUnit:
    """A shard of the pairs of one camera, or of the HDRI entries in its frame: rows ``start`` to ``stop``."""

    plan: Plan
    camera: str
    is_light: bool
    start: int
    stop: int

    @property
    def paths(self) -> list[str]:
        """The arrays that the unit writes a shard of."""
        return light_paths(self.plan, self.camera) if self.is_light else picture_paths(self.plan, self.camera)

    def is_done(self, store: ArrayStore) -> bool:
        """Whether all its shards are written; each is whole or not there."""
        return all(store.has_shard(path, self.start) for path in self.paths)


def bake_units(store: ArrayStore, plan: Plan) -> list[BakeUnit]:
    """All units of a session, in the order of its cameras."""
    lights, pairs = len(plan.session.hdri_names), len(plan.pairs)
    return [
        BakeUnit(plan, camera, is_light, start, stop)
        for camera in plan.session.cameras
        for is_light, length in ((True, lights), (False, pairs))
        for start, stop in store.shards(length)
    ]


def bake(store: ArrayStore, unit: BakeUnit, spec: DatasetSpec) -> None:
    """Make one unit; rows that no sample shows stay empty."""
    rows: Iterator[tuple[int, Sequence[Array]]] = _lights(unit, spec) if unit.is_light else _pictures(unit, spec)
    with ExitStack() as stack:
        writers = [stack.enter_context(store.shard_writer(path, unit.start)) for path in unit.paths]
        for row, values in rows:
            for writer, picture in zip(writers, values, strict=True):
                writer.put(row, picture)


def bake_background(plan: Plan, camera: str, spec: DatasetSpec) -> UInt8Array:
    """The clean plate of one camera as the dataset shows it, shape (y, x, 3)."""
    plate = plan.session.read(f"cameras/{camera}/background")
    is_corrected = spec.colors == "corrected" and len(plan.keeps(camera)) > 0
    return plan.framings[camera].bake(plan.session.corrected(camera, plate) if is_corrected else plate)


def _lights(unit: BakeUnit, spec: DatasetSpec) -> Iterator[tuple[int, list[npt.NDArray[np.float16]]]]:
    """The two maps of each light that a sample of the camera is lit by."""
    plan, session = unit.plan, unit.plan.session
    target = plan.framings[unit.camera].target
    used = set(session.pairs.hdri[sorted(plan.keeps(unit.camera))].tolist())
    for entry in range(unit.start, unit.stop):
        if entry in used:
            maps = environment_maps(
                session.read_hdri(entry, effective=spec.hdris == "effective"),
                target.world_from_camera,
                target.height,
                target.width,
                convention=session.hdri_convention,
                gain=plan.light_gain,
            )
            yield entry, [light.astype(np.float16) for light in maps]


def _pictures(unit: BakeUnit, spec: DatasetSpec) -> Iterator[tuple[int, list[UInt8Array]]]:
    """The pictures of each pair in the order of `picture_paths`."""
    plan, id = unit.plan, unit.camera
    framing, keeps = plan.framings[id], plan.keeps(id)
    rows = [(row, plan.pairs[row]) for row in range(unit.start, unit.stop) if plan.pairs[row] in keeps]
    windows = {region: path.windows([pair for _, pair in rows]) for region, path in plan.crops[id].items()}
    shown: dict[int, dict[str, UInt8Array]] = {}  # the last flat picture: many pairs may share one
    for row, pair in rows:
        n = int(plan.session.pairs.flat[pair])
        if n not in shown:
            shown = {n: _flat(plan, id, pair, spec)}
        found = {**shown[n], **_relit(plan, id, pair, spec)}
        baked = [framing.bake(found[name]) for name in stored_names(plan, FRAMED)]
        baked += [framing.bake_weight(weight) for weight in _weights(plan, id, pair)]
        for region, size in spec.crops.items():
            window = windows[region].get(pair)
            for name in stored_names(plan, CROP_PICTURES):
                source = found[name]
                blank = np.zeros((size, size, *source.shape[2:]), np.uint8)
                baked.append(blank if window is None else window(source))
        yield row, baked


FRAMED = ("flat", "relit", "flat_compensated", "mask", "mask_flat", "mask_wide", *REGION_MASKS)


def _flat(plan: Plan, id: str, pair: int, spec: DatasetSpec) -> dict[str, UInt8Array]:
    picture = plan.session.read_rgb(id, "flat", pair, corrected=spec.colors == "corrected")
    return {"flat": picture, "mask_flat": plan.session.read_mask(id, "flat", pair)}


def _relit(plan: Plan, id: str, pair: int, spec: DatasetSpec) -> dict[str, UInt8Array]:
    session, is_corrected = plan.session, spec.colors == "corrected"
    mask, wide = session.read_mask(id, "relit", pair), f"cameras/{id}/relit/mask_wide"
    found = {
        "relit": session.read_rgb(id, "relit", pair, corrected=is_corrected),
        "mask": mask,
        "mask_wide": session.read_at(wide, int(session.pairs.relit[pair])) if session.has(wide) else mask,
    }
    for name, region in REGION_MASKS.items():
        if name in plan.optional:
            parts = session.read_at(f"cameras/{id}/relit/parts", int(session.pairs.relit[pair]))
            found[name] = np.where(np.isin(parts, region_labels(session, id, region)), mask, np.uint8(0))
    if "flat_compensated" in plan.optional:
        moved = session.read_at(f"compensated/{id}", pair)
        found["flat_compensated"] = session.corrected(id, moved) if is_corrected else moved
    return found


def _weights(plan: Plan, id: str, pair: int) -> Iterator[UInt8Array]:
    """The loss weights of a pair, full where the session has none: of the flat, then of the compensated picture."""
    kinds = ("flat", "compensated") if "flat_compensated" in plan.optional else ("flat",)
    for kind in kinds:
        path = f"weights/{id}/{kind}"
        yield plan.session.read_at(path, pair) if plan.session.has(path) else FULL
