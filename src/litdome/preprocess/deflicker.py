"""Masks without single-frame flicker: frames vote along the motion, and only where the motion is known.

A plain median over time removes real motion together with flicker. Here a neighbour's mask is first carried to the
frame, and its vote counts as much as its flow is consistent; without such votes a pixel stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from litdome.errors import ConfigError
from litdome.preprocess.motion import (
    Segment,
    compose,
    consistency,
    displacements,
    read_flows,
    read_segment,
    resize_flow,
    segment_from_flat,
    warp,
)
from litdome.preprocess.plates import weighted_median
from litdome.stage import Kind, SessionLike, StageConfig, Summary, UInt8Array, Unit

Float32Array = npt.NDArray[np.float32]
Step = tuple[Float32Array, Float32Array]  # flow from a frame to the next one, and back
OWN_VOTE = 1.01  # a tie leaves the frame's own mask


def deflicker_masks(masks: UInt8Array, flows: Sequence[Step | None], *, window_pairs: int = 3) -> UInt8Array:
    """Remove single-frame flicker from a mask sequence without blurring motion.

    Args:
        masks: Coverage of one camera, shape (n, y, x), uint8, 0 outside to 255 inside.
        flows: Motion from each frame to the next and back, n - 1 of them, each shape (y', x', 2) in px of its own
            size; None where it is not known.
        window_pairs: Odd number of frames that vote; fewer do at the ends.

    Returns:
        Filtered masks, same shape and dtype.

    Raises:
        ConfigError: ``window_pairs`` is even or below 3, or the number of flows does not fit.

    Source: the D-Rex pipeline names the problem, not the filter; this is a weighted median along the flow.
    """
    if len(flows) != max(len(masks) - 1, 0):
        raise ConfigError(f"deflicker: {len(flows)} flows for {len(masks)} masks, expected {len(masks) - 1}")
    reach = _reach(window_pairs)
    return np.stack(
        [deflicker_mask(masks.__getitem__, flows.__getitem__, n, len(masks), reach) for n in range(len(masks))]
    )


def deflicker_mask(
    read: Callable[[int], UInt8Array], step: Callable[[int], Step | None], n: int, length: int, reach: int
) -> UInt8Array:
    """The n-th of ``length`` masks after the vote of ``reach`` neighbours on either side (see `deflicker_masks`)."""
    own = read(n)
    size = (own.shape[1], own.shape[0])
    votes, weights = [own], [np.full(own.shape, OWN_VOTE, np.float32)]
    for direction in (1, -1):
        for other, way, trust in _walk(step, n, length, reach, direction):
            votes.append(warp(read(other), resize_flow(way, size)))
            weights.append(np.asarray(cv2.resize(trust, size, interpolation=cv2.INTER_LINEAR), np.float32))
    if len(votes) == 1:
        return own
    stacked = np.stack(votes)
    disputed = stacked.max(0) - stacked.min(0) > 16  # the rest would stay within its soft edge
    out = own.copy()
    out[disputed] = weighted_median(stacked[:, disputed], np.stack(weights)[:, disputed])
    return out


def _walk(
    step: Callable[[int], Step | None], n: int, length: int, reach: int, direction: int
) -> list[tuple[int, Float32Array, Float32Array]]:
    """Neighbours of frame n on one side, each with the way there and how far it is to be trusted."""
    found: list[tuple[int, Float32Array, Float32Array]] = []
    for distance in range(1, reach + 1):
        other = n + direction * distance
        flows = step(min(other, other - direction)) if 0 <= other < length else None
        if flows is None:
            break
        there, back = flows if direction > 0 else flows[::-1]
        trust = consistency(there, back)
        if found:
            _, way, earlier = found[-1]
            there, trust = compose(way, there), earlier * warp(trust, way)
        found.append((other, there, trust))
    return found


def relit_step(earlier: Segment, later: Segment) -> Step | None:
    """Motion between two relit frames, both ways, through the flat frame between them or within one segment.

    Returns:
        Flows of shape (y, x, 2); None when the frames lie in segments that do not touch.
    """
    to_start, to_end = displacements(earlier)
    later_to_start, later_to_end = displacements(later)
    if earlier.start == later.start and earlier.end == later.end:
        span = later.alpha - earlier.alpha
        ways = warp(earlier.forward, to_start), warp(later.backward, later_to_end)
        return np.asarray(span * ways[0], np.float32), np.asarray(span * ways[1], np.float32)
    if earlier.end != later.start:
        return None
    there = compose(to_end, later.alpha * later.forward)
    return there, compose(later_to_start, (1 - earlier.alpha) * earlier.backward)


def widen_mask(mask: UInt8Array, radius_px: float) -> UInt8Array:
    """Everything within ``radius_px`` of a mask's half coverage, 255, the rest 0: over-estimated on purpose."""
    distance = cv2.distanceTransform((mask < 128).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.where(distance <= radius_px, 255, 0), np.uint8) if (mask > 127).any() else np.zeros_like(mask)


def _reach(window_pairs: int) -> int:
    if window_pairs < 3 or window_pairs % 2 == 0:
        raise ConfigError(f"deflicker: window_pairs {window_pairs}, allowed: odd, from 3", hint="window_pairs = 3")
    return window_pairs // 2


class DeflickerConfig(StageConfig):
    """Settings of the vote."""

    window_pairs: int = Field(3, ge=3, description="Frames of one kind that vote, odd.")
    wide_permille: float = Field(12.0, ge=0, description="How far mask_wide goes beyond, 1/1000 of the long side.")

    @field_validator("window_pairs")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("window_pairs must be odd")
        return value


class Deflicker:
    """Votes along the motion, flat masks and relit ones apart; reads raw masks beyond its shard, so none shows."""

    name: ClassVar[str] = "deflicker"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "remove single-frame flicker from masks"
    needs: ClassVar[tuple[str, ...]] = ("segment", "flow")
    Config: ClassVar[type[StageConfig]] = DeflickerConfig

    def prepare(self, session: SessionLike, config: DeflickerConfig) -> list[Unit]:
        """One unit per camera and shard number; it holds that shard of the flat and of the relit masks."""
        kinds: tuple[Kind, ...] = ("flat", "relit")
        counts = [session.count(kind) for kind in kinds]
        described = {"mask": "the person", "mask_wide": "the person, over-estimated on purpose"}
        for camera in session.cameras:
            width, height = session.size(camera)
            for kind, count in zip(kinds, counts, strict=True):
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
        kinds: tuple[Kind, ...] = ("flat", "relit")
        for kind in kinds:
            length = session.count(kind)
            numbers = range(unit.start, min(unit.stop, length))
            if not numbers:
                continue
            read = lru_cache(maxsize=config.window_pairs + 1)(
                partial(session.read_at, f"cameras/{camera}/{kind}/mask_raw")
            )
            step = lru_cache(maxsize=config.window_pairs + 1)(_steps(session, camera, kind))
            masks = [deflicker_mask(read, step, n, length, _reach(config.window_pairs)) for n in numbers]
            session.write(f"cameras/{camera}/{kind}/mask", unit.start, np.stack(masks))
            wide = np.stack([widen_mask(mask, radius_px) for mask in masks])
            session.write(f"cameras/{camera}/{kind}/mask_wide", unit.start, wide)

    def finish(self, session: SessionLike, config: DeflickerConfig) -> Summary:
        """The window."""
        return {"window_pairs": config.window_pairs}


def _steps(session: SessionLike, camera: str, kind: Kind) -> Callable[[int], Step | None]:
    """Motion from the n-th picture of a kind to the next one."""
    if kind == "flat":

        def flat_step(n: int) -> Step | None:
            pair = segment_from_flat(session, camera, n)
            return None if pair is None else read_flows(session, camera, pair)

        return flat_step
    pair_of_relit = {int(n): pair for pair, n in enumerate(session.pairs.relit)}

    @lru_cache(maxsize=4)
    def segment(n: int) -> Segment | None:
        recorded = n in pair_of_relit and session.is_present(camera, "relit", n)
        return read_segment(session, camera, pair_of_relit[n]) if recorded else None

    def relit(n: int) -> Step | None:
        earlier, later = segment(n), segment(n + 1)
        return relit_step(earlier, later) if earlier is not None and later is not None else None

    return relit
