"""Plan a dataset: select pairs, split them over all sessions at once, frame the cameras. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from litdome.compute import default_workers, run_units
from litdome.datasets.crops import CropPath, follow_region, need_parts, region_labels
from litdome.datasets.framing import Framing, frame_camera
from litdome.datasets.freeze import need_distinct
from litdome.datasets.selection import (
    BoolArray,
    frames_read,
    groups_of,
    light_groups,
    need_known_cameras,
    usable_pairs,
)
from litdome.datasets.spec import DatasetSpec, Region
from litdome.datasets.splits import (
    LEFT_OUT,
    HeldOut,
    held_out_names,
    hold_out,
    pair_factors,
    sample_split,
    seen_lights,
    split_pairs,
)
from litdome.errors import ConfigError, UsageError
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.store.session import Session

StrArray = npt.NDArray[np.str_]
Groups = Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be baked from one session.

    Attributes:
        name, session: The session and its name in the dataset.
        splits: Split of each sample, shape (camera, pair), ``LEFT_OUT`` where there is none.
        left_out: Usable (camera, pair) that the guard gaps cost.
        groups: Content group of each HDRI entry.
        framings: By camera.
        crops: By camera and region.
        light_gain: Multiplies the environment before projection.
        optional: Pictures that every session of the dataset has: ``flat_compensated``, ``background``, ``mask_face``,
            ``mask_hands``.
    """

    name: str
    session: Session
    splits: StrArray
    left_out: int
    groups: tuple[str, ...]
    framings: Mapping[str, Framing]
    crops: Mapping[str, Mapping[Region, CropPath]]
    light_gain: float
    optional: frozenset[str]

    @cached_property
    def pairs(self) -> tuple[int, ...]:
        """Pairs that any camera has a sample of."""
        return tuple(np.flatnonzero((self.splits != LEFT_OUT).any(axis=0)).tolist())

    def keeps(self, camera: str) -> frozenset[int]:
        """Pairs of one camera that are samples."""
        return frozenset(np.flatnonzero(self.splits[self.session.cameras.index(camera)] != LEFT_OUT).tolist())


def plan_dataset(
    sessions: Sequence[Session],
    spec: DatasetSpec,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> tuple[Plan, ...] | None:
    """Select, split and frame.

    Args:
        sessions: In the order of ``spec.sessions``.
        spec: Frozen.
        workers, progress, should_stop: Threads, a camera each, and callbacks.

    Returns:
        A plan for each session; None when ``should_stop`` ended it.

    Raises:
        CalibrationError: A session without calibration, or without colours where corrected ones are asked for.
        ConfigError: A held-out name that is not there.
        UsageError: No masks, no part labels for crops, a filter of unknown names, a recording that comes twice.
    """
    need_distinct(sessions)
    need_known_cameras(sessions, spec)
    for session in sessions:
        _need_ready(session, spec)
    optional = optional_pictures(sessions)
    names = [ref.name for ref in spec.sessions]
    usable = [usable_pairs(session, name, spec) for session, name in zip(sessions, names, strict=True)]
    held = held_out_names(spec.splits.cameras, body_cameras(sessions, spec.select.cameras), spec.splits.seed, 3)
    trained = [_trained_pairs(*each, held) for each in zip(sessions, usable, strict=True)]
    groups = light_groups(sessions, names)
    splits = [
        _sample_splits(session, own, factors, held)
        for session, own, factors in zip(sessions, usable, pair_splits(sessions, spec, groups, trained), strict=True)
    ]
    for session, found in zip(sessions, splits, strict=True) if spec.colors == "corrected" else ():
        _need_colors(session, found)
    units = [(n, id) for n, session in enumerate(sessions) for id in session.cameras]
    framings: list[dict[str, Framing]] = [{} for _ in sessions]
    crops: list[dict[str, dict[Region, CropPath]]] = [{} for _ in sessions]

    def frame(index: int) -> None:
        n, id = units[index]
        session, camera = sessions[n], sessions[n].rig[id]
        own = np.flatnonzero(splits[n][session.cameras.index(id)] != LEFT_OUT).tolist()
        framings[n][id] = frame_camera(session, camera, own, spec)
        crops[n][id] = {
            region: follow_region(session, camera, region, own, size) for region, size in spec.crops.items()
        }

    count = 0

    def framed(index: int) -> None:
        nonlocal count
        count += 1
        progress("frame", count, len(units))

    if not run_units(
        frame, range(len(units)), workers=workers or default_workers(), on_done=framed, should_stop=should_stop
    ):
        return None
    return tuple(
        Plan(
            name=ref.name,
            session=sessions[n],
            splits=splits[n],
            left_out=int(usable[n].sum() - (splits[n] != LEFT_OUT).sum()),
            groups=tuple(groups[n]),
            framings=framings[n],
            crops=crops[n],
            light_gain=ref.light_gain,
            optional=optional,
        )
        for n, ref in enumerate(spec.sessions)
    )


def pair_splits(
    sessions: Sequence[Session],
    spec: DatasetSpec,
    groups: Groups,
    trained: Sequence[npt.NDArray[np.bool_]] | None = None,
) -> list[dict[bool, list[str]]]:
    """Held-out factors of each pair of each session, for training cameras (False, with guard gaps) and held-out cameras
    (True). Lights are held out, and seen, over all sessions together.

    Args:
        sessions, spec: What is split, and how.
        groups: `light_groups` of the sessions.
        trained: Pairs that any training camera has, by session, shape (pair,); all by default.
    """
    known = sorted({group for own in groups for group in own})
    wanted = spec.splits.lights
    wanted = groups_of(wanted, sessions, groups) if isinstance(wanted, tuple) else wanted
    held_groups = held_out_names(wanted, known, spec.splits.seed, 2)
    names = [ref.name for ref in spec.sessions] or [""] * len(sessions)
    if isinstance(spec.splits.motion_from, dict):
        _need_names(spec.splits.motion_from, names)
    helds, guarded = [], []
    for n, session in enumerate(sessions):
        pairs = session.pairs
        held = hold_out(held_groups, spec.splits.motion_of(names[n]), light_groups=groups[n], pair_count=len(pairs))
        helds.append(held)
        guarded.append(_guarded(session, held, None if trained is None else trained[n]))
    seen = frozenset[str]().union(
        *(seen_lights(each, s.pairs.hdri, own) for each, s, own in zip(guarded, sessions, groups, strict=True))
    )
    found = []
    for session, held, each, own in zip(sessions, helds, guarded, groups, strict=True):
        unseen = frozenset(i for i, group in enumerate(own) if seen and group not in seen)
        factors = pair_factors(session.pairs.hdri, replace(held, lights=held.lights | unseen))
        exact = [name if name in ("train", LEFT_OUT) else factors[i] for i, name in enumerate(each)]
        found.append({False: exact, True: factors})
    return found


def _guarded(session: Session, held: HeldOut, trained: npt.NDArray[np.bool_] | None) -> list[str]:
    """`split_pairs` among the pairs that count; the others are left out and cost no guard gap."""
    counting = np.arange(len(session.pairs)) if trained is None else np.flatnonzero(trained)
    first, last = (reach[counting] for reach in frames_read(session))
    among = replace(held, motion_from=int(np.searchsorted(counting, held.motion_from)))
    names = [LEFT_OUT] * len(session.pairs)
    for pair, name in zip(counting, split_pairs(session.pairs.hdri[counting], first, last, among), strict=True):
        names[pair] = name
    return names


def body_cameras(sessions: Sequence[Session], selected: Sequence[str] | None) -> list[str]:
    """Ids of the selected cameras that may be held out, of all sessions: one id is held out of all of them."""
    ids = {camera.id for session in sessions for camera in session.rig.cameras if camera.role == "body"}
    return sorted(ids if selected is None else ids & set(selected))


def optional_pictures(sessions: Sequence[Session]) -> frozenset[str]:
    """Which of ``flat_compensated``, ``background``, ``mask_face`` and ``mask_hands`` all sessions have.

    Raises:
        UsageError: Some are aligned and some are not.
    """
    paths = {"flat_compensated": "compensated/{}", "background": "cameras/{}/background"}
    has = {
        key: [all(session.has(path.format(id)) for id in session.cameras) for session in sessions]
        for key, path in paths.items()
    }
    regions: tuple[Region, ...] = get_args(Region)
    for region in regions:
        labelled = [[len(region_labels(session, id, region)) > 0 for id in session.cameras] for session in sessions]
        has[f"mask_{region}"] = [all(row) for row in labelled]
    aligned = has["flat_compensated"]
    if any(aligned) and not all(aligned):
        url = sessions[aligned.index(False)].url
        raise UsageError(f"{url}: not aligned, other sessions are", hint=f"litdome align {url}")
    return frozenset(key for key, found in has.items() if all(found))


def _trained_pairs(session: Session, usable: BoolArray, held: frozenset[str]) -> BoolArray:
    """Pairs that any camera that is not held out may use, shape (pair,)."""
    rows = [row for id, row in zip(session.cameras, usable, strict=True) if id not in held]
    return np.asarray(np.any(rows, axis=0)) if rows else np.zeros(usable.shape[1], bool)


def _sample_splits(
    session: Session, usable: BoolArray, factors: Mapping[bool, Sequence[str]], held: frozenset[str]
) -> StrArray:
    rows = [[sample_split(name, id in held) for name in factors[id in held]] for id in session.cameras]
    named = np.array(rows, dtype="<U32").reshape(usable.shape)
    return np.where(usable, named, LEFT_OUT)


def _need_names(motion_from: Mapping[str, float | int], names: Sequence[str]) -> None:
    unknown = sorted(set(motion_from) - set(names))
    if unknown:
        raise ConfigError(f"splits.motion_from: no session {unknown[0]}", hint=f"there are: {', '.join(names)}")


def _need_ready(session: Session, spec: DatasetSpec) -> None:
    """Refused now, not in the middle of baking."""
    for id in session.rig.ids:
        if not session.has(f"cameras/{id}/relit/mask_raw"):
            raise UsageError(f"{session.url}: a dataset needs masks", hint=f"litdome segment {session.url}")
        need_parts(session, id, tuple(spec.crops))
    if spec.hdris == "effective" and session.hdri_names:
        session.read_hdri(0, effective=True)


def _need_colors(session: Session, splits: StrArray) -> None:
    for id, row in zip(session.cameras, splits, strict=True):
        if (row != LEFT_OUT).any():
            session.color_correction(id)
