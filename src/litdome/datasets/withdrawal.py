"""Withdrawal: find everything that was derived from a subject, and mark what must not be used any more.

Known by what each thing says of itself: recording.toml, the attributes of sessions and datasets, run.json,
export.json, relit.json, and the comment that litdome writes into a video. Nothing is deleted.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import av
import zarr

from litdome.consent import Use, require_use, withdrawn_consent
from litdome.datasets.build import DATASET_FORMAT
from litdome.errors import StoreError, UsageError
from litdome.store.files import refusals
from litdome.store.schema import SESSION_FORMAT

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
COMMENT = "comment"
BESIDE = {".decisions": "decisions", ".review": "thumbnails", "-report.html": "report"}  # of NAME.zarr
LATENTS = ".latents"  # encoded samples beside a dataset


@dataclass(frozen=True)
class Derived:
    """One thing that shows or was learned from people.

    Attributes:
        kind: recording, session, dataset, run, export, video, pictures (relit ones), or what lies beside a session.
        path: Where it is.
        subjects: Whose; pseudonyms.
        source: What it was made from, as it says itself; empty where it does not say.
        withdrawn: Whether consent is marked there as withdrawn.
    """

    kind: str
    path: Path
    subjects: tuple[str, ...]
    source: str = ""
    withdrawn: bool = False


def subjects_of(sessions: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Whom sessions show, as a dataset's attributes tell of them; pseudonyms, sorted."""
    return tuple(sorted({str(about.get("subject") or "") for about in sessions}))


def need_consent(sessions: Iterable[Mapping[str, Any]], use: Use | None, where: Path) -> None:
    """Refuse a dataset that shows somebody whose consent does not cover ``use`` today (None: no longer stands).

    Raises:
        ConsentError: One does not.
    """
    for about in sessions:
        require_use(about.get("consent"), use, f"{where}: {about['name']} (subject {about.get('subject')})")


def video_comment(run: Path, sessions: Sequence[Mapping[str, Any]], hdri: str) -> str:
    """What a relit video says of itself in its header: run, light, whom it shows, what they agreed to."""
    consents = [about.get("consent") for about in sessions]
    about = {
        "synthetic": True,
        "run": str(run.resolve()),
        "subjects": subjects_of(sessions),
        "hdri": hdri,
        "consent": consents,
    }
    return json.dumps({"litdome": about})


def find_derived(places: Iterable[Path]) -> list[Derived]:
    """Everything below ``places`` that says whom it shows, in the order of paths.

    Raises:
        UsageError: A place that is not there.
    """
    found: dict[Path, Derived] = {}
    for place in places:
        if not place.exists():
            raise UsageError(f"{place}: nothing there", hint="name folders that hold takes, datasets or runs")
        for one in _below(place):
            found[one.path.resolve()] = one
    return sorted(_with_sources(list(found.values())), key=lambda one: str(one.path))


def mark_withdrawn(derived: Derived, subject: str, day: date) -> None:
    """Note in a session or a dataset that ``subject`` took consent back on ``day``; other kinds are left as they are.

    Raises:
        StoreError: It cannot be written.
    """
    if derived.kind not in ("session", "dataset"):
        return
    with refusals(str(derived.path)):
        root = zarr.open_group(derived.path, mode="r+")
        if derived.kind == "session":
            root.attrs["consent"] = withdrawn_consent(cast(dict[str, Any] | None, root.attrs.get("consent")), day)
            return
        sessions = cast(list[dict[str, Any]], root.attrs["sessions"])
        theirs = [
            {**about, "consent": withdrawn_consent(about.get("consent"), day)} if about["subject"] == subject else about
            for about in sessions
        ]
        root.attrs["sessions"] = cast(Any, theirs)


def _below(place: Path) -> Iterator[Derived]:
    here = _known_folder(place) if place.is_dir() else _known_file(place)
    yield from here
    if _is_whole(here):
        return
    for folder, names, files in os.walk(place):
        for name in sorted(names):
            known = _known_folder(Path(folder) / name)
            yield from known
            if _is_whole(known):
                names.remove(name)
        for name in sorted(files):
            yield from _known_file(Path(folder) / name)


def _is_whole(known: Sequence[Derived]) -> bool:
    """Whether nothing else is looked for inside; somebody may have ingested into a recording's own folder."""
    return bool(known) and known[0].kind != "recording"


def _known_folder(folder: Path) -> list[Derived]:
    """What ``folder`` as a whole is; empty for an ordinary folder."""
    for name, read in (
        ("recording.toml", _recording),
        ("zarr.json", _store),
        ("run.json", _run),
        ("export.json", _export),
        ("relit.json", _relit),
    ):
        if (folder / name).is_file():
            found = read(folder, folder / name)
            if found:
                return found
    return []


def _recording(folder: Path, file: Path) -> list[Derived]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{file}: cannot be read: {error}", hint="mend it, or leave this place out") from error
    is_withdrawn = "withdrawn" in (table.get("consent") or {})
    return [Derived("recording", folder, (str(table.get("subject", "")),), "", is_withdrawn)]


def _store(folder: Path, file: Path) -> list[Derived]:
    attrs = _json(file).get("attributes") or {}
    if attrs.get("format") == SESSION_FORMAT:
        subject = str(attrs.get("subject") or "")
        source = str(attrs.get("recording") or "")
        session = Derived("session", folder, (subject,), source, _is_withdrawn(attrs))
        stem = str(folder).removesuffix(".zarr")
        beside = [(kind, Path(stem + suffix)) for suffix, kind in BESIDE.items()]
        return [session, *(Derived(kind, path, (subject,), str(folder)) for kind, path in beside if path.exists())]
    if attrs.get("format") == DATASET_FORMAT:
        sessions = attrs.get("sessions") or []
        names = ", ".join(str(ref["path"]) for ref in (attrs.get("spec") or {}).get("sessions", []))
        subjects = subjects_of(sessions)
        dataset = Derived("dataset", folder, subjects, names, any(_is_withdrawn(about) for about in sessions))
        latents = folder.with_name(folder.name + LATENTS)
        return [dataset, *([Derived("latents", latents, subjects, str(folder))] if latents.exists() else [])]
    return []


def _run(folder: Path, file: Path) -> list[Derived]:
    record = _json(file)
    if not record:
        return []
    return [Derived("run", folder, tuple(record.get("subjects") or ()), str(record.get("dataset") or ""))]


def _export(folder: Path, file: Path) -> list[Derived]:
    about = _json(file)
    if "sessions" not in about:
        return []
    return [Derived("export", folder, subjects_of(about["sessions"]), str(about.get("dataset") or ""))]


def _relit(folder: Path, file: Path) -> list[Derived]:
    about = _json(file).get("litdome")
    if not isinstance(about, dict):
        return []
    return [Derived("pictures", folder, tuple(about.get("subjects") or ()), str(about.get("run") or ""))]


def _known_file(file: Path) -> list[Derived]:
    if file.suffix.lower() not in VIDEO_SUFFIXES:
        return []
    try:
        with av.open(str(file)) as container:
            comment = container.metadata.get(COMMENT, "")
        about = json.loads(comment)["litdome"]
        return [Derived("video", file, tuple(about["subjects"]), str(about["run"]))]
    except (av.FFmpegError, ValueError, KeyError, TypeError):
        return []  # a video that is none of ours


def _with_sources(found: list[Derived]) -> list[Derived]:
    """Runs of before their record named the subjects get those of their dataset, where it was found too."""
    datasets = {str(one.path.resolve()): one for one in found if one.kind == "dataset"}
    return [
        Derived("run", one.path, datasets[one.source].subjects, one.source)
        if one.kind == "run" and not one.subjects and one.source in datasets
        else one
        for one in found
    ]


def _is_withdrawn(about: Mapping[str, Any]) -> bool:
    return bool((about.get("consent") or {}).get("withdrawn"))


def _json(file: Path) -> dict[str, Any]:
    """Its object; empty where it holds something else, as files of other programs may."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return cast(dict[str, Any], found) if isinstance(found, dict) else {}
    except (ValueError, OSError) as error:
        raise StoreError(f"{file}: cannot be read: {error}", hint="mend it, or leave this place out") from error
