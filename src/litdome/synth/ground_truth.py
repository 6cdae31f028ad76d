"""What is true of one picture beyond its mask, computed from the surface that the camera sees, and read back.

``truth/frames/ID/FRAME.npz`` holds one `FrameTruth`; a recording has them where it was filmed with full truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import InputError
from litdome.geometry import Camera, Rig
from litdome.media.hdr import read_hdr
from litdome.synth.render import Float32Array, IntArray, Scene, Surface
from litdome.synth.shading import LitVertices
from litdome.synth.spool import write_npz

Float16Array = npt.NDArray[np.float16]
UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
BRIGHTEST = float(np.finfo(np.float16).max)  # a bare LED among thousands, or a high gain, would be infinite
HIDDEN_M = 5e-3  # a point is hidden when something lies more than this before it


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """What one camera's picture shows, exactly.

    Surfaces are those behind the centres of the pixels, or, on outlines whose centre misses, behind another point of
    the pixel; the radiance is the pixel's mean.

    Attributes:
        depth: Along the optical axis, shape (y, x), float32, metres; NaN where no person is.
        normal: Unit, in the camera's frame (x right, y down, z forward), shape (y, x, 3), 0 outside.
        parts: 1 + the index of the part, shape (y, x), uint8, 0 outside; names in body.npz.
        albedo: Linear, shape (y, x, 3), 0 outside.
        roughness: 0..1, shape (y, x), 0 outside.
        irradiance: Of the picture's light, shape (y, x, 3), 0 outside; pi where radiance 1 comes from everywhere.
        radiance: Linear light before the sensor, background included, at most `BRIGHTEST`, shape (y, x, 3).
        flow_next: Displacement of the surface until the next frame, (x, y), shape (2, y, x), px; NaN outside and in the
            last frame.
        flow_visible: Whether it is still seen then, shape (y, x), bool.
    """

    depth: Float32Array
    normal: Float16Array
    parts: UInt8Array
    albedo: Float16Array
    roughness: Float16Array
    irradiance: Float16Array
    radiance: Float16Array
    flow_next: Float16Array
    flow_visible: BoolArray


def describe_frame(
    surface: Surface,
    camera: Camera,
    *,
    irradiance: Float32Array,
    radiance: Float32Array,
    labels: IntArray,
    later: Scene | None,
) -> FrameTruth:
    """The truth of one picture.

    Args:
        surface: What the camera sees of the person.
        camera: Who looks.
        irradiance: At the surface's points, shape (n, 3).
        radiance: The picture, shape (y, x, 3), linear.
        labels: Part of each of the scene's triangles.
        later: The same person one frame on; None: there is no next frame.
    """
    count = len(surface.pixels)
    flow, visible = np.full((count, 2), np.nan, np.float32), np.zeros(count, bool)
    if later is not None:
        flow, visible = surface_flow(surface, camera, later)
    into_camera = camera.camera_from_world[:3, :3].T.astype(np.float32)
    return FrameTruth(
        depth=surface.picture(surface.depth, np.nan),
        normal=surface.picture((surface.normal @ into_camera).astype(np.float16)),
        parts=surface.picture((labels[surface.triangle] + 1).astype(np.uint8)),
        albedo=surface.picture(surface.albedo.astype(np.float16)),
        roughness=surface.picture(surface.roughness.astype(np.float16)),
        irradiance=surface.picture(irradiance.astype(np.float16)),
        radiance=np.minimum(radiance, BRIGHTEST).astype(np.float16),
        flow_next=np.moveaxis(surface.picture(flow.astype(np.float16), np.nan), -1, 0),
        flow_visible=surface.picture(visible),
    )


def surface_irradiance(scene: Scene, surface: Surface, lit: LitVertices) -> Float32Array:
    """Irradiance of the first lighting at the points that a camera sees, shape (n, 3)."""
    at_corners = lit.white_irradiance(0)[scene.faces[surface.triangle]]
    return np.asarray(np.einsum("nk,nkc->nc", surface.barycentric, at_corners))


def surface_flow(surface: Surface, camera: Camera, later: Scene) -> tuple[Float32Array, BoolArray]:
    """Displacement in the picture of every visible surface point until its mesh is ``later``.

    Returns:
        Shape (n, 2), px as (x, y), and whether the point is in the picture and not hidden then, shape (n,).
    """
    corners = later.vertices[later.faces[surface.triangle]]
    points = np.einsum("nk,nkc->nc", surface.barycentric, corners)
    before, after = (camera.project(p.astype(np.float64)) for p in (surface.position, points))
    toward = camera.centre.astype(np.float32) - points
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    hidden = later.occluded(points + np.float32(HIDDEN_M) * toward, toward)
    hidden |= ((after < -0.5) | (after > [camera.width - 0.5, camera.height - 0.5])).any(axis=1)
    return (after - before).astype(np.float32), ~hidden


def surface_motion(surface: Surface, camera: Camera, later: Scene) -> Float32Array:
    """`surface_flow` as a picture, shape (2, y, x): NaN where nothing is or what is there gets hidden."""
    flow, visible = surface_flow(surface, camera, later)
    return np.moveaxis(surface.picture(np.where(visible[:, None], flow, np.float32(np.nan)), np.nan), -1, 0)


def write_frame_truth(path: Path, truth: FrameTruth) -> None:
    """One .npz; the same truth gives the same bytes."""
    write_npz(path, vars(truth))


@dataclass(frozen=True)
class GroundTruth:
    """The truth folder of a recording.

    Attributes:
        folder: Where it lies.
        rig: Exact cameras.
        part_names: Of the labels 1, 2, ... in `FrameTruth.parts`.
    """

    folder: Path
    rig: Rig
    part_names: tuple[str, ...]

    def body(self) -> dict[str, npt.NDArray[Any]]:
        """The person at every rig frame: see docs/simulated-stage.md."""
        return _arrays(self.folder / "body.npz")

    def masks(self, camera: str) -> UInt8Array:
        """Coverage, shape (frame, y, x), 0..255."""
        return _arrays(self.folder / "masks" / f"{camera}.npz")["mask"]

    def motion(self, camera: str) -> tuple[Float16Array, Float16Array]:
        """From each pair's flat picture to its relit and to its next flat one, each (pair, 2, y, x), px."""
        arrays = _arrays(self.folder / "motion" / f"{camera}.npz")
        return arrays["to_relit"], arrays["to_next_flat"]

    def env_requested(self, entry: str) -> Float32Array:
        """Radiance that an HDRI entry asked for, its gain applied, the session's not, shape (v, u, 3)."""
        return read_hdr(self.folder / "env_requested" / f"{entry}.exr")

    def env_effective(self, entry: str) -> Float32Array:
        """Radiance that the LEDs made of it, as `env_requested`."""
        return read_hdr(self.folder / "env_effective" / f"{entry}.exr")

    def frame(self, camera: str, frame: int) -> FrameTruth:
        """All that is true of one picture.

        Raises:
            InputError: The recording was filmed with minimal truth, or has no such camera or frame.
        """
        return FrameTruth(**_arrays(self.folder / "frames" / camera / f"{frame:06d}.npz"))


def read_truth(recording: Path) -> GroundTruth:
    """The truth of a simulated recording.

    Raises:
        InputError: It has none.
    """
    folder = recording / "truth"
    path = folder / "rig.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="only recordings of litdome synth have a truth folder")
    table = json.loads(path.read_text(encoding="utf-8"))
    rig = Rig(tuple(_camera(row) for row in table["cameras"]))
    return GroundTruth(folder, rig, tuple(_arrays(folder / "body.npz", ("part_names",))["part_names"].tolist()))


def _camera(row: dict[str, Any]) -> Camera:
    arrays = ("intrinsics", "distortion", "world_from_camera")
    return Camera(**{**row, **{name: np.array(row[name], np.float64) for name in arrays}})


def _arrays(path: Path, names: Sequence[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz by name, all where none are named."""
    if not path.is_file():
        hint = "litdome synth --truth full" if "frames" in path.parts else "litdome synth writes it"
        raise InputError(f"{path}: no such file", hint=hint)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names or file.files}
