"""Pictures for people: a pair as every camera saw it, lights, frames of a video; all RGB uint8, shape (y, x, 3)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.errors import FrameAbsentError, StoreError
from litdome.lighting import clean_hdri, tone_map_ldr
from litdome.media.planes import PictureCodes, rgb_from_planes
from litdome.media.video import VideoProbe, iter_planes, probe_video
from litdome.stage import Array, UInt8Array
from litdome.store.session import Session

OUTLINE = (255, 0, 144)
FLAT, RELIT, MASK, COMPENSATED = "flat", "relit", "mask on relit", "flat moved to the relit time"
EFFECTIVE = "as the LEDs gave it"
SHOWN_HEIGHT_PX = 300  # of a picture in a sheet, at most
JPEG_QUALITY = 88
BLACK_CODE, DIM_CODE, LIFTED_CODE = 3, 72, 140  # below the first nothing is to be seen; below the second little
Tiles = Mapping[str, UInt8Array]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Picture:
    """A picture to embed: its data URI, what it shows in words, its size in px."""

    uri: str
    alt: str
    width: int
    height: int

    @classmethod
    def of(cls, pixels: UInt8Array, alt: str) -> Picture:
        """Encode an RGB array, shape (y, x, 3)."""
        return cls(jpeg_uri(pixels), alt, pixels.shape[1], pixels.shape[0])


@dataclass(frozen=True)
class Sheet:
    """A table of pictures: names of rows with a note each, and a picture or None per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Picture | None, ...]], ...]

    @property
    def cell_px(self) -> int:
        """Widest that a picture is shown: as it is, and no taller than `SHOWN_HEIGHT_PX`."""
        found = [item for _, _, pictures in self.rows for item in pictures if item is not None]
        return min((min(item.width, item.width * SHOWN_HEIGHT_PX // item.height) for item in found), default=160)


def jpeg_uri(picture: UInt8Array) -> str:
    """A picture as a JPEG data URI; full chroma, so thin coloured lines stay thin."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    return _uri(picture, ".jpg", "jpeg", [*flags, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])


def png_uri(picture: UInt8Array) -> str:
    """A picture as a PNG data URI; a fourth channel is opacity."""
    return _uri(picture, ".png", "png", [])


def _uri(picture: UInt8Array, suffix: str, mime: str, flags: list[int]) -> str:
    code = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(picture, code), flags)
    return f"data:image/{mime};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def shrink(picture: UInt8Array, width: int) -> UInt8Array:
    """A picture (or mask) reduced to ``width`` px; smaller ones come back as they are."""
    height, own = picture.shape[:2]
    if own <= width:
        return picture
    return np.asarray(cv2.resize(picture, (width, max(1, round(height * width / own))), interpolation=cv2.INTER_AREA))


def shrink_to(picture: UInt8Array, width: int, height: int) -> UInt8Array:
    """A picture reduced to fit ``width`` by ``height`` px."""
    return shrink(picture, max(1, min(width, picture.shape[1] * height // picture.shape[0])))


def lifted(picture: UInt8Array) -> tuple[UInt8Array, int]:
    """A picture bright enough to look at: one whose brightest hundredth is dim gains whole stops, in linear light.

    Returns:
        The picture, and the stops it gained; 0 where it is bright enough or black.
    """
    bright = int(np.quantile(picture.max(axis=-1), 0.99))
    light = linear_from_srgb(np.arange(256, dtype=np.float32) / 255)
    if not BLACK_CODE < bright < DIM_CODE:
        return picture, 0
    stops = int(np.ceil(np.log2(light[LIFTED_CODE] / light[bright])))
    return to_codes(srgb_from_linear(np.minimum(light * np.float32(2**stops), 1)))[picture], stops


def outline_mask(picture: UInt8Array, mask: UInt8Array) -> UInt8Array:
    """The picture with the mask's outline (where coverage passes half) drawn on it, 2 px wide.

    Args:
        picture: Shape (y, x, 3).
        mask: Coverage, shape (y, x), 0..255.
    """
    inside, around = (mask >= 128).astype(np.uint8), np.ones((3, 3), np.uint8)
    drawn = picture.copy()
    drawn[cv2.dilate(inside, around) != cv2.erode(inside, around)] = OUTLINE
    return drawn


def pair_tiles(session: Session, camera: str, pair: int, width: int) -> dict[str, UInt8Array]:
    """One pair of one camera, reduced to ``width`` px.

    Returns:
        `FLAT`, `RELIT`, `MASK` (its outline), `COMPENSATED` (with the relit mask's outline, which shows how well the
        two fit); what was not recorded or not made yet is left out.
    """
    tiles: dict[str, UInt8Array] = {}
    for name, kind in ((FLAT, "flat"), (RELIT, "relit")):
        n = int(getattr(session.pairs, kind)[pair])
        try:
            tiles[name] = shrink(session.read_frame(camera, "relit" if kind == "relit" else "flat", n), width)
        except FrameAbsentError:
            continue
    if len(tiles) < 2:
        return tiles
    mask = _relit_mask(session, camera, pair, width)
    if mask is not None:
        tiles[MASK] = outline_mask(tiles[RELIT], mask)
    moved = _made(session, f"compensated/{camera}", pair)
    if moved is not None:
        small = shrink(np.asarray(moved, np.uint8), width)
        tiles[COMPENSATED] = small if mask is None else outline_mask(small, mask)
    return tiles


def _made(session: Session, path: str, n: int) -> Array | None:
    """The n-th picture of an array, or None where its stage has not come to it (all zero)."""
    found = session.read_at(path, n) if session.has(path) else None
    return found if found is not None and found.any() else None


def _relit_mask(session: Session, camera: str, pair: int, width: int) -> UInt8Array | None:
    try:
        mask = session.read_mask(camera, "relit", pair)
    except StoreError:
        return None
    return shrink(mask, width)


def light_tiles(session: Session, hdri: int, cameras: Sequence[str], width: int) -> tuple[UInt8Array, Tiles]:
    """A light as a lat-long map and as each camera sees it.

    Returns:
        The map, tone-mapped as DiffusionRenderer's env_ldr; the ``ldr`` views by camera, and under `EFFECTIVE` what the
        LEDs gave of it, those that are made.
    """
    views = {}
    given = f"hdris_effective/{session.hdri_names[hdri]}"
    if session.has(given) and (effective := session.read(given)).any():
        views[EFFECTIVE] = _latlong_tile(effective, width)
    for camera in cameras:
        view = _made(session, f"hdri_views/{camera}/ldr", hdri)
        if view is not None:
            views[camera] = shrink(to_codes(view.astype(np.float32)), width)
    return _latlong_tile(session.read_hdri(hdri), width), views


def _latlong_tile(radiance: Array, width: int) -> UInt8Array:
    clean = clean_hdri(radiance)
    height = max(1, round(clean.shape[0] * width / clean.shape[1]))
    return to_codes(tone_map_ldr(cv2.resize(clean, (width, height), interpolation=cv2.INTER_AREA)))


def to_codes(picture: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> UInt8Array:
    """Values in 0..1 as uint8 codes."""
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, np.uint8)


def picture_row(cells: Sequence[tuple[Any, str]]) -> tuple[Picture | None, ...]:
    """Tiles with what they show, encoded; None where there is none."""
    return tuple(None if tile is None else Picture.of(tile, alt) for tile, alt in cells)


def spaced(items: Sequence[Item], count: int, *, inner: bool = False) -> tuple[Item, ...]:
    """At most ``count`` items, evenly spaced; ``inner`` stays away from both ends."""
    if len(items) <= count:
        return tuple(items)
    places = np.linspace(0, len(items) - 1, count + 2)[1:-1] if inner else np.linspace(0, len(items) - 1, count)
    return tuple(items[round(place)] for place in places)


def tile_grid(tiles: Sequence[UInt8Array], columns: int, gap_px: int = 4) -> UInt8Array:
    """Pictures of one size side by side, in rows of ``columns``, grey between them."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    columns = min(columns, len(tiles))
    sheet = np.full((rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), 128, np.uint8)
    for n, tile in enumerate(tiles):
        y, x = n // columns * (height + gap_px), n % columns * (width + gap_px)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def video_frames(path: Path, count: int, width: int) -> list[UInt8Array]:
    """Evenly spaced pictures of a video, reduced to ``width`` px; at most ``count``.

    Raises:
        InputError: It cannot be decoded.
    """
    probe = probe_video(path)
    pictures = [shrink(_rgb(codes, probe), width) for codes in iter_planes(path)]
    chosen = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().astype(int)
    return [pictures[i] for i in chosen]


def _rgb(codes: PictureCodes, probe: VideoProbe) -> UInt8Array:
    if codes.luma is None or codes.chroma is None:
        return to_codes(np.asarray(codes.picture, np.float32) / (2**probe.bits - 1))
    rgb = rgb_from_planes(
        codes.luma,
        codes.chroma,
        subsampling=probe.subsampling,
        matrix=probe.matrix,
        range=probe.range,
        bits=probe.bits,
    )
    return np.asarray(rgb, np.uint8)
