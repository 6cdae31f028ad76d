"""Ingest: a recording becomes a session; each block of a camera is decoded once and written shard after shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar, cast

import numpy as np

from litdome.capture.blocks import block_at, kinds_by_code, stored_frames
from litdome.capture.check import IngestConfig, IngestPlan, check_recording, stored_picture
from litdome.capture.looks import LOOK_ARRAYS, empty_looks, measure_picture
from litdome.capture.motion import MOTION_ARRAYS, MotionWatch, sampled_flats
from litdome.capture.outcome import ingest_summary
from litdome.capture.prepare import plane_shapes, prepare_session
from litdome.capture.recording import Recording
from litdome.media.images import iter_pictures
from litdome.media.planes import PictureCodes
from litdome.stage import RowWriter, SessionLike, StageConfig, Summary, Unit


class Ingest:
    """Copies a recording into a session: planes as decoded, the schedule, the pairs, the HDRIs."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "copy a recording into a session"
    needs: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[StageConfig]] = IngestConfig

    def __init__(self, recording: Recording, waiting: frozenset[str] = frozenset()) -> None:
        self.recording, self.waiting = recording, waiting
        self._plan: tuple[StageConfig, IngestPlan] | None = None

    def plan(self, config: StageConfig) -> IngestPlan:
        """`check_recording`, once per config (an `IngestConfig`)."""
        if self._plan is None or self._plan[0] != config:
            self._plan = (config, check_recording(self.recording, cast(IngestConfig, config), self.waiting))
        return self._plan[1]

    def prepare(self, session: SessionLike, config: IngestConfig) -> list[Unit]:
        """Write everything small and create the picture arrays; one unit per block of rig frames and camera."""
        plan = self.plan(config)
        prepare_session(session, plan, self.recording)
        frames = len(plan.lighting.pattern)
        starts = range(0, frames, plan.block_length)
        ends = [(start, min(start + plan.block_length, frames)) for start in starts]
        return [Unit(camera.id, start, stop) for start, stop in ends for camera in plan.cameras]

    def run(self, session: SessionLike, config: IngestConfig, unit: Unit) -> None:
        """Decode a block of one camera; write its shards, then what was seen of each rig frame."""
        plan = self.plan(config)
        row = next(n for n, camera in enumerate(plan.cameras) if camera.id == unit.camera)
        kinds = plan.lighting.schedule.kind
        index_in_kind = {code: np.cumsum(kinds == code) - 1 for code in kinds_by_code()}
        length = unit.stop - unit.start
        present = np.zeros(length, bool)
        camera = plan.cameras[row].id
        looks = empty_looks((camera,), length)
        steps = [step for step in sampled_flats(plan.lighting.schedule, plan.fps) if unit.start <= step[0] < unit.stop]
        watch = MotionWatch(steps, plan.probes[camera])
        motion = np.full((len(MOTION_ARRAYS), length), np.nan, np.float32)
        with _BlockShards(session, plan, row, unit) as shards:
            last = max([shards.last, *(step[1] + 1 for step in steps)])
            for frame, codes in _pictures(plan, row, unit.start, last):
                code = int(kinds[frame])
                if code in index_in_kind:
                    shards.put(code, int(index_in_kind[code][frame]), codes)
                moved = watch.see(frame, codes)
                if moved is not None:
                    motion[:, moved.frame - unit.start] = moved.mean_px, moved.p95_px
                if frame < unit.stop:
                    present[frame - unit.start] = True
                    looks.put(0, frame - unit.start, measure_picture(codes, plan.probes[camera]))
        for name in LOOK_ARRAYS:
            session.array(f"looks/{name}")[row, unit.start : unit.stop] = getattr(looks, name)[0]
        for name, values in zip(MOTION_ARRAYS, motion, strict=True):
            session.array(f"looks/{name}")[row, unit.start : unit.stop] = values
        session.array("schedule/present")[row, unit.start : unit.stop] = present

    def finish(self, session: SessionLike, config: IngestConfig) -> Summary:
        """Frames, drops, light and quality per camera, warnings; refuses pixels that contradict the schedule.

        Raises:
            InputError: The pictures show another light than the schedule says, and ``trust`` is not ``file``.
        """
        return ingest_summary(session, self.plan(config), config)


def _pictures(plan: IngestPlan, row: int, start: int, stop: int) -> Iterator[tuple[int, PictureCodes]]:
    """(rig frame, picture) of a camera for the rig frames ``start`` to ``stop`` that can be decoded, at stored size."""
    camera = plan.cameras[row]
    frames = plan.rig_frames[camera.id]
    wanted = np.flatnonzero((frames >= start) & (frames < stop))
    if not len(wanted):
        return
    subsampling, size = plan.probes[camera.id].subsampling, plan.sizes[camera.id]
    first, end = int(wanted[0]), int(wanted[-1]) + 1
    for n, codes in iter_pictures(camera.source, plan.indexes[camera.id], first, end):
        if start <= frames[n] < stop:
            yield int(frames[n]), stored_picture(codes, plan.crop, size, subsampling)


class _BlockShards:
    """The shards of a block, filled in the order of time; all are written, also those without a picture."""

    def __init__(self, session: SessionLike, plan: IngestPlan, row: int, unit: Unit) -> None:
        self.session = session
        camera = plan.cameras[row].id
        schedule = plan.lighting.schedule
        block = block_at(unit.start, unit.stop, stored_frames(schedule), session.shard_frames)
        self.last = block.last
        self.planes = tuple(plane_shapes(plan.probes[camera], plan.sizes[camera]))
        self.groups = {code: f"cameras/{camera}/{kind}" for code, kind in kinds_by_code().items()}
        self.pending = {code: list(block.shards[kind]) for code, kind in kinds_by_code().items()}
        self.open: dict[int, tuple[ExitStack, dict[str, RowWriter]]] = {}

    def __enter__(self) -> _BlockShards:
        return self

    def put(self, code: int, n: int, codes: PictureCodes) -> None:
        """The n-th stored picture of a kind; one that belongs to another block's shard is left."""
        while self.pending[code] and n >= self.pending[code][0][1]:
            self._close(code)
        if self.pending[code] and n >= self.pending[code][0][0]:
            for plane, writer in self._writers(code).items():
                writer.put(n, getattr(codes, plane))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            for code, pending in self.pending.items():
                while pending:
                    self._close(code)
        for stack, _ in self.open.values():
            stack.__exit__(kind, error, trace)

    def _writers(self, code: int) -> dict[str, RowWriter]:
        if code not in self.open:
            stack, start = ExitStack(), self.pending[code][0][0]
            paths = {plane: f"{self.groups[code]}/{plane}" for plane in self.planes}
            self.open[code] = stack, {}
            for plane, path in paths.items():
                self.open[code][1][plane] = stack.enter_context(self.session.shard_writer(path, start))
        return self.open[code][1]

    def _close(self, code: int) -> None:
        self._writers(code)
        stack, _ = self.open.pop(code)
        stack.close()
        self.pending[code].pop(0)
