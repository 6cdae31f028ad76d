"""Framing: the dataset's camera for each session camera, and the lookup that makes its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
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

    def bake_weight(self, field: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A loss weight over the session's picture, at any size, as the dataset shows it: 1..255, padding 0."""
        (height, width), (whole_width, whole_height) = field.shape, self.resample.reduced
        x = (self.resample.map_x + np.float32(0.5)) * np.float32(width / whole_width) - np.float32(0.5)
        y = (self.resample.map_y + np.float32(0.5)) * np.float32(height / whole_height) - np.float32(0.5)
        baked = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(np.maximum(baked, 1) * self.coverage, np.uint8)


def frame_camera(session: Session, camera: Camera, pairs: Sequence[int], spec: DatasetSpec) -> Framing:
    """Frame a camera: on the person of ``pairs`` plus 10 %, or the whole picture."""
    box: Box = (0.0, 0.0, float(camera.width), float(camera.height))
    if spec.size.fit == "person":
        box = person_box(session, camera, pairs) or box
    target = crop_camera(camera, box, spec.size.width, spec.size.height)
    resample = Resampler.between(camera, target)
    return Framing(target, resample, (resample.inside() & inside_crop(box, target)).astype(np.uint8))


def person_box(session: Session, camera: Camera, pairs: Sequence[int]) -> Box | None:
    """Union of the undistorted masks plus 10 % a side, cut to the picture: (x0, y0, x1, y1); None without mask.

    Masks are joined as they were recorded and only the outline is undistorted: a region's extremes lie on it.
    """
    union = np.zeros((camera.height, camera.width), np.uint8)
    for kind, numbers in (("flat", session.pairs.flat), ("relit", session.pairs.relit)):
        once = dict(zip(numbers[list(pairs)].tolist(), pairs, strict=True))  # many pairs may share a flat picture
        for pair in once.values():
            np.maximum(union, session.read_mask(camera.id, kind, pair), out=union)  # type: ignore[arg-type]
    outlines, _ = cv2.findContours((union > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    points = camera.undistort_pixels(np.concatenate(outlines)[:, 0].astype(np.float64))
    limits = np.array([camera.width, camera.height], np.float64)
    low, high = np.clip(points.min(axis=0), 0, limits - 1), np.clip(points.max(axis=0) + 1, 1, limits)
    margin = CROP_MARGIN * (high - low)
    (x0, y0), (x1, y1) = np.maximum(low - margin, 0), np.minimum(high + margin, limits)
    return float(x0), float(y0), float(x1), float(y1)


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
