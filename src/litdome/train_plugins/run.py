"""One training's folder: configuration, metrics, checkpoints, previews; killed at any moment, it resumes."""

from __future__ import annotations

import json
import platform
import shutil
import signal
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import numpy as np
import numpy.typing as npt
import tomli_w
from pydantic import BaseModel

import litdome
from litdome.config import build_config
from litdome.errors import StoreError, UsageError
from litdome.progress import Progress, silent
from litdome.train_plugins.events import Events

RUN_SCHEMA = 1


@dataclass(frozen=True)
class RunRecord:
    """What run.json holds: who trained what, on which data.

    Attributes:
        plugin: Name of the trainer.
        seed: Where all randomness starts.
        device: What it was started on.
        dataset: Path of the dataset as given, and its fingerprint.
        steps: Steps that the configuration asks for, 0 where it does not say.
        subjects: Whom the dataset shows, pseudonyms; empty for runs of before this was recorded.
        started, host, software: Provenance.
    """

    plugin: str
    seed: int
    device: str
    dataset: str
    dataset_fingerprint: str
    steps: int
    subjects: tuple[str, ...] = ()
    started: str = field(default_factory=lambda: _now())
    host: str = field(default_factory=platform.node)
    software: str = f"litdome {litdome.__version__}"
    schema: int = RUN_SCHEMA


def checkpoints_of(run: Path) -> list[Path]:
    """A run's whole checkpoints in the order of their steps."""
    return sorted((run / "checkpoints").glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))


@dataclass
class RunFolder:
    """A run on disk; use it as a context manager to turn the first Ctrl-C into `should_stop`.

    Attributes:
        path, record: Where it is, and what run.json says.
        device: What to compute on.
        progress: Told of every step.
        writes: Whether this process records; of several that train together one does.
    """

    path: Path
    record: RunRecord
    device: str
    progress: Progress = silent
    writes: bool = True
    _stop: bool = False
    _logged: bool = False
    _events: Events | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        plugin: str,
        config: BaseModel,
        dataset: str,
        dataset_fingerprint: str,
        subjects: Sequence[str] = (),
        device: str = "cpu",
        progress: Progress = silent,
    ) -> RunFolder:
        """Start a new run; the seed and the number of steps are the configuration's ``seed`` and ``steps``.

        Raises:
            UsageError: The folder exists and is not empty.
        """
        if path.exists() and any(path.iterdir()):
            raise UsageError(f"{path}: exists", hint=f"--resume {path}, or another --out")
        record = RunRecord(
            plugin=plugin,
            seed=int(getattr(config, "seed", 0)),
            device=device,
            dataset=dataset,
            dataset_fingerprint=dataset_fingerprint,
            steps=int(getattr(config, "steps", 0)),
            subjects=tuple(subjects),
        )
        (path / "checkpoints").mkdir(parents=True)
        (path / "previews").mkdir()
        (path / "config.toml").write_text(
            tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)), encoding="utf-8"
        )
        (path / "run.json").write_text(json.dumps(record.__dict__, indent=1), encoding="utf-8")
        run = cls(path, record, device, progress)
        run.note(f"started {plugin} on {dataset}")
        return run

    @classmethod
    def open(
        cls, path: Path, *, device: str | None = None, progress: Progress = silent, writes: bool = True
    ) -> RunFolder:
        """Open a run to resume it or to use it.

        Raises:
            StoreError: Not a run, damaged, or written by a newer litdome.
        """
        try:
            fields = json.loads((path / "run.json").read_text(encoding="utf-8"))
            if fields["schema"] > RUN_SCHEMA:
                raise StoreError(f"{path}: run schema {fields['schema']} > {RUN_SCHEMA}", hint="update litdome")
            record = RunRecord(**fields)
        except FileNotFoundError as error:
            raise StoreError(f"{path}: not a run (no run.json)", hint="litdome train PLUGIN DATASET") from error
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise StoreError(f"{path}/run.json: damaged: {error}") from error
        return cls(path, record, device or record.device, progress, writes)

    @property
    def seed(self) -> int:
        """Where all randomness starts."""
        return self.record.seed

    def config(self, model: type[BaseModel]) -> BaseModel:
        """The configuration that the run was started with.

        Raises:
            StoreError: config.toml is missing or damaged.
            ConfigError: It does not fit ``model``.
        """
        try:
            table = tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise StoreError(f"{self.path}/config.toml: {error}") from error
        return build_config(model, self.record.plugin, {self.record.plugin: table})

    def latest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint's folder, or None."""
        found = checkpoints_of(self.path)
        return found[-1] if found else None

    @contextmanager
    def checkpoint(self, step: int) -> Iterator[Path]:
        """A folder to write into; renamed to ``step-000200`` when the block ends, removed when it fails."""
        whole = self.path / "checkpoints" / f"step-{step:06d}"
        partial = whole.with_name(f".{whole.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        if self._events is not None:
            self._events.flush()

    def log(self, step: int, **scalars: float) -> None:
        """Append one line to metrics.jsonl and report progress; a resumed run first drops what it does again.

        The same goes to ``tensorboard/`` where the configuration has ``tensorboard = true``.
        """
        if not self.writes:
            return
        if not self._logged:
            _keep_lines_before(self.path / "metrics.jsonl", step)
            if self._wants_events():
                self._events = Events(self.path / "tensorboard", step)
            self._logged = True
        if self._events is not None:
            self._events.add(step, scalars)
        line = json.dumps({"step": step, "time": _now(), **{key: float(value) for key, value in scalars.items()}})
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.progress(self.record.plugin, step, self.record.steps)

    def _wants_events(self) -> bool:
        file = self.path / "config.toml"
        return file.exists() and tomllib.loads(file.read_text(encoding="utf-8")).get("tensorboard") is True

    def metrics(self) -> list[dict[str, float | str]]:
        """The lines of metrics.jsonl, in order."""
        return [json.loads(line) for line in _whole_lines(self.path / "metrics.jsonl")]

    def preview(self, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Write ``previews/<name>.png`` from an RGB picture, shape (y, x, 3), uint8."""
        import cv2

        if not self.writes:
            return
        path = self.path / "previews" / f"{name}.png"
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise StoreError(f"{path}: cannot be written")
        if self._events is not None:
            self._events.show(name, picture)

    def note(self, text: str) -> None:
        """Append one line to log.txt."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {text}\n")

    def should_stop(self) -> bool:
        """Ctrl-C was pressed once."""
        return self._stop

    def __enter__(self) -> RunFolder:
        self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        if callable(self._previous) and self._previous is not signal.default_int_handler:
            self._previous(number, frame)  # whoever is around this run is told too


def _whole_lines(path: Path) -> list[str]:
    """Lines that end; a kill may leave half a line."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _keep_lines_before(path: Path, step: int) -> None:
    found = _whole_lines(path)
    kept = [line for line in found if json.loads(line)["step"] < step]
    if path.exists() and "".join(kept) != path.read_text(encoding="utf-8"):
        path.write_text("".join(kept), encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
