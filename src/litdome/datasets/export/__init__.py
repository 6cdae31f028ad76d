"""Exports: a dataset as other programs read it. One module a format; splits stay apart, consent goes with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from litdome import __version__
from litdome.compute import default_workers, run_units
from litdome.datasets.export import clips, colmap, huggingface, humanolat, nerfstudio, webdataset
from litdome.datasets.export.shots import Selection, select_shots
from litdome.datasets.views import DatasetView
from litdome.datasets.withdrawal import need_consent
from litdome.errors import UsageError
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.store.files import appearing_folder, need_new_folder, refusals

EXPORT_FORMAT = "litdome-export"


class Format(Protocol):
    """A module of this package: its docstring says what it writes, and goes into the README."""

    __doc__: str | None

    def jobs(self, selection: Selection, folder: Path) -> list[Callable[[], None]]:
        """Pieces of work that together fill ``folder``, in any order."""


FORMATS: Mapping[str, Format] = {
    "nerfstudio": nerfstudio,
    "webdataset": webdataset,
    "colmap": colmap,
    "humanolat": humanolat,
    "mp4": clips,
    "huggingface": huggingface,
}
PICTURES = "8 bits, sRGB, undistorted and cropped as the dataset's, unmasked; 0 outside the crop"
SESSION_KEYS = ("name", "subject", "fps", "cameras", "hdris", "hdri_convention", "consent")


@dataclass(frozen=True)
class ExportSummary:
    """What an export made."""

    path: Path
    splits: Mapping[str, int]
    files: int
    bytes: int


def export_dataset(
    view: DatasetView,
    out: Path,
    format: str,
    *,
    splits: Sequence[str] | None = None,
    pairs: int | None = None,
    publish: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> ExportSummary | None:
    """Write a dataset as another program reads it; the folder appears when it is whole.

    Args:
        view: The dataset.
        out: The folder to make.
        format: One of `FORMATS`.
        splits: Which splits; all by default.
        pairs: At most this many pairs of each session and split; all by default.
        publish: It will be given away: needs the subjects' consent to that.
        workers, progress, should_stop: Threads and callbacks.

    Returns:
        What was made; None when ``should_stop`` ended it, and then nothing is left.

    Raises:
        UsageError: No such format or split, ``out`` exists, or nothing to export.
        ConsentError: A subject's consent does not cover it.
        StoreError: Disk full or read-only, or the dataset is damaged.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: not one of {', '.join(FORMATS)}", hint="--format nerfstudio")
    need_new_folder(out)
    selection = select_shots(view, splits, pairs)
    need_consent(selection.sessions.values(), "train", view.path)
    if publish:
        need_consent(selection.sessions.values(), "publish", view.path)
    try:
        with refusals(str(out)), appearing_folder(out) as folder:
            (folder / "export.json").write_text(json.dumps(about_export(selection, format, publish), indent=1))
            (folder / "README.md").write_text(readme(selection, format, publish))
            _run_jobs(FORMATS[format].jobs(selection, folder), workers or default_workers(), progress, should_stop)
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    except _StoppedError:
        return None
    return ExportSummary(out, selection.splits, len(sizes), sum(sizes))


def about_export(selection: Selection, format: str, publish: bool) -> dict[str, Any]:
    """What export.json says: the source, what may be done with it, and how it was selected; no path, no curator."""
    view = selection.view
    spec = dict(view.attrs["spec"])
    spec["sessions"] = [{key: ref[key] for key in ref if key != "path"} for ref in spec["sessions"]]
    spec["decisions"] = len(spec["decisions"])
    return {
        "format": EXPORT_FORMAT,
        "layout": format,
        "litdome": __version__,
        "dataset": view.path.name,
        "fingerprint": view.fingerprint,
        "publish": publish,
        "pictures": PICTURES,
        "splits": selection.splits,
        "sessions": [{key: about.get(key) for key in SESSION_KEYS} for about in selection.sessions.values()],
        "spec": spec,
    }


def readme(selection: Selection, format: str, publish: bool) -> str:
    """README.md: what is here, whose pictures it shows, and what those people agreed to."""
    view = selection.view
    head = huggingface.card_head(selection) if format == "huggingface" else ""
    lines = [
        f"# {view.path.name}, for {format}",
        "",
        f"Written by litdome {__version__} from the dataset {view.path.name} ({view.fingerprint[:12]}); "
        f"export.json says how it was made. Pictures: {PICTURES}.",
        "",
        "| split | samples |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in selection.splits.items()),
        "",
        "## Whose pictures these are",
        "",
        "To be given away as far as the consent below goes." if publish else "**Not to be given away.**",
        "A subject may withdraw: then these files must not be used any more.",
        "",
        "| session | subject | consent | allowed uses | until |",
        "|---|---|---|---|---|",
        *(_consent_row(name, about) for name, about in selection.sessions.items()),
        "",
        "## Files",
        "",
        "```",
        (FORMATS[format].__doc__ or "").strip(),
        "```",
        "",
    ]
    return head + "\n".join(lines)


class _StoppedError(Exception):
    """Ends an export from inside, so that its folder vanishes."""


def _consent_row(name: str, about: Mapping[str, Any]) -> str:
    consent = about.get("consent") or {}
    uses = ", ".join(consent["uses"]) if consent.get("uses") is not None else "not recorded"
    version, until = consent.get("version") or "not recorded", consent.get("expires") or ""
    return f"| {name} | {about.get('subject') or ''} | {version} | {uses} | {until} |"


def _run_jobs(jobs: Sequence[Callable[[], None]], workers: int, progress: Progress, should_stop: ShouldStop) -> None:
    done = 0

    def mark(index: int) -> None:
        nonlocal done
        done += 1
        progress("export", done, len(jobs))

    progress("export", 0, len(jobs))
    whole = run_units(lambda i: jobs[i](), range(len(jobs)), workers=workers, on_done=mark, should_stop=should_stop)
    if not whole:
        raise _StoppedError
