"""Splits: train holds no held-out factor; tests are named by exactly what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.datasets.spec import Splits
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


def hold_out(splits: Splits, *, light_groups: Sequence[str], pair_count: int) -> HeldOut:
    """Which lights and motion a session holds out.

    Args:
        splits: The rule.
        light_groups: Content group of each HDRI entry (rotations and gains of one map share a group).
        pair_count: Pairs of the session.
    """
    groups = held_out_names(splits.lights, sorted(set(light_groups)), splits.seed, 2)
    lights = frozenset(i for i, group in enumerate(light_groups) if group in groups)
    first = splits.motion_from
    motion_from = pair_count if first is None else round(first * pair_count) if isinstance(first, float) else first
    return HeldOut(lights, motion_from)


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
        first, last: What each pair reads (`pair_reach`).
        held: What is held out.

    Returns:
        ``train``, ``light``, ``motion``, ``light_motion`` or ``LEFT_OUT`` for each pair.
    """
    factors = np.array(pair_factors(hdri, held))
    tests = np.isin(factors, ["motion", "light_motion"])
    meets = (first[:, None] <= last[None]) & (first[None] <= last[:, None])
    train = (factors == "train") & ~meets[:, tests].any(axis=1)
    budget = GUARD_BUDGET * train.sum()
    admitted = np.zeros(len(hdri), bool)
    lost = np.zeros(len(hdri), bool)
    for pair in sorted(np.flatnonzero(factors == "light"), key=lambda i: (int((meets[i] & train).sum()), int(i))):
        cost = int(((meets[pair] | lost) & train).sum())
        if not admitted.any() or cost <= budget:
            admitted[pair] = True
            lost |= meets[pair]
    used = tests | admitted | (train & ~lost)
    return [str(name) if keep else LEFT_OUT for name, keep in zip(factors, used, strict=True)]


def unseen_lights(splits: Sequence[str], hdri: npt.NDArray[np.int32], groups: Sequence[str]) -> frozenset[int]:
    """Entries whose content group no training pair shows; all but those drawn by the seed were lit too late or too
    close to a test. A test under one of them tests light too, and is named so. Empty where nothing is trained on."""
    seen = {groups[hdri[i]] for i, split in enumerate(splits) if split == "train" and hdri[i] >= 0}
    return frozenset(i for i, group in enumerate(groups) if group not in seen) if seen else frozenset()


def sample_split(pair_split: str, camera_held_out: bool) -> str:
    """Split of a sample, in the order light, motion, camera: ``train``, ``test_light_motion_camera``, ..."""
    if pair_split == LEFT_OUT:
        return LEFT_OUT
    factors = [] if pair_split == "train" else [pair_split]
    factors += ["camera"] if camera_held_out else []
    return "test_" + "_".join(factors) if factors else "train"
