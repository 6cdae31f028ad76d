"""The session: one take on disk, a versioned Zarr v3 store. The only object that reads or writes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import cv2
import fsspec
import numpy as np
import numpy.typing as npt
import zarr

from litdome.color import display_from_codes, linear_from_srgb
from litdome.errors import CalibrationError, FrameAbsentError, StoreError, UsageError
from litdome.geometry import Camera, LensModel, Resampler, Rig
from litdome.lighting import HdriConvention, HdriEntry, LightingSchedule
from litdome.media.planes import rgb_from_planes
from litdome.pairs import PairTable
from litdome.stage import Array, Kind, PairKind, UInt8Array
from litdome.store import schema
from litdome.store.provenance import StageRecord

PAIR_FIELDS = ("flat", "relit", "next_flat", "flat_frame", "relit_frame", "next_flat_frame", "hdri", "gap_ms", "alpha")


class Session:
    """One take. Open with `litdome.open_session`; docs/schema.md lists every path."""

    def __init__(self, url: str, root: zarr.Group, *, writable: bool) -> None:
        self.url = url
        self.root = root
        self.writable = writable
        self._arrays: dict[str, zarr.Array[Any]] = {}

    @classmethod
    def new(cls, url: str, attrs: Mapping[str, Any]) -> Session:
        """Make an empty session.

        Raises:
            UsageError: Something is there already.
        """
        files, path = fsspec.core.url_to_fs(url)
        if files.isfile(path) or (files.exists(path) and files.ls(path)):
            raise UsageError(f"{url}: exists already", hint="give another name, or remove it first")
        described = {"format": schema.SESSION_FORMAT, "schema": schema.SCHEMA_VERSION, **attrs}
        return cls(url, zarr.create_group(url, zarr_format=3, attributes=described), writable=True)

    @classmethod
    def open(cls, url: str, *, writable: bool = False) -> Session:
        """Open an existing session.

        Raises:
            StoreError: Nothing there, not a session, or a newer major schema.
        """
        try:
            root = zarr.open_group(url, mode="r+" if writable else "r")
        except (FileNotFoundError, zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError, ValueError) as error:
            raise StoreError(f"{url}: no session here", hint=f"litdome ingest RECORDING {url}") from error
        schema.check_format(root.attrs, url, schema.SESSION_FORMAT, schema.SCHEMA_VERSION)
        return cls(url, root, writable=writable)

    def refresh(self) -> None:
        """Forget what was read: other processes have written."""
        self.__dict__ = vars(Session.open(self.url, writable=self.writable))

    # what the take is

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Name, subject, fps, transfer, consent, hdri_convention, recording."""
        return cast(Mapping[str, Any], self.root.attrs)

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Camera ids, in the order of the camera axis."""
        return tuple(cast(list[str], self.array("rig/size").attrs["camera_ids"]))

    def size(self, camera: str) -> tuple[int, int]:
        """(width, height) of a camera's stored pictures, px."""
        width, height = self.read("rig/size")[self._camera_index(camera)]
        return int(width), int(height)

    @property
    def rig(self) -> Rig:
        """The calibrated cameras.

        Raises:
            CalibrationError: Not calibrated yet.
        """
        if not self.has("rig/world_from_camera"):
            raise CalibrationError(f"{self.url}: not calibrated", hint=f"litdome calibrate {self.url}")
        attrs = self.array("rig/size").attrs
        columns = (self.read(f"rig/{name}") for name in ("size", "intrinsics", "distortion", "world_from_camera"))
        models, roles = cast(list[LensModel], attrs["models"]), cast(list[str], attrs["roles"])
        return Rig(
            tuple(
                Camera(id, int(size[0]), int(size[1]), k, distortion, pose, model, role)
                for id, model, role, size, k, distortion, pose in zip(
                    self.cameras, models, roles, *columns, strict=True
                )
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
        return self.read(f"frames/{kind}")

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

    @property
    def hdri_names(self) -> tuple[str, ...]:
        """HDRI entries, sorted by code point; what ``pairs.hdri`` indexes."""
        return tuple(entry.entry for entry in self.schedule.entries)

    @property
    def hdri_convention(self) -> HdriConvention:
        """Where the centre of an HDRI lies in the world."""
        return cast(HdriConvention, self.attrs["hdri_convention"])

    # pictures

    def read_hdri(self, index: int) -> npt.NDArray[np.float32]:
        """Radiance of an HDRI entry as it lit the stage (rotation and gain applied), shape (v, u, 3), float32."""
        return cast(npt.NDArray[np.float32], self.read(f"hdris/{self.hdri_names[index]}"))

    def read_frame(self, camera: str, kind: Kind, n: int) -> UInt8Array:
        """The n-th stored picture of a kind, display-referred RGB, shape (y, x, 3), uint8.

        Raises:
            FrameAbsentError: The camera did not record it.
        """
        return cast(UInt8Array, self._decode(camera, kind, n, "uint8"))

    def read_luma(self, camera: str, kind: Kind, n: int) -> UInt8Array:
        """Luma of the n-th stored picture of a kind, shape (y, x), uint8, codes as recorded (8 bits)."""
        self._need_present(camera, kind, n)
        path = f"cameras/{camera}/{kind}/luma"
        if not self.has(path):
            return cast(UInt8Array, cv2.cvtColor(self.read_frame(camera, kind, n), cv2.COLOR_RGB2GRAY))
        array = self.array(path)
        codes = np.asarray(array[n])
        return (
            codes if codes.dtype == np.uint8 else (codes >> (int(cast(int, array.attrs["bits"])) - 8)).astype(np.uint8)
        )

    def read_rgb(
        self,
        camera: str,
        kind: PairKind,
        pair: int,
        *,
        region: tuple[int, int, int, int] | None = None,
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
            region: (x0, y0, x1, y1), px, half-open, cut before resizing.
            size: (width, height) to resize to.
            undistort: Remove lens distortion (needs a calibration).
            dtype: ``uint8`` or ``uint16`` codes, or ``float32`` in 0..1.
            linear: Linear light instead of display-referred values.
            corrected: Apply the camera's colour calibration, in linear light.

        Returns:
            Shape (y, x, 3).

        Raises:
            FrameAbsentError: Not recorded, or the pair has no next flat.
        """
        stored: Kind = "relit" if kind == "relit" else "flat"
        n = int(getattr(self.pairs, kind)[pair])
        if n < 0:
            raise FrameAbsentError(f"{self.url}: pair {pair} has no {kind} picture (the take ends before)")
        high = dtype != "uint8" or linear or corrected
        picture = self._decode(camera, stored, n, "float32" if high else "uint8")
        if undistort:
            source = self.rig[camera]
            picture = Resampler.between(source, source.undistorted())(picture)
        if region is not None:
            x0, y0, x1, y1 = region
            picture = picture[y0:y1, x0:x1]
        if size is not None:
            shrinks = size[0] < picture.shape[1]
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if corrected:
            picture = self._correct(camera, picture, linear)
        elif linear:
            picture = linear_from_srgb(picture)
        return _as_dtype(picture, dtype)

    def read_mask(self, camera: str, kind: PairKind, pair: int) -> UInt8Array:
        """Coverage of the person in a picture of a pair, shape (y, x), 0..255: de-flickered, or raw before that."""
        n = int(getattr(self.pairs, kind)[pair])
        group = f"cameras/{camera}/{'relit' if kind == 'relit' else 'flat'}"
        path = f"{group}/mask" if self.has(f"{group}/mask") else f"{group}/mask_raw"
        if n < 0 or not self.has(path):
            raise StoreError(f"{self.url}: no mask of {camera} {kind} {pair}", hint=f"litdome segment {self.url}")
        return np.asarray(self.array(path)[n], np.uint8)

    def _decode(self, camera: str, kind: Kind, n: int, dtype: str) -> Array:
        self._need_present(camera, kind, n)
        group = f"cameras/{camera}/{kind}"
        transfer, exposure = str(self.attrs.get("transfer", "srgb")), float(self.attrs.get("exposure_ev", 0.0))
        plain = transfer in ("srgb", "bt709") and exposure == 0
        if self.has(f"{group}/luma"):
            luma, chroma = self.array(f"{group}/luma"), self.array(f"{group}/chroma")
            a = luma.attrs
            rgb = rgb_from_planes(
                np.asarray(luma[n]),
                np.asarray(chroma[n]),
                subsampling=str(a["subsampling"]),
                matrix=str(a["matrix"]),
                range=str(a["range"]),
                bits=int(cast(int, a["bits"])),
                dtype=dtype if plain else "float32",
            )
        else:
            rgb = _as_dtype(_as_float(np.asarray(self.array(f"{group}/rgb")[n])), dtype if plain else "float32")
        return rgb if plain else _as_dtype(display_from_codes(rgb, transfer, exposure), dtype)

    def _correct(self, camera: str, picture: Array, linear: bool) -> Array:
        if not self.has("rig/color_affine"):
            raise CalibrationError(f"{self.url}: no colour calibration", hint="read with corrected=False")
        affine = self.read("rig/color_affine")[self._camera_index(camera)]
        light = linear_from_srgb(picture) @ affine[:, :3].T + affine[:, 3]
        return light.astype(np.float32) if linear else display_from_codes(light.astype(np.float32), "linear", 0.0)

    def _need_present(self, camera: str, kind: Kind, n: int) -> None:
        if not self.is_present(camera, kind, n):
            frame = int(self.frames(kind)[n])
            raise FrameAbsentError(f"{self.url}: camera {camera} did not record rig frame {frame} ({kind} {n})")

    def _camera_index(self, camera: str) -> int:
        try:
            return self.cameras.index(camera)
        except ValueError as error:
            raise UsageError(f"{self.url}: no camera {camera}", hint=f"cameras: {', '.join(self.cameras)}") from error

    # arrays

    @property
    def shard_frames(self) -> int:
        """Pictures (or pairs) in one shard."""
        return schema.SHARD_FRAMES

    def shards(self, length: int) -> list[tuple[int, int]]:
        """Half-open shard ranges along an axis of ``length``."""
        return [(start, min(start + self.shard_frames, length)) for start in range(0, length, self.shard_frames)]

    def has(self, path: str) -> bool:
        """Whether an array or group is at ``path``."""
        return path in self._arrays or path in self.root

    def array(self, path: str) -> zarr.Array[Any]:
        """The Zarr array at ``path``.

        Raises:
            StoreError: Not there.
        """
        if path not in self._arrays:
            found = self.root.get(path)
            if not isinstance(found, zarr.Array):
                raise StoreError(f"{self.url}: no array {path}", hint=f"litdome status {self.url}")
            self._arrays[path] = found
        return self._arrays[path]

    def read(self, path: str) -> Array:
        """A whole array."""
        return np.asarray(self.array(path)[...])

    def create(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        dims: tuple[str, ...],
        *,
        shard: int | None = schema.SHARD_FRAMES,
        chunk: tuple[int, ...] | None = None,
        unit: str = "",
        description: str = "",
        fill: float = 0,
        attrs: Mapping[str, Any] | None = None,
    ) -> zarr.Array[Any]:
        """Make an array, or keep the one that is there when it is the same; ``shard`` counts along axis 0."""
        self._need_writable()
        described = {"unit": unit, "description": description, **(attrs or {})}
        array = schema.make_array(
            self.root, path, shape, dtype, dims, shard=shard, chunk=chunk, fill=fill, attrs=described
        )
        self._arrays[path] = array
        return array

    def write(self, path: str, start: int, values: Array) -> None:
        """Write whole shards of an array along axis 0.

        Raises:
            StoreError: The range is not shard-aligned, so two workers could meet in one file.
        """
        self._need_writable()
        array = self.array(path)
        depth = (array.shards or array.chunks)[0]
        stop = start + len(values)
        if start % depth or (stop % depth and stop != array.shape[0]):
            raise StoreError(f"{self.url}: write to {path}[{start}:{stop}] is not aligned to shards of {depth}")
        array[start:stop] = values

    def write_small(
        self,
        path: str,
        values: Array,
        dims: tuple[str, ...],
        *,
        unit: str = "",
        description: str = "",
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a small array in one chunk and write it."""
        values = np.asarray(values)
        shape = values.shape
        self.create(
            path, shape, values.dtype, dims, shard=None, chunk=shape, unit=unit, description=description, attrs=attrs
        )
        if values.size:
            self.array(path)[...] = values
        for name in ("cameras", "schedule", "pairs", "_present"):
            self.__dict__.pop(name, None)

    def set_attrs(self, path: str, **attrs: Any) -> None:
        """Add attributes to the array or group at ``path`` ('' is the session itself)."""
        self._need_writable()
        target = self.root if not path else cast("zarr.Array[Any]", self.root[path])
        target.attrs.update(attrs)
        self._arrays.pop(path, None)

    def _need_writable(self) -> None:
        if not self.writable:
            raise StoreError(f"{self.url}: opened for reading only")

    # records

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
        self.root.require_group(f"steps/{record.stage}").attrs.update(record.as_attrs())

    def done(self, stage: str) -> npt.NDArray[np.bool_]:
        """Which units of a stage are done, shape (unit,)."""
        path = f"steps/{stage}/done"
        return self.read(path) if self.has(path) else np.zeros(0, bool)


def _as_float(codes: Array) -> npt.NDArray[np.float32]:
    if np.issubdtype(codes.dtype, np.floating):
        return codes.astype(np.float32)
    return codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)


def _as_dtype(picture: Array, dtype: str) -> Array:
    if picture.dtype == np.dtype(dtype):
        return picture
    if dtype == "float32":
        return _as_float(picture)
    if np.issubdtype(picture.dtype, np.floating):
        top = np.iinfo(np.dtype(dtype)).max
        return np.asarray(np.clip(picture, 0, 1) * top + 0.5).astype(dtype)
    return (picture >> 8).astype(np.uint8) if dtype == "uint8" else picture.astype(np.uint16) * 257
