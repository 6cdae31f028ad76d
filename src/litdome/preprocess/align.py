"""How far each relit picture is from its flat one, whether that is known, and the flat picture moved to meet it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.compensation import Compensated, compensate
from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import MOTION_LONG_SIDE_PX, Carry, read_motion
from litdome.preprocess.regions import REGIONS, read_regions, region_means
from litdome.stage import SessionLike, StageConfig, Summary, UInt8Array, Unit

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
WEIGHTS = {  # by the flat picture that the loss compares with
    "flat": ("weight", "as filmed"),
    "compensated": ("weight_compensated", "moved to the relit time"),
}
REASONS = ("absent", "no_mask", "no_flow", "mixed_light", "shift", "unreliable", "clipped", "repeated")
ABSENT = 1 << REASONS.index("absent")


@dataclass(frozen=True)
class Alignment:
    """What was measured on one pair of one camera; NaN where it cannot be.

    Attributes:
        shift_px, shift_p95_px: Motion from the flat to the relit picture on the mask: mean, 95th percentile, px.
        reliability: Mean chance on the mask that the motion is right.
        sharpness: Variance of the Laplacian of the flat picture in the mask over its mean squared.
        clipped: Part of the relit mask at a limit of the codes.
        flicker: Part by which the relit mask differs from the flat masks carried to its time.
        mask_part: Part of the picture that the flat mask covers.
        flat_level: Mean luma of the flat picture outside the mask, codes.
        light_change: Mean difference of the relit picture and the flat one carried to it on the mask, codes.
        face_shift_px, hands_shift_px, body_shift_px: As ``shift_px`` in a region; NaN where it is not labelled or seen.
    """

    shift_px: float = np.nan
    shift_p95_px: float = np.nan
    reliability: float = np.nan
    sharpness: float = np.nan
    clipped: float = np.nan
    flicker: float = np.nan
    mask_part: float = np.nan
    flat_level: float = np.nan
    light_change: float = np.nan
    face_shift_px: float = np.nan
    hands_shift_px: float = np.nan
    body_shift_px: float = np.nan


FIELDS = tuple(field.name for field in fields(Alignment))
STORED = {
    "shift_px": ("px of the full picture", "mean motion from the flat to the relit picture on the mask"),
    "shift_p95_px": ("px of the full picture", "95th percentile of that motion"),
    "reliability": ("part", "mean chance on the mask that the motion is right"),
    "sharpness": ("relative", "Laplacian variance of the flat picture in the mask over the camera's median"),
    "clipped": ("part", "mask pixels of the relit picture at a limit of the codes"),
    "flicker": ("part", "mask change that motion does not explain"),
}


def measure_motion(found: Compensated, inside: BoolArray) -> tuple[float, float, float]:
    """Mean and 95th percentile of the shift, px of the full picture, and the reliability.

    Args:
        found: The motion to the relit picture.
        inside: The person in it, shape (y, x), at the motion's size; not empty.
    """
    shift = found.shift_px[inside]
    return float(shift.mean()), float(np.percentile(shift, 95)), float(found.reliability[inside].mean())


def measure_sharpness(luma: UInt8Array, mask: BoolArray) -> float:
    """Variance of the Laplacian over the mean squared, on the mask; blur by motion or focus lowers it."""
    mean = float(luma[mask].mean())
    return float(cv2.Laplacian(luma, cv2.CV_32F)[mask].var()) / max(mean, 1.0) ** 2


def judge(parts: Float32Array, config: AlignConfig, height: int) -> npt.NDArray[np.uint16]:
    """Why pairs of one camera are to be left out, as bits in the order of `REASONS`; 0 keeps a pair.

    Args:
        parts: `Alignment` values, shape (pair, field); a row of NaN is an absent pair.
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
        4.0, gt=0, description="Mean motion from flat to relit on the mask, px at a picture height of 1080."
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
    version: ClassVar[int] = 2
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
                description="flat picture at the relit time, by half flow from both sides",
            )
            small = working_size(width, height, MOTION_LONG_SIDE_PX)
            for name, (_, what) in WEIGHTS.items():
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
        for i, pair in enumerate(range(unit.start, unit.stop)):
            if _is_usable(session, camera, pair):
                measured, pictures[i], found = _align_pair(session, camera, pair)
                parts[i] = astuple(measured)
                if found is not None:
                    for name, (field, _) in WEIGHTS.items():
                        weights[name][i] = np.round(255 * getattr(found, field))
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
            np.stack([parts[..., FIELDS.index(f"{region}_shift_px")] for region in REGIONS], axis=-1),
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


def _align_pair(session: SessionLike, camera: str, pair: int) -> tuple[Alignment, UInt8Array, Compensated | None]:
    """Measurements of one recorded pair, the flat picture at the relit time, and the motion where it is known."""
    flat = _View.flat(session, camera, int(session.pairs.flat[pair]))
    relit = _View(session.read_rgb(camera, "relit", pair), session.read_mask(camera, "relit", pair)).small()
    motion = read_motion(session, camera, pair)
    if motion is None:
        still = flat.small()
        return _measure_still(still, still, relit), flat.picture, None
    segment = motion.segment
    next_flat = _View.flat(session, camera, segment.end) if segment.alpha <= 1 else None
    found = compensate(motion, flat.picture, None if next_flat is None else next_flat.picture)
    carry, small = Carry.along(segment), flat.small()
    mask = carry.blend(small.mask, small.mask if next_flat is None else next_flat.small().mask)
    measured = _measure_still(small, _View(found.picture, mask).small(), relit)
    if measured.mask_part > 0:
        shift, p95, sure = measure_motion(found, relit.inside)
        regions = region_means(
            found.shift_px, read_regions(session, camera, int(session.pairs.relit[pair]), relit.inside)
        )
        by_region = {f"{region}_shift_px": value for region, value in zip(REGIONS, regions, strict=True)}
        measured = replace(measured, shift_px=shift, shift_p95_px=p95, reliability=sure, **by_region)
    return measured, found.picture, found


@dataclass(frozen=True, eq=False)
class _View:
    """A picture with its mask."""

    picture: UInt8Array
    mask: UInt8Array

    @classmethod
    def flat(cls, session: SessionLike, camera: str, n: int) -> _View:
        mask = session.read_at(f"cameras/{camera}/flat/mask", n)
        return cls(session.read_frame(camera, "flat", n), mask)

    @property
    def both(self) -> tuple[UInt8Array, UInt8Array]:
        return self.picture, self.mask

    def small(self) -> _View:
        """At the motion's size."""
        size = working_size(self.mask.shape[1], self.mask.shape[0], MOTION_LONG_SIDE_PX)
        return _View(shrink(self.picture, size), shrink(self.mask, size))

    @property
    def luma(self) -> UInt8Array:
        return np.asarray(cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY), np.uint8)

    @property
    def inside(self) -> BoolArray:
        return self.mask > 127


def _measure_still(flat: _View, carried: _View, relit: _View) -> Alignment:
    """What needs no motion: the flat picture, the flat one at the relit time, the relit one."""
    if not flat.inside.any() or not relit.inside.any():
        return Alignment(mask_part=0.0)
    brightest = relit.picture.max(-1)
    change = cv2.absdiff(relit.mask, carried.mask).sum(dtype=np.float64) / relit.mask.sum(dtype=np.float64)
    outside = cv2.dilate(flat.mask, np.ones((9, 9), np.uint8)) == 0
    return Alignment(
        sharpness=measure_sharpness(flat.luma, flat.inside),
        clipped=float(((brightest >= 254) | (brightest <= 1))[relit.inside].mean()),
        flicker=float(change),
        mask_part=float(flat.inside.mean()),
        flat_level=float(flat.luma[outside].mean()) if outside.any() else float("nan"),
        light_change=float(cv2.absdiff(relit.picture, carried.picture)[relit.inside].mean()),
    )
