"""What only a simulation knows of a dataset's samples: the flat picture at the relit time, normals, exact flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from oracle_drivers import framing

from litdome.datasets.views import DatasetView
from litdome.geometry import Camera, Resampler
from litdome.store.session import Session
from litdome.synth.ground_truth import surface_flow
from litdome.synth.render import Mesh, Scene, Surface, cast_surface
from litdome.template.skinning import vertex_normals

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class TakeTruth:
    """The truth of one take in the pictures of a dataset.

    Attributes:
        view: The whole dataset.
        number: Of the take's session in it.
        recording: Its folder.
        session: The take as it was processed.
    """

    view: DatasetView
    number: int
    recording: Path
    session: Session

    @property
    def name(self) -> str:
        return str(self.view.attrs["sessions"][self.number]["name"])

    def flat_at_relit(self, camera: int, pair: int) -> FloatArray:
        """What flat light would have shown at the relit time, shape (y, x, 3), 0..1, without noise, as the dataset
        frames it; its padding is not black."""
        id = self.session.cameras[camera]
        file = self.recording / "truth/flat_at_relit" / id / f"{self._frame(pair):06d}.png"
        picture = np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)
        return np.asarray(self._lookup(camera)(picture) / 255)

    def mask(self, camera: int, pair: int) -> FloatArray:
        """Exact coverage at the relit time, shape (y, x), 0..1."""
        surface = self.surface(camera, self._frame(pair))
        return np.asarray(surface.mask)

    def normals(self, camera: int, pair: int, *, at_flat: bool = False) -> FloatArray:
        """Unit normals x right, y up, z to the viewer, shape (y, x, 3), 0 outside, at the relit or at the flat time."""
        frame = int(self.session.pairs.flat_frame[pair]) if at_flat else self._frame(pair)
        surface = self.surface(camera, frame)
        seen = surface.normal @ self._camera(camera).camera_from_world[:3, :3].T
        return surface.picture(np.asarray(seen * [1, -1, -1], np.float32))

    def flow(self, camera: int, pair: int, other: int) -> tuple[FloatArray, FloatArray]:
        """Where the surface at the relit time of ``pair`` was (or will be) at that of ``other``, relative to it, shape
        (y, x, 2), px, x before y; and 1 where it is seen at both times, shape (y, x)."""
        surface = self.surface(camera, self._frame(pair))
        moved, seen = surface_flow(surface, self._camera(camera), self._scene(self._frame(other)))
        return surface.picture(moved), surface.picture(seen.astype(np.float32))

    def surface(self, camera: int, frame: int) -> Surface:
        """What the dataset's camera sees at a rig frame."""
        return cast_surface(self._scene(frame), self._camera(camera))

    def _frame(self, pair: int) -> int:
        return int(self.session.pairs.relit_frame[pair])

    @lru_cache(maxsize=16)  # noqa: B019 (lives as long as the benchmark)
    def _scene(self, frame: int) -> Scene:
        faces, vertices = self._body
        body = vertices[frame].astype(np.float64)
        return Scene((Mesh(body, faces, vertex_normals(body, faces), np.ones_like(body, np.float32)),))

    @lru_cache(maxsize=16)  # noqa: B019
    def _camera(self, camera: int) -> Camera:
        height, width = self.view.shape("flat")[1:3]
        intrinsics = self.view.reader.table(f"rig/{self.name}/intrinsics")[camera]
        whole = self.session.rig[self.session.cameras[camera]].undistorted()
        return Camera(**{**vars(whole), "width": width, "height": height, "intrinsics": intrinsics})

    @lru_cache(maxsize=16)  # noqa: B019
    def _lookup(self, camera: int) -> Resampler:
        return framing(self.view, self.name, camera, self.session.rig[self.session.cameras[camera]])

    @cached_property
    def _body(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        with np.load(self.recording / "truth" / "body.npz") as arrays:
            return arrays["faces"], arrays["vertices"]
