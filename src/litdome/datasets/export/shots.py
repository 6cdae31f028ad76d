"""What an export reads of a dataset: samples by their names, pictures as they were baked, cameras."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import zarr

from litdome.datasets.views import DatasetView
from litdome.errors import UsageError
from litdome.geometry import Camera
from litdome.store.arrays import ArrayStore

UInt8Array = npt.NDArray[np.uint8]
Light = Literal["flat", "relit"]
LIGHTS: tuple[Light, Light] = ("flat", "relit")
MASKS = {"flat": "mask_flat", "relit": "mask"}
STORED_KEYS = ("flat", "relit", "flat_compensated", "mask", "mask_flat", "mask_wide", "weight", "weight_compensated")
SCORES = ("shift_px", "reliability")
RIG = ("intrinsics", "world_from_camera")


@dataclass(frozen=True)
class Shot:
    """One sample.

    Attributes:
        sample: Its number in the dataset.
        session, camera, hdri, split: Names; ``hdri`` is empty where none was lit.
        pair: Number of the pair in its session.
        row: Where its pictures lie in the arrays of its camera.
        times: When the flat and the relit picture were taken, s.
        scores: Those of `SCORES` that are known.
    """

    sample: int
    session: str
    camera: str
    pair: int
    hdri: str
    split: str
    row: int
    times: dict[str, float]
    scores: dict[str, float]

    @property
    def is_held_out_camera(self) -> bool:
        """Whether no picture of its camera is trained on."""
        return self.split.endswith("_camera")

    @property
    def moment_split(self) -> str:
        """The split of its pair for a training camera: ``test_light`` for ``test_light_camera``."""
        factors = [factor for factor in self.split.split("_")[1:] if factor != "camera"]
        return "_".join(["test", *factors]) if factors else "train"


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples of a dataset that are exported, in its order."""

    view: DatasetView
    store: ArrayStore
    shots: tuple[Shot, ...]

    @property
    def splits(self) -> dict[str, int]:
        """Samples of each split."""
        counts = Counter(shot.split for shot in self.shots)
        return {name: counts[name] for name in self.view.splits if name in counts}

    @cached_property
    def sessions(self) -> dict[str, dict[str, Any]]:
        """What the dataset says of each session that is shown, by name."""
        shown = {shot.session for shot in self.shots}
        return {about["name"]: about for about in self.view.attrs["sessions"] if about["name"] in shown}

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Those of `STORED_KEYS` that every camera of the selection has."""
        places = {(shot.session, shot.camera) for shot in self.shots}
        return tuple(key for key in STORED_KEYS if all(self.store.has(f"cameras/{s}/{id}/{key}") for s, id in places))

    def picture(self, shot: Shot, key: str) -> UInt8Array:
        """A stored picture, shape (y, x, 3), or coverage, shape (y, x), as baked.

        Raises:
            StoreError: Damaged or missing.
        """
        return self.store.read_at(f"cameras/{shot.session}/{shot.camera}/{key}", shot.row, required=True)

    def environment(self, shot: Shot, tone: Literal["ldr", "log"]) -> UInt8Array:
        """The light of a sample in its camera's view, tone-mapped, shape (v, u, 3), in 8 bits."""
        entry = self.sessions[shot.session]["hdris"].index(shot.hdri)
        view = self.store.read_at(f"hdri_views/{shot.session}/{shot.camera}/{tone}", entry, required=True)
        return np.rint(view.astype(np.float32) * 255).astype(np.uint8)

    @cached_property
    def cameras(self) -> dict[tuple[str, str], Camera]:
        """The cameras by session and id, as their pictures show the world: no distortion, K that of the crop."""
        found = {}
        for session, about in self.sessions.items():
            lenses, poses = (self.store.read(f"rig/{session}/{name}") for name in RIG)
            for id, lens, pose in zip(about["cameras"], lenses, poses, strict=True):
                height, width = self.store.array(f"cameras/{session}/{id}/flat").shape[1:3]
                found[session, id] = Camera(id, width, height, lens, np.zeros(8), pose)
        return found

    def camera(self, shot: Shot) -> Camera:
        """The camera of a sample."""
        return self.cameras[shot.session, shot.camera]

    def words(self, shot: Shot) -> dict[str, Any]:
        """All about a sample but its pictures, as JSON takes it."""
        camera = self.camera(shot)
        return {
            "session": shot.session,
            "subject": str(self.sessions[shot.session].get("subject") or ""),
            "camera": shot.camera,
            "pair": shot.pair,
            "hdri": shot.hdri,
            "split": shot.split,
            **{f"time_{light}": shot.times[light] for light in LIGHTS},
            "intrinsics": camera.intrinsics.tolist(),
            "world_from_camera": camera.world_from_camera.tolist(),
            **shot.scores,
        }


def select_shots(view: DatasetView, splits: Sequence[str] | None = None, pairs: int | None = None) -> Selection:
    """Samples to export.

    Args:
        view: A dataset.
        splits: Their splits; all by default.
        pairs: At most this many pairs of each session and split, the first ones; all by default.

    Raises:
        UsageError: No such split, or nothing is left.
    """
    unknown = sorted(set(splits or ()) - set(view.splits))
    if unknown:
        raise UsageError(f"{view.path}: no split {unknown[0]}", hint=f"splits: {', '.join(view.splits)}")
    store = ArrayStore(str(view.path), zarr.open_group(view.path, mode="r"), writable=False)
    shots = [shot for shot in _all_shots(view, store) if splits is None or shot.split in splits]
    if pairs is not None:
        seen: dict[tuple[str, str], set[int]] = defaultdict(set)
        for shot in shots:
            seen[shot.session, shot.split].add(shot.pair)
        first = {key: set(sorted(found)[:pairs]) for key, found in seen.items()}
        shots = [shot for shot in shots if shot.pair in first[shot.session, shot.split]]
    if not shots:
        raise UsageError(f"{view.path}: nothing to export", hint=f"litdome dataset show {view.path}")
    return Selection(view, store, tuple(shots))


def png(picture: UInt8Array) -> bytes:
    """RGB, shape (y, x, 3), or grey, shape (y, x), as PNG."""
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    return bytes(cv2.imencode(".png", np.ascontiguousarray(bgr))[1])


def write_png(path: Path, picture: UInt8Array) -> None:
    """A PNG file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(picture))


def binary_mask(coverage: UInt8Array) -> UInt8Array:
    """255 where a mask covers at least half of a pixel, else 0: for programs that take every grey for inside."""
    return np.where(coverage > 127, np.uint8(255), np.uint8(0))


def _all_shots(view: DatasetView, store: ArrayStore) -> list[Shot]:
    about = view.attrs["sessions"]
    scored = tuple(score for score in SCORES if store.has(f"samples/{score}"))
    table = {name: store.read(f"samples/{name}") for name in ("session", "camera", "pair", "hdri", "split", *scored)}
    stored = {s["name"]: {int(pair): n for n, pair in enumerate(store.read(f"pairs/{s['name']}/pair"))} for s in about}
    times = {(s["name"], light): store.read(f"pairs/{s['name']}/time_{light}") for s in about for light in LIGHTS}
    shots = []
    for i in range(len(table["pair"])) if view.rows is None else view.rows:
        session = about[int(table["session"][i])]
        name, pair, hdri = session["name"], int(table["pair"][i]), int(table["hdri"][i])
        row = stored[name][pair]
        shots.append(
            Shot(
                sample=i,
                session=name,
                camera=session["cameras"][int(table["camera"][i])],
                pair=pair,
                hdri=session["hdris"][hdri] if hdri >= 0 else "",
                split=view.splits[int(table["split"][i])],
                row=row,
                times={light: float(times[name, light][row]) for light in LIGHTS},
                scores={score: float(table[score][i]) for score in scored if np.isfinite(table[score][i])},
            )
        )
    return shots
