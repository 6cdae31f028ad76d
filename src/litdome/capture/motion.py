"""How far the person moves from flat frame to flat frame, measured while ingest decodes: is an action too fast?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.capture.looks import display_luma
from litdome.lighting import LightingSchedule
from litdome.media.planes import Codes, PictureCodes
from litdome.media.video import VideoProbe
from litdome.pairs import PairTable, frames_of_kind
from litdome.stage import SessionLike, Summary

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
EVERY_S = 0.5  # a jump lasts longer
LONG_SIDE_PX = 640  # as the flow stage
MOVES_PX = 0.5  # of the reduced picture: less is noise, and the wall
FEWEST = 1e-3  # share of the picture that must move
PIECE_S = 10.0  # of a take whose actions nobody listed
SPOILT = 0.25  # share of an action's pairs that may be faster than what is told of it
MOTION_ARRAYS = {  # looks/NAME in a session: (camera, frame), at some of the flat frames
    "motion_px": "mean motion of what moves, from this flat frame to the next one",
    "motion_p95_px": "95th percentile of that motion",
}


@dataclass(frozen=True)
class Motion:
    """What moved from a flat frame to the next one.

    Attributes:
        frame: Rig frame of the first.
        mean_px, p95_px: Of the moving pixels, px of the stored picture; 0 where nothing moves.
    """

    frame: int
    mean_px: float
    p95_px: float


def sampled_flats(schedule: LightingSchedule, fps: float) -> tuple[tuple[int, int], ...]:
    """Rig frames of flat frames and of the flat frames after them, about two a second."""
    flats = frames_of_kind(schedule, "flat")
    if len(flats) < 2:
        return ()
    step = max(1, round(EVERY_S * fps / float(np.median(np.diff(flats)))))
    return tuple((int(flats[n]), int(flats[n + 1])) for n in range(0, len(flats) - 1, step))


class MotionWatch:
    """Sees the pictures of one camera in the order of time; keeps one small picture at most."""

    def __init__(self, sampled: Sequence[tuple[int, int]], probe: VideoProbe) -> None:
        self.probe = probe
        self.next_of = dict(sampled)
        self.start: tuple[int, Codes] | None = None

    def see(self, frame: int, codes: PictureCodes) -> Motion | None:
        """Take note of a rig frame's picture; what moved where it ends a sampled step."""
        found = None
        if self.start is not None and frame >= self.next_of[self.start[0]]:
            first, before = self.start
            if frame == self.next_of[first]:
                after = _small(codes, self.probe)
                found = Motion(first, *measure_motion(before, after, codes.size[0] / after.shape[1]))
            self.start = None
        if frame in self.next_of:
            self.start = frame, _small(codes, self.probe)
        return found


def measure_motion(before: Codes, after: Codes, scale: float) -> tuple[float, float]:
    """Mean and 95th percentile of the motion of what moves between two pictures of the same light.

    Without a mask, "what moves" stands for the person: on simulated and real people the mean agrees with that of align
    on the mask (docs/planning.md).

    Args:
        before, after: Luma, shape (y, x), uint8.
        scale: px of the result per px of these pictures.
    """
    if min(before.shape) < 16:  # DIS takes no less
        return float("nan"), float("nan")
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    length = np.linalg.norm(dis.calc(before, after, None), axis=-1)
    moving = length[length > MOVES_PX]
    if len(moving) < FEWEST * length.size:
        return 0.0, 0.0
    return float(moving.mean()) * scale, float(np.percentile(moving, 95)) * scale


def _small(codes: PictureCodes, probe: VideoProbe) -> npt.NDArray[np.uint8]:
    """Luma, display-referred, the long side at most `LONG_SIDE_PX`, shape (y, x)."""
    picture = codes.picture
    size = np.array(codes.size)
    width, height = np.maximum(np.round(size * min(1.0, LONG_SIDE_PX / size.max())), 1).astype(int)
    known = picture.astype(np.float32) if picture.dtype.kind == "f" else picture  # OpenCV knows no half floats
    small = np.asarray(cv2.resize(known, (int(width), int(height)), interpolation=cv2.INTER_AREA))
    return np.asarray(np.clip(display_luma(small, probe), 0, 1) * 255 + 0.5, np.uint8)


def worst_alpha(pairs: PairTable, frames: int) -> FloatArray:
    """Part of a flat step that lies between each flat frame and its last relit one, shape (frame,); NaN for none."""
    alpha = np.full(frames, np.nan)
    known = np.isfinite(pairs.alpha)
    np.fmax.at(alpha, pairs.flat_frame[known], pairs.alpha[known].astype(np.float64))
    return alpha


def summarise_motion(session: SessionLike, fps: float) -> Summary:
    """How fast each action was, as plain values for the record of ingest.

    Returns:
        ``parts``: number (0: no action), name, start and stop (rig frames) of each action, or of pieces of 10 s where
        no action is listed; ``cameras``: by id, ``shift_px`` and ``p95_px`` of each part: what a quarter of its sampled
        pairs exceed (mean and 95th percentile of the motion from flat to relit), None where nothing was measured.
    """
    mean, p95 = (session.read(f"looks/{name}") for name in MOTION_ARRAYS)
    parts = _parts(session, mean.shape[1], fps)
    alpha = worst_alpha(session.pairs, mean.shape[1])
    cameras = {}
    for row, id in enumerate(session.cameras):
        shifts = {"shift_px": mean[row] * alpha, "p95_px": p95[row] * alpha}
        cameras[id] = {
            name: [_upper(values[part["start"] : part["stop"]]) for part in parts] for name, values in shifts.items()
        }
    return {"parts": parts, "cameras": cameras}


def _parts(session: SessionLike, frames: int, fps: float) -> list[dict[str, Any]]:
    if session.has("schedule/action"):
        numbers, names = session.read("schedule/action"), session.array("schedule/action").attrs["names"]
        found = np.unique(numbers[numbers > 0]).tolist()
        spans = {n: np.flatnonzero(numbers == n) for n in found}
        return [_part(n, names[n - 1], span[0], span[-1] + 1) for n, span in spans.items()]
    edges = np.linspace(0, frames, max(1, round(frames / (PIECE_S * fps))) + 1).round().astype(int)
    return [_part(0, "", start, stop) for start, stop in pairwise(edges)]


def _part(number: int, name: str, start: int, stop: int) -> dict[str, Any]:
    return {"number": number, "name": name, "start": int(start), "stop": int(stop)}


def _upper(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(f"{np.quantile(known, 1 - SPOILT):.4g}") if len(known) else None
