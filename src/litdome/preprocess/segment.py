"""Masks of the person in every flat-lit and relit picture, and the clean plate they are measured against.

Flat-lit frames are compared with the camera's plate. A relit frame cannot be (most of its pixels differ): its mask
is carried from the flat frames around it along half the flow and then corrected near its outline, against the plate
under a gain fitted outside the person.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import Carry, read_segment, segment_from_flat
from litdome.preprocess.plates import Plate, Votes, average_votes, spread_votes, still_noise
from litdome.preprocess.relit_masks import mask_relit_picture
from litdome.preprocess.silhouettes import THRESHOLD, mask_flat_picture
from litdome.stage import SessionLike, StageConfig, Summary, UInt8Array, Unit

BoolArray = npt.NDArray[np.bool_]


class SegmentConfig(StageConfig):
    """Settings of the masks."""

    long_side_px: int = Field(960, ge=64, description="Long side at which masks are computed; they are stored full.")
    threshold: float = Field(
        THRESHOLD, gt=0, description="Difference to the plate at which both are as likely, deviations of the noise."
    )
    plate_frames: int = Field(24, ge=1, le=200, description="Flat frames that the clean plate is made of.")
    max_unsure_permille: float = Field(
        5.0, ge=0, description="Part of the plate that no frame shows for sure, 1/1000, above which a warning is given."
    )
    moving_permille: float = Field(
        1.0, gt=0, description="What moves more from one flat frame to the next is no background; 1/1000 of long side."
    )


class Segment:
    """Raw masks of flat and relit pictures from a clean plate; writes the plate where the recording had none."""

    name: ClassVar[str] = "segment"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "mask the person in every picture"
    needs: ClassVar[tuple[str, ...]] = ("ingest", "flow")
    Config: ClassVar[type[StageConfig]] = SegmentConfig

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, tuple[Plate, Votes | None]] = {}

    def __reduce__(self) -> tuple[type[Segment], tuple[()]]:
        """Travels to other processes without the plates it has seen."""
        return Segment, ()

    def prepare(self, session: SessionLike, config: SegmentConfig) -> list[Unit]:
        """One unit per camera and shard number; it holds that shard of the flat and of the relit pictures."""
        counts = {kind: session.count(kind) for kind in ("flat", "relit")}
        for camera in session.cameras:
            width, height = session.size(camera)
            for kind, count in counts.items():
                session.create(
                    f"cameras/{camera}/{kind}/mask_raw",
                    (count, height, width),
                    "u1",
                    ("n", "y", "x"),
                    unit="coverage, 0..255",
                    description="the person, before de-flickering",
                )
            if not _is_given(session, camera):
                session.create(
                    f"cameras/{camera}/background",
                    (height, width, 3),
                    "u1",
                    ("y", "x", "channel"),
                    shard=None,
                    unit="codes, RGB",
                    description="clean plate under flat light",
                    attrs={"source": "median"},
                )
        self._known.clear()
        ranges = session.shards(max(counts.values()))
        return [Unit(camera, *shard) for shard in ranges for camera in session.cameras]

    def run(self, session: SessionLike, config: SegmentConfig, unit: Unit) -> None:
        """Masks of one shard of flat and one of relit pictures; a relit one looks at flat ones wherever they lie."""
        camera = str(unit.camera)
        plate, votes = self._plate(session, config, camera)
        if unit.start == 0 and votes is not None:
            frames = _spread(session, camera, config.plate_frames)
            background = average_votes(lambda i: session.read_frame(camera, "flat", frames[i]), votes)
            path = f"cameras/{camera}/background"
            session.write(path, 0, background)
            session.set_attrs(path, unsure_permille=round(1000 * float((plate.confidence < 0.5).mean()), 2))
            self._known[camera] = (plate, None)
        one = _OneCamera(session, config, camera, plate)
        for kind in ("flat", "relit"):
            numbers = range(unit.start, min(unit.stop, session.count(kind)))
            if numbers:
                masks = np.stack([one.full_size(one.flat(n)[1] if kind == "flat" else one.relit(n)) for n in numbers])
                session.write(f"cameras/{camera}/{kind}/mask_raw", unit.start, masks)

    def finish(self, session: SessionLike, config: SegmentConfig) -> Summary:
        """Which plates were given and which made, with a warning where the person hides the background all along."""
        given = [camera for camera in session.cameras if _is_given(session, camera)]
        made = [camera for camera in session.cameras if camera not in given]
        unseen = {c: float(session.array(f"cameras/{c}/background").attrs["unsure_permille"]) for c in made}
        warnings = [
            f"camera {camera}: {part / 10:.1f} % of the plate is unsure, masks may be wrong there; "
            f"film background/{camera}.png without the person"
            for camera, part in unseen.items()
            if part > config.max_unsure_permille
        ]
        return {"given_plates": given, "made_plates": made, "warnings": warnings}

    def _plate(self, session: SessionLike, config: SegmentConfig, camera: str) -> tuple[Plate, Votes | None]:
        with self._guard:
            lock = self._locks.setdefault(camera, threading.Lock())
        with lock:
            if camera not in self._known:
                self._known[camera] = _make_plate(session, config, camera)
            return self._known[camera]


class _OneCamera:
    """Masks of one camera at working size; flat frames are looked at once per unit."""

    def __init__(self, session: SessionLike, config: SegmentConfig, camera: str, plate: Plate) -> None:
        self.session, self.config, self.camera, self.plate = session, config, camera, plate
        self.size = working_size(*session.size(camera), config.long_side_px)
        self.flat = lru_cache(maxsize=session.shard_frames + 2)(self._flat)
        self.pair_of_relit = {int(n): pair for pair, n in enumerate(session.pairs.relit)}

    def _flat(self, n: int) -> tuple[UInt8Array, UInt8Array]:
        """Picture and mask of the n-th flat frame; both empty where it is absent."""
        if not self.session.is_present(self.camera, "flat", n):
            blank = np.zeros((self.size[1], self.size[0], 3), np.uint8)
            return blank, blank[..., 0]
        picture = shrink(self.session.read_frame(self.camera, "flat", n), self.size)
        return picture, mask_flat_picture(picture, self.plate, threshold=self.config.threshold)

    def relit(self, n: int) -> UInt8Array:
        """Mask of the n-th relit frame; empty where it is absent or before the first flat frame."""
        pair = self.pair_of_relit.get(n)
        if pair is None or not self.session.is_present(self.camera, "relit", n):
            return np.zeros((self.size[1], self.size[0]), np.uint8)
        segment = read_segment(self.session, self.camera, pair)
        if segment is None:
            as_flat, carried = self.flat(int(self.session.pairs.flat[pair]))
        else:
            carry = Carry.along(segment)
            sides = zip(self.flat(segment.start), self.flat(segment.end), strict=True)
            as_flat, carried = (carry.blend(start, end) for start, end in sides)
        picture = shrink(self.session.read_frame(self.camera, "relit", n), self.size)
        return mask_relit_picture(picture, carried, as_flat, self.plate, threshold=self.config.threshold)

    def full_size(self, mask: UInt8Array) -> UInt8Array:
        """The mask at the size of the stored pictures."""
        size = self.session.size(self.camera)
        return mask if self.size == size else np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR))


def _is_given(session: SessionLike, camera: str) -> bool:
    path = f"cameras/{camera}/background"
    return session.has(path) and session.array(path).attrs.get("source") != "median"


def _spread(session: SessionLike, camera: str, count: int) -> list[int]:
    """Up to ``count`` recorded flat frames, spread evenly."""
    recorded = [n for n in range(session.count("flat")) if session.is_present(camera, "flat", n)]
    picks = np.unique(np.linspace(0, len(recorded) - 1, min(count, len(recorded))).round().astype(int))
    return [recorded[i] for i in picks]


def _moving(session: SessionLike, camera: str, flat: int, limit_px: float) -> BoolArray:
    """Where a flat frame moves from the one before or to the one after, at the flow's grid."""
    fields = []
    for path, first in ((f"motion/{camera}", flat), (f"motion_backward/{camera}", flat - 1)):
        pair = segment_from_flat(session, camera, first)
        if pair is not None:
            fields.append(np.linalg.norm(session.read_at(path, pair).astype(np.float32), axis=0) > limit_px)
    shape = session.array(f"motion/{camera}").shape[2:]
    return np.asarray(np.logical_or.reduce(fields) if fields else np.zeros(shape, bool))


def _make_plate(session: SessionLike, config: SegmentConfig, camera: str) -> tuple[Plate, Votes | None]:
    """The plate at working size, and the votes behind it where it was not given."""
    size = working_size(*session.size(camera), config.long_side_px)
    frames = _spread(session, camera, config.plate_frames)

    def read(i: int) -> UInt8Array:
        return session.read_frame(camera, "flat", frames[i])

    if _is_given(session, camera):
        given = shrink(session.read(f"cameras/{camera}/background"), size)
        noise = still_noise([shrink(read(i), size) for i in range(0, len(frames), 4)], given)
        return Plate.given(given, noise), None
    if not frames:
        return Plate.given(np.zeros((size[1], size[0], 3), np.uint8), 1.0), None
    limit_px = config.moving_permille / 1000 * max(session.size(camera))
    votes = spread_votes(read, [_moving(session, camera, flat, limit_px) for flat in frames])
    picture = average_votes(read, votes, size)
    noise = still_noise([shrink(read(i), size) for i in range(0, len(frames), 4)], picture)
    confidence = cv2.resize(votes.confidence, size, interpolation=cv2.INTER_LINEAR)
    return Plate(picture, confidence, votes.person_odds, noise), votes
