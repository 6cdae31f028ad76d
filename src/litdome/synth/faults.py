"""What goes wrong on a stage, by name: which camera it hits, at which rig frames (`spoil` says what that does)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from litdome.errors import UsageError

FAULTS = {
    "drop-frame": "a camera loses a picture in the middle",
    "duplicate-frame": "a camera stores a picture twice, in place of the next one",
    "mixed-light": "a camera's shutter rolls over the LED switch: the lower rows show the next light",
    "underexposed": "a camera is three stops too dark",
    "out-of-focus": "a camera is blurred",
    "knocked-lens": "a camera's lens is knocked in the middle: from then on all lies three pixels off",
    "clock-skew": "a camera's clock is an hour ahead and runs fast",
    "late-camera": "a camera starts three frames late",
    "short-camera": "a camera stops after two thirds of the take",
    "truncated": "a camera's file is cut and cannot be opened",
    "garbled": "bytes in the middle of a camera's file are noise",
    "missing-camera": "a camera is listed, but its file is not there",
    "no-timestamps": "there is no timestamps.csv",
    "no-lights": "there is no lights.csv",
    "swap-phase": "lights.csv is one frame off",
}
OF_THE_RIG = ("no-timestamps", "no-lights", "swap-phase")
OF_THE_LAST_CAMERA = ("late-camera", "short-camera", "truncated", "garbled", "missing-camera")  # else of the second
SEEN_AGAINST_OTHERS = ("late-camera", "clock-skew")
NOTHING_SEEN = ("truncated", "missing-camera")  # hide whatever else befalls the camera
WITH_ANY = ("knocked-lens",)  # hides nothing that befalls the same pictures
CONTRADICTIONS = (("no-lights", "swap-phase"), ("no-timestamps", "clock-skew"))
LATE_FRAMES = 3
MIXED_FRAMES = 4


@dataclass(frozen=True)
class Fault:
    """One thing that went wrong.

    Attributes:
        name: One of `FAULTS`.
        camera: Whom it hit; None: the whole rig.
        frames: Rig frames whose pictures are lost or not what they should be; empty for what is not about single ones.
    """

    name: str
    camera: str | None = None
    frames: tuple[int, ...] = ()


def draw_faults(names: Sequence[str], cameras: Sequence[str], frames: int) -> tuple[Fault, ...]:
    """Say whom the faults of a take hit, and when.

    Args:
        names: Some of `FAULTS`.
        cameras: Ids of the rig.
        frames: Rig frames of the take.

    Raises:
        UsageError: An unknown name (with the nearest), faults that contradict or hide each other, or a take too short
            or with too few cameras to show them.
    """
    for name in names:
        if name not in FAULTS:
            meant = get_close_matches(name, FAULTS, 1, 0.0)[0]
            raise UsageError(f"no fault {name!r} among {', '.join(FAULTS)}", hint=f"--fault {meant}")
    for first, second in CONTRADICTIONS:
        if first in names and second in names:
            raise UsageError(f"{first} and {second} contradict each other", hint="choose one of them")
    faults = tuple(_drawn(name, cameras, frames) for name in FAULTS if name in names)
    for fault in faults:
        _need_room(fault, faults, cameras, frames)
    return faults


def lost_frames(faults: Sequence[Fault], camera: str) -> frozenset[int]:
    """Rig frames of which a camera's file holds no picture."""
    empty = ("drop-frame", "late-camera", "short-camera")
    return frozenset(
        frame for fault in faults if fault.camera == camera and fault.name in empty for frame in fault.frames
    )


def _drawn(name: str, cameras: Sequence[str], frames: int) -> Fault:
    if name in OF_THE_RIG:
        return Fault(name)
    camera = cameras[-1] if name in OF_THE_LAST_CAMERA else cameras[min(1, len(cameras) - 1)]
    first_mixed = 5 * frames // 8
    when = {
        "drop-frame": (frames // 2,),
        "duplicate-frame": (frames // 4 + 1,),
        "mixed-light": tuple(range(first_mixed, min(first_mixed + MIXED_FRAMES, frames - 1))),
        "knocked-lens": tuple(range(frames // 2, frames)),
        "late-camera": tuple(range(min(LATE_FRAMES, frames))),
        "short-camera": tuple(range(2 * frames // 3, frames)),
    }
    return Fault(name, camera, when.get(name, ()))


def _need_room(fault: Fault, faults: Sequence[Fault], cameras: Sequence[str], frames: int) -> None:
    """Refuse a fault that nobody could see."""
    if fault.camera is None:
        return
    if fault.name in SEEN_AGAINST_OTHERS and len(cameras) < 2:
        raise UsageError(f"{fault.name} needs 2 cameras, 1 given", hint="--cameras 2")
    if len(lost_frames(faults, fault.camera)) == frames or (fault.name == "mixed-light" and not fault.frames):
        raise UsageError(f"{frames} frames are too few for {fault.name}", hint="--pairs 4, or more")
    for other in faults:
        if other is fault or other.camera != fault.camera or {fault.name, other.name} & set(WITH_ANY):
            continue
        if fault.name in NOTHING_SEEN:
            raise UsageError(f"{fault.name} hides {other.name} of camera {fault.camera}", hint="choose one of them")
        if set(fault.frames) & set(other.frames):
            together = f"{fault.name} and {other.name} hit the same frame of camera {fault.camera}"
            raise UsageError(f"{together}: {frames} frames are too few", hint="--pairs 6, or more")
