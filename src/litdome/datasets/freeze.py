"""Freeze a spec: which sessions, in which state, under which decisions; and say what has changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from litdome.datasets.spec import DatasetSpec, DecisionCopy, SessionRef
from litdome.errors import UsageError
from litdome.store.decisions import read_decisions
from litdome.store.provenance import digest
from litdome.store.session import Session


def freeze_spec(sessions: Sequence[Session], spec: DatasetSpec) -> DatasetSpec:
    """``spec`` with the sessions' fingerprints and the decisions as they stand now."""
    refs, copies = [], []
    names = session_names([session.url for session in sessions])
    for name, session in zip(names, sessions, strict=True):
        refs.append(session_ref(name, session, spec))
        copies += decision_copies(name, session)
    return spec.model_copy(update={"sessions": tuple(refs), "decisions": tuple(copies)})


def session_ref(name: str, session: Session, spec: DatasetSpec) -> SessionRef:
    """A session as it stands now; of color and lights only if ``spec`` asks for what they make."""
    unread = {"hdri"}  # a dataset projects the lights itself, at its own size
    unread |= {"color"} if spec.colors == "recorded" else set()
    unread |= {"lights"} if spec.hdris == "requested" else set()
    stages = {record.stage: record.fingerprint for record in session.records() if record.stage not in unread}
    gain = session.light_gain
    return SessionRef(path=session.url, name=name, fingerprint=digest(stages), stages=stages, light_gain=gain)


def decision_copies(name: str, session: Session) -> list[DecisionCopy]:
    """The decisions about a session as they stand now."""
    return [DecisionCopy(session=name, **asdict(decision)) for decision in read_decisions(session.url)]


def session_names(urls: Sequence[str]) -> list[str]:
    """Names inside a dataset: the stores' stems, numbered where two are the same."""
    stems = [url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr") for url in urls]
    names, taken = [], set(stems)
    for n, stem in enumerate(stems):
        numbered = (f"{stem}-{number}" for number in range(n, n + len(stems) + 1))
        names.append(stem if stems.count(stem) == 1 else next(name for name in numbered if name not in taken))
        taken.add(names[-1])
    return names


def need_distinct(sessions: Sequence[Session]) -> None:
    """Refuse one recording twice: what is held out of one would be trained on in the other.

    Raises:
        UsageError: Names both.
    """
    known: dict[str, str] = {}
    for session in sessions:
        record = session.record("ingest")
        for mark in {session.url.rstrip("/"), *([] if record is None else record.inputs.values())}:
            if mark in known:
                raise UsageError(f"{known[mark]} and {session.url} hold the same recording", hint="give one of them")
            known[mark] = session.url


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two specs (plain, as datasets carry them), in words, one line each."""
    before, after = ({ref["name"]: ref for ref in spec["sessions"]} for spec in (then, now))
    found = [f"session {name} was not in it" for name in after if name not in before]
    found += [f"session {name} is missing" for name in before if name not in after]
    for name in before.keys() & after.keys():
        found += _session_changes(name, before[name], after[name])
        counts = [sum(copy["session"] == name for copy in spec["decisions"]) for spec in (then, now)]
        own = [[copy for copy in spec["decisions"] if copy["session"] == name] for spec in (then, now)]
        if own[0] != own[1]:
            found.append(f"{name}: decisions: {counts[0]} then, {counts[1]} now")
    rest = [{key: value for key, value in spec.items() if key not in ("sessions", "decisions")} for spec in (then, now)]
    return sorted(found) + list(_setting_changes("", *rest))


def _session_changes(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    stages = [ref.get("stages", {}) for ref in (then, now)]
    if then["fingerprint"] != now["fingerprint"]:
        changed = [stage for stage in sorted({*stages[0], *stages[1]}) if stages[0].get(stage) != stages[1].get(stage)]
        yield f"{name}: changed by {', '.join(changed) if all(stages) else 'stages that were run since'}"
    gains = [ref.get("light_gain", 1.0) for ref in (then, now)]
    if gains[0] != gains[1]:
        yield f"{name}: light gain {gains[0]:g} then, {gains[1]:g} now"


def _setting_changes(where: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*then, *now}):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _setting_changes(f"{where}{key}.", before, after)
        elif before != after:
            yield f"{where}{key}: {before} then, {after} now"
