"""Plan a take: who does what when, which light shines on which frame, and what is held out, before anything is filmed.

Everything is drawn from one seed: the same settings and the same HDRIs give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.actions import Act, PlannedAction, Repertoire
from litdome.capture.csv_rows import LAST_FRAME
from litdome.errors import UsageError
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule

IntArray = npt.NDArray[np.integer[Any]]
ACTIONS_BETWEEN_RESTS = 6
SHORTEST_S = 3.0  # an action that the end of the take cuts shorter joins the one before
LARGEST_SIDE_PX, MOST_CAMERAS, MOST_ROTATIONS = 65535, 1000, 360
FPS_RANGE = (0.01, 10_000.0)


@dataclass(frozen=True)
class PlanSettings:
    """What a plan is made for.

    Attributes:
        subject: A pseudonym.
        cameras, size: Of the rig: how many, (width, height) in px.
        fps: Rig frames per second.
        minutes: Length of the take.
        interleave: Relit frames from one flat frame to the next.
        held_out: Share of the HDRIs that training will never see; 0: none.
        rotations: Angles, evenly spaced over the circle, at which each HDRI is lit.
        seed: Draws everything.
    """

    subject: str = "s01"
    cameras: int = 40
    size: tuple[int, int] = (4096, 2160)
    fps: float = 25.0
    minutes: float = 10.0
    interleave: int = 1
    held_out: float = 0.1
    rotations: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no stage can be.

        Raises:
            UsageError: Names the setting, what it is and what it may be.
        """
        bounds = (
            ("--cameras", self.cameras, 1, MOST_CAMERAS),
            ("--size (width)", self.size[0], 16, LARGEST_SIDE_PX),
            ("--size (height)", self.size[1], 16, LARGEST_SIDE_PX),
            ("--fps", self.fps, *FPS_RANGE),
            ("--interleave", self.interleave, 1, 1000),
            ("--rotations", self.rotations, 1, MOST_ROTATIONS),
            ("--held-out", self.held_out, 0, 0.9),
            ("--seed", self.seed, 0, 2**63 - 1),
        )
        if not self.subject or len(self.subject) > 100 or not self.subject.isprintable() or "/" in self.subject:
            raise UsageError(f"--subject {self.subject!r}: 1 to 100 characters, no slash", hint="--subject s01")
        for name, value, least, most in bounds:
            if not least <= value <= most:
                raise UsageError(f"{name} {value:g}: {least:g} to {most:g} is possible", hint="litdome plan --help")
        if not SHORTEST_S / 60 <= self.minutes <= LAST_FRAME / self.fps / 60:
            most = LAST_FRAME / self.fps / 60
            raise UsageError(
                f"--minutes {self.minutes:g}: {SHORTEST_S / 60:g} to {most:g} is possible", hint="litdome plan --help"
            )

    @property
    def frames(self) -> int:
        """Rig frames: the take ends on a flat one, at most ``interleave`` frames after ``minutes``."""
        period = self.interleave + 1
        return -(-(round(self.fps * 60 * self.minutes) - 1) // period) * period + 1


@dataclass(frozen=True, eq=False)
class TakePlan:
    """A take before it is filmed.

    Attributes:
        settings: What it was planned for.
        actions: They cover the take without a gap.
        cues: What the prompter says, by action and by expression name.
        paces: Speed against that of a walking person, by action name.
        schedule: What is lit at each rig frame; without HDRIs, relit frames are pattern frames.
        groups: Content group of each HDRI file by name; those of one group are held out together.
        held_out: Names of the HDRI files that training will never see.
    """

    settings: PlanSettings
    actions: tuple[PlannedAction, ...]
    cues: Mapping[str, str]
    paces: Mapping[str, float]
    schedule: LightingSchedule
    groups: Mapping[str, str] = field(default_factory=dict)
    held_out: tuple[str, ...] = ()


def draw_plan(settings: PlanSettings, repertoire: Repertoire, groups: Mapping[str, str]) -> TakePlan:
    """Draw a take.

    Args:
        settings: For what.
        repertoire: What the subject can be asked to do.
        groups: Content group of each HDRI by name (`litdome.lighting.content_groups`); empty: lights are not planned.

    Raises:
        UsageError: One content only and something to hold out; fewer relit frames than HDRIs.
    """
    actions = draw_actions(settings, repertoire, np.random.default_rng([settings.seed, 1]))
    held_out = draw_held_out(groups, settings.held_out, np.random.default_rng([settings.seed, 2]))
    schedule = draw_schedule(settings, actions, sorted(groups), held_out, np.random.default_rng([settings.seed, 3]))
    acts = [*repertoire.actions, *repertoire.expressions, *([repertoire.rest] if repertoire.rest else [])]
    paces = {act.name: act.pace for act in acts if act.seconds}
    return TakePlan(settings, actions, {act.name: act.cue for act in acts}, paces, schedule, dict(groups), held_out)


def draw_order(count: int, length: int, rng: np.random.Generator) -> IntArray:
    """Numbers below ``count`` in random order, shape (length,): each as often as any other (or once more), and none
    twice running unless there is only one."""
    rounds: list[IntArray] = []
    for start in range(0, length, count):
        order = rng.permutation(count)
        if rounds and order[0] == rounds[-1][-1]:
            order = np.roll(order, 1)
        rounds.append(order[: length - start])
    return np.concatenate([np.zeros(0, np.int64), *rounds])


def draw_actions(settings: PlanSettings, repertoire: Repertoire, rng: np.random.Generator) -> tuple[PlannedAction, ...]:
    """Actions, each with an expression, and rests between, until the take is full.

    Raises:
        UsageError: So few frames a second that an action has none.
    """
    acts = _fill(repertoire, settings.frames / settings.fps, rng)
    faces = [face.name for face in repertoire.expressions] or [""]
    moving = [act is not repertoire.rest for act in acts]
    drawn = iter(draw_order(len(faces), sum(moving), rng))
    ends = np.round(np.cumsum([act.seconds for act in acts]) * settings.fps).astype(int)
    ends[-1] = settings.frames
    starts = [0, *ends[:-1].tolist()]
    for act, start, end in zip(acts, starts, ends, strict=True):
        if end <= start:
            raise UsageError(
                f"--fps {settings.fps:g}: {act.name}, {act.seconds:g} s, has no frame",
                hint="--fps more, longer actions",
            )
    expressions = [faces[next(drawn)] if moves else "" for moves in moving]
    return tuple(
        PlannedAction(n + 1, start, int(end), act.name, face)
        for n, (start, end, act, face) in enumerate(zip(starts, ends, acts, expressions, strict=True))
    )


def _fill(repertoire: Repertoire, total_s: float, rng: np.random.Generator) -> list[Act]:
    """Enough acts for ``total_s`` seconds; the last one ends where the take does."""
    shortest = min(act.seconds for act in repertoire.actions)
    order = draw_order(len(repertoire.actions), int(total_s / shortest) + 2, rng)
    acts: list[Act] = []
    length_s = 0.0
    for n, index in enumerate(order):
        due = [repertoire.rest] if repertoire.rest and n and n % ACTIONS_BETWEEN_RESTS == 0 else []
        for act in [*due, repertoire.actions[index]]:
            if length_s > total_s - SHORTEST_S and acts:
                return acts
            acts.append(act)
            length_s += act.seconds
    return acts


def draw_held_out(groups: Mapping[str, str], share: float, rng: np.random.Generator) -> tuple[str, ...]:
    """HDRIs that training will never see: max(1, round(share n)) of the n contents, whole.

    Raises:
        UsageError: There is only one content.
    """
    contents = sorted(set(groups.values()))
    if not contents or share == 0:
        return ()
    if len(contents) < 2:
        raise UsageError(
            f"{len(groups)} HDRIs of one content: none can be held out", hint="add other maps, or --held-out 0"
        )
    count = max(1, min(round(share * len(contents)), len(contents) - 1))
    chosen = {contents[n] for n in rng.permutation(len(contents))[:count]}
    return tuple(name for name in sorted(groups) if groups[name] in chosen)


def draw_schedule(
    settings: PlanSettings,
    actions: Sequence[PlannedAction],
    names: Sequence[str],
    held_out: Sequence[str],
    rng: np.random.Generator,
) -> LightingSchedule:
    """One flat frame and ``interleave`` relit ones in turn; each HDRI as often as any other, at each of its rotations.

    Held-out lights shine in one run of frames within each action: every action is seen under them, all through the
    take, and training loses few frames to the distance that the splits keep from a test.

    Raises:
        UsageError: Fewer relit frames than HDRIs.
    """
    relit = np.flatnonzero(np.arange(settings.frames) % (settings.interleave + 1))
    kind = np.full(settings.frames, KIND_CODES["flat"], np.uint8)
    hdri = np.full(settings.frames, -1, np.int32)
    if not names:
        kind[relit] = KIND_CODES["pattern"]
        return LightingSchedule(kind, hdri, ())
    kind[relit] = KIND_CODES["hdri"]
    if len(relit) < len(names):
        raise UsageError(
            f"{len(relit)} relit frames for {len(names)} HDRIs: some would never be lit", hint="--minutes more"
        )
    tests = _test_frames(relit, actions, _share(len(relit), len(names), len(held_out)), rng)
    entry_of = np.full((settings.frames, 2), -1)
    for lights, frames in ((held_out, relit[tests]), (sorted(set(names) - set(held_out)), relit[~tests])):
        if len(frames):
            entry_of[frames, 0] = np.searchsorted(names, lights)[draw_order(len(lights), len(frames), rng)]
    for n in range(len(names)):
        frames = np.flatnonzero(entry_of[:, 0] == n)
        entry_of[frames, 1] = draw_order(settings.rotations, len(frames), rng)
    pairs, index = np.unique(entry_of[relit], axis=0, return_inverse=True)
    step_deg = 360 / settings.rotations
    lit = [HdriEntry(names[n], float(f"{turn * step_deg:g}")) for n, turn in pairs]
    order = sorted(range(len(lit)), key=lambda n: lit[n].entry)
    hdri[relit] = np.argsort(order)[index.reshape(-1)]
    return LightingSchedule(kind, hdri, tuple(lit[n] for n in order))


def _share(relit: int, lights: int, held_out: int) -> int:
    """Relit frames of the held-out lights, so that no light shines more than once more than another."""
    each, over = divmod(relit, lights)
    return each * held_out + round(over * held_out / lights)


def _test_frames(
    relit: IntArray, actions: Sequence[PlannedAction], total: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which relit frames held-out lights shine on, shape (relit frame,): one run within each action."""
    bounds = np.searchsorted(relit, [0, *(action.end_frame for action in actions)])
    due = np.round(total * bounds / len(relit)).astype(int)
    chosen = np.zeros(len(relit), bool)
    for start, stop, count in zip(bounds[:-1], bounds[1:], np.diff(due), strict=True):
        first = start + int(rng.integers(0, stop - start - count + 1))
        chosen[first : first + count] = True
    return chosen
