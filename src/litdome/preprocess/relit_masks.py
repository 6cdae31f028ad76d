"""The person in a relit picture: most of its pixels differ from any flat one, so the mask is carried from the flat
frames around it, and corrected near its outline: against the plate of its light where that is known, else under a gain
that is fitted outside the person."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.plates import LitPlate, Plate
from litdome.preprocess.silhouettes import (
    THRESHOLD,
    difference_to_plate,
    edge_coverage,
    guided_filter,
    person_evidence,
)
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
GAINS = 0.02, 50.0


def fit_gain(picture: UInt8Array, plate: UInt8Array, person: npt.NDArray[np.bool_]) -> Float32Array:
    """How much brighter each channel is than the plate, as a smooth function of the picture.

    A second-order polynomial of log gain, fitted robustly to the pixels outside ``person`` that are neither dark nor
    clipped.

    Args:
        picture, plate: Shape (y, x, 3), uint8.
        person: What to leave out, shape (y, x).

    Returns:
        Gain on coded values, shape (y, x, 3), float32; 1 where fewer than 100 pixels can be compared.
    """
    height, width = person.shape
    step = max(1, max(height, width) // 120)
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    seen = cv2.blur(picture, (step, step))[y, x].astype(np.float32)
    clean = cv2.blur(plate, (step, step))[y, x].astype(np.float32)
    hidden = cv2.dilate(person.astype(np.uint8), np.ones((step, step), np.uint8))[y, x] > 0
    terms = _quadratic(x, y, width, height)
    usable = ~hidden & (np.minimum(seen, clean).min(-1) > 8) & (np.maximum(seen, clean).max(-1) < 248)
    if usable.sum() < 100:
        return np.ones((height, width, 3), np.float32)
    target = np.log(seen[usable] / clean[usable])
    fits = [_robust_fit(terms[usable], target[:, channel]) for channel in range(3)]
    small = np.exp(terms @ np.stack(fits, axis=-1)).astype(np.float32)
    return np.asarray(cv2.resize(np.clip(small, *GAINS), (width, height)), np.float32)


def _quadratic(
    x: npt.NDArray[np.integer], y: npt.NDArray[np.integer], width: int, height: int
) -> npt.NDArray[np.float64]:
    u, v = 2 * x / width - 1, 2 * y / height - 1
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)


def _robust_fit(terms: npt.NDArray[np.float64], target: Float32Array) -> npt.NDArray[np.float64]:
    weights, ridge = np.ones(len(target)), 1e-6 * len(target) * np.eye(terms.shape[1])  # where few rows can be seen
    for _ in range(4):
        weighted = terms * weights[:, None]
        solution = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ target)
        residual = target - terms @ solution
        scale = 1.4826 * float(np.median(np.abs(residual))) + 1e-3
        weights = 1 / (1 + (residual / (2 * scale)) ** 2)
    return np.asarray(solution)


def mask_relit_picture(
    picture: UInt8Array,
    carried: UInt8Array,
    as_flat: UInt8Array,
    plate: Plate,
    *,
    lit: LitPlate | None = None,
    threshold: float = THRESHOLD,
) -> UInt8Array:
    """Coverage of the person in a relit picture: a carried mask, corrected near its outline.

    The picture is brought under flat light, by what its light does to the plate or by the fitted gain, and compared
    with the plate. Where it does not differ although the flat frame did, the person has moved away; where flat could
    not tell either, the carried mask stands.

    Args:
        picture: Shape (y, x, 3), under an HDRI.
        carried: The flat masks carried to its time, shape (y, x).
        as_flat: The flat frames carried to its time, shape (y, x, 3).
        plate: Under flat light, of the same size.
        lit: Under the picture's light, likewise.
        threshold: As for `mask_flat_picture`.

    Returns:
        Shape (y, x), uint8, 0..255.
    """
    inside = (carried > 127).astype(np.uint8)
    if not inside.any():
        return carried
    band_px = max(3, max(inside.shape) // 160)
    person = cv2.dilate(inside, np.ones((2 * band_px + 1,) * 2, np.uint8)) > 0
    gain = fit_gain(picture, plate.picture, person)
    region = _box(person, 2 * band_px)
    local_gain = gain[region] if lit is None else _known_gain(lit, plate.picture, gain, region)
    flattened = np.clip(picture[region] / local_gain + 0.5, 0, 255).astype(np.uint8)
    misfit = cv2.absdiff(flattened, plate.picture[region])[~person[region]]
    noise = max(plate.noise_codes / float(np.median(gain)), 1.4826 * float(np.median(misfit)) if misfit.size else 0)
    noisy = plate.cropped(region, noise)
    difference = difference_to_plate(flattened, noisy)
    evidence = person_evidence(difference, flattened, noisy, threshold=threshold)
    visible = np.clip(difference_to_plate(as_flat[region], noisy) / (2 * threshold), 0, 1)
    evidence *= np.where(evidence < 0, np.maximum(visible, 1 - inside[region]), 1)
    out = carried.copy()
    corrected = _correct_outline(carried[region], evidence, picture[region], band_px)
    out[region] = edge_coverage(difference, corrected, threshold=threshold)
    return out


def _known_gain(lit: LitPlate, plate: UInt8Array, fitted: Float32Array, region: tuple[slice, slice]) -> Float32Array:
    """Gain of the light on coded values where its plate was seen, else the fitted one, of a region."""
    gain = np.maximum(lit.picture[region], 1) / np.maximum(plate[region], 1).astype(np.float32)
    return np.asarray(np.where(lit.seen[region][..., None], np.clip(gain, *GAINS), fitted[region]), np.float32)


def _correct_outline(carried: UInt8Array, evidence: Float32Array, picture: UInt8Array, band_px: int) -> UInt8Array:
    inside = (carried > 127).astype(np.uint8)
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    prior = 6 * (carried.astype(np.float32) / 255 - 0.5)
    total = prior + guided_filter(evidence.astype(np.float32), guide, max(2, band_px // 2), 1e-3)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    corrected = 255 / (1 + np.exp(-1.5 * total)) + 0.5
    return np.asarray(np.where(distance <= band_px, corrected, carried), np.uint8)


def _box(mask: BoolArray, margin_px: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(int(rows[0]) - margin_px, 0), max(int(columns[0]) - margin_px, 0)
    return slice(top, int(rows[-1]) + margin_px + 1), slice(left, int(columns[-1]) + margin_px + 1)
