"""Splits: train holds no held-out factor; tests are named by exactly what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError

LEFT_OUT = ""
GUARD_BUDGET = 0.25  # test pairs amid the training motion may cost this share of the training pairs


@dataclass(frozen=True)
class HeldOut:
    """HDRI entries and the first pair of the motion that one session holds out."""

    lights: frozenset[int]
    motion_from: int


def held_out_names(wanted: float | tuple[str, ...], names: Sequence[str], seed: int, minimum: int) -> frozenset[str]:
    """Named ones, or max(1, round(share * n)) drawn by ``seed`` when there are at least ``minimum``; none for 0.

    Raises:
        ConfigError: A name that is not there.
    """
    if isinstance(wanted, tuple):
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            raise ConfigError(f"splits: {unknown[0]} is not there", hint=f"there are: {', '.join(names)}")
        return frozenset(wanted)
    if wanted == 0 or len(names) < minimum:
        return frozenset()
    count = max(1, round(wanted * len(names)))
    order = np.random.default_rng(seed).permutation(len(names))
    return frozenset(np.array(sorted(names))[order[:count]].tolist())


def hold_out(
    held_groups: frozenset[str],
    motion_from: float | int | None,
    *,
    light_groups: Sequence[str],
    pair_count: int,
) -> HeldOut:
    """Which of its lights and motion one session holds out.

    Args:
        held_groups: Content groups that the whole dataset holds out.
        motion_from: First held-out pair: a share of the take (float), a pair number, or none.
        light_groups: Content group of each HDRI entry of the session.
        pair_count: Pairs of the session.
    """
    lights = frozenset(i for i, group in enumerate(light_groups) if group in held_groups)
    first = motion_from
    return HeldOut(
        lights, pair_count if first is None else round(first * pair_count) if isinstance(first, float) else first
    )


def pair_reach(
    first: npt.NDArray[np.int32], last: npt.NDArray[np.int32], flats: npt.NDArray[np.int32], neighbours: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """First and last rig frame that each pair reads when its flat frames look at ``neighbours`` flat frames each way.

    Args:
        first, last: Frames of the pairs themselves, shape (pair,).
        flats: All flat frames, in order.
        neighbours: How far a flat frame looks, in flat frames.
    """
    if not len(flats):
        return first, last
    before = np.maximum(np.searchsorted(flats, first) - neighbours, 0)
    after = np.minimum(np.searchsorted(flats, last) + neighbours, len(flats) - 1)
    return np.minimum(flats[before], first), np.maximum(flats[after], last)


def pair_factors(hdri: npt.NDArray[np.int32], held: HeldOut) -> list[str]:
    """The held-out factors of each pair, guard gaps aside: ``train``, ``light``, ``motion`` or ``light_motion``.

    This is the split of a held-out camera's pairs: none of its pictures is ever trained on, so it needs no guard gaps.
    """
    light = np.isin(hdri, sorted(held.lights))
    motion = np.arange(len(hdri)) >= held.motion_from
    names = {(False, False): "train", (True, False): "light", (False, True): "motion", (True, True): "light_motion"}
    return [names[bool(a), bool(b)] for a, b in zip(light, motion, strict=True)]


def split_pairs(
    hdri: npt.NDArray[np.int32],
    first: npt.NDArray[np.int32],
    last: npt.NDArray[np.int32],
    held: HeldOut,
) -> list[str]:
    """The held-out factors of each pair of a training camera, ``LEFT_OUT`` for pairs that may not be used.

    Train and test share no recorded frame: a training pair that reaches a frame of a test pair is left out. Held-out
    light amid the training motion would cost a guard gap on both sides of each of its pairs; such pairs are admitted
    cheapest first while together they cost at most a quarter of the training pairs (the first always), the rest is
    left out.

    Args:
        hdri: Entry of each pair, shape (pair,).
        first, last: What each pair reads (`pair_reach`); pairs come in the order of time.
        held: What is held out.

    Returns:
        ``train``, ``light``, ``motion``, ``light_motion`` or ``LEFT_OUT`` for each pair.
    """
    factors = np.array(pair_factors(hdri, held))
    tests = np.isin(factors, ["motion", "light_motion"])
    start, stop = meetings(first, last)
    train = (factors == "train") & (_counted(tests, start, stop) == 0)
    budget = GUARD_BUDGET * train.sum()
    admitted, lost = np.zeros(len(hdri), bool), np.zeros(len(hdri), bool)
    cost_of = _counted(train, start, stop)
    cost = 0
    for pair in sorted(np.flatnonzero(factors == "light"), key=lambda i: (int(cost_of[i]), int(i))):
        reached = slice(start[pair], stop[pair])
        more = int((train[reached] & ~lost[reached]).sum())
        if not admitted.any() or cost + more <= budget:
            admitted[pair] = True
            lost[reached] = True
            cost += more
    used = tests | admitted | (train & ~lost)
    return [str(name) if keep else LEFT_OUT for name, keep in zip(factors, used, strict=True)]


def meetings(
    first: npt.NDArray[np.int32], last: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The pairs that each pair may share a frame with, as half-open ranges; exact where neither ever falls."""
    first, last = np.minimum.accumulate(first[::-1])[::-1], np.maximum.accumulate(last)
    return np.searchsorted(last, first, side="left"), np.searchsorted(first, last, side="right")


def _counted(
    flags: npt.NDArray[np.bool_], start: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """How many of ``flags`` are set in each range."""
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(total[stop] - total[start])


def seen_lights(splits: Sequence[str], hdri: npt.NDArray[np.int32], groups: Sequence[str]) -> frozenset[str]:
    """Content groups that training pairs show."""
    return frozenset(groups[hdri[i]] for i, split in enumerate(splits) if split == "train" and hdri[i] >= 0)


def sample_split(pair_split: str, camera_held_out: bool) -> str:
    """Split of a sample, in the order light, motion, camera: ``train``, ``test_light_motion_camera``, ..."""
    if pair_split == LEFT_OUT:
        return LEFT_OUT
    factors = [] if pair_split == "train" else [pair_split]
    factors += ["camera"] if camera_held_out else []
    return "test_" + "_".join(factors) if factors else "train"
