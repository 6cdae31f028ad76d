"""The stage that takes single-frame flicker out of masks (how: `mask_votes`), and over-estimated masks."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from litdome.preprocess.mask_votes import deflicker_mask
from litdome.preprocess.motion import Segment, Step, read_flows, read_segment, segment_from_flat, step_within
from litdome.stage import Kind, SessionLike, StageConfig, Summary, UInt8Array, Unit

KINDS: tuple[Kind, ...] = ("flat", "relit")
DARK = 2 / 3  # of the flat picture's codes on the person: 0.4 of its light
SAMPLE_PX = 4  # brightness is looked at on every fourth row and column


def widen_mask(mask: UInt8Array, radius_px: float) -> UInt8Array:
    """Everything within ``radius_px`` of a mask's half coverage, 255, the rest 0: over-estimated on purpose."""
    distance = cv2.distanceTransform((mask < 128).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.where(distance <= radius_px, 255, 0), np.uint8) if (mask > 127).any() else np.zeros_like(mask)


class DeflickerConfig(StageConfig):
    """Settings of the masks."""

    wide_permille: float = Field(12.0, ge=0, description="How far mask_wide goes beyond, 1/1000 of the long side.")


class Deflicker:
    """Votes along the motion: of flat masks among themselves, of all neighbours in time for a relit one. Reads raw
    masks beyond its shard, so that no border shows."""

    name: ClassVar[str] = "deflicker"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "remove single-frame flicker from masks"
    needs: ClassVar[tuple[str, ...]] = ("segment", "flow")
    Config: ClassVar[type[StageConfig]] = DeflickerConfig

    def prepare(self, session: SessionLike, config: DeflickerConfig) -> list[Unit]:
        """One unit per camera and shard number; it holds that shard of the flat and of the relit masks."""
        counts = [session.count(kind) for kind in KINDS]
        described = {"mask": "the person", "mask_wide": "the person, over-estimated on purpose"}
        for camera in session.cameras:
            width, height = session.size(camera)
            for kind, count in zip(KINDS, counts, strict=True):
                for name, description in described.items():
                    session.create(
                        f"cameras/{camera}/{kind}/{name}",
                        (count, height, width),
                        "u1",
                        ("n", "y", "x"),
                        unit="coverage, 0..255",
                        description=description,
                    )
        return [Unit(camera, *shard) for shard in session.shards(max(counts)) for camera in session.cameras]

    def run(self, session: SessionLike, config: DeflickerConfig, unit: Unit) -> None:
        """Filter one shard of flat and one of relit masks."""
        camera = str(unit.camera)
        radius_px = config.wide_permille / 1000 * max(session.size(camera))
        one = OneCamera(session, camera)
        for kind in KINDS:
            numbers = range(unit.start, min(unit.stop, session.count(kind)))
            if not numbers:
                continue
            masks = [one.flat(n) if kind == "flat" else one.relit(n) for n in numbers]
            session.write(f"cameras/{camera}/{kind}/mask", unit.start, np.stack(masks))
            wide = np.stack([widen_mask(mask, radius_px) for mask in masks])
            session.write(f"cameras/{camera}/{kind}/mask_wide", unit.start, wide)

    def finish(self, session: SessionLike, config: DeflickerConfig) -> Summary:
        """How many masks."""
        return {"masks": len(session.cameras) * sum(session.count(kind) for kind in KINDS)}


class OneCamera:
    """De-flickered masks of one camera; each is computed once while it is in reach."""

    def __init__(self, session: SessionLike, camera: str) -> None:
        self.session, self.camera = session, camera
        self.flat = lru_cache(maxsize=4)(self._flat)
        self.raw = {
            kind: lru_cache(maxsize=4)(partial(session.read_at, f"cameras/{camera}/{kind}/mask_raw")) for kind in KINDS
        }
        self.flat_step = lru_cache(maxsize=4)(self._flat_step)
        self.step = lru_cache(maxsize=4)(self._step)
        recorded = [
            (int(frame), kind, n)
            for kind in KINDS
            for n, frame in enumerate(session.frames(kind))
            if session.is_present(camera, kind, n)
        ]
        self.timeline = [(kind, n) for _, kind, n in sorted(recorded)]
        self.place = {picture: place for place, picture in enumerate(self.timeline)}
        self.pair_of_relit = {int(n): pair for pair, n in enumerate(session.pairs.relit)}

    def _flat(self, n: int) -> UInt8Array:
        return deflicker_mask(self.raw["flat"], self.flat_step, n, self.session.count("flat"))

    def relit(self, n: int) -> UInt8Array:
        """The n-th relit mask, against whatever was filmed right before and after it."""
        place = self.place.get(("relit", n))
        if place is None:
            return self.raw["relit"](n)
        return deflicker_mask(self._mask_at, self.step, place, len(self.timeline), is_dark=self.is_dark(place))

    def is_dark(self, place: int) -> bool:
        """Whether a picture is much darker on the person than the flat ones right before and after it."""
        around = self.timeline[max(place - 1, 0) : place + 2]
        if [kind for kind, _ in around] != ["flat", "relit", "flat"]:
            return False
        person = (self.flat(around[0][1]) > 127)[::SAMPLE_PX, ::SAMPLE_PX]
        if not person.any():
            return False
        flat, relit = (
            float(self.session.read_luma(self.camera, kind, n)[::SAMPLE_PX, ::SAMPLE_PX][person].mean())
            for kind, n in around[:2]
        )
        return relit < DARK * flat

    def _mask_at(self, place: int) -> UInt8Array:
        kind, n = self.timeline[place]
        return self.flat(n) if kind == "flat" else self.raw["relit"](n)

    def _flat_step(self, n: int) -> Step | None:
        pair = segment_from_flat(self.session, self.camera, n)
        return None if pair is None else read_flows(self.session, self.camera, pair)

    def _step(self, place: int) -> Step | None:
        """Motion from a picture of the timeline to the next one, through the flats around them."""
        (kind, n), (next_kind, next_n) = self.timeline[place : place + 2]
        if kind == next_kind == "flat":
            return self.flat_step(n) if next_n == n + 1 else None
        segment = self._segment(n if kind == "relit" else next_n)
        if segment is None:
            return None
        earlier, later = self._time_in(segment, kind, n), self._time_in(segment, next_kind, next_n)
        return None if earlier is None or later is None else step_within(segment, earlier, later)

    def _segment(self, relit: int) -> Segment | None:
        pair = self.pair_of_relit.get(relit)
        return None if pair is None else read_segment(self.session, self.camera, pair)

    def _time_in(self, segment: Segment, kind: Kind, n: int) -> float | None:
        """When a picture was taken in a segment, 0 at its start and 1 at its end; None where it lies outside."""
        if kind == "flat":
            return {segment.start: 0.0, segment.end: 1.0}.get(n)
        own = self._segment(n)
        return own.alpha if own is not None and (own.start, own.end) == (segment.start, segment.end) else None
