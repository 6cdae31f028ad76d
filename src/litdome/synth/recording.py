"""Write a recording folder as a light stage would, with the exact truth beside it (`litdome.synth.truth`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

import numpy as np
import numpy.typing as npt

from litdome.compute import default_workers
from litdome.errors import UsageError
from litdome.lighting import KIND_CODES
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_hdr
from litdome.progress import Progress, silent
from litdome.store.files import appearing_folder, need_new_folder
from litdome.synth.actions import ActedMotion, acted_motion, draw_performance, read_performance, write_performance
from litdome.synth.boards import BoardDesign, board_for, write_board_takes
from litdome.synth.body import Body, make_body
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.charts import write_charts
from litdome.synth.description import write_description
from litdome.synth.dome import need_cameras_inside, wall_depth, wall_picture
from litdome.synth.faults import draw_faults
from litdome.synth.film import Film, Shot, shoot
from litdome.synth.light_setup import LightPlan, LightSetup, plan_light
from litdome.synth.optics import focused, without_person
from litdome.synth.picture_speed import at_speed_px
from litdome.synth.rig import make_rig, place_cameras
from litdome.synth.sensors import Sensor, expose, set_cameras, write_camera_truth
from litdome.synth.spoil import spoil_file, stored_picture
from litdome.synth.subjects import SUBJECTS
from litdome.synth.truth import RecordingTruth, TruthWriter, made, write_png, write_rig_truth

CAMERA_CRF = 14
AS_SET_UP = CameraSetup()
TruthDetail = Literal["minimal", "full"]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Take:
    """A take before it is filmed.

    Attributes:
        truth: What will be known of it.
        film: What is to be filmed.
        light: What is lit when.
    """

    truth: RecordingTruth
    film: Film
    light: LightPlan


class TakeWishes(TypedDict, total=False):
    """What may be asked of a take; what is left out is as `plan_take` has it.

    Attributes:
        cameras, width, height: Of the rig; sizes even, px.
        pairs: Relit frames, or LEDs that are lit alone; the take begins and ends on a flat frame. None: 24, or every
            LED once.
        interleave: Relit frames from one flat frame to the next; None: 1, or 20 of one LED each.
        subject: ``s1`` to ``s4``.
        actions: An actions.csv that says what is done when; None: the person moves about freely, or, in takes of HDRIs
            of 8 s and more without a ``speed_px``, does drawn actions.
        speed_px: Mean movement in the picture from one frame to the next, px at a height of 1080; None: unhurried.
        faults: What goes wrong: names of `litdome.synth.faults.FAULTS`.
        seed: Draws lights, motion, lenses and noise.
        hdris: Number of HDRIs, each lit for a few pairs in a row, twice where there are pairs enough.
        hdri_gain: Dims (or brightens) the HDRIs; lights.csv says so.
        light: LEDs, one at a time or by HDRIs, dark frames, session gain; None: 331 LEDs on a dome, lit by HDRIs.
        lights: So many at infinity instead (quicker), where ``light`` is None.
        camera: Exposure, lenses, shutters, noise and bits, and face cameras.
        color_spread: How much cameras differ in colour (0.1: gains by 20 %). Charts are photographed where cameras
            differ in any way from exact ones.
        bounce: The person is also lit by what it throws back on itself, once.
    """

    cameras: int
    pairs: int | None
    interleave: int | None
    subject: str
    actions: Path | None
    speed_px: float | None
    faults: Sequence[str]
    seed: int
    width: int
    height: int
    fps: float
    hdris: int
    hdri_gain: float
    light: LightSetup | None
    lights: int | None
    camera: CameraSetup
    color_spread: float
    bounce: bool


def make_recording(
    folder: Path,
    *,
    boards: bool = True,
    truth: TruthDetail = "minimal",
    workers: int | None = None,
    progress: Progress | None = None,
    **wishes: Unpack[TakeWishes],
) -> RecordingTruth:
    """Film a simulated person on a simulated light stage.

    Args:
        folder: The recording to write; it appears when it is whole.
        boards: Also film a calibration board (not below 200 px height: no marker could be read).
        truth: ``full`` adds depth, normals, parts, albedo, roughness, irradiance, radiance and flow of every picture.
        workers: Threads; all cores when None.
        progress: Hears of every frame.
        wishes: Cameras, light, person and faults: see `TakeWishes`.

    Raises:
        UsageError: The folder has something in it, or an argument that cannot be.
    """
    need_new_folder(folder)
    if truth not in get_args(TruthDetail):
        raise UsageError(f"truth = {truth!r} is not one of {', '.join(get_args(TruthDetail))}", hint="--truth full")
    take = plan_take(folder, full_truth=truth == "full", **wishes)
    report, threads = progress or silent, workers or default_workers()
    design = board_for(take.film.rig.cameras[0].height) if boards else None
    with appearing_folder(folder) as partial:
        writer = TruthWriter(partial / "truth", take.truth)
        write_take(partial, take, _told(shoot(take.film, threads), writer, report, len(take.film.lights)), design)
        writer.close(threads)
        if take.film.sensors:
            write_charts(partial, take.film)
        if design:
            write_board_takes(partial, take.film, design, threads, report)
    return take.truth


def plan_take(
    folder: Path,
    *,
    cameras: int = 6,
    pairs: int | None = None,
    interleave: int | None = None,
    subject: str = "s1",
    actions: Path | None = None,
    speed_px: float | None = None,
    faults: Sequence[str] = (),
    seed: int = 0,
    width: int = 360,
    height: int = 640,
    fps: float = 25.0,
    hdris: int = 8,
    hdri_gain: float = 1.0,
    light: LightSetup | None = None,
    lights: int | None = None,
    camera: CameraSetup = AS_SET_UP,
    color_spread: float = 0.0,
    bounce: bool = False,
    full_truth: bool = False,
) -> Take:
    """Draw everything about a take: arguments and errors as `make_recording`'s."""
    _need_amounts(seed, {"cameras": cameras, "pairs": pairs, "interleave": interleave, "hdris": hdris}, fps, hdri_gain)
    camera.need_time(1000 / fps)
    camera.need_size(width, height)
    camera.need_light(color_spread)
    rng = np.random.default_rng([seed, 11])
    performed = read_performance(actions, fps) if actions else ()
    body = make_body(subject, actions=performed, seed=seed)
    plan = plan_light(
        light or LightSetup(far_lights=lights),
        pairs=pairs,
        interleave=interleave,
        hdris=hdris,
        hdri_gain=hdri_gain,
        session_gain=SUBJECTS[subject].light_gain,
        seed=seed,
        rng=rng,
    )
    ring, frames = SUBJECTS[subject].ring, len(plan.pattern)
    if actions is None and speed_px is None:
        body = _acting(body, plan, fps, seed)
    start_s = 0.0 if isinstance(body.motion, ActedMotion) else float(rng.uniform(0, 60))
    if speed_px is not None:
        around = make_rig(cameras, width=width, height=height, radius_m=camera.distance_m, seed=seed, ring=ring)
        body, speed_px = at_speed_px(body, around, (start_s, start_s + frames / fps), fps, speed_px)
    if camera.face_cameras is None:
        camera = replace(camera, face_cameras=SUBJECTS[subject].face_cameras)
    joints, faces = _whereabouts(body, start_s + np.arange(frames) / fps)
    rig = place_cameras(camera, cameras, joints=joints, faces=faces, width=width, height=height, seed=seed, ring=ring)
    need_cameras_inside(rig, plan.lit[0])
    befallen = draw_faults(faults, rig.ids, frames)
    truth = RecordingTruth(folder, rig, plan.schedule, body, start_s, fps, befallen, speed_px)
    sensors = set_cameras(rig, camera, color_spread, seed)
    relit = frozenset(np.flatnonzero(plan.schedule.kind == KIND_CODES["hdri"]).tolist())  # other kinds: in no pair
    film = Film(
        rig, body, start_s, fps, plan.by_frame, plan.lit[0], seed, sensors, bounce, full_truth=full_truth, relit=relit
    )
    return Take(truth, film, plan)


def _need_amounts(seed: int, counts: Mapping[str, int | None], fps: float, hdri_gain: float) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"{name} = {count}, at least 1 is needed")
    for name, factor in (("hdri_gain", hdri_gain), ("fps", fps)):
        if not 0 < factor < inf:
            raise UsageError(f"{name} = {factor:g}, must be above 0 and finite")
    if seed < 0:
        raise UsageError(f"seed = {seed}, must be 0 or more", hint="--seed 0")


def _acting(body: Body, plan: LightPlan, fps: float, seed: int) -> Body:
    """The body doing drawn actions all through a long take of HDRIs; in others it wanders on."""
    is_hdri = (plan.schedule.kind == KIND_CODES["hdri"]).any()
    drawn = draw_performance(len(plan.pattern) / fps, seed) if is_hdri else ()
    return replace(body, motion=acted_motion(body.template, drawn, seed)) if drawn else body


def _whereabouts(body: Body, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At times, metres: the body's joints, shape (time, bone, 3), and the middle between its eyes, shape (time, 3)."""
    joints = np.stack([body.joints(float(time)) for time in times_s])
    return joints, joints[:, [body.template.bone("eye.L"), body.template.bone("eye.R")]].mean(axis=1)


def write_take(folder: Path, take: Take, shots: Iterator[tuple[Shot, ...]], design: BoardDesign | None = None) -> None:
    """A recording folder without its board takes: what the faults leave of the shots, and what describes them.

    Args:
        folder: Gets the files.
        take: What was filmed; its faults are what goes wrong.
        shots: As `shoot` gives them, fault-free.
        design: The board that recording.toml describes.
    """
    truth = take.truth
    write_description(folder, truth, take.light, design, take.film.sensors)
    write_rig_truth(folder / "truth", truth)
    write_camera_truth(folder / "truth" / "cameras.json", truth.rig.ids, take.film.sensors)
    if isinstance(truth.body.motion, ActedMotion):
        write_performance(folder / "actions.csv", truth.body.motion.actions, truth.fps, len(truth.schedule.kind))
    for entry, hdr in zip(truth.schedule.entries, take.light.maps, strict=True):
        write_hdr(made(folder / "hdris" / f"{entry.name}.exr"), hdr)
    _write_videos(folder, take, shots)
    _write_plates(folder, take.film)


def _told(
    shots: Iterator[tuple[Shot, ...]], truth: TruthWriter, report: Progress, frames: int
) -> Iterator[tuple[Shot, ...]]:
    """The shots, their truth written as they pass."""
    report("film", 0, frames)
    for frame, of_cameras in enumerate(shots):
        truth.write(frame, of_cameras)
        yield of_cameras
        report("film", frame + 1, frames)


def _write_videos(folder: Path, take: Take, shots: Iterator[tuple[Shot, ...]]) -> None:
    truth = take.truth
    paths = [folder / "cameras" / f"{id}.mp4" for id in truth.rig.ids]
    faults = [truth.faults_of(id) for id in truth.rig.ids]
    sensors = [take.film.sensor(k) or Sensor() for k in range(len(paths))]
    with ExitStack() as stack:
        videos = [
            stack.enter_context(VideoWriter(path, fps=truth.fps, crf=CAMERA_CRF, bits=sensor.bits, codec=sensor.codec))
            for path, sensor in zip(paths, sensors, strict=True)
        ]
        for frame, around in enumerate(_with_neighbours(shots)):
            for k, video in enumerate(videos):
                before, now, after = (of_cameras[k].rgb for of_cameras in around)
                picture = stored_picture(faults[k], frame, before, now, after, take.film.seed)
                if picture is not None:
                    video.write(picture)
    for path, befallen in zip(paths, faults, strict=True):
        spoil_file(path, befallen)


def _with_neighbours(
    shots: Iterator[tuple[Shot, ...]],
) -> Iterator[tuple[tuple[Shot, ...], tuple[Shot, ...], tuple[Shot, ...]]]:
    """Each frame with the one before and the one after; the ends are their own neighbours."""
    before = now = next(shots)
    for after in shots:
        yield before, now, after
        before, now = now, after
    yield before, now, now


def _write_plates(partial: Path, film: Film) -> None:
    for k, camera in enumerate(film.rig.cameras):
        rng = np.random.default_rng([film.seed, 5, k])
        wall, sensor = wall_picture(camera, film.flat), film.sensor(k)
        if sensor is not None:
            empty = without_person(wall, wall_depth(camera, film.flat))
            wall = focused(empty, sensor, camera.intrinsics[0, 0])
        write_png(partial / "background" / f"{camera.id}.png", expose(wall, rng, sensor))
