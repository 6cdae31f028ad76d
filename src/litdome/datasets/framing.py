"""Framing: the dataset's camera for each session camera, and the lookup that makes its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from litdome.datasets.spec import DatasetSpec
from litdome.geometry import Camera, Resampler, scaled_intrinsics
from litdome.store.session import Session

CROP_MARGIN = 0.10
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Framing:
    """How one camera's pictures become the dataset's.

    Attributes:
        target: The dataset's camera: undistorted, cropped, scaled.
        resample: Lookup from the session's pictures.
        coverage: 1 where the target shows the crop, 0 in the padding, shape (height, width), uint8.
    """

    target: Camera
    resample: Resampler
    coverage: npt.NDArray[np.uint8]

    def bake(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A picture or mask of the session as the dataset shows it, padding 0."""
        baked = self.resample(picture)
        return np.asarray(baked * (self.coverage[..., None] if baked.ndim == 3 else self.coverage), np.uint8)


def frame_camera(session: Session, camera: Camera, pairs: Sequence[int], spec: DatasetSpec) -> Framing:
    """Frame a camera: on the person of ``pairs`` plus 10 %, or the whole picture."""
    box: Box = (0.0, 0.0, float(camera.width), float(camera.height))
    if spec.size.fit == "person":
        box = person_box(session, camera, pairs) or box
    target = crop_camera(camera, box, spec.size.width, spec.size.height)
    resample = Resampler.between(camera, target)
    return Framing(target, resample, (resample.inside() & inside_crop(box, target)).astype(np.uint8))


def person_box(session: Session, camera: Camera, pairs: Sequence[int]) -> Box | None:
    """Union of the undistorted masks plus 10 % a side, cut to the picture: (x0, y0, x1, y1); None without mask."""
    union = np.zeros((camera.height, camera.width), np.uint8)
    for pair in pairs:
        if session.has_pair(camera.id, pair):
            for kind in ("flat", "relit"):
                np.maximum(union, session.read_mask(camera.id, kind, pair), out=union)  # type: ignore[arg-type]
    union = Resampler.between(camera, camera.undistorted())(union)
    rows, columns = np.flatnonzero((union > 127).any(axis=1)), np.flatnonzero((union > 127).any(axis=0))
    if not len(rows):
        return None
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    dx, dy = CROP_MARGIN * (x1 - x0), CROP_MARGIN * (y1 - y0)
    return max(0.0, x0 - dx), max(0.0, y0 - dy), min(float(camera.width), x1 + dx), min(float(camera.height), y1 + dy)


def crop_camera(camera: Camera, box: Box, width: int, height: int) -> Camera:
    """``camera`` without distortion, its ``box`` (edges, px) scaled to fit and centred in width x height."""
    x0, y0, x1, y1 = box
    scale = min(width / (x1 - x0), height / (y1 - y0))
    shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    intrinsics = scaled_intrinsics(shift @ camera.intrinsics, scale, scale)
    intrinsics[:2, 2] += (width - scale * (x1 - x0)) / 2, (height - scale * (y1 - y0)) / 2
    return replace(camera.undistorted(), width=width, height=height, intrinsics=intrinsics)


def inside_crop(box: Box, target: Camera) -> npt.NDArray[np.bool_]:
    """Target pixels whose centre lies in the scaled, centred ``box``, shape (height, width)."""
    wide, high = box[2] - box[0], box[3] - box[1]
    scale = min(target.width / wide, target.height / high)
    x = np.abs(np.arange(target.width) + 0.5 - target.width / 2) <= scale * wide / 2
    y = np.abs(np.arange(target.height) + 0.5 - target.height / 2) <= scale * high / 2
    return np.asarray(y[:, None] & x[None])
