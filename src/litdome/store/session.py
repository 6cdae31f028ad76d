"""The session: one take on disk, a versioned Zarr v3 store. The only object that reads or writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.color import ColorCorrection, linear_from_srgb
from litdome.errors import CalibrationError, FrameAbsentError, StoreError, UsageError
from litdome.geometry import Camera, LensModel, Rig
from litdome.lighting import HdriConvention, HdriEntry, LightingSchedule
from litdome.pairs import PairTable
from litdome.stage import Array, Kind, PairKind, UInt8Array
from litdome.store import pictures, schema
from litdome.store.arrays import ArrayStore
from litdome.store.files import open_files, refusals
from litdome.store.provenance import StageRecord

PAIR_FIELDS = ("flat", "relit", "next_flat", "flat_frame", "relit_frame", "next_flat_frame", "hdri", "gap_ms", "alpha")
RIG_ONLY = "rig"  # what the attribute ``holds`` says of a session without a take
REMEMBERED = (  # of small arrays, until one is written
    "cameras",
    "schedule",
    "pairs",
    "_present",
    "_frames",
    "_sizes",
    "_corrections",
)


class Session(ArrayStore):
    """One take. Open with `litdome.open_session`; docs/schema.md lists every path. It pickles as its URL."""

    @classmethod
    def new(cls, url: str, attrs: Mapping[str, Any]) -> Session:
        """Make an empty session.

        Raises:
            UsageError: Something is there already.
            StoreError: The disk refuses.
        """
        files, path = open_files(url)
        with refusals(url):
            if files.isfile(path) or (files.exists(path) and files.ls(path)):
                raise UsageError(f"{url}: exists already", hint="give another name, or remove it first")
            described = {"format": schema.SESSION_FORMAT, "schema": schema.SCHEMA_VERSION, **attrs}
            root = zarr.create_group(url, zarr_format=3, attributes=described)  # one write: whole or not there
        return cls(url, root, writable=True)

    @classmethod
    def open(cls, url: str, *, writable: bool = False) -> Session:
        """Open an existing session.

        Raises:
            StoreError: Nothing there, not a session, unreachable, or a newer major schema.
        """
        with refusals(url):
            try:
                root = zarr.open_group(url, mode="r+" if writable else "r")
            except (FileNotFoundError, NotADirectoryError, zarr.errors.ContainsArrayError, ValueError) as error:
                raise StoreError(f"{url}: no session here", hint=f"litdome ingest RECORDING {url}") from error
        schema.check_format(root.attrs, url, schema.SESSION_FORMAT, schema.SCHEMA_VERSION)
        return cls(url, root, writable=writable)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.url, self.writable)

    def refresh(self) -> None:
        """Forget what was read: other processes have written."""
        self.__dict__ = vars(Session.open(self.url, writable=self.writable))

    # what the take is

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Name, subject, fps, transfer, consent, hdri_convention, recording."""
        return cast(Mapping[str, Any], self.root.attrs)

    @property
    def is_rig_only(self) -> bool:
        """Whether it holds a rig and no take: calibrated from boards or a file before anything was recorded."""
        return self.attrs.get("holds") == RIG_ONLY

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Camera ids, in the order of the camera axis."""
        return tuple(cast(list[str], self.array("rig/size").attrs["camera_ids"]))

    def size(self, camera: str) -> tuple[int, int]:
        """(width, height) of a camera's stored pictures, px."""
        width, height = self._sizes[self._camera_index(camera)]
        return int(width), int(height)

    @cached_property
    def _sizes(self) -> Array:
        return self.read("rig/size")

    @property
    def rig(self) -> Rig:
        """The calibrated cameras.

        Raises:
            CalibrationError: Not calibrated yet, or only the lenses are known.
        """
        lenses = self.lenses
        if not self.has("rig/world_from_camera"):
            raise CalibrationError(
                f"{self.url}: its lenses are calibrated, its cameras have no poses yet",
                hint=f"film boards/extrinsic, then litdome calibrate {self.url} --boards DIR; or --import FILE",
            )
        poses = zip(lenses.cameras, self.read("rig/world_from_camera"), strict=True)
        return Rig(tuple(replace(camera, world_from_camera=pose) for camera, pose in poses))

    @property
    def lenses(self) -> Rig:
        """The cameras as far as their lenses are known; all stand at the origin.

        Raises:
            CalibrationError: Not calibrated yet.
        """
        if not self.has("rig/intrinsics"):
            raise CalibrationError(f"{self.url}: not calibrated", hint=f"litdome calibrate {self.url}")
        attrs = self.array("rig/size").attrs
        columns = (self.read(f"rig/{name}") for name in ("size", "intrinsics", "distortion"))
        models, roles = cast(list[LensModel], attrs["models"]), cast(list[str], attrs["roles"])
        return Rig(
            tuple(
                Camera(id, int(size[0]), int(size[1]), k, distortion, np.eye(4), model, role)
                for id, model, role, size, k, distortion in zip(self.cameras, models, roles, *columns, strict=True)
            )
        )

    @cached_property
    def schedule(self) -> LightingSchedule:
        """What was lit at each rig frame."""
        entries = tuple(HdriEntry(**entry) for entry in cast(list[Any], self.array("schedule/hdri").attrs["entries"]))
        return LightingSchedule(self.read("schedule/kind"), self.read("schedule/hdri"), entries)

    @cached_property
    def pairs(self) -> PairTable:
        """Flat/relit pairs of the rig; the index that everything shares."""
        return PairTable(*(self.read(f"pairs/{name}") for name in PAIR_FIELDS))

    def frames(self, kind: Kind) -> npt.NDArray[np.int32]:
        """Rig frame of each stored picture of a kind, shape (n,)."""
        if kind not in self._frames:
            self._frames[kind] = self.read(f"frames/{kind}")
        return self._frames[kind]

    def count(self, kind: Kind) -> int:
        """How many pictures of a kind are stored; absent ones are counted (and filled)."""
        path = f"frames/{kind}"
        return int(self.array(path).shape[0]) if self.has(path) else 0

    def is_present(self, camera: str, kind: Kind, n: int) -> bool:
        """Whether the camera recorded the n-th picture of a kind."""
        return bool(self._present[self._camera_index(camera), self.frames(kind)[n]])

    def has_pair(self, camera: str, pair: int) -> bool:
        """Whether the camera recorded both the flat and the relit picture of a pair."""
        frames = (self.pairs.flat_frame[pair], self.pairs.relit_frame[pair])
        return bool(self._present[self._camera_index(camera), list(frames)].all())

    @cached_property
    def _present(self) -> npt.NDArray[np.bool_]:
        return self.read("schedule/present")

    @cached_property
    def _frames(self) -> dict[Kind, npt.NDArray[np.int32]]:
        return {}

    @property
    def hdri_names(self) -> tuple[str, ...]:
        """HDRI entries, sorted by code point; what ``pairs.hdri`` indexes."""
        return tuple(entry.entry for entry in self.schedule.entries)

    @property
    def hdri_convention(self) -> HdriConvention:
        """Where the centre of an HDRI lies in the world."""
        return cast(HdriConvention, self.attrs["hdri_convention"])

    @property
    def light_gain(self) -> float:
        """Session gain: linear light in the pictures over radiance of the HDRIs; 1 where the recording says nothing."""
        return float(self.attrs.get("light_gain", 1.0))

    # pictures

    def read_hdri(self, index: int, *, effective: bool = False) -> npt.NDArray[np.float32]:
        """Radiance of an HDRI entry, rotation and gain applied, shape (v, u, 3), float32: as it was requested, or as
        the LEDs gave it.

        Raises:
            StoreError: ``effective``, and the stage's LEDs are not known.
        """
        path = f"{'hdris_effective' if effective else 'hdris'}/{self.hdri_names[index]}"
        if effective and not self.has(path):
            hint = f"litdome lights effective {self.url} --leds lights.json"
            raise StoreError(f"{self.url}: what the LEDs gave is not known", hint=hint)
        return cast(npt.NDArray[np.float32], self.read(path))

    def read_frame(self, camera: str, kind: Kind, n: int) -> UInt8Array:
        """The n-th stored picture of a kind, display-referred RGB, shape (y, x, 3), uint8.

        Raises:
            FrameAbsentError: The camera did not record it.
        """
        return cast(UInt8Array, self._pictures(camera, kind, n).read(n, "uint8"))

    def read_luma(self, camera: str, kind: Kind, n: int) -> UInt8Array:
        """Luma of the n-th stored picture of a kind, shape (y, x), uint8, codes as recorded (8 bits)."""
        return self._pictures(camera, kind, n).read_luma(n)

    def read_rgb(
        self,
        camera: str,
        kind: PairKind,
        pair: int,
        *,
        region: pictures.Region | None = None,
        size: tuple[int, int] | None = None,
        undistort: bool = False,
        dtype: str = "uint8",
        linear: bool = False,
        corrected: bool = False,
    ) -> Array:
        """A picture of a pair, RGB.

        Args:
            camera: Camera id.
            kind: ``flat``, ``relit`` or ``next_flat``.
            pair: Pair index.
            region: (x0, y0, x1, y1), px, half-open, cut before resizing; only its tiles are read.
            size: (width, height) to resize to.
            undistort: Remove lens distortion (needs a calibration).
            dtype: ``uint8`` or ``uint16`` codes, or ``float32`` in 0..1.
            linear: Linear light instead of display-referred values.
            corrected: Apply the camera's colour calibration, in linear light.

        Returns:
            Shape (y, x, 3).

        Raises:
            CalibrationError: ``corrected``, and the camera has no colour calibration.
            FrameAbsentError: Not recorded, or the pair has no next flat.
            UsageError: ``region`` reaches beyond the picture.
        """
        stored: Kind = "relit" if kind == "relit" else "flat"
        n = self._stored_index(kind, pair)
        if region is not None:
            pictures.check_region(region, self.size(camera), f"{self.url}: {camera} {kind} {pair}")
        group = self._pictures(camera, stored, n)
        if corrected:
            group = replace(group, correction=self.color_correction(camera), linear=linear)
        inner = "float32" if dtype != "uint8" or linear else "uint8"
        if undistort:
            picture = pictures.read_undistorted(group, n, inner, self.lenses[camera], region)
        else:
            picture = group.read(n, inner, region)
        if size is not None:
            picture = pictures.resized(picture, size)
        if linear and not corrected:
            picture = linear_from_srgb(picture)
        return pictures.as_dtype(picture, dtype)

    def read_mask(self, camera: str, kind: PairKind, pair: int, *, region: pictures.Region | None = None) -> UInt8Array:
        """Coverage of the person in a picture of a pair, shape (y, x), 0..255: de-flickered, or raw before that.

        Raises:
            FrameAbsentError: The pair has no next flat.
            StoreError: Not segmented yet, or the shard is lost.
            UsageError: ``region`` reaches beyond the picture.
        """
        n = self._stored_index(kind, pair)
        group = f"cameras/{camera}/{'relit' if kind == 'relit' else 'flat'}"
        path = f"{group}/mask" if self.has(f"{group}/mask") else f"{group}/mask_raw"
        if not self.has(path):
            raise StoreError(f"{self.url}: no mask of {camera} {kind} {pair}", hint=f"litdome segment {self.url}")
        if region is not None:
            pictures.check_region(region, self.size(camera), f"{self.url}: {camera} {kind} {pair}")
        return self.read_at(path, n, pictures.box_of(region) if region else None, required=True)

    def _pictures(self, camera: str, kind: Kind, n: int) -> pictures.PictureGroup:
        """The pictures of a camera and kind, once the n-th is known to have been recorded."""
        if not self.is_present(camera, kind, n):
            frame = int(self.frames(kind)[n])
            raise FrameAbsentError(f"{self.url}: camera {camera} did not record rig frame {frame} ({kind} {n})")
        group, exposure_ev = f"cameras/{camera}/{kind}", float(self.attrs.get("exposure_ev", 0.0))
        return pictures.PictureGroup(self, group, self.transfer(camera, kind), exposure_ev)

    def transfer(self, camera: str, kind: Kind = "flat") -> str:
        """Transfer curve of a camera's stored codes: ``srgb``, ``bt709``, ``linear`` or ``log3g10``."""
        group = f"cameras/{camera}/{kind}"
        planes = [self.array(path) for path in (f"{group}/luma", f"{group}/rgb") if self.has(path)]
        stored = planes[0].attrs.get("transfer") if planes else None
        return str(stored or self.attrs.get("transfer") or "srgb")

    def _stored_index(self, kind: PairKind, pair: int) -> int:
        n = int(getattr(self.pairs, kind)[pair])
        if n < 0:
            raise FrameAbsentError(f"{self.url}: pair {pair} has no {kind} picture (the take ends before)")
        return n

    def color_correction(self, camera: str) -> ColorCorrection:
        """The camera's colour calibration.

        Raises:
            CalibrationError: None was made, or none was found for this camera.
        """
        if not self.has("rig/color_affine"):
            raise CalibrationError(f"{self.url}: no colour calibration", hint=f"litdome color {self.url}")
        found = self._corrections[self._camera_index(camera)]
        if not np.isfinite(found.affine).all():
            raise CalibrationError(
                f"{self.url}: camera {camera} has no colour calibration: no chart of it was found",
                hint=f"litdome color {self.url} --corners FILE",
            )
        return found

    def corrected(self, camera: str, picture: UInt8Array) -> UInt8Array:
        """A whole picture of a camera, display-referred, shape (y, x, 3), with its colour calibration applied.

        Raises:
            CalibrationError: As `color_correction`.
        """
        whole = (0, 0, picture.shape[1], picture.shape[0])
        return pictures.colour_corrected(picture, self.color_correction(camera), whole, linear=False)

    @cached_property
    def _corrections(self) -> tuple[ColorCorrection, ...]:
        affine, black_level, vignetting = (
            self.read(f"rig/{name}") for name in ("color_affine", "black_level", "vignetting")
        )
        gain = float(cast(float, self.array("rig/color_affine").attrs["light_gain"]))
        return tuple(ColorCorrection(*rows, gain) for rows in zip(affine, black_level, vignetting, strict=True))

    def _camera_index(self, camera: str) -> int:
        try:
            return self.cameras.index(camera)
        except ValueError as error:
            raise UsageError(f"{self.url}: no camera {camera}", hint=f"cameras: {', '.join(self.cameras)}") from error

    # what is written, and by whom

    def _forget_small(self) -> None:
        for name in REMEMBERED:
            self.__dict__.pop(name, None)

    def record(self, stage: str) -> StageRecord | None:
        """How a stage was last run, or None."""
        group = self.root.get(f"steps/{stage}")
        attrs = cast(Mapping[str, Any], group.attrs) if isinstance(group, zarr.Group) else {}
        return StageRecord.from_attrs(attrs) if "fingerprint" in attrs else None

    def records(self) -> tuple[StageRecord, ...]:
        """The records of all stages that were run, by name."""
        steps = self.root.get("steps")
        names = sorted(steps.group_keys()) if isinstance(steps, zarr.Group) else []
        return tuple(record for name in names if (record := self.record(name)) is not None)

    def write_record(self, record: StageRecord) -> None:
        """Store how a stage is being run."""
        self._need_writable()
        with refusals(f"{self.url}: steps/{record.stage}"):
            self.root.require_group(f"steps/{record.stage}").update_attributes(record.as_attrs())

    def done(self, stage: str) -> npt.NDArray[np.bool_]:
        """Which units of a stage are done, shape (unit,)."""
        path = f"steps/{stage}/done"
        return self.read(path) if self.has(path) else np.zeros(0, bool)


def _reopened(url: str, writable: bool) -> Session:
    return Session.open(url, writable=writable)
