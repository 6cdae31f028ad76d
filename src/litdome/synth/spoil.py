"""What the faults of `litdome.synth.faults` do to pictures and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from litdome.color import linear_from_srgb
from litdome.media.planes import Codes
from litdome.synth.faults import Fault, lost_frames
from litdome.synth.render import Float32Array
from litdome.synth.sensors import Sensor, expose

UNDEREXPOSED_STOPS = 3
BLUR_SIGMA = 0.016  # of the picture's height
SWITCH_ROW, SWITCH_WIDTH = 0.5, 0.1  # where the shutter meets the LED switch, and how long a row exposes, of the height
KNOCK_PX, KNOCK_DEG = (2.6, -1.5), 0.05
CUT, NOISE = 0.6, (0.4, 0.5)  # of a file's length
CLOCK_AHEAD_NS, CLOCK_RATE = 3_600_000_000_000, 1.02


def stored_picture(
    faults: Sequence[Fault], frame: int, before: Codes, now: Codes, after: Codes, seed: int
) -> Codes | None:
    """What a camera's file gets at a rig frame.

    Args:
        faults: Of this camera.
        frame: The rig frame.
        before, now, after: What an intact camera stores at the frames around, shape (y, x, 3), sRGB codes.
        seed: Draws the noise of a dark or blurred picture.

    Returns:
        The picture, as the others; None where nothing is stored.
    """
    if any(frame in lost_frames([fault], fault.camera or "") for fault in faults):
        return None
    hit = {fault.name for fault in faults if not fault.frames or frame in fault.frames}
    if "knocked-lens" in hit:
        before, now, after = _knocked(before), _knocked(now), _knocked(after)
    picture = before if "duplicate-frame" in hit else now
    if not hit & {"mixed-light", "underexposed", "out-of-focus"}:
        return picture
    linear = _linear(picture)
    if "mixed-light" in hit:
        linear = _mixed(linear, _linear(after))
    if "out-of-focus" in hit:
        linear = cv2.GaussianBlur(linear, (0, 0), BLUR_SIGMA * linear.shape[0])
    if "underexposed" in hit:
        linear = linear / 2**UNDEREXPOSED_STOPS
    shown = frame - ("duplicate-frame" in hit)  # the same picture has the same noise
    as_deep = Sensor(bits=8 if picture.dtype == np.uint8 else 10)
    return expose(linear.astype(np.float32), np.random.default_rng([seed, 8, shown]), as_deep)


def spoil_file(path: Path, faults: Sequence[Fault]) -> None:
    """Cut, overwrite or delete a camera's finished file, as its faults say."""
    names = {fault.name for fault in faults}
    if "missing-camera" in names:
        path.unlink()
    if "truncated" in names:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * CUT)])
    if "garbled" in names:
        content = bytearray(path.read_bytes())
        start, stop = (int(len(content) * share) for share in NOISE)
        content[start:stop] = np.random.default_rng(len(content)).bytes(stop - start)
        path.write_bytes(content)


def skewed_ns(time_ns: int, start_ns: int) -> int:
    """What a clock that is an hour ahead and runs fast shows."""
    return start_ns + CLOCK_AHEAD_NS + round((time_ns - start_ns) * CLOCK_RATE)


def _linear(picture: Codes) -> Float32Array:
    return linear_from_srgb(picture.astype(np.float32) / np.iinfo(picture.dtype).max).astype(np.float32)


def _knocked(picture: Codes) -> Codes:
    """The picture through a lens that sits a little differently."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -KNOCK_DEG, 1.0)
    turn[:, 2] += KNOCK_PX
    return np.asarray(cv2.warpAffine(picture, turn, (width, height), None, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE))


def _mixed(upper: Float32Array, lower: Float32Array) -> Float32Array:
    """Upper rows of one picture, lower rows of the next; a row that exposes across the switch shows both."""
    rows = np.arange(len(upper)) / len(upper)
    late = np.clip((rows - SWITCH_ROW) / SWITCH_WIDTH + 0.5, 0, 1).astype(np.float32)[:, None, None]
    return upper * (1 - late) + lower * late
