"""The person in a flat-lit picture without learned weights: what differs from the clean plate or has the colours of
what moves, made solid."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.plates import Plate, color_bins
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
SHADOW_GAIN = 0.72  # coded values down to this part of the plate's, hue kept, may be a cast shadow
CHROMA_WEIGHT = 1.6
SURE_ODDS = 1.4
THRESHOLD = 4.5  # deviations of the noise at which person and background are as likely


def difference_to_plate(picture: UInt8Array, plate: Plate) -> Float32Array:
    """How far a picture is from the plate, in deviations of the noise there, cast shadows forgiven.

    Args:
        picture: Shape (y, x, 3), under the plate's light.
        plate: Of the same size.

    Returns:
        Shape (y, x), float32, from 0.

    Source: brightness and chromaticity distortion after Horprasert et al. 1999.
    """
    seen, clean, power = picture.astype(np.float32), plate.picture.astype(np.float32), plate.power
    shared = _channel_sum(seen * clean)
    gain = (shared + 300) / (power + 300)  # 300: ten codes a channel, below which gain says nothing
    chroma = np.maximum(_channel_sum(seen * seen) - gain * (2 * shared - gain * power), 0)  # |seen - gain clean|^2
    brightness = np.where(gain < 1, np.maximum(SHADOW_GAIN - gain, 0), gain - 1)
    return np.asarray(np.sqrt((CHROMA_WEIGHT**2 * chroma + brightness * brightness * power) / plate.variance))


def _channel_sum(values: Float32Array) -> Float32Array:
    return np.asarray(cv2.transform(values, np.ones((1, 3), np.float32)), np.float32).reshape(values.shape[:2])


def guided_filter(values: Float32Array, guide: Float32Array, radius_px: int, epsilon: float) -> Float32Array:
    """Smooth ``values`` where ``guide`` is smooth and keep its edges; both shape (y, x).

    Source: He, Sun and Tang 2010.
    """
    size = (2 * radius_px + 1,) * 2
    mean_v, mean_g = cv2.blur(values, size), cv2.blur(guide, size)
    variance = cv2.blur(guide * guide, size) - mean_g * mean_g
    slope = (cv2.blur(values * guide, size) - mean_v * mean_g) / (variance + epsilon)
    return np.asarray(cv2.blur(slope, size) * guide + cv2.blur(mean_v - slope * mean_g, size), np.float32)


def person_evidence(
    difference: Float32Array, picture: UInt8Array, plate: Plate, *, threshold: float = THRESHOLD
) -> Float32Array:
    """Log odds of person against background per pixel of a flat-lit picture and its difference, shape (y, x)."""
    from_plate = np.clip(0.8 * (difference - threshold), -3, 6)
    from_color = plate.person_odds[color_bins(picture)]
    confidence = plate.confidence
    return np.asarray(confidence * from_plate + (1 - 0.75 * confidence) * from_color, np.float32)


def solid_mask(evidence: Float32Array, plate_confidence: Float32Array) -> UInt8Array:
    """A soft, solid mask of the person from log odds per pixel, both shape (y, x).

    The largest parts stay, and what lies near them; gaps close where the plate is unsure; holes are filled where they
    are small or where the plate knows nothing (a gap between arm and body that shows the background is neither).
    """
    reach_px = max(2, max(evidence.shape) // 32)
    small_px = max(9, evidence.size // 4000)
    weak = cv2.morphologyEx((evidence > 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    solid = _main_parts(weak, evidence > SURE_ODDS, small_px, reach_px)
    closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach_px,) * 2))
    solid |= closed & ((plate_confidence < 0.8) & (evidence > -2)).astype(np.uint8)
    filled = _fill_holes(solid, plate_confidence, 4 * small_px)
    inner = cv2.erode(filled, np.ones((5, 5), np.uint8)) > 0
    outer = cv2.dilate(filled, np.ones((3, 3), np.uint8))
    edge = np.where(filled > 0, np.maximum(evidence, 0), np.minimum(evidence, 0))
    soft = 255 * outer / (1 + np.exp(-1.5 * edge))
    return np.asarray(np.where(inner, 255, soft + 0.5), np.uint8)


def edge_coverage(difference: Float32Array, mask: UInt8Array, *, threshold: float = THRESHOLD) -> UInt8Array:
    """The mask with its edge set by how much of the inner difference each edge pixel shows, shape (y, x), uint8.

    A pixel that the person covers by a fifth may differ beyond doubt: without this, masks are a pixel too wide.
    """
    inner = cv2.erode((mask > 127).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
    weight = cv2.blur(inner, (9, 9))
    full = cv2.blur(difference * inner, (9, 9)) / np.maximum(weight, 1e-3)
    share = np.where((weight > 1e-3) & (full > 2 * threshold) & (inner == 0), difference / np.maximum(full, 1), 1)
    return np.asarray(np.minimum(mask, 255 * share), np.uint8)


def _main_parts(weak: UInt8Array, sure: npt.NDArray[np.bool_], small_px: int, reach_px: int) -> UInt8Array:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    real = (area >= small_px) & (np.bincount(labels[sure], minlength=count) >= 0.2 * area)
    real[0] = False
    if not real.any():
        return np.zeros_like(weak)
    main = real & (area >= 0.1 * area[real].max())
    near = cv2.distanceTransform(1 - main[labels].astype(np.uint8), cv2.DIST_L2, 3) <= reach_px
    touching = np.zeros(count, bool)
    touching[np.unique(labels[near])] = True
    return np.asarray((main | (real & touching))[labels], np.uint8)


def _fill_holes(solid: UInt8Array, plate_confidence: Float32Array, max_area_px: int) -> UInt8Array:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - solid, connectivity=4)
    known = np.bincount(labels.ravel(), plate_confidence.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    fill = (stats[:, cv2.CC_STAT_AREA] <= max_area_px) | (known < 0.5)
    fill[outside] = False
    return np.asarray(solid | fill[labels], np.uint8)


def mask_flat_picture(picture: UInt8Array, plate: Plate, *, threshold: float = THRESHOLD) -> UInt8Array:
    """Coverage of the person in a flat-lit picture.

    Args:
        picture: Shape (y, x, 3).
        plate: Of the same size.
        threshold: Difference to the plate, in deviations of the noise, at which both are as likely.

    Returns:
        Shape (y, x), uint8, 0..255.
    """
    difference = difference_to_plate(picture, plate)
    evidence = person_evidence(difference, picture, plate, threshold=threshold)
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    radius = max(2, round(max(guide.shape) / 240))
    smooth = guided_filter(evidence, guide, radius, 1e-3)
    return edge_coverage(difference, solid_mask(smooth, plate.confidence), threshold=threshold)
