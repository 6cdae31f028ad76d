"""How far each relit picture is from its flat one, whether that is known, and the flat picture moved to meet it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.flow import working_size
from litdome.preprocess.motion import MOTION_LONG_SIDE_PX, Motion, read_motion
from litdome.preprocess.pair_measures import FIELDS, REGION_FIELDS, View, measure_pair
from litdome.preprocess.regions import REGIONS
from litdome.stage import Kind, SessionLike, StageConfig, Summary, UInt8Array, Unit

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
WEIGHTS = {"flat": "as filmed", "compensated": "moved to the relit time"}  # by what a loss compares with
REASONS = ("absent", "no_mask", "no_flow", "mixed_light", "shift", "unreliable", "clipped", "repeated")
ABSENT = 1 << REASONS.index("absent")
STORED = {
    "shift_px": ("px of the full picture", "mean motion from the flat to the relit picture on the mask"),
    "shift_p95_px": ("px of the full picture", "95th percentile of that motion"),
    "reliability": ("part", "mean chance on the mask that the motion is right"),
    "sharpness": ("relative", "Laplacian variance of the flat picture in the mask over the camera's median"),
    "clipped": ("part", "mask pixels of the relit picture at a limit of the codes"),
    "flicker": ("part", "mask change that motion does not explain"),
}


def judge(parts: Float32Array, config: AlignConfig, height: int) -> npt.NDArray[np.uint16]:
    """Why pairs of one camera are to be left out, as bits in the order of `REASONS`; 0 keeps a pair.

    Args:
        parts: `PairMeasures` of each, shape (pair, field); a row of NaN is an absent pair.
        config: Thresholds.
        height: Of the camera's pictures, px.
    """
    value = {name: parts[:, i] for i, name in enumerate(FIELDS)}
    absent = np.isnan(value["mask_part"])
    known = value["flat_level"][np.isfinite(value["flat_level"])]
    drift = np.abs(value["flat_level"] / (np.median(known) if len(known) else 1.0) - 1)
    found = {
        "absent": absent,
        "no_mask": value["mask_part"] < config.min_mask_permille / 1000,
        "no_flow": np.isnan(value["shift_px"]) & (value["mask_part"] > 0),
        "mixed_light": (drift > config.max_flat_drift) | (value["light_change"] < config.min_light_change_codes),
        "shift": value["shift_px"] > config.max_shift_px * height / REFERENCE_HEIGHT_PX,
        "unreliable": value["reliability"] < config.min_reliability,
        "clipped": value["clipped"] > config.max_clipped,
    }
    bits = [np.where(flags, 1 << REASONS.index(name), 0) for name, flags in found.items()]
    return np.asarray(np.bitwise_or.reduce(bits), np.uint16)


class AlignConfig(StageConfig):
    """What a pair may be to be kept."""

    max_shift_px: float = Field(
        6.0, gt=0, description="Mean motion from flat to relit on the mask, px at a picture height of 1080."
    )
    min_reliability: float = Field(0.5, ge=0, le=1, description="Mean chance on the mask that the motion is right.")
    max_clipped: float = Field(0.3, ge=0, le=1, description="Part of the relit mask at a limit of the codes.")
    min_mask_permille: float = Field(1.0, ge=0, description="Smallest mask, 1/1000 of the picture.")
    max_flat_drift: float = Field(0.25, gt=0, description="Flat picture's level outside the mask against its median.")
    min_light_change_codes: float = Field(
        1.0, ge=0, description="Mean difference of relit and flat on the mask below which the light did not change."
    )


class Align:
    """Scores every pair of every camera, decides which to keep, and stores flat pictures moved to the relit time."""

    name: ClassVar[str] = "align"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "measure misalignment of pairs and compensate it"
    needs: ClassVar[tuple[str, ...]] = ("flow", "deflicker")
    Config: ClassVar[type[StageConfig]] = AlignConfig

    def prepare(self, session: SessionLike, config: AlignConfig) -> list[Unit]:
        """One unit per camera and shard of pairs."""
        pairs = len(session.pairs)
        for camera in session.cameras:
            width, height = session.size(camera)
            session.create(
                f"compensated/{camera}",
                (pairs, height, width, 3),
                "u1",
                ("pair", "y", "x", "channel"),
                unit="codes, RGB",
                description="flat picture at the relit time, from both sides",
            )
            small = working_size(width, height, MOTION_LONG_SIDE_PX)
            for name, what in WEIGHTS.items():
                session.create(
                    f"weights/{camera}/{name}",
                    (pairs, small[1], small[0]),
                    "u1",
                    ("pair", "y", "x"),
                    unit="1/255",
                    description=f"weight in a loss that uses the flat picture {what}",
                )
            session.create(
                f"quality_parts/{camera}",
                (pairs, len(FIELDS)),
                "f4",
                ("pair", "field"),
                description="measurements that quality/* is made of",
                fill=float("nan"),
                attrs={"names": list(FIELDS)},
            )
        return [Unit(camera, *shard) for camera in session.cameras for shard in session.shards(pairs)]

    def run(self, session: SessionLike, config: AlignConfig, unit: Unit) -> None:
        """Measure and compensate one shard of pairs."""
        camera = str(unit.camera)
        width, height = session.size(camera)
        small = working_size(width, height, MOTION_LONG_SIDE_PX)
        pictures = np.zeros((unit.stop - unit.start, height, width, 3), np.uint8)
        weights = {name: np.zeros((len(pictures), small[1], small[0]), np.uint8) for name in WEIGHTS}
        parts = np.full((len(pictures), len(FIELDS)), np.nan, np.float32)
        regions = _regions(session, camera)
        flats = lru_cache(maxsize=2)(partial(read_view, session, camera, "flat"))
        for i, pair in enumerate(range(unit.start, unit.stop)):
            if not _is_usable(session, camera, pair):
                continue
            motion, flat, next_flat, relit = read_pair(session, camera, pair, flats, regions)
            measured, found = measure_pair(motion, flat, next_flat, relit)
            parts[i], pictures[i] = measured.row, flat.picture if found is None else found.picture
            if found is not None:
                weights["flat"][i], weights["compensated"][i] = map(_codes, (found.weight, found.weight_compensated))
        session.write(f"compensated/{camera}", unit.start, pictures)
        for name, values in weights.items():
            session.write(f"weights/{camera}/{name}", unit.start, values)
        session.write(f"quality_parts/{camera}", unit.start, parts)

    def finish(self, session: SessionLike, config: AlignConfig) -> Summary:
        """Judge all pairs and write quality/*."""
        parts = np.stack([session.read(f"quality_parts/{camera}") for camera in session.cameras])
        heights = [session.size(camera)[1] for camera in session.cameras]
        reason = np.stack([judge(row, config, height) for row, height in zip(parts, heights, strict=True)])
        for flag, name in (("mixed", "mixed_light"), ("repeated", "repeated")):
            reason[_flagged_pairs(session, flag) & (reason != ABSENT)] |= np.uint16(1 << REASONS.index(name))
        values = {name: parts[..., FIELDS.index(name)] for name in STORED}
        known = np.isfinite(values["sharpness"])
        medians = [np.median(row[k]) if k.any() else 1.0 for row, k in zip(values["sharpness"], known, strict=True)]
        values["sharpness"] = values["sharpness"] / np.maximum(np.array(medians, np.float32), 1e-9)[:, None]
        dims = ("camera", "pair")
        for name, (unit, description) in STORED.items():
            session.write_small(
                f"quality/{name}", values[name].astype(np.float32), dims, unit=unit, description=description
            )
        session.write_small(
            "quality/region_shift_px",
            parts[..., [FIELDS.index(name) for name in REGION_FIELDS]],
            (*dims, "region"),
            unit="px of the full picture",
            description="mean motion in a region; NaN where it is not labelled or not seen",
            attrs={"names": list(REGIONS)},
        )
        session.write_small("quality/keep", reason == 0, dims, description="whether a pair is good enough to train on")
        names = {"names": list(REASONS)}
        session.write_small("quality/reason", reason, dims, unit="bits", description="why not", attrs=names)
        counts = {name: int(((reason >> bit) & 1).sum()) for bit, name in enumerate(REASONS)}
        return {"kept": int((reason == 0).sum()), "pairs": int(reason.size), **{k: n for k, n in counts.items() if n}}


def _flagged_pairs(session: SessionLike, flag: str) -> BoolArray:
    """Pairs whose flat or relit picture ingest marked in ``schedule/<flag>``, shape (camera, pair)."""
    if not session.has(f"schedule/{flag}"):
        return np.zeros((len(session.cameras), len(session.pairs)), bool)
    flagged = session.read(f"schedule/{flag}").astype(bool)
    return np.asarray(flagged[:, session.pairs.flat_frame] | flagged[:, session.pairs.relit_frame])


def _is_usable(session: SessionLike, camera: str, pair: int) -> bool:
    numbers = (("flat", session.pairs.flat[pair]), ("relit", session.pairs.relit[pair]))
    return all(session.is_present(camera, kind, int(n)) for kind, n in numbers)  # type: ignore[arg-type]


def _regions(session: SessionLike, camera: str) -> tuple[str, ...] | None:
    """The region of each part label of relit pictures, or None where no parts are labelled."""
    path = f"cameras/{camera}/relit/parts"
    return tuple(session.array(path).attrs["regions"]) if session.has(path) else None


def read_pair(
    session: SessionLike, camera: str, pair: int, flats: Callable[[int], View], regions: tuple[str, ...] | None = None
) -> tuple[Motion | None, View, View | None, View]:
    """The motion around a pair whose pictures are there, its flat, next flat and relit picture.

    There is no next flat one where the motion is unknown or that of the segment before.

    Args:
        session, camera, pair: Where.
        flats: Gives the camera's flat pictures; most are asked for twice.
        regions: Of the part labels of relit pictures, where there are some.
    """
    motion = read_motion(session, camera, pair)
    has_next = motion is not None and motion.segment.alpha <= 1
    flat = flats(int(session.pairs.flat[pair]))
    next_flat = flats(int(session.pairs.next_flat[pair])) if has_next else None
    return motion, flat, next_flat, read_view(session, camera, "relit", int(session.pairs.relit[pair]), regions)


def read_view(session: SessionLike, camera: str, kind: Kind, n: int, regions: tuple[str, ...] | None = None) -> View:
    """One picture of a camera with its mask, and its part labels where ``regions`` are given."""
    path = f"cameras/{camera}/{kind}"
    picture, mask = session.read_frame(camera, kind, n), session.read_at(f"{path}/mask", n)
    return View(picture, mask) if regions is None else View(picture, mask, session.read_at(f"{path}/parts", n), regions)


def _codes(part: Float32Array) -> UInt8Array:
    """0..1 as 0..255."""
    return np.asarray(np.round(255 * part), np.uint8)
