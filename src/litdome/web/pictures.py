"""What a curator looks at: a pair as pictures, JPEG."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import FrameAbsentError, StoreError, UsageError
from litdome.stage import PairKind, UInt8Array
from litdome.store.pictures import resized
from litdome.store.session import Session

VIEWS = ("flat", "relit", "next_flat", "compensated", "difference", "mask", "flow")
BOTH: tuple[PairKind, PairKind] = ("flat", "relit")
THUMB_BOX_PX = (224, 184)  # width, height that a picture of a thumbnail fits in
SHOWN_LONG_SIDE_PX = 1600
RELIT_MASK, FLAT_MASK, ARROW = (255, 0, 144), (0, 200, 255), (255, 210, 0)
ARROWS = 48  # along the longer side
LONGER = 4  # arrows than the motion: a shift of 4 px could not be seen
DETAIL_PX = 12.0  # difference: light that varies slower than this over the picture is taken out
NOTHING = 72  # code of a picture that was not recorded


def jpeg(picture: UInt8Array, quality: int = 88) -> bytes:
    """An RGB picture, shape (y, x, 3), as JPEG; full chroma, so thin coloured lines stay thin."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [*flags, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])[1])


def thumb_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a thumbnail's pictures, for stored ones of ``size``."""
    scale = min(THUMB_BOX_PX[0] / size[0], THUMB_BOX_PX[1] / size[1], 1.0)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def thumbnail(session: Session, camera: str, pair: int) -> bytes:
    """The flat and the relit picture side by side, small; what was not recorded is grey.

    Raises:
        StoreError: Damaged.
    """
    width, height = thumb_size(session.size(camera))
    strip = np.full((height, 2 * width, 3), NOTHING, np.uint8)
    for place, kind in enumerate(BOTH):
        try:
            picture = session.read_rgb(camera, kind, pair)
        except FrameAbsentError:
            continue
        strip[:, place * width : (place + 1) * width] = resized(picture, (width, height))
    return jpeg(strip, 82)


def views_of(session: Session) -> tuple[str, ...]:
    """Those of `VIEWS` that the stages run so far allow."""
    camera = session.cameras[0]
    masks = [f"cameras/{camera}/relit/{name}" for name in ("mask", "mask_raw")]
    needs = {"compensated": [f"compensated/{camera}"], "flow": [f"motion/{camera}"], "mask": masks}
    return tuple(view for view in VIEWS if view not in needs or any(session.has(path) for path in needs[view]))


def view_picture(session: Session, camera: str, pair: int, view: str, *, whole: bool = False) -> UInt8Array:
    """One of `VIEWS` of a pair, RGB, shape (y, x, 3), uint8; at most `SHOWN_LONG_SIDE_PX` unless ``whole``.

    Raises:
        FrameAbsentError: Not recorded.
        StoreError: The stage that makes it has not run, or it is damaged.
        UsageError: No such view.
    """
    if view in ("flat", "relit", "next_flat"):
        picture = session.read_rgb(camera, cast(PairKind, view), pair)
    elif view == "compensated":
        picture = _compensated(session, camera, pair)
    elif view == "difference":
        picture = difference(*(cast(UInt8Array, session.read_rgb(camera, kind, pair)) for kind in BOTH))
    elif view == "mask":
        picture = _masked(session, camera, pair)
    elif view == "flow":
        picture = _with_arrows(session, camera, pair)
    else:
        raise UsageError(f"no view {view!r}", hint=f"views: {', '.join(VIEWS)}")
    scale = min(1.0, SHOWN_LONG_SIDE_PX / max(picture.shape[:2]))
    if whole or scale == 1:
        return np.asarray(picture, np.uint8)
    return np.asarray(resized(picture, (round(picture.shape[1] * scale), round(picture.shape[0] * scale))), np.uint8)


def difference(first: UInt8Array, second: UInt8Array) -> UInt8Array:
    """Where two pictures of one thing under two lights do not lie on each other: grey where they agree, red where
    only the first is bright, cyan where only the second is.

    Luma of each over its surroundings, so that a change of the light as such cancels; RGB, shape (y, x, 3).
    """
    detail = [_detail(picture) for picture in (first, second)]
    return np.ascontiguousarray(np.dstack([detail[0], detail[1], detail[1]]))


def _detail(picture: UInt8Array) -> UInt8Array:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = DETAIL_PX * max(picture.shape[:2]) / 1080
    around = cv2.GaussianBlur(luma, (0, 0), sigma)
    spread = np.sqrt(np.maximum(cv2.GaussianBlur(luma * luma, (0, 0), sigma) - around * around, 0)) + 4
    return np.asarray(np.clip(128 + 48 * (luma - around) / spread, 0, 255), np.uint8)


def _compensated(session: Session, camera: str, pair: int) -> UInt8Array:
    path = f"compensated/{camera}"
    if not session.has(path):
        raise StoreError(f"{session.url}: no compensated pictures", hint=f"litdome align {session.url}")
    picture = cast(UInt8Array, session.read_at(path, pair))
    if not picture.any():
        raise FrameAbsentError(f"{session.url}: {camera} {pair} has no compensated picture: one is missing")
    return picture


def _masked(session: Session, camera: str, pair: int) -> UInt8Array:
    """The relit picture with the outlines of its own mask and of the flat one's."""
    drawn = session.read_rgb(camera, "relit", pair).copy()
    step = max(1, round(max(drawn.shape[:2]) / 1000))
    around = np.ones((2 * step + 1, 2 * step + 1), np.uint8)
    for kind, color in zip(BOTH, (FLAT_MASK, RELIT_MASK), strict=True):
        inside = (session.read_mask(camera, kind, pair) >= 128).astype(np.uint8)
        drawn[cv2.dilate(inside, around) != cv2.erode(inside, around)] = color
    return cast(UInt8Array, drawn)


def _with_arrows(session: Session, camera: str, pair: int) -> UInt8Array:
    """The relit picture with the motion since the flat one: arrows `LONGER` times as long, from where a point was."""
    path = f"motion/{camera}"
    if not session.has(path):
        raise StoreError(f"{session.url}: no flow yet", hint=f"litdome flow {session.url}")
    drawn = session.read_rgb(camera, "relit", pair).copy()
    flow: npt.NDArray[np.float32] = session.read_at(path, pair).astype(np.float32) * session.pairs.alpha[pair]
    if not np.isfinite(flow).all():
        raise FrameAbsentError(f"{session.url}: {camera} {pair} has no flow: a flat picture is missing")
    height, width = drawn.shape[:2]
    step = max(flow.shape[1:]) / ARROWS
    thick = max(1, round(max(height, width) / 1000))
    for y in np.arange(step / 2, flow.shape[1], step):
        for x in np.arange(step / 2, flow.shape[2], step):
            dx, dy = flow[:, int(y), int(x)]
            start = np.array([x * width / flow.shape[2], y * height / flow.shape[1]])
            if np.hypot(dx, dy) >= 0.5:
                tip = start + LONGER * np.array([dx, dy])
                cv2.arrowedLine(drawn, _point(start), _point(tip), ARROW, thick, cv2.LINE_AA, tipLength=0.3)
    return cast(UInt8Array, drawn)


def _point(place: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))
