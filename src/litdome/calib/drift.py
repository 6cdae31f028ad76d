"""A camera or lens that was knocked during the take: the background no longer lies where the first picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.compute import default_workers, run_units
from litdome.geometry import pixel_grid
from litdome.progress import Progress, silent
from litdome.stage import SessionLike

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
MAX_DRIFT_PX = 0.5
LOOKS = 12  # flat pictures spread over a take that are compared with its first
MAX_FEATURES, QUALITY = 400, 0.01  # corners of the background, and the weakest of them, of the strongest
MIN_FEATURES = 12  # that move together
MIN_HULL = 0.2  # of the picture, around the features that move together: what moves alone is the person
FEATURE_SPACING = 60  # of the picture's longer side between two features, one part in so many
MAX_BACK_PX, TOGETHER_PX = 0.3, 0.5  # there and back again; from the common motion
AWAY_FROM_PERSON = 0.02  # of the picture's longer side: edges of a mask move with the person


@dataclass(frozen=True)
class Shift:
    """How the background of one picture lies against another's.

    Attributes:
        size_px: Root of the mean squared displacement over the background, px.
        right_px, down_px: Of its middle.
        turn_deg: Clockwise as seen.
        zoom: 1: as before.
        features: How many points say so.
    """

    size_px: float
    right_px: float
    down_px: float
    turn_deg: float
    zoom: float
    features: int


@dataclass(frozen=True)
class Drift:
    """What the background of a camera says about its take.

    Attributes:
        camera: Its id.
        frame: Rig frame of the first picture that lies off by more than the limit; None where none does.
        largest: The largest shift seen; None where the background cannot tell.
        text: In words.
    """

    camera: str
    frame: int | None
    largest: Shift | None
    text: str


def background_shift(first: UInt8Array, later: UInt8Array, usable: npt.NDArray[np.bool_] | None = None) -> Shift | None:
    """Shift, turn and zoom of what most background features agree on.

    Args:
        first, later: Two pictures of one camera under one light, shape (y, x).
        usable: Where neither shows the person, shape (y, x); None: anywhere, the person is outvoted or there is no
            agreement.

    Returns:
        None where fewer than `MIN_FEATURES` features move together, or those lie close together.
    """
    longer = max(first.shape)
    mask = None if usable is None else usable.astype(np.uint8)
    found = cv2.goodFeaturesToTrack(first, MAX_FEATURES, QUALITY, longer / FEATURE_SPACING, mask=mask)
    if found is None or len(found) < MIN_FEATURES:
        return None
    there, seen, _ = cv2.calcOpticalFlowPyrLK(first, later, found, None)
    back, seen_back, _ = cv2.calcOpticalFlowPyrLK(later, first, there, None)
    good = (seen & seen_back).ravel().astype(bool)
    good &= np.linalg.norm(back - found, axis=-1).ravel() < MAX_BACK_PX
    start, end = found[good].reshape(-1, 2), there[good].reshape(-1, 2)
    if len(start) < MIN_FEATURES:
        return None
    motion, together = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=TOGETHER_PX)
    count = 0 if motion is None else int(together.sum())
    if count < max(MIN_FEATURES, len(start) / 3):
        return None
    if cv2.contourArea(cv2.convexHull(start[together.ravel() > 0])) < MIN_HULL * first.size:
        return None
    moved = spread_places(first) @ motion[:, :2].T + motion[:, 2] - spread_places(first)
    middle = moved[len(moved) // 2]
    return Shift(
        size_px=float(np.sqrt((moved**2).sum(axis=1).mean())),
        right_px=float(middle[0]),
        down_px=float(middle[1]),
        turn_deg=float(np.degrees(np.arctan2(motion[1, 0], motion[0, 0]))),
        zoom=float(np.hypot(motion[0, 0], motion[1, 0])),
        features=count,
    )


def spread_places(picture: UInt8Array) -> FloatArray:
    """Nine by nine places spread over a picture, shape (81, 2), (x, y) px; the middle one is its middle."""
    height, width = picture.shape[:2]
    return (pixel_grid(9, 9) + 0.5) / 9 * [width, height] - 0.5


def check_drift(
    session: SessionLike, *, max_drift_px: float = MAX_DRIFT_PX, looks: int = LOOKS, progress: Progress = silent
) -> tuple[Drift, ...]:
    """Compare each camera's flat pictures with its first one.

    Args:
        session: With flat pictures; masks are used where they are there.
        max_drift_px: What is no knock, px of the stored pictures.
        looks: Flat pictures spread over the take; between two of them the moment of a knock is searched.
        progress: Told after each camera.

    Returns:
        By camera, in the session's order.
    """
    cameras = session.cameras
    found: dict[int, Drift] = {}

    def work(index: int) -> None:
        found[index] = _camera_drift(session, cameras[index], max_drift_px, looks)

    done = 0

    def told(_: int) -> None:
        nonlocal done
        done += 1
        progress("background", done, len(cameras))

    progress("background", 0, len(cameras))
    run_units(work, range(len(cameras)), workers=default_workers(), on_done=told)
    return tuple(found[index] for index in range(len(cameras)))


def _camera_drift(session: SessionLike, camera: str, max_drift_px: float, looks: int) -> Drift:
    present = [n for n in range(session.count("flat")) if session.is_present(camera, "flat", n)]
    if len(present) < 2:
        return Drift(camera, None, None, f"{camera}: not checked: {len(present)} flat pictures")
    first, clear = session.read_luma(camera, "flat", present[0]), _clear(session, camera, present[0])

    def shift(at: int) -> Shift | None:
        here = _clear(session, camera, present[at])
        usable = here if clear is None else clear if here is None else clear & here
        return background_shift(first, session.read_luma(camera, "flat", present[at]), usable)

    def is_off(found: Shift | None) -> bool:
        return found is not None and found.size_px > max_drift_px

    places = sorted(set(np.linspace(1, len(present) - 1, looks).round().astype(int).tolist()))
    shifts = [shift(at) for at in places]
    told = [found for found in shifts if found is not None]
    if not told:
        return Drift(camera, None, None, f"{camera}: not checked: too few background features move together")
    at_rest = [k for k, found in enumerate(shifts) if found is not None and not is_off(found)]
    since = at_rest[-1] + 1 if at_rest else 0  # a knock lasts: what comes back is a person who outvoted the wall
    largest = max((f for f in shifts[since:] if f is not None), key=lambda found: found.size_px, default=None)
    if largest is None:
        most = max((found for found in told if not is_off(found)), key=lambda found: found.size_px)
        return Drift(camera, None, most, f"{camera}: background still to {most.size_px:.2f} px")
    hit = next(k for k in range(since, len(shifts)) if is_off(shifts[k]))
    low, high = (places[hit - 1] if hit else 0), places[hit]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_off(shift(middle)) else (middle, high)
    frame = int(session.frames("flat")[present[high]])
    text = (
        f"{camera}: background off by {largest.size_px:.1f} px > {max_drift_px:.1f} px from frame {frame} on: "
        f"{largest.right_px:+.1f} px right, {largest.down_px:+.1f} px down, {largest.turn_deg:+.2f} deg, "
        f"{100 * (largest.zoom - 1):+.2f} % larger; camera or lens was knocked: calibrate again"
    )
    return Drift(camera, frame, largest, text)


def _clear(session: SessionLike, camera: str, n: int) -> npt.NDArray[np.bool_] | None:
    """Where the n-th flat picture does not show the person; None before segment."""
    group = f"cameras/{camera}/flat"
    path = next(
        (f"{group}/{name}" for name in ("mask_wide", "mask", "mask_raw") if session.has(f"{group}/{name}")), None
    )
    if path is None:
        return None
    mask: Any = session.read_at(path, n)
    reach = 2 * round(AWAY_FROM_PERSON * max(mask.shape)) + 1
    grown = cv2.dilate((mask > 0).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return np.asarray(grown == 0)
