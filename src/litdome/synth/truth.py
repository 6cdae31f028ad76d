"""The exact truth of a simulated take, in memory and in the recording's truth/ folder:

``rig.json`` cameras, faults, lost pictures; ``lights.csv`` what was lit; ``masks/ID.npz`` mask (frame, y, x);
``motion/ID.npz`` to_relit and to_next_flat (pair, 2, y, x) px, NaN where nothing is or gets hidden;
``albedo/ID/FRAME.png``; ``flat_at_relit/ID/FRAME.png``; ``body.npz`` pose, expression, gaze, joints and vertices
(frame, ...), faces and their parts; ``boards.npz`` world_from_board of the joint take, floor_world_from_board of the
board on the floor; with full truth also ``frames/ID/FRAME.npz`` (`litdome.synth.ground_truth`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from litdome.geometry import Rig
from litdome.lighting import LightingSchedule
from litdome.synth.body import PART_NAMES, Body
from litdome.synth.faults import LATE_FRAMES, Fault, lost_frames
from litdome.synth.film import Shot, UInt8Array
from litdome.synth.ground_truth import write_frame_truth
from litdome.synth.spool import Spool, write_npz


@dataclass(frozen=True)
class RecordingTruth:
    """What nobody knows of a real recording; the same lies in its truth/ folder.

    Attributes:
        folder: The recording.
        rig: Exact cameras (truth/rig.json).
        schedule: What was lit at each rig frame (truth/lights.csv).
        body: The person: pose, expression and surface at any time.
        start_s: The body's time at rig frame 0.
        fps: Rig frames per second.
        faults: What went wrong.
        speed_px: Mean movement in the picture that came out where one was asked for, px a frame at a height of 1080.
    """

    folder: Path
    rig: Rig
    schedule: LightingSchedule
    body: Body
    start_s: float
    fps: float
    faults: tuple[Fault, ...] = ()
    speed_px: float | None = None

    @property
    def first_frame(self) -> tuple[int, ...]:
        """Rig frame of each camera's first picture."""
        late = {fault.camera for fault in self.faults if fault.name == "late-camera"}
        return tuple(LATE_FRAMES * (id in late) for id in self.rig.ids)

    @property
    def lost(self) -> tuple[tuple[str, int], ...]:
        """(camera, rig frame) of single pictures that were never stored."""
        return tuple((f.camera or "", frame) for f in self.faults if f.name == "drop-frame" for frame in f.frames)

    def has_fault(self, name: str) -> bool:
        """Whether a fault of that name befell the take."""
        return any(fault.name == name for fault in self.faults)

    def faults_of(self, camera: str) -> tuple[Fault, ...]:
        """What went wrong with one camera."""
        return tuple(fault for fault in self.faults if fault.camera == camera)

    def time_s(self, frame: int) -> float:
        """The body's time at a rig frame, s."""
        return self.start_s + frame / self.fps

    def stored(self, camera: int) -> list[int]:
        """Rig frames of the pictures in a camera's file, in their order."""
        lost = lost_frames(self.faults, self.rig.ids[camera])
        return [frame for frame in range(len(self.schedule.kind)) if frame not in lost]


class TruthWriter:
    """Writes what the shots of a take show, frame by frame; `close` writes the rest."""

    def __init__(self, folder: Path, truth: RecordingTruth) -> None:
        self.folder = folder
        self.truth = truth
        self.masks, self.to_relit, self.to_next_flat = (
            [Spool(folder / name) for _ in truth.rig.ids] for name in ("masks", "motion", "motion")
        )

    def write(self, frame: int, shots: Sequence[Shot]) -> None:
        """The truth of a rig frame, of all cameras."""
        for k, shot in enumerate(shots):
            self.masks[k].append(shot.mask)
            if shot.motion is not None:
                for to_relit in shot.motion[:-1]:
                    self.to_relit[k].append(to_relit)
                    self.to_next_flat[k].append(shot.motion[-1])
            camera = self.truth.rig.ids[k]
            for kind, picture in (("albedo", shot.albedo), ("flat_at_relit", shot.flat)):
                if picture is not None:
                    write_png(self.folder / kind / camera / f"{frame:06d}.png", picture)
            if shot.full is not None:
                write_frame_truth(self.folder / "frames" / camera / f"{frame:06d}.npz", shot.full)

    def close(self, workers: int) -> None:
        """Masks, motion and the body."""
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(self._write_fields, range(len(self.masks))))
        _write_body(self.folder, self.truth)

    def _write_fields(self, k: int) -> None:
        camera = self.truth.rig.ids[k]
        write_npz(self.folder / "masks" / f"{camera}.npz", {"mask": self.masks[k]})
        motion = {"to_relit": self.to_relit[k], "to_next_flat": self.to_next_flat[k]}
        write_npz(self.folder / "motion" / f"{camera}.npz", motion)


def write_rig_truth(folder: Path, truth: RecordingTruth) -> None:
    """truth/rig.json: exact cameras, and what went wrong."""
    arrays = ("intrinsics", "distortion", "world_from_camera")
    plain = ("id", "width", "height", "model", "role")
    cameras = [
        {**{n: getattr(c, n) for n in plain}, **{n: getattr(c, n).tolist() for n in arrays}} for c in truth.rig.cameras
    ]
    table = {
        "cameras": cameras,
        "first_frame": list(truth.first_frame),
        "lost": [{"camera": id, "frame": frame} for id, frame in truth.lost],
        "faults": [asdict(fault) for fault in truth.faults],
        "start_s": truth.start_s,
        "speed_px": truth.speed_px,
    }
    made(folder / "rig.json").write_text(json.dumps(table, indent=1), encoding="utf-8")


def _write_body(folder: Path, truth: RecordingTruth) -> None:
    """Pose, expression, gaze and surface at every rig frame."""
    body = truth.body
    names = ("time_s", "rotations", "translation", "expression", "gaze", "joints", "vertices")
    spools = {name: Spool(folder) for name in names}
    for frame in range(len(truth.schedule.kind)):
        time = truth.time_s(frame)
        pose = body.pose(time)
        values = (np.float64(time), pose.rotations, pose.translation, body.expression(time), body.gaze(time))
        surface = (body.joints(time), body.vertices(time).astype(np.float32))
        for spool, value in zip(spools.values(), (*values, *surface), strict=True):
            spool.append(np.asarray(value))
    fixed = {"faces": body.template.faces, "parts": body.labels, "part_names": np.array(PART_NAMES)}
    write_npz(folder / "body.npz", {**spools, **fixed})


def write_png(path: Path, picture: UInt8Array) -> None:
    """A picture as .png, its folder made."""
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 2])
    made(path).write_bytes(encoded.tobytes())


def made(path: Path) -> Path:
    """The path, its folder there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
