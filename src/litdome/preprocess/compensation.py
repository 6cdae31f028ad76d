"""The flat picture moved to the relit frame's time, and how far to trust it, per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import shrink
from litdome.preprocess.motion import Carry, Motion, consistency, warp
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
REFERENCE_HEIGHT_PX = 1080  # limits in px are meant at this height of the picture


@dataclass(frozen=True, eq=False)
class Compensated:
    """A flat picture at the relit time; fields lie on the relit picture, at the motion's working size, shape (y, x).

    Attributes:
        picture: Shape (y, x, 3), uint8, full size.
        shift_px: How far each point is from where it was in the flat picture, px of the full picture.
        reliability: Chance that the motion is right, 0..1.
        weight: For a loss that compares with the raw flat picture, 0..1: low where it moved or nobody knows.
        weight_compensated: For a loss that uses `picture`, 0..1: low where the motion lies.
    """

    picture: UInt8Array
    shift_px: Float32Array
    reliability: Float32Array
    weight: Float32Array
    weight_compensated: Float32Array


def compensate(motion: Motion, flat: UInt8Array, next_flat: UInt8Array | None) -> Compensated:
    """Move the flat pictures around a relit frame to its time.

    Args:
        motion: From `read_motion`.
        flat, next_flat: The pair's flat picture and the next one, shape (y, x, 3); None where the pair has none.
    """
    segment = motion.segment
    carry = Carry.along(segment)
    scale = flat.shape[0] / segment.forward.shape[0]
    size = (segment.forward.shape[1], segment.forward.shape[0])
    to_flat = carry.to_start if next_flat is not None else carry.to_end
    flow, back = segment.forward, segment.backward
    if next_flat is None:
        flow, back = back, flow
    sure = warp(consistency(flow, back), to_flat)
    picture = carry.blend(flat, next_flat if next_flat is not None else flat)
    if next_flat is not None:
        first, second = (cv2.cvtColor(shrink(side, size), cv2.COLOR_RGB2GRAY) for side in (flat, next_flat))
        sides = [cv2.blur(side, (3, 3)).astype(np.float32) for side in carry.sides(first, second)]
        sure = sure * np.exp(-(((sides[0] - sides[1]) / 14) ** 2))
    shift = np.asarray(np.linalg.norm(to_flat, axis=-1) * scale, np.float32)
    at_reference = shift * np.float32(REFERENCE_HEIGHT_PX / flat.shape[0])
    weight = np.asarray(sure / (1 + at_reference**2), np.float32)
    return Compensated(picture, shift, sure, weight, sure)
