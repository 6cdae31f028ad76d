"""The demo: film, ingest, process, bake, fine-tune, relight, evaluate, report; each step only where it is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from litdome import open_session
from litdome.cli.console import interruptible, progress_bars
from litdome.cli.evaluate import evaluate_run
from litdome.cli.plugin import load_plugin
from litdome.config import build_config
from litdome.datasets.build import build_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import DatasetView, open_dataset
from litdome.datasets.withdrawal import subjects_of, video_comment
from litdome.media.encode import VideoWriter
from litdome.media.hdr import read_hdr
from litdome.pipeline import ORDER, config_for, ingest_recording, processing_stages, run_stage
from litdome.progress import Progress, ShouldStop
from litdome.report.page import write_report
from litdome.synth import make_recording
from litdome.train_plugins.clips import dataset_clip
from litdome.train_plugins.relighting import relight_clip, side_by_side
from litdome.train_plugins.run import RunFolder

HEIGHT, WIDTH = 176, 320  # one training step of the tiny base at 704x1280 takes seconds on two cores
EVALUATED = 8  # samples a split
QUICK_LIGHTS = 128  # at infinity: half the time of a dome of LEDs
# The tiny base is narrow and knows no people: every layer adapts, the person counts more than the wall, and tinted
# light keeps a take of seven lights from being learned by heart.
TRAINING = {"learning_rate": 2e-3, "background_weight": 0.05, "light_variants": 6, "lora": {"targets": "all"}}


@dataclass
class Walk:
    """The demo's folder: what lies where, and how long each step took (kept in demo.json across runs)."""

    folder: Path
    timings: dict[str, float] = field(default_factory=dict)

    recording = property(lambda self: self.folder / "take01")
    session = property(lambda self: self.folder / "take01.zarr")
    dataset = property(lambda self: self.folder / "take01-data")
    run = property(lambda self: self.folder / "relighter")
    relit = property(lambda self: self.folder / "relit.mp4")
    turning = property(lambda self: self.folder / "turning-light.mp4")

    def remember(self) -> None:
        """Write demo.json."""
        parts = {name: getattr(self, name).name for name in ("recording", "session", "dataset", "run")}
        videos = [path.name for path in (self.relit, self.turning) if path.exists()]
        text = json.dumps({**parts, "videos": videos, "timings": self.timings}, indent=1)
        (self.folder / "demo.json").write_text(text)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the seconds spent inside to ``what``."""
        start = time.monotonic()
        yield
        self.timings[what] = round(self.timings.get(what, 0.0) + time.monotonic() - start, 1)
        self.remember()


def walk_demo(folder: Path, *, cameras: int, pairs: int, steps: int) -> Path:
    """Walk the whole way in ``folder``; gives the report's path. Run again, it does only what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    walk = Walk(folder)
    if (folder / "demo.json").exists():
        walk.timings = json.loads((folder / "demo.json").read_text())["timings"]
    with progress_bars() as progress, interruptible() as should_stop:
        todo: tuple[tuple[str, Callable[[], None]], ...] = (
            ("film", lambda: _film(walk, cameras, pairs, progress)),
            ("process", lambda: _process(walk, progress, should_stop)),
            ("bake", lambda: _bake(walk, progress, should_stop)),
            ("train", lambda: _train(walk, steps, progress, should_stop)),
            ("relight", lambda: _relight(walk, progress)),
        )
        for what, step in todo:
            with walk.timed(what):
                step()
            if should_stop():
                break
    with walk.timed("evaluate"):
        if not (walk.run / "evaluation.json").exists():
            evaluate_run(walk.run, (), EVALUATED, "cpu")
    return write_report(folder, None)


def _film(walk: Walk, cameras: int, pairs: int, progress: Progress) -> None:
    if not walk.recording.exists():
        make_recording(walk.recording, cameras=cameras, pairs=pairs, lights=QUICK_LIGHTS, progress=progress)


def _process(walk: Walk, progress: Progress, should_stop: ShouldStop) -> None:
    url = str(walk.session)
    ingest_recording(walk.recording, url, {}, progress=progress, should_stop=should_stop)
    session = open_session(url, writable=True)
    stages = processing_stages()
    for name in ORDER[1:]:
        if should_stop():
            return
        config = config_for(stages[name], {})
        run_stage(session, stages[name], config, progress=progress, should_stop=should_stop)


def _bake(walk: Walk, progress: Progress, should_stop: ShouldStop) -> None:
    if should_stop() or walk.dataset.exists():
        return
    spec = build_config(DatasetSpec, "dataset", {"dataset": {"size": {"height": HEIGHT, "width": WIDTH}}})
    build_dataset([open_session(str(walk.session))], walk.dataset, spec, progress=progress, should_stop=should_stop)


def _train(walk: Walk, steps: int, progress: Progress, should_stop: ShouldStop) -> None:
    if should_stop() or _is_trained(walk):
        return
    trainer = load_plugin("relighter")
    data = open_dataset(walk.dataset)
    if (walk.run / "run.json").exists():
        run = RunFolder.open(walk.run, progress=progress)
        config = run.config(trainer.Config)
    else:
        config = trainer.Config.model_validate({**TRAINING, "steps": steps})
        run = RunFolder.create(
            walk.run,
            plugin="relighter",
            config=config,
            dataset=str(walk.dataset.resolve()),
            dataset_fingerprint=data.fingerprint,
            subjects=subjects_of(data.attrs["sessions"]),
            progress=progress,
        )
    with run:
        trainer.fit(data.split("train"), config, run)


def _is_trained(walk: Walk) -> bool:
    if not (walk.run / "run.json").exists():
        return False
    run = RunFolder.open(walk.run)
    last = run.latest_checkpoint()
    return last is not None and last.name == f"step-{run.record.steps:06d}"


def _relight(walk: Walk, progress: Progress) -> None:
    if walk.turning.exists() or not _is_trained(walk):
        return
    data = open_dataset(walk.dataset)
    renderer = load_plugin("relighter").load(RunFolder.open(walk.run), "cpu")
    light = _held_out_light(data)
    hdr = read_hdr(next((walk.recording / "hdris").glob(f"{light}.*")))
    clip = dataset_clip(data)
    flat = np.stack(list(clip.pictures.start_at(0)))
    for path, turn in ((walk.relit, (0.0, 0.0)), (walk.turning, (0.0, 360.0))):
        relit = relight_clip(renderer, clip, hdr, rotate_deg=turn, progress=progress)
        comment = video_comment(walk.run, data.attrs["sessions"], light)
        with VideoWriter(path, fps=clip.fps, comment=comment) as writer:
            for frame in side_by_side([flat, relit]):
                writer.write(frame)


def _held_out_light(data: DatasetView) -> str:
    split = next((name for name in data.splits if "light" in name), data.splits[0])
    sample = data.split(split).read(0, ["session", "hdri"])
    entry: str = data.attrs["sessions"][int(sample["session"][0])]["hdris"][int(sample["hdri"][0])]
    return entry.split("@")[0]
