"""What the review page costs a curator with 50,000 pairs before them: a real session, server and browser.

    .venv/bin/python benchmarks/review.py [--cameras 4] [--pairs 12500] [--decisions 10000] [--width 72 --height 128]

The pictures are small unless asked otherwise; tables, decisions and thumbnails are as many as in a real take. Prints
the machine, its load, and milliseconds as the browser (headless Chromium, no GPU) sees them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.decisions import Decision, add_decision
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

REGIONS = ("face", "hands", "body")
SCORES = ("shift_px", "shift_p95_px", "reliability", "sharpness", "clipped", "flicker")
REASONS = ("absent", "no_mask", "no_flow", "mixed_light", "shift", "unreliable", "clipped", "repeated")
LIGHTS = 200
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FRAMES = """async steps => {
  const root = document.getElementById("grid"), times = [];
  let last = performance.now();
  for (let n = 0; n < steps; n++) {
    root.scrollTop += 40;
    await new Promise(done => requestAnimationFrame(done));
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times;
}"""
WORK = """({ kind, selector, options, times }) => {
  const costs = [], target = selector ? document.querySelector(selector) : window;
  const make = n => kind.startsWith("pointer")
    ? new PointerEvent(kind, { ...options, bubbles: true, clientX: options.from + n * 4 })
    : new KeyboardEvent(kind, { ...options, bubbles: true });
  return new Promise(resolve => {
    let n = 0;
    const step = () => {
      const start = performance.now();
      target.dispatchEvent(make(n));
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => {
          costs.push(performance.now() - start);
          if (++n < times) setTimeout(step, 20); else resolve(costs);
        };
        channel.port2.postMessage(0);
      });
    };
    step();
  });
}"""


def build(path: Path, cameras: int, pairs: int, size: tuple[int, int]) -> Session:
    """A take with every score of every pair, small pictures in real shards."""
    ids, rng = [f"c{n:02d}" for n in range(cameras)], np.random.default_rng(0)
    session = Session.new(str(path), {"name": "take02", "subject": "s03", "fps": 50.0, "recording": "/stage/take02"})
    about = {"camera_ids": ids, "roles": ["body"] * cameras, "models": ["pinhole5"] * cameras}
    session.write_small("rig/size", np.tile(np.int32(size), (cameras, 1)), ("camera", "axis"), attrs=about)
    kind = np.resize(np.uint8([1, 2]), 2 * pairs)
    hdri = np.where(kind == 2, np.arange(2 * pairs) // 2 % LIGHTS, -1).astype(np.int32)
    schedule = LightingSchedule(kind, hdri, tuple(HdriEntry(f"map{n:04d}") for n in range(LIGHTS)))
    time_ns = np.arange(2 * pairs, dtype=np.int64) * 20_000_000
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small(
        "schedule/hdri", hdri, ("frame",), attrs={"entries": [asdict(entry) for entry in schedule.entries]}
    )
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    session.write_small("schedule/present", np.ones((cameras, 2 * pairs), bool), ("camera", "frame"))
    for stored, word in (("flat", "flat"), ("relit", "hdri")):
        session.write_small(f"frames/{stored}", frames_of_kind(schedule, word), (stored,))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for id in ids:
        for stored in ("flat", "relit"):
            _write_pictures(session, f"cameras/{id}/{stored}/rgb", pairs, size)
    dims = ("camera", "pair")
    for name in SCORES:
        session.write_small(f"quality/{name}", rng.gamma(2, 1, (cameras, pairs)).astype(np.float32), dims, unit="px")
    regions = rng.gamma(2, 1, (cameras, pairs, len(REGIONS))).astype(np.float32)
    session.write_small("quality/region_shift_px", regions, (*dims, "region"), attrs={"names": list(REGIONS)})
    keep = session.read("quality/shift_px") < 4
    session.write_small("quality/keep", keep, dims)
    reason = np.where(keep, 0, 1 << REASONS.index("shift")).astype(np.uint16)
    session.write_small("quality/reason", reason, dims, attrs={"names": list(REASONS)})
    for stage in ("ingest", "align"):
        session.write_record(StageRecord(stage, 1, f"f-{stage}", {}, {}, started="a", finished="b"))
    return session


def _write_pictures(session: Session, path: str, pairs: int, size: tuple[int, int]) -> None:
    width, height = size
    session.create(path, (pairs, height, width, 3), "u1", ("n", "y", "x", "channel"))
    array, block = session.array(path), session.shard_frames
    ramp = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)[None, ..., None]
    for start in range(0, pairs, block):
        number = np.arange(start, min(start + block, pairs)).astype(np.uint8)[:, None, None, None]
        array[start : start + block] = np.repeat(ramp + number, 3, -1)


def decide_before(session: Session, decisions: int) -> None:
    """Days of work already done: one decision each, as single keys make them."""
    rng = np.random.default_rng(1)
    for n in range(decisions):
        camera, pair = session.cameras[int(rng.integers(len(session.cameras)))], int(rng.integers(len(session.pairs)))
        moment = f"2026-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}.000000+00:00"
        add_decision(session.url, Decision("drop", (camera,), ((pair, pair + 1),), "looked at", "ann", moment))


def prepared(url: str) -> float:
    """Seconds that making every thumbnail ahead takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "litdome", "-q", "review", url, "--prepare"], check=True, capture_output=True)
    return time.perf_counter() - start


@contextmanager
def served(url: str) -> Iterator[tuple[int, str, float]]:
    """``litdome review`` as a process: its id, the address, seconds until it answered."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "litdome", "review", url, "--no-browser", "--author", "ann"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    try:
        yield server.pid, address, time.perf_counter() - start
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1000


def dispatched(page: Page, kind: str, times: int, selector: str = "", **options: object) -> list[float]:
    """Milliseconds from each event until the frame that it changed was painted."""
    asked = {"kind": kind, "selector": selector, "options": options, "times": times}
    return list(page.evaluate(WORK, asked))


def measure(page: Page, address: str, steps: int) -> dict[str, list[float]]:
    """Milliseconds of what a curator does."""
    found = {}
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".tile img:not([hidden])")
    found["opening the address: first pictures of the grid"] = [1e3 * (time.perf_counter() - start)]
    page.wait_for_timeout(1500)
    found["scrolling the grid: a frame"] = page.evaluate(FRAMES, steps)
    found["next pair (j), grid"] = dispatched(page, "keydown", steps, key="j")
    page.select_option("#score", "hands_shift_px")
    found["sorting by a score and filtering"] = chosen(page, 'shift_px > 1 and region == "hands" and not decided')
    found["clearing the filter"] = chosen(page, "")
    box = page.locator("#histogram").bounding_box()
    assert box is not None
    drag = {"from": box["x"] + box["width"] * 0.3, "clientY": box["y"] + 20, "buttons": 1, "pointerId": 1}
    found["dragging the threshold: a step"] = dispatched(page, "pointermove", steps, "#histogram", **drag)
    page.keyboard.press("Escape")
    found["drop (x) and next, grid"] = dispatched(page, "keydown", steps, key="x")
    found["until that was saved on disk"] = [saves(page) for _ in range(10)]
    page.keyboard.press("Enter")
    page.wait_for_selector("#below:not(.none)")
    found["next pair (j), one pair, picture shown"] = [shown(page) for _ in range(20)]
    return found


def chosen(page: Page, text: str) -> list[float]:
    """Milliseconds until another filter is shown."""
    code = """text => {
      const start = performance.now(), filter = document.getElementById("filter");
      filter.value = text;
      filter.dispatchEvent(new Event("change"));
      return new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
    }"""
    return [float(page.evaluate(code, text)) for _ in range(5)]


def saves(page: Page) -> float:
    """Milliseconds from a key to the server's word that the decision is on disk."""
    page.wait_for_function("document.getElementById('saved').textContent === 'all saved'")
    code = """() => new Promise(done => {
      const start = performance.now(), saved = document.getElementById("saved");
      window.dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true }));
      new MutationObserver(() => { if (saved.textContent === "all saved") done(performance.now() - start); })
        .observe(saved, { childList: true });
    })"""
    return float(page.evaluate(code.replace("window.dispatch", "document.getElementById('grid').dispatch")))


def shown(page: Page) -> float:
    """Milliseconds from a key to the next pair's picture."""
    code = """() => new Promise(done => {
      const start = performance.now(), below = document.getElementById("below");
      const loaded = () => requestAnimationFrame(() => done(performance.now() - start));
      below.addEventListener("load", loaded, { once: true });
      document.getElementById("stage").dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    })"""
    time.sleep(0.3)  # a glance at the picture
    return float(page.evaluate(code))


def main() -> None:
    """Build the take, measure, print Markdown."""
    parser = argparse.ArgumentParser()
    numbers = {"cameras": 4, "pairs": 12_500, "decisions": 10_000, "width": 72, "height": 128, "steps": 60}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with tempfile.TemporaryDirectory() as folder:
        session = build(Path(folder) / "take02.zarr", options.cameras, options.pairs, (options.width, options.height))
        decide_before(session, options.decisions)
        ahead = prepared(session.url)
        with served(session.url) as (pid, address, ready), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            found = measure(page, address, options.steps)
            memory = memory_mb(pid)
            browser.close()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    take = f"{options.cameras} cameras x {options.pairs} pairs of {options.width}x{options.height} px"
    print(f"{take}, {options.decisions} decisions")
    print(f"all thumbnails ahead {ahead:.0f} s; litdome review answers after {ready:.1f} s;", end=" ")
    print(f"the server's memory at the end {memory:.0f} MB\n")
    print("| what | best ms | median ms | worst ms |\n|---|---|---|---|")
    for name, costs in found.items():
        print(f"| {name} | {min(costs):.1f} | {statistics.median(costs):.1f} | {max(costs):.1f} |")


if __name__ == "__main__":
    main()
