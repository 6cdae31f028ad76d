"""Plan a dataset: freeze the spec, select pairs, split them, frame the cameras. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from litdome.datasets.framing import Framing, frame_camera
from litdome.datasets.spec import DatasetSpec, DecisionCopy, SessionRef, Splits
from litdome.datasets.splits import (
    LEFT_OUT,
    held_out_names,
    hold_out,
    pair_factors,
    pair_reach,
    sample_split,
    split_pairs,
    unseen_lights,
)
from litdome.errors import UsageError
from litdome.lighting import content_groups
from litdome.store.decisions import effective_keep, read_decisions
from litdome.store.provenance import digest
from litdome.store.session import Session


@dataclass(frozen=True)
class Sample:
    """One row of the dataset."""

    session: int
    camera: int
    pair: int
    hdri: int
    split: str


@dataclass(frozen=True)
class Plan:
    """What will be baked from one session."""

    name: str
    session: Session
    pairs: tuple[int, ...]
    samples: tuple[Sample, ...]
    left_out: int
    framings: Mapping[str, Framing]
    has_compensated: bool
    effective_light: bool = False
    corrected_colors: bool = False

    def keeps(self, camera: str) -> frozenset[int]:
        """Pairs of one camera that are samples."""
        index = self.session.cameras.index(camera)
        return frozenset(sample.pair for sample in self.samples if sample.camera == index)


def freeze_spec(sessions: Sequence[Session], spec: DatasetSpec) -> DatasetSpec:
    """``spec`` with the sessions' fingerprints and the decisions as they stand now."""
    refs, copies = [], []
    names = session_names([session.url for session in sessions])
    for name, session in zip(names, sessions, strict=True):
        refs.append(SessionRef(path=session.url, name=name, fingerprint=session_fingerprint(session, spec)))
        for decision in read_decisions(session.url):
            copies.append(DecisionCopy(session=name, **asdict(decision)))
    return spec.model_copy(update={"sessions": tuple(refs), "decisions": tuple(copies)})


def session_names(urls: Sequence[str]) -> list[str]:
    """Names inside a dataset: the stores' stems, numbered where two are the same."""
    stems = [url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr") for url in urls]
    return [stem if stems.count(stem) == 1 else f"{stem}-{i}" for i, stem in enumerate(stems)]


def session_fingerprint(session: Session, spec: DatasetSpec) -> str:
    """One fingerprint over the records of all stages that a dataset reads; of color and lights only if it asks for what
    they make."""
    unread = {"color": spec.colors == "recorded", "lights": spec.hdris == "requested"}
    records = (record for record in session.records() if not unread.get(record.stage))
    return digest({record.stage: record.fingerprint for record in records})


def plan_session(index: int, name: str, session: Session, spec: DatasetSpec) -> Plan:
    """Select, split and frame one session."""
    rig, pairs = session.rig, session.pairs
    if not session.has(f"cameras/{session.cameras[0]}/relit/mask_raw"):
        raise UsageError(f"{session.url}: a dataset needs masks", hint=f"litdome segment {session.url}")
    usable = usable_pairs(session, spec)
    names = pair_splits(session, spec)
    held_cameras = held_out_names(spec.splits.cameras, body_cameras(session), spec.splits.seed, 3)
    samples = [
        Sample(index, c, int(p), int(pairs.hdri[p]), sample_split(names[id in held_cameras][p], id in held_cameras))
        for c, id in enumerate(session.cameras)
        for p in np.flatnonzero(usable[c])
    ]
    left_out = sum(sample.split == LEFT_OUT for sample in samples)
    samples = [sample for sample in samples if sample.split != LEFT_OUT]
    chosen = tuple(sorted({sample.pair for sample in samples}))
    framings = {camera.id: frame_camera(session, camera, chosen, spec) for camera in rig.cameras}
    compensated = all(session.has(f"compensated/{id}") for id in session.cameras)
    effective = spec.hdris == "effective"
    if effective and session.hdri_names:
        session.read_hdri(0, effective=True)  # refused now, not in the middle of baking
    corrected = spec.colors == "corrected"
    for id in {session.cameras[sample.camera] for sample in samples} if corrected else ():
        session.color_correction(id)  # likewise
    return Plan(name, session, chosen, tuple(samples), left_out, framings, compensated, effective, corrected)


def pair_splits(session: Session, spec: DatasetSpec) -> dict[bool, list[str]]:
    """Held-out factors of each pair, for training cameras (False, with guard gaps) and held-out cameras (True)."""
    pairs, groups = session.pairs, light_groups(session)
    held = hold_out(_by_group(spec.splits, session, groups), light_groups=groups, pair_count=len(pairs))
    last = np.where(pairs.next_flat_frame >= 0, pairs.next_flat_frame, pairs.relit_frame)
    reach = pair_reach(pairs.flat_frame, last, session.frames("flat"), flat_neighbours(session))
    guarded = split_pairs(pairs.hdri, *reach, held)
    unseen = unseen_lights(guarded, pairs.hdri, groups)
    factors = pair_factors(pairs.hdri, replace(held, lights=held.lights | unseen))
    exact = [name if name in ("train", LEFT_OUT) else factors[i] for i, name in enumerate(guarded)]
    return {False: exact, True: factors}


def body_cameras(session: Session) -> list[str]:
    """Ids of the cameras that may be held out."""
    return [camera.id for camera in session.rig.cameras if camera.role == "body"]


def usable_pairs(session: Session, spec: DatasetSpec) -> npt.NDArray[np.bool_]:
    """Which (camera, pair) may be samples: recorded, selected, and kept by scores and decisions."""
    count = len(session.pairs)
    recorded = np.array([[session.has_pair(id, p) for p in range(count)] for id in session.cameras], bool)
    recorded = recorded.reshape(len(session.cameras), count)
    usable = recorded.copy()
    if spec.select.filter == "keep" and session.has("quality/keep"):
        usable &= session.read("quality/keep")
    usable = np.asarray(effective_keep(usable, session.cameras, read_decisions(session.url)) & recorded)
    if spec.select.cameras is not None:
        usable &= np.isin(session.cameras, spec.select.cameras)[:, None]
    if spec.select.pairs is not None:
        start, stop = spec.select.pairs
        usable[:, :start] = False
        usable[:, stop:] = False
    return usable


def flat_neighbours(session: Session) -> int:
    """How many flat frames each way the masks of a flat frame read."""
    record = session.record("deflicker")
    return 0 if record is None else int(record.config.get("window_pairs", 3)) // 2  # its first version had a window


def light_groups(session: Session) -> list[str]:
    """Content group of each HDRI entry (`litdome.lighting.content_groups`)."""
    return content_groups((name, session.read_hdri(n)) for n, name in enumerate(session.hdri_names))


def _by_group(splits: Splits, session: Session, groups: Sequence[str]) -> Splits:
    """Held-out lights that are given by file or entry name as the content groups that they belong to."""
    if not isinstance(splits.lights, tuple):
        return splits
    entries = session.schedule.entries
    group_of = {entry.name: group for entry, group in zip(entries, groups, strict=True)}
    group_of |= {entry.entry: group for entry, group in zip(entries, groups, strict=True)}
    return splits.model_copy(update={"lights": tuple(group_of.get(name, name) for name in splits.lights)})
