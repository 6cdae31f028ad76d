"""One self-contained HTML page about a session, a run, a demo folder or a folder with a day's takes."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from litdome import __version__
from litdome.errors import StoreError
from litdome.report.day_section import DaySection, day_section, stores_in
from litdome.report.demo_section import DemoSection, demo_section
from litdome.report.run_section import RunSection, run_section
from litdome.report.session_section import SessionSection, session_section
from litdome.store.provenance import now
from litdome.store.session import Session

STORE_FILE, RUN_FILE, DEMO_FILE = "zarr.json", "run.json", "demo.json"


def write_report(source: Path, output: Path | None = None) -> Path:
    """Write the page about ``source``.

    Args:
        source: A session, a run's folder, a demo's folder, or a folder with sessions and runs.
        output: The HTML file; by default NAME-report.html beside a session, report.html inside a folder.

    Returns:
        The file, whole: it is renamed to this name at the end.

    Raises:
        StoreError: Nothing there, none of these, or damaged.
    """
    page = output or default_output(source)
    if (source / DEMO_FILE).exists():
        html = _demo_page(source, page)
    elif (source / RUN_FILE).exists():
        html = render(run=run_section(source))
    elif (source / STORE_FILE).exists():
        html = render(session=session_section(Session.open(str(source))))
    elif source.is_dir() and stores_in(source):
        html = render(day=day_section(source, page))
    else:
        raise StoreError(
            f"{source}: {'not a session, run or demo, and holds none' if source.exists() else 'nothing there'}",
            hint="litdome report take01.zarr, a run's or a demo's folder, or a folder of sessions",
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.partial")
    partial.write_text(html, encoding="utf-8")
    partial.rename(page)
    return page


def default_output(source: Path) -> Path:
    """Where the page about ``source`` lies when nobody says where."""
    if (source / STORE_FILE).exists():
        return source.with_name(f"{source.name.removesuffix('.zarr')}-report.html")
    return source / "report.html"


def _demo_page(folder: Path, output: Path) -> str:
    demo = demo_section(folder, output)
    session = demo.parts.get("session")
    run = demo.parts.get("run")
    return render(
        demo=demo,
        session=None if session is None else session_section(Session.open(str(session))),
        run=None if run is None or not (run / RUN_FILE).exists() else run_section(run),
    )


def render(
    *,
    demo: DemoSection | None = None,
    session: SessionSection | None = None,
    run: RunSection | None = None,
    day: DaySection | None = None,
) -> str:
    """The page's HTML; text is escaped, charts are not."""
    environment = Environment(
        loader=PackageLoader("litdome.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    made = f"{now()[:16].replace('T', ' ')} UTC by litdome {__version__}"
    return template.render(demo=demo, session=session, run=run, day=day, made=made)
