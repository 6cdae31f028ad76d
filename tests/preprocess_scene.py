"""A textured disc that moves over a textured plate while the light changes: pictures, masks and motion are exact."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.session import Session

HEIGHT, WIDTH, RADIUS_PX = 192, 288, 34
START, STEP = np.array([62.0, 80.0]), np.array([4.0, 1.0])  # px, px per rig frame: 8 px from flat to flat
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Rig frames in time, flat and relit ones by turns unless `kinds` says otherwise.

    Attributes:
        pictures: Shape (frame, y, x, 3).
        masks: Exact coverage, shape (frame, y, x).
        plate: Without the disc, under flat light, shape (y, x, 3).
        kinds: Light of each rig frame, ``f`` or ``h``.
    """

    pictures: UInt8Array
    masks: UInt8Array
    plate: UInt8Array
    kinds: str

    @property
    def flats(self) -> UInt8Array:
        return self.pictures[0::2]

    @property
    def relits(self) -> UInt8Array:
        return self.pictures[1::2]


def texture(rng: np.random.Generator, low: tuple[int, int, int], high: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Smooth noise between two colours, shape (y, x, 3), codes."""
    noise = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2.2)
    noise = np.clip((noise - noise.mean()) / (4 * noise.std()) + 0.5, 0, 1)[..., None]
    return np.asarray(np.array(low, np.float32) * (1 - noise) + np.array(high, np.float32) * noise, np.float32)


def disc(centre: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Coverage of the disc, shape (y, x), 0..1, by distance (a circle's edge is straight at one pixel)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.clip(RADIUS_PX + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1).astype(np.float32)


def relight_gain(frame: int) -> npt.NDArray[np.float32]:
    """Coded gain of a relit frame, shape (y, 1, 3): another colour each time, falling towards the floor."""
    tint = np.array([[0.55, 0.75, 1.15], [1.2, 0.8, 0.5], [0.6, 0.55, 0.7]], np.float32)[(frame // 2) % 3]
    return np.linspace(1.1, 0.75, HEIGHT, dtype=np.float32)[:, None, None] * tint


def make_scene(frames: int = 17, *, seed: int = 0, noise: float = 1.5, kinds: str | None = None) -> Scene:
    """``frames`` rig frames, even ones flat unless ``kinds`` says otherwise."""
    kinds = kinds or ("fh" * frames)[:frames]
    rng = np.random.default_rng(seed)
    plate = texture(rng, (70, 85, 90), (150, 160, 150))
    person = texture(rng, (120, 50, 30), (235, 140, 100))
    pictures, masks = [], []
    for frame in range(frames):
        centre = START + STEP * frame
        cover = disc(centre)
        move = np.array([[1, 0, centre[0] - START[0]], [0, 1, centre[1] - START[1]]])
        moved = cv2.warpAffine(person, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        picture = plate * (1 - cover[..., None]) + moved * cover[..., None]
        picture = picture * relight_gain(frame) if kinds[frame] == "h" else picture
        pictures.append(np.clip(picture + rng.normal(0, noise, picture.shape) + 0.5, 0, 255).astype(np.uint8))
        masks.append((cover * 255 + 0.5).astype(np.uint8))
    return Scene(np.stack(pictures), np.stack(masks), plate.astype(np.uint8), kinds)


def iou(mask: UInt8Array, truth: UInt8Array) -> float:
    """Intersection over union at half coverage."""
    a, b = mask > 127, truth > 127
    return float((a & b).sum() / max((a | b).sum(), 1))


def write_session(path: Path, scene: Scene, *, background: bool = True, absent: tuple[int, ...] = ()) -> Session:
    """A session of one camera, c00, with the scene's pictures.

    Args:
        path: The store to make.
        scene: What was filmed.
        background: Whether the plate was filmed.
        absent: Rig frames that the camera lost.
    """
    lit = np.array([1 if kind == "f" else 2 for kind in scene.kinds], np.uint8)
    schedule = LightingSchedule(lit, np.where(lit == 2, 0, -1).astype(np.int32), (HdriEntry("sky"),))
    time_ns = np.arange(len(lit), dtype=np.int64) * 40_000_000
    session = Session.new(str(path), {"name": "disc", "hdri_convention": "physical", "transfer": "srgb"})
    attrs = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.array([[WIDTH, HEIGHT]], np.int32), ("camera", "axis"), attrs=attrs)
    session.write_small("schedule/kind", lit, ("frame",))
    entries = {"entries": [asdict(entry) for entry in schedule.entries]}
    session.write_small("schedule/hdri", schedule.hdri, ("frame",), attrs=entries)
    present = np.array([[frame not in absent for frame in range(len(lit))]])
    session.write_small("schedule/present", present, ("camera", "frame"))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for kind, word in (("flat", "flat"), ("relit", "hdri")):
        frames = frames_of_kind(schedule, word)
        session.write_small(f"frames/{kind}", frames, (kind,))
        pictures = scene.pictures[frames] * present[0, frames, None, None, None].astype(np.uint8)
        session.create(f"cameras/c00/{kind}/rgb", pictures.shape, "u1", ("n", "y", "x", "channel"))
        session.write(f"cameras/c00/{kind}/rgb", 0, pictures)
    if background:
        dims = ("y", "x", "channel")
        session.write_small("cameras/c00/background", scene.plate, dims, attrs={"source": "given"})
    return session
