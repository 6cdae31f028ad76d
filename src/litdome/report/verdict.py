"""Is this take good? The answer in words, from what ingest measured: one headline and a line for every finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from litdome.report.calibration_words import calibration_headline, calibration_troubles
from litdome.report.evidence import Evidence, gather
from litdome.report.losses import clock_time
from litdome.report.motion_words import motion_troubles
from litdome.store.files import size_in_words
from litdome.store.session import Session

Severity = Literal["ok", "warn", "bad"]
Word = Literal["good", "look", "bad"]
GAPS_TOLD = 3  # of a camera one by one; more are told together
BAD_LOSS, FEW_PAIRS = 0.05, 3  # share of a camera's pairs; pairs that a short take too can spare
DARKER_STOPS, MUCH_DARKER_STOPS = 0.8, 1.6  # cameras see the person from all sides: half a stop is usual
CLIPPED, MUCH_CLIPPED, CLIPPED_RELIT = 0.02, 0.1, 0.1  # share of pixels at white
FOCUS, BAD_FOCUS = 0.5, 0.3  # sharpness against the first frames; a person who walks away costs a third
SOFT = 0.35  # sharpness against the other cameras
NOISE_FACTOR, NOISE_CODES = 2.0, 2.0  # against the other cameras; 8-bit codes below which nobody minds
CONFIDENCE = 0.8
RIG_TOPICS = ("calibration", "disk")  # what can be said of a rig without a take
MISSING_LIGHTS = 0.1  # share of the lights: more is bad


@dataclass(frozen=True)
class Finding:
    """One line of the verdict: what it is about, how bad it is, the words, and the camera where it is one's."""

    topic: str
    severity: Severity
    text: str
    camera: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a take is good.

    Attributes:
        counts: Cameras, pairs, length, in words.
        findings: The worst first.
        unmeasured: Topics that ingest has not measured.
        subject: What is judged: a take, or a rig without one.
    """

    counts: str
    findings: tuple[Finding, ...]
    unmeasured: tuple[str, ...]
    subject: Literal["take", "rig"] = "take"

    @property
    def word(self) -> Word:
        """``good``, ``look`` (something to look at) or ``bad``."""
        worst = {finding.severity for finding in self.findings}
        return "bad" if "bad" in worst else "look" if "warn" in worst else "good"

    @property
    def troubles(self) -> tuple[Finding, ...]:
        """The findings that are not ok."""
        return tuple(finding for finding in self.findings if finding.severity != "ok")

    @property
    def headline(self) -> str:
        """The answer in one line."""
        if not self.troubles:
            return f"Good {self.subject}: {self.counts}."
        start = {"bad": f"Bad {self.subject}", "look": "Look"}[self.word]
        more = f"; and {len(self.troubles) - 1} more" if len(self.troubles) > 1 else ""
        return f"{start}: {self.troubles[0].text}{more}."


def verdict(session: Session) -> Verdict:
    """Whether a session is a good take."""
    return judge_take(gather(session))


def judge_take(evidence: Evidence) -> Verdict:
    """Whether a take is good, from what was measured on it; of a session without one, whether its rig is."""
    findings: list[Finding] = []
    unmeasured = []
    for topic, (needs, told, fine) in TOPICS.items():
        if evidence.rig_only and topic not in RIG_TOPICS:
            continue
        if topic == "calibration" and not evidence.calibration:
            continue  # a take is judged before anybody calibrates
        if needs and not evidence.summary.get(needs):
            unmeasured.append(topic)
            continue
        found = [Finding(topic, *line) for line in told(evidence)]
        findings += found or [Finding(topic, "ok", fine(evidence))]
    order = {"bad": 0, "warn": 1, "ok": 2}
    findings.sort(key=lambda finding: order[finding.severity])
    subject: Literal["take", "rig"] = "rig" if evidence.rig_only else "take"
    return Verdict(_counts(evidence), tuple(findings), tuple(unmeasured), subject)


Line = tuple[Severity, str] | tuple[Severity, str, str | None]


def _ingest(evidence: Evidence) -> Iterator[Line]:
    done, units = evidence.units
    if not evidence.summary:
        yield "warn", f"ingest is unfinished ({done} of {units} parts)" if units else "nothing is ingested yet"


def _drops(evidence: Evidence) -> Iterator[Line]:
    end = _filmed_until(evidence)
    if end < len(evidence.time_ns):
        unfilmed = (
            f"{len(evidence.time_ns) - end:,} frames of the schedule, from {evidence.time(end)} on, were not filmed"
        )
        yield "bad" if len(evidence.time_ns) - end > BAD_LOSS * len(evidence.time_ns) else "warn", unfilmed
    for id in evidence.cameras:
        losses = [loss for loss in evidence.losses if loss.camera == id and loss.start < end]
        frames = sum(loss.stop - loss.start for loss in losses)
        absent = len({pair for loss in losses for start, stop in loss.pairs for pair in range(start, stop)})
        severity: Severity = "bad" if absent > max(BAD_LOSS * evidence.pairs, FEW_PAIRS) else "warn"
        if frames and frames == len(evidence.time_ns):
            yield "bad", f"{id} recorded nothing", id
        elif len(losses) > (GAPS_TOLD if severity == "warn" else 1):
            start = clock_time(losses[0].time_ns)
            lost = f"{id} lost {frames:,} frames in {len(losses):,} gaps from {start} on"
            yield severity, f"{lost}; {absent:,} pairs absent", id
        else:
            yield from ((severity, str(loss), id) for loss in losses)


def _filmed_until(evidence: Evidence) -> int:
    """The rig frame from which on all cameras have lost everything; the end of the take if there is none."""
    by_all = np.asarray(evidence.lost.all(axis=0)) if len(evidence.lost) else np.zeros(0, bool)
    if not by_all.size or not by_all[-1] or by_all.all():
        return len(evidence.time_ns)
    return int(np.flatnonzero(~by_all)[-1]) + 1


def _sync(evidence: Evidence) -> Iterator[Line]:
    for id, frames in _light(evidence, "offsets"):
        if frames:
            noun = "frame" if abs(frames) == 1 else "frames"
            yield "bad", f"{id} is {abs(frames)} {noun} {'ahead of' if frames > 0 else 'behind'} the others", id
    for id, drops in _light(evidence, "drops"):
        for frame, count in drops:
            noun = "picture" if abs(count) == 1 else "pictures"
            what = "lost" if count > 0 else "stored twice"
            yield (
                "bad",
                f"{id} is out of step from {evidence.time(frame)} on: {abs(count)} {noun} {what}, no clock says so",
                id,
            )


def _lighting(evidence: Evidence) -> Iterator[Line]:
    light = evidence.summary["light"]
    wrong = light.get("contradicting_frames") or []
    if wrong:
        noun = "frame" if len(wrong) == 1 else "frames"
        yield "bad", f"schedule and pictures disagree on {len(wrong):,} {noun} from {evidence.time(wrong[0])} on"
    confidence = light.get("confidence")
    if confidence is not None and confidence < CONFIDENCE:
        yield "warn", f"the pictures do not show which frame was lit how (confidence {confidence:.2f})"
    for id, frames in _light(evidence, "mixed_light"):
        if frames:
            noun = "frame" if len(frames) == 1 else "frames"
            yield (
                "warn",
                f"{id} shows two lights at once in {len(frames):,} {noun}, first at {evidence.time(frames[0])}",
                id,
            )
    for id, frames in _light(evidence, "duplicates"):
        if frames:
            noun = "frame" if len(frames) == 1 else "frames"
            yield "warn", f"{id} repeated {len(frames):,} {noun}, first at {evidence.time(frames[0])}", id


def _exposure(evidence: Evidence) -> Iterator[Line]:
    stops = evidence.measured("exposure_stops")
    for id, value in stops.items():
        others = [abs(other) for name, other in stops.items() if name != id]
        spread = 1.4826 * float(np.median(others)) if len(others) >= 3 else 0.0  # as a standard deviation
        if abs(value) > max(DARKER_STOPS, 3 * spread):
            severity: Severity = "bad" if abs(value) > MUCH_DARKER_STOPS else "warn"
            way = "darker" if value < 0 else "brighter"
            yield severity, f"{id} is {abs(value):.1f} stops {way} than the other cameras", id


def _clipping(evidence: Evidence) -> Iterator[Line]:
    relit = evidence.measured("clipped_relit")
    for id, share in evidence.measured("clipped").items():
        if share > CLIPPED:
            severity: Severity = "bad" if share > MUCH_CLIPPED else "warn"
            yield severity, f"{id} clips {100 * share:.0f} % of its flat-lit pictures at white", id
        elif relit.get(id, 0) > CLIPPED_RELIT:
            yield "warn", f"{id} clips {100 * relit[id]:.0f} % of its relit pictures at white", id


def _focus(evidence: Evidence) -> Iterator[Line]:
    sharpness = evidence.measured("sharpness")
    for id, focus in evidence.measured("focus").items():
        if focus < FOCUS:
            when = _fall(evidence, id)
            severity: Severity = "bad" if focus < BAD_FOCUS else "warn"
            yield severity, f"{id} lost focus at {when}: {100 * focus:.0f} % of the sharpness it began with", id
        else:
            others = float(np.median([value for other, value in sharpness.items() if other != id] or [0.0]))
            if sharpness.get(id, others) < SOFT * others:
                yield "warn", f"{id} is soft: {100 * sharpness[id] / others:.0f} % of the other cameras' sharpness", id


def _fall(evidence: Evidence, id: str) -> str:
    """When a camera's sharpness first fell below what its first frames allow."""
    quality = evidence.summary["quality"]
    sharp = np.array([np.nan if v is None else v for v in quality["cameras"][id]["series"]["sharpness"]], float)
    below = np.flatnonzero(sharp < FOCUS * np.nanmedian(sharp[:3]))
    return evidence.time(quality["frames"][int(below[0]) if len(below) else 0])


def _noise(evidence: Evidence) -> Iterator[Line]:
    noise = evidence.measured("noise")
    for id, codes in noise.items():
        others = float(np.median([value for other, value in noise.items() if other != id] or [np.inf]))
        if codes > max(NOISE_CODES, NOISE_FACTOR * others):
            yield "warn", f"{id} is noisy: {codes:.1f} codes, the others {others:.1f}", id


def _lights(evidence: Evidence) -> Iterator[Line]:
    quality = evidence.summary["quality"]
    for names, why in ((quality["dark_lights"], "never lit"), (quality["unpaired_lights"], "without a pair")):
        if names:
            severity: Severity = "bad" if len(names) > MISSING_LIGHTS * quality["lights"] else "warn"
            noun = "light was" if len(names) == 1 else "lights were"
            yield severity, f"{len(names)} listed {noun} {why}: {listed(names)}"


def _files(evidence: Evidence) -> Iterator[Line]:
    yield from _unplaced(evidence)
    for id, counts in evidence.summary["counts"].items():
        held, lost, claimed = counts.get("container"), counts.get("undecodable", 0), counts.get("claimed")
        if lost:
            severity: Severity = "bad" if lost > BAD_LOSS * held else "warn"
            yield severity, f"{id}: {lost:,} of {held:,} pictures could not be decoded", id
        if claimed is not None and claimed > held:
            yield "bad", f"{id}: its file promises {claimed:,} pictures and holds {held:,}", id


def _unplaced(evidence: Evidence) -> Iterator[Line]:
    """Pictures that were filmed and left, because the schedule ends before them or no time places them."""
    counts = evidence.summary["counts"]
    unplaced = {id: found.get("left_out", 0) for id, found in counts.items() if found.get("left_out")}
    if unplaced:
        worst = max(unplaced, key=lambda id: unplaced[id])
        others = f", {len(unplaced) - 1} other cameras have some, too" if len(unplaced) > 1 else ""
        severity: Severity = "bad" if unplaced[worst] > BAD_LOSS * counts[worst]["container"] else "warn"
        text = f"{worst}: {unplaced[worst]:,} of {counts[worst]['container']:,} pictures have no place in the schedule"
        yield severity, text + others


def _calibration(evidence: Evidence) -> Iterator[Line]:
    yield from calibration_troubles(evidence.calibration)


def _disk(evidence: Evidence) -> Iterator[Line]:
    disk = evidence.disk
    if disk is not None and disk.free < disk.used:
        used, free = size_in_words(disk.used), size_in_words(disk.free)
        yield "warn", f"{free} free: no room for another take of this size (about {used})"


def _disk_words(evidence: Evidence) -> str:
    return "not on a disk of this machine" if evidence.disk is None else str(evidence.disk)


def _light(evidence: Evidence, key: str) -> list[tuple[str, Any]]:
    return sorted((evidence.summary["light"].get(key) or {}).items())


def _counts(evidence: Evidence) -> str:
    cameras, pairs = len(evidence.cameras), evidence.pairs
    if evidence.rig_only:
        return f"{cameras} {'camera' if cameras == 1 else 'cameras'}, no take"
    length = clock_time(int(evidence.time_ns[-1] - evidence.time_ns[0])).partition(".")[0]
    return (
        f"{cameras} {'camera' if cameras == 1 else 'cameras'}, {pairs:,} {'pair' if pairs == 1 else 'pairs'}, {length}"
    )


def listed(names: Sequence[str], shown: int = 4) -> str:
    """``a, b, c, d and 3 more``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _always(text: str) -> Callable[[Evidence], str]:
    return lambda evidence: text


# topic: (key of the summary that it needs, what may be wrong, what to say when nothing is)
TOPICS: Mapping[str, tuple[str, Callable[[Evidence], Iterator[Line]], Callable[[Evidence], str]]] = {
    "ingest": ("", _ingest, _always("finished")),
    "drops": ("", _drops, _always("no frame lost")),
    "sync": ("light", _sync, _always("all cameras in step")),
    "lighting": ("light", _lighting, _always("every frame was lit as the schedule says")),
    "exposure": ("quality", _exposure, _always("all cameras alike")),
    "clipping": ("quality", _clipping, _always("nothing to speak of")),
    "focus": ("quality", _focus, _always("all cameras sharp from first to last")),
    "noise": ("quality", _noise, _always("no camera stands out")),
    "motion": ("motion", motion_troubles, _always("slow enough to align")),
    "lights": ("quality", _lights, _always("every light was seen")),
    "files": ("counts", _files, _always("every picture of every file was decoded")),
    "calibration": ("", _calibration, lambda evidence: calibration_headline(evidence.calibration)),
    "disk": ("", _disk, _disk_words),
}
