"""What every experiment trains, and on what it is shown, in the order of running: cheap and telling things first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from paper.takes import Scale, Take

Drive = Literal["captured", "aligned", "rendering", "without gain"]
EXPERIMENTS = ("E4", "E1", "E2", "E6", "E1b", "E3")
FEWER_SEEDS = {"E3": 3, "E4": 3, "E6": 3}
PEOPLE = ("s1", "s2", "s3", "s4")
# The tiny base is narrow and knows no people: every layer adapts, and the person counts more than the wall.
ADAPTER = {
    "learning_rate": 2e-3,
    "background_weight": 0.1,
    "warmup_steps": 5,
    "lora": {"rank": 16, "alpha": 16.0, "targets": "all"},
}
FLAT, RATIO, TRUE_RATIO = "flat copied", "colour ratio from the HDRI", "colour ratio from the truth"
LAMBERT, ROUND_TRIP, ZERO_SHOT = "Lambert + SH, true normals", "autoencoder round trip of the truth", "zero-shot"
IC_LIGHT = "IC-Light"
REFERENCES = (FLAT, RATIO, LAMBERT, ZERO_SHOT, TRUE_RATIO, ROUND_TRIP)


@dataclass(frozen=True)
class Training:
    """A training, but for its seed and its base.

    Attributes:
        data: Name of the dataset.
        settings: Of the relighter; `paper.runs` fills in steps, batch, base and what depends on the data.
        people: Subjects of the dataset that it sees.
        lights: Of the dataset's training lights it sees so many, and as few samples as the fewest lights have.
        filtered: Only the slower half of the pairs.
        oracle: Reads the flat picture at the relit time.
        effort: Times the steps of the scale.
    """

    data: str
    settings: Mapping[str, Any]
    people: tuple[str, ...]
    lights: int | None = None
    filtered: bool = False
    oracle: bool = False
    effort: float = 1.0

    @property
    def key(self) -> str:
        """Says which training it is, and nothing else does."""
        text = json.dumps(vars(self), sort_keys=True)
        return f"{self.data}-{'+'.join(self.people)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Trial:
    """One method shown one subject.

    Attributes:
        experiment, arms: Where its scores count.
        method: A `Training`, or the name of something that needs none.
        data, person: What it is shown.
        drive: What stands in place of the captured flat picture.
        clips: Score consecutive pictures under one light, too.
    """

    experiment: str
    arms: tuple[str, ...]
    method: Training | str
    data: str
    person: str
    drive: Drive = "captured"
    clips: bool = False

    @property
    def key(self) -> str:
        """Of its scores; trials of several experiments may share them."""
        method = self.method if isinstance(self.method, str) else self.method.key
        text = f"{method}|{self.data}|{self.person}|{self.drive}|{self.clips}"
        return f"{self.data}-{self.person}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Plan:
    """Datasets by name, and trials in the order of running."""

    takes: Mapping[str, tuple[Take, ...]]
    trials: tuple[Trial, ...] = field(default=())


def plan(
    scale: Scale, only: tuple[str, ...], *, still_base: str | None = None, references: tuple[str, ...] = REFERENCES
) -> Plan:
    """All that the experiments named in ``only`` need; ``still_base`` is a base that never saw clips."""
    takes = {
        name: tuple(Take(person, scale.pairs, scale.hdris) for person in people)
        for name, people in (("people", PEOPLE), ("two", scale.subjects))
    }
    lights = 5 * max(scale.light_counts) // 2  # some are held out, some are lost to guard gaps
    takes["lights"] = (Take("s2", 2 * lights, lights),)
    takes["clips"] = (Take("s3", scale.pairs, max(scale.pairs // 8, 5)),)
    takes |= {f"{speed}px": (Take("s3", scale.pairs, scale.hdris, speed),) for speed in scale.speeds_px}
    make = {
        "E1": _prior(scale),
        "E1b": _leave_out(),
        "E2": _light_count(scale),
        "E3": _clips(scale, still_base),
        "E4": _misalignment(scale),
        "E6": _masks(scale),
    }
    trials: list[Trial] = []
    for name in (one for one in EXPERIMENTS if one in only):
        own = [trial for trial in make[name] if trial.arms[0].split(", driven")[0] not in scale.without]
        shown = set()
        for trial in own:  # what trains nothing goes first, wherever something new is shown
            if (trial.data, trial.person) not in shown:
                shown.add((trial.data, trial.person))
                trials += [
                    Trial(name, (method,), method, trial.data, trial.person, clips=trial.clips) for method in references
                ]
            trials.append(trial)
    return Plan(takes, tuple(trials))


def lora(data: str, people: tuple[str, ...], **more: Any) -> Training:
    """The usual training: an adapter of rank 16."""
    settings = {key: more.pop(key) for key in list(more) if key not in ("lights", "filtered", "oracle", "effort")}
    return Training(data, {**ADAPTER, **settings}, people, **more)


def _prior(scale: Scale) -> Iterator[Trial]:
    for person in scale.subjects:
        own = (person,)
        arms = {
            "LoRA r16": lora("two", own),
            "full": lora("two", own, mode="full", learning_rate=5e-4),
            "random": lora("two", own, mode="full", base="random", learning_rate=1e-3),
            "LoRA r4": lora("two", own, lora={"rank": 4, "alpha": 4.0, "targets": "all"}),
            "random 4x": lora("two", own, mode="full", base="random", learning_rate=1e-3, effort=4.0),
        }
        for arm, training in arms.items():
            yield Trial("E1", (arm,), training, "two", person)


def _leave_out() -> Iterator[Trial]:
    others = PEOPLE[1:]
    for subset in (people for size in (1, 2) for people in combinations(others, size)):
        training = lora("people", subset)
        for person in PEOPLE:
            pair = f"{'+'.join(subset)} on {person}"
            if person == "s1":
                yield Trial("E1b", (pair, "s1, gain corrected"), training, "people", person)
                without: Drive = "without gain"
                yield Trial("E1b", (f"{pair}, {without}", "s1, gain as it is"), training, "people", person, without)
            elif person in subset:
                yield Trial("E1b", (pair, "own subject"), training, "people", person)
            else:
                number = "one other" if len(subset) == 1 else "two others"
                yield Trial("E1b", (pair, "other subjects only", number), training, "people", person)


def _light_count(scale: Scale) -> Iterator[Trial]:
    for count in scale.light_counts:
        yield Trial("E2", (f"{count} lights",), lora("lights", ("s2",), lights=count), "lights", "s2")


def _clips(scale: Scale, still_base: str | None) -> Iterator[Trial]:
    length = scale.batch  # as many latents a step as the single pictures of a batch
    arms = {
        "single": lora("clips", ("s3",), batch=length),
        "clips": lora("clips", ("s3",), batch=1, clip_frames=length),
        "mixed": lora("clips", ("s3",), batch=2, clip_frames=length, clip_share=(length / 2 - 1) / (length - 1)),
    }
    if still_base is not None:
        arms["single, base without clips"] = lora("clips", ("s3",), batch=length, base=still_base)
    for arm, training in arms.items():
        yield Trial("E3", (arm,), training, "clips", "s3", clips=True)


def _misalignment(scale: Scale) -> Iterator[Trial]:
    """Each arm as it is used (raw pictures drive what was trained on raw ones), then all driven at the right time."""
    compensated = {"use_compensated": True}
    for speed in sorted(scale.speeds_px, reverse=True):
        data, who = f"{speed}px", ("s3",)
        arms = {
            "raw": lora(data, who),
            "oracle": lora(data, who, oracle=True),
            "compensate": lora(data, who, **compensated),
            "all": lora(data, who, **compensated, motion_weights=True, reliability_sampling=True),
            "weight": lora(data, who, motion_weights=True),
            "filter": lora(data, who, filtered=True),
            "filter, equal samples": lora(data, who, filtered=True, effort=0.5),
        }
        for arm, training in arms.items():
            label = f"{arm} {speed} px"
            drive: Drive = "aligned" if training.oracle else "captured"
            yield Trial("E4", (label,), training, data, "s3", drive)
            if not training.oracle:
                yield Trial("E4", (f"{label}, driven at the relit time",), training, data, "s3", "aligned")


def _masks(scale: Scale) -> Iterator[Trial]:
    for person in scale.subjects:
        for arm, masks in (("unmasked", "off"), ("masked", "black"), ("random background", "random")):
            training = lora("two", (person,), background_weight=1.0, masks=masks)
            for drive in ("captured", "rendering"):
                yield Trial("E6", (f"{arm}, {drive}",), training, "two", person, drive)
