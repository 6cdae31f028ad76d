"""Masks of the person in every flat-lit and relit picture, and the clean plate of every camera.

The masks come from the plate, from a network, or from files (`litdome.preprocess.segmenters`); whichever it is, they
are raw: each picture's own, before de-flickering.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from litdome.errors import InputError, MissingWeightsError
from litdome.media.folders import IMAGE_SUFFIXES
from litdome.preprocess.hdri_plates import LONG_SIDE_PX, MIN_FRAMES, plate_under_hdri
from litdome.preprocess.plates import LitPlate, Plate, Votes, average_votes
from litdome.preprocess.segmenters import mediapipe
from litdome.preprocess.segmenters.clean_plate import PlateMasks, is_given, make_plate, spread_frames
from litdome.preprocess.segmenters.imported import (
    KINDS,
    LAYOUTS,
    MaskFiles,
    describe_gaps,
    find_masks,
    masks_from_files,
    read_mask,
)
from litdome.preprocess.segmenters.protocol import Masks, Segmenter, region_of
from litdome.preprocess.segmenters.sapiens import load_sapiens
from litdome.preprocess.segmenters.settings import SegmentConfig
from litdome.stage import Kind, SessionLike, StageConfig, Summary, Unit

MaskSource = Callable[[Kind, range], Masks]


class Segment:
    """Raw masks of flat and relit pictures; writes the plate where the recording had none."""

    name: ClassVar[str] = "segment"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "mask the person in every picture"
    needs: ClassVar[tuple[str, ...]] = ("ingest", "flow")
    Config: ClassVar[type[StageConfig]] = SegmentConfig

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._network_turn = threading.Lock()
        self._forget()

    def __reduce__(self) -> tuple[type[Segment], tuple[()]]:
        """Travels to other processes without what it has loaded."""
        return Segment, ()

    def input_files(self, session: SessionLike, config: SegmentConfig) -> list[Path]:
        """Weights in a folder or file, and the masks to import; a hub id is known by its name."""
        if config.source == "import":
            found = Path(config.masks).rglob("*") if config.masks else ()
            return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
        if config.source == "plate":
            return []
        places = [Path(name) for name in (config.weights, config.matting_weights) if name]
        return [file for at in places for file in (sorted(at.iterdir()) if at.is_dir() else [at])]

    def prepare(self, session: SessionLike, config: SegmentConfig) -> list[Unit]:
        """One unit per camera and shard number; it holds that shard of the flat and of the relit pictures."""
        self._forget()
        part_names: tuple[str, ...] = ()
        if config.source == "import":
            for camera, files in self._masks_to_import(session, config).items():
                read_mask(files.paths[0], session.size(camera), scale=config.masks_scale)
        elif config.source != "plate":
            part_names = self._network(config).part_names
        for camera in session.cameras:
            _create_arrays(session, camera, part_names)
        ranges = session.shards(max(session.count(kind) for kind in KINDS))
        return [Unit(camera, *shard) for shard in ranges for camera in session.cameras]

    def run(self, session: SessionLike, config: SegmentConfig, unit: Unit) -> None:
        """Masks of one shard of flat and one of relit pictures; a relit one looks at flat ones wherever they lie."""
        camera = str(unit.camera)
        if unit.start == 0 and not is_given(session, camera):
            self._write_plate(session, config, camera)
        lit = self._write_hdri_plates(session, config, unit)
        source = self._source(session, config, camera, lit)
        for kind in KINDS:
            numbers = range(unit.start, min(unit.stop, session.count(kind)))
            if not numbers:
                continue
            masks = source(kind, numbers)
            session.write(f"cameras/{camera}/{kind}/mask_raw", unit.start, masks.coverage)
            if masks.parts is not None:
                session.write(f"cameras/{camera}/{kind}/parts", unit.start, masks.parts)

    def finish(self, session: SessionLike, config: SegmentConfig) -> Summary:
        """Which plates were given and which made, with a warning where the person hides the background all along."""
        given = [camera for camera in session.cameras if is_given(session, camera)]
        made = [camera for camera in session.cameras if camera not in given]
        summary: Summary = {"source": config.source, "given_plates": given, "made_plates": made}
        if config.source == "plate":
            unseen = {
                c: float(session.array(f"cameras/{c}/background").attrs.get("unsure_permille", 1000)) for c in made
            }
            warnings = [
                f"camera {camera}: {part / 10:.1f} % of the plate is unsure, masks may be wrong there; "
                f"film background/{camera}.png without the person"
                for camera, part in unseen.items()
                if part > config.max_unsure_permille
            ]
        elif config.source == "import":
            warnings = describe_gaps(session, self._masks_to_import(session, config))
        else:
            network = self._network(config)
            summary |= {"weights": config.weights, "device": network.device, "parts": list(network.part_names)}
            warnings = []
        self._forget()
        return {**summary, "warnings": warnings}

    def _forget(self) -> None:
        self._camera_locks: dict[str, threading.Lock] = {}
        self._plates: dict[str, tuple[Plate, Votes | None]] = {}
        self._loaded: Segmenter | None = None
        self._files: Mapping[str, MaskFiles] | None = None

    def _source(
        self, session: SessionLike, config: SegmentConfig, camera: str, lit: Callable[[int], LitPlate]
    ) -> MaskSource:
        """What gives the masks of a camera's pictures by kind and number."""
        if config.source == "plate":
            return PlateMasks(session, config, camera, self._plate(session, config, camera)[0], lit)
        if config.source == "import":
            files = self._masks_to_import(session, config)[camera]
            return partial(masks_from_files, session, camera, files, config.masks_scale)
        return partial(self._masks_by_network, session, config, camera)

    def _masks_by_network(
        self, session: SessionLike, config: SegmentConfig, camera: str, kind: Kind, numbers: range
    ) -> Masks:
        """Masks of recorded pictures, a batch at a time; empty where one is absent."""
        network = self._network(config)
        width, height = session.size(camera)
        coverage = np.zeros((len(numbers), height, width), np.uint8)
        parts = np.zeros_like(coverage) if network.part_names else None
        recorded = [n for n in numbers if session.is_present(camera, kind, n)]
        for first in range(0, len(recorded), config.batch):
            batch = recorded[first : first + config.batch]
            pictures = np.stack([session.read_frame(camera, kind, n) for n in batch])
            with self._network_turn:  # a second batch at once would only take more memory
                found = network(pictures)
            rows = np.array(batch) - numbers.start
            coverage[rows] = found.coverage
            if parts is not None and found.parts is not None:
                parts[rows] = found.parts
        return Masks(coverage, parts)

    def _network(self, config: SegmentConfig) -> Segmenter:
        with self._guard:
            if self._loaded is None:
                self._loaded = _load_network(config)
            return self._loaded

    def _masks_to_import(self, session: SessionLike, config: SegmentConfig) -> Mapping[str, MaskFiles]:
        with self._guard:
            if self._files is None:
                if not config.masks:
                    raise InputError("import: no folder of masks is named", hint=f"--set segment.masks=DIR: {LAYOUTS}")
                self._files = find_masks(session, Path(config.masks))
            return self._files

    def _plate(self, session: SessionLike, config: SegmentConfig, camera: str) -> tuple[Plate, Votes | None]:
        with self._guard:
            lock = self._camera_locks.setdefault(camera, threading.Lock())
        with lock:
            if camera not in self._plates:
                self._plates[camera] = make_plate(session, config, camera)
            return self._plates[camera]

    def _write_plate(self, session: SessionLike, config: SegmentConfig, camera: str) -> None:
        plate, votes = self._plate(session, config, camera)
        if votes is None:
            return
        frames = spread_frames(session, camera, config.plate_frames)
        path = f"cameras/{camera}/background"
        session.write(path, 0, average_votes(lambda i: session.read_frame(camera, "flat", frames[i]), votes))
        session.set_attrs(path, unsure_permille=round(1000 * float((plate.confidence < 0.5).mean()), 2))
        self._plates[camera] = (plate, None)

    def _write_hdri_plates(self, session: SessionLike, config: SegmentConfig, unit: Unit) -> Callable[[int], LitPlate]:
        """Write the unit's share of the plates under HDRIs; gives those and any other, as small as masks are made."""
        camera, mine = str(unit.camera), _hdris_of_unit(session, unit)
        plate, _ = self._plate(session, config, camera)
        masks = PlateMasks(session, config, camera, plate.shrunk(LONG_SIDE_PX))

        @lru_cache(maxsize=session.shard_frames)
        def lit(hdri: int) -> LitPlate:
            picture, coverage = plate_under_hdri(session, camera, hdri, masks)
            if hdri in mine:
                session.write(f"cameras/{camera}/hdri_background", hdri, picture[None])
                session.write(f"cameras/{camera}/hdri_coverage", hdri, coverage[None])
            return LitPlate(picture, coverage > 0).shrunk((plate.picture.shape[1], plate.picture.shape[0]))

        for hdri in mine:
            lit(hdri)
        return lit


def _hdris_of_unit(session: SessionLike, unit: Unit) -> list[int]:
    """Whose plates a unit writes: of entries that light one of its pictures first; the first unit, unlit ones."""
    first: dict[int, int] = {}
    for hdri, relit in zip(session.pairs.hdri.tolist(), session.pairs.relit.tolist(), strict=True):
        first.setdefault(hdri, relit)
    return [hdri for hdri in range(len(session.hdri_names)) if unit.start <= first.get(hdri, 0) < unit.stop]


def _load_network(config: SegmentConfig) -> Segmenter:
    if config.source == "sapiens":
        weights = [config.weights, *([config.matting_weights] if config.matting_weights else [])]
        return load_sapiens(weights, device=config.device, dtype=config.dtype)
    if not config.weights:
        raise MissingWeightsError("mediapipe: no model file is named", hint=mediapipe.HINT)
    return mediapipe.Mediapipe(Path(config.weights))


def _create_arrays(session: SessionLike, camera: str, part_names: tuple[str, ...]) -> None:
    width, height = session.size(camera)
    for kind in KINDS:
        path = f"cameras/{camera}/{kind}"
        shape, dims = (session.count(kind), height, width), ("n", "y", "x")
        what = "the person, before de-flickering"
        session.create(f"{path}/mask_raw", shape, "u1", dims, unit="coverage, 0..255", description=what)
        if part_names:
            what = "which part a pixel shows: names and regions by label"
            attrs = {"names": list(part_names), "regions": [region_of(name) or "" for name in part_names]}
            session.create(f"{path}/parts", shape, "u1", dims, unit="label", description=what, attrs=attrs)
        elif session.has(f"{path}/parts"):  # of an earlier run by a network
            session.remove(f"{path}/parts")
    if not is_given(session, camera):
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
    if not session.hdri_names:
        return
    shape = (len(session.hdri_names), height, width)
    what = "clean plate under each HDRI, the masked median of its relit frames; 0 where coverage is 0"
    path, dims = f"cameras/{camera}/hdri_background", ("hdri", "y", "x")
    session.create(path, (*shape, 3), "u1", (*dims, "channel"), shard=1, unit="codes, RGB", description=what)
    what = f"how many relit frames show the background, 0 below {MIN_FRAMES}"
    path = f"cameras/{camera}/hdri_coverage"
    session.create(path, shape, "u1", dims, shard=1, unit="frames", description=what)
