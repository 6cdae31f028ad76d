"""Write a recording folder as a light stage would, with the exact truth beside it in truth/:

``rig.json`` cameras, lost pictures; ``masks/ID.npz`` mask (frame, y, x); ``motion/ID.npz`` to_relit and to_next_flat
(pair, 2, y, x) px, NaN where nothing is or gets hidden; ``albedo/ID/FRAME.png``; ``flat_at_relit/ID/FRAME.png``;
``body.npz`` pose, expression, joints and vertices (frame, ...); ``boards.npz`` world_from_board of the joint take.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tomli_w

from litdome.compute import default_workers, run_units
from litdome.errors import UsageError
from litdome.geometry import Rig
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_hdr
from litdome.progress import Progress, silent
from litdome.synth.boards import BoardDesign, board_for, extrinsic_poses, film_board, intrinsic_poses
from litdome.synth.body import Body, make_body
from litdome.synth.film import Film, Shot, UInt8Array, shoot
from litdome.synth.hdris import HDRI_KINDS, make_hdri
from litdome.synth.render import Float32Array
from litdome.synth.rig import expose, make_rig, wall_picture
from litdome.synth.shading import DirectionalLights, dome_lights, flat_lights

FAULTS = ("drop-frame", "late-camera", "no-timestamps")
LATE_FRAMES = 3
MIN_BOARD_HEIGHT = 200  # px: below, no marker can be read
INTRINSIC_PICTURES, EXTRINSIC_FRAMES = 12, 24
CAMERA_CRF, BOARD_CRF = 14, 12
CLOCK_START_NS = 1_700_000_000_000_000_000
CLOCK_JITTER_NS = 100_000


@dataclass(frozen=True)
class RecordingTruth:
    """What nobody knows of a real recording; the same lies in its truth/ folder.

    Attributes:
        folder: The recording.
        rig: Exact cameras (truth/rig.json).
        schedule: What was lit at each rig frame (lights.csv says so too).
        body: The person: pose, expression and surface at any time.
        start_s: The body's time at rig frame 0.
        fps: Rig frames per second.
        first_frame: Rig frame of each camera's first picture.
        lost: (camera, rig frame) of pictures that were never stored.
    """

    folder: Path
    rig: Rig
    schedule: LightingSchedule
    body: Body
    start_s: float
    fps: float
    first_frame: tuple[int, ...]
    lost: tuple[tuple[str, int], ...]

    def time_s(self, frame: int) -> float:
        """The body's time at a rig frame, s."""
        return self.start_s + frame / self.fps

    def stored(self, camera: int) -> list[int]:
        """Rig frames of the pictures in a camera's file, in their order."""
        lost = {frame for id, frame in self.lost if id == self.rig.ids[camera]}
        frames = range(self.first_frame[camera], len(self.schedule.kind))
        return [frame for frame in frames if frame not in lost]


def make_recording(
    folder: Path,
    *,
    cameras: int = 6,
    pairs: int = 24,
    subject: str = "s1",
    faults: Sequence[str] = (),
    seed: int = 0,
    width: int = 360,
    height: int = 640,
    fps: float = 25.0,
    hdris: int = 8,
    lights: int = 128,
    boards: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RecordingTruth:
    """Film a simulated person on a simulated light stage.

    Args:
        folder: The recording to write; it appears when it is whole.
        cameras, width, height: Of the rig; sizes even, px.
        pairs: Flat/relit pairs; frames alternate and end on a flat one.
        subject: ``s1`` to ``s4``.
        faults: What goes wrong: ``drop-frame`` (the second camera loses a picture in the middle), ``late-camera`` (the
            last one starts three frames late), ``no-timestamps``.
        seed: Draws lights, motion, lenses and noise.
        hdris: Number of HDRIs, each lit for a few pairs in a row, twice where there are pairs enough.
        lights: LEDs on the dome.
        boards: Also film a calibration board (not below 200 px height: no marker could be read).
        workers: Threads; all cores when None.
        progress: Hears of every frame.

    Raises:
        UsageError: The folder has something in it, or an argument that cannot be.
    """
    _check(folder, cameras, pairs, faults, height, boards)
    rng, report, threads = np.random.default_rng([seed, 11]), progress or silent, workers or default_workers()
    body, rig = make_body(subject), make_rig(cameras, width=width, height=height, seed=seed)
    schedule, maps = _draw_lights(pairs, min(hdris, pairs), seed, rng)
    truth = RecordingTruth(
        folder=folder,
        rig=rig,
        schedule=schedule,
        body=body,
        start_s=float(rng.uniform(0, 60)),
        fps=fps,
        first_frame=tuple(LATE_FRAMES * ("late-camera" in faults and k == cameras - 1) for k in range(cameras)),
        lost=((rig.ids[min(1, cameras - 1)], len(schedule.kind) // 2),) if "drop-frame" in faults else (),
    )
    flat = flat_lights(lights)
    lit = [dome_lights(hdr, lights) for hdr in maps]
    design = board_for(height) if boards else None
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_description(partial, truth, design, "no-timestamps" not in faults)
        for entry, hdr in zip(schedule.entries, maps, strict=True):
            write_hdr(_made(partial / "hdris" / f"{entry.name}.exr"), hdr)
        by_frame = [lit[index] if index >= 0 else flat for index in schedule.hdri]
        film = Film(rig, body, truth.start_s, fps, by_frame, flat, seed)
        _write_takes(partial, truth, film, threads, report)
        _write_plates(partial, rig, flat, seed)
        if design:
            _write_boards(partial, film, design, threads, report)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return truth


def _check(folder: Path, cameras: int, pairs: int, faults: Sequence[str], height: int, boards: bool) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists", hint="choose another folder, or delete it")
    for name, value in (("cameras", cameras), ("pairs", pairs)):
        if value < 1:
            raise UsageError(f"{name} = {value}, at least 1 is needed")
    for fault in faults:
        if fault not in FAULTS:
            raise UsageError(f"no fault {fault!r}", hint=f"one of {', '.join(FAULTS)}")
    if "late-camera" in faults and cameras < 2:
        raise UsageError("late-camera needs 2 cameras, 1 given", hint="--cameras 2")
    if boards and height < MIN_BOARD_HEIGHT:
        raise UsageError(f"height {height} px: a board needs {MIN_BOARD_HEIGHT} px", hint="boards=False, or larger")


def _draw_lights(
    pairs: int, count: int, seed: int, rng: np.random.Generator
) -> tuple[LightingSchedule, list[Float32Array]]:
    """The schedule, flat and HDRI in turn, and the radiance of its entries."""
    kinds = list(HDRI_KINDS)
    names = sorted(f"{kinds[k % len(kinds)]}_{k:02d}" for k in range(count))
    maps = [make_hdri(name.rsplit("_", 1)[0], seed * 100 + int(name.rsplit("_", 1)[1])) for name in names]
    rounds = 2 if pairs >= 2 * count else 1  # a light that comes twice can be in the training and in a held-out motion
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    blocks = np.array_split(np.arange(pairs), len(order))
    hdri = np.full(2 * pairs + 1, -1, np.int32)
    for index, block in zip(order, blocks, strict=True):
        hdri[2 * block + 1] = index
    kind = np.where(hdri >= 0, KIND_CODES["hdri"], KIND_CODES["flat"]).astype(np.uint8)
    return LightingSchedule(kind, hdri, tuple(HdriEntry(name) for name in names)), maps


def _write_takes(partial: Path, truth: RecordingTruth, film: Film, workers: int, report: Progress) -> None:
    """Videos and truth, frame by frame."""
    ids, frames = truth.rig.ids, len(film.lights)
    stored = [set(truth.stored(k)) for k in range(len(ids))]
    masks: list[list[UInt8Array]] = [[] for _ in ids]
    shape = (frames // 2, 2, 2, truth.rig.cameras[0].height, truth.rig.cameras[0].width)
    motion = [np.empty(shape, np.float16) for _ in ids]
    report("film", 0, frames)
    with ExitStack() as stack:
        videos = [
            stack.enter_context(VideoWriter(partial / "cameras" / f"{id}.mp4", fps=truth.fps, crf=CAMERA_CRF))
            for id in ids
        ]
        for frame, shots in enumerate(shoot(film, workers)):
            for k, shot in enumerate(shots):
                if frame in stored[k]:
                    videos[k].write(shot.rgb)
                masks[k].append(shot.mask)
                if shot.motion is not None:
                    motion[k][frame // 2] = shot.motion
                _write_pictures(partial / "truth", ids[k], frame, shot)
            report("film", frame + 1, frames)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda k: _write_fields(partial / "truth", ids[k], masks[k], motion[k]), range(len(ids))))
    _write_body(partial / "truth", truth)


def _write_fields(folder: Path, camera: str, masks: list[UInt8Array], motion: npt.NDArray[np.float16]) -> None:
    np.savez_compressed(_made(folder / "masks" / f"{camera}.npz"), mask=np.stack(masks))
    path = _made(folder / "motion" / f"{camera}.npz")
    np.savez_compressed(path, to_relit=motion[:, 0], to_next_flat=motion[:, 1])


def _write_pictures(folder: Path, camera: str, frame: int, shot: Shot) -> None:
    for kind, picture in (("albedo", shot.albedo), ("flat_at_relit", shot.flat)):
        if picture is not None:
            _write_png(folder / kind / camera / f"{frame:06d}.png", picture)


def _write_body(folder: Path, truth: RecordingTruth) -> None:
    """Pose, expression and surface at every rig frame."""
    times = [truth.time_s(frame) for frame in range(len(truth.schedule.kind))]
    poses = [truth.body.pose(time) for time in times]
    np.savez_compressed(
        _made(folder / "body.npz"),
        time_s=np.array(times),
        rotations=np.stack([pose.rotations for pose in poses]),
        translation=np.stack([pose.translation for pose in poses]),
        expression=np.stack([truth.body.expression(time) for time in times]),
        joints=np.stack([truth.body.joints(time) for time in times]),
        vertices=np.stack([truth.body.vertices(time) for time in times]).astype(np.float32),
        faces=truth.body.template.faces,
    )


def _write_plates(partial: Path, rig: Rig, flat: DirectionalLights, seed: int) -> None:
    for k, camera in enumerate(rig.cameras):
        picture = expose(wall_picture(camera, flat), np.random.default_rng([seed, 5, k]))
        _write_png(partial / "background" / f"{camera.id}.png", picture)


def _write_boards(partial: Path, film: Film, design: BoardDesign, workers: int, report: Progress) -> None:
    cameras = film.rig.cameras
    together = extrinsic_poses(film.rig, design, EXTRINSIC_FRAMES, np.random.default_rng([film.seed, 6]))
    np.savez(_made(partial / "truth" / "boards.npz"), world_from_board=np.stack(together))

    def film_takes(k: int) -> None:
        camera, rng = cameras[k], np.random.default_rng([film.seed, 7, k])
        wall = wall_picture(camera, film.flat)
        alone = intrinsic_poses(camera, design, INTRINSIC_PICTURES, rng)
        for take, poses in (("intrinsic", alone), ("extrinsic", together)):
            with VideoWriter(partial / "boards" / take / f"{camera.id}.mp4", fps=5, crf=BOARD_CRF) as video:
                for pose in poses:
                    video.write(film_board(camera, design, pose, wall, rng))

    report("boards", 0, len(cameras))
    run_units(
        film_takes,
        range(len(cameras)),
        workers=workers,
        on_done=lambda k: report("boards", k + 1, len(cameras)),
    )


def _write_description(partial: Path, truth: RecordingTruth, design: BoardDesign | None, timestamps: bool) -> None:
    """recording.toml, lights.csv, timestamps.csv and truth/rig.json."""
    late = {} if timestamps else {id: f for id, f in zip(truth.rig.ids, truth.first_frame, strict=True) if f}
    table = {
        "name": truth.folder.name,
        "subject": truth.body.subject,
        "fps": truth.fps,
        "transfer": "srgb",
        "consent": {"version": "synthetic-1", "uses": ["research", "train", "publish", "likeness-synthesis"]},
        "lights": {"schedule": "lights.csv", "hdri_convention": "physical"},
        **({"board": _board_table(design)} if design else {}),
        "cameras": {
            camera.id: {
                "source": f"cameras/{camera.id}.mp4",
                "role": camera.role,
                **({"frame_offset": late[camera.id]} if camera.id in late else {}),
            }
            for camera in truth.rig.cameras
        },
    }
    _made(partial / "recording.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    names = {code: kind for kind, code in KIND_CODES.items()}
    entries = [truth.schedule.entries[i].name if i >= 0 else "" for i in truth.schedule.hdri]
    lights = [(frame, names[int(truth.schedule.kind[frame])], entry) for frame, entry in enumerate(entries)]
    _write_csv(partial / "lights.csv", ("frame", "kind", "hdri"), lights)
    if timestamps:
        _write_csv(partial / "timestamps.csv", ("camera", "frame", "time_ns"), _timestamps(truth))
    _made(partial / "truth" / "rig.json").write_text(json.dumps(_rig_table(truth), indent=1), encoding="utf-8")


def _board_table(design: BoardDesign) -> dict[str, object]:
    return {"kind": "charuco", **asdict(design)}


def _rig_table(truth: RecordingTruth) -> dict[str, object]:
    arrays = ("intrinsics", "distortion", "world_from_camera")
    plain = ("id", "width", "height", "model", "role")
    cameras = [
        {**{n: getattr(c, n) for n in plain}, **{n: getattr(c, n).tolist() for n in arrays}} for c in truth.rig.cameras
    ]
    lost = [{"camera": id, "frame": frame} for id, frame in truth.lost]
    return {"cameras": cameras, "first_frame": list(truth.first_frame), "lost": lost, "start_s": truth.start_s}


def _timestamps(truth: RecordingTruth) -> list[tuple[str, int, int]]:
    """Exposure starts of all stored pictures, on one clock, with the jitter of real ones."""
    rng = np.random.default_rng([len(truth.schedule.kind), 9])
    rows = []
    for k, id in enumerate(truth.rig.ids):
        for index, frame in enumerate(truth.stored(k)):
            jitter = int(rng.integers(-CLOCK_JITTER_NS, CLOCK_JITTER_NS))
            rows.append((id, index, CLOCK_START_NS + round(frame * 1e9 / truth.fps) + jitter))
    return rows


def _write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with _made(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_png(path: Path, picture: UInt8Array) -> None:
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 2])
    _made(path).write_bytes(encoded.tobytes())


def _made(path: Path) -> Path:
    """The path, its folder there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
