"""Colour of one camera brought to a reference: a 3x4 affine in linear light from patches that both know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.color import LUMINANCE_WEIGHTS
from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
MIN_PATCHES = 10  # an affine has 4 unknowns a channel
MAX_CONDITION = 30.0  # a whole chart has about 6, its neutral patches alone some hundreds
DRAWS, DRAWN = 300, 6  # sets of patches that are tried, so that up to half of the patches may be hidden
OUTLIER = 0.06  # of a cube root of linear light, about 6 of CIE lightness: hidden, dirty or in a highlight
EXACT = 0.012  # the same where the patches agree perfectly: noise of 8 bits
NEUTRAL = np.arange(18, 24)


@dataclass(frozen=True, eq=False)
class ColorFit:
    """An affine and what it rests on.

    Attributes:
        affine: Linear light in, linear light out; shape (3, 4).
        used: Patches that it was fitted to, shape (patch,).
        condition: Of the fitted colours: how much more error the least known direction gets than the best known.
    """

    affine: FloatArray
    used: BoolArray
    condition: float

    def apply(self, linear: FloatArray) -> FloatArray:
        """Corrected colours, shape (..., 3)."""
        return np.asarray(linear @ self.affine[:, :3].T + self.affine[:, 3])


def fit_affine(measured: FloatArray, target: FloatArray, usable: BoolArray, name: str) -> ColorFit:
    """The affine that brings measured patches to their target, without those that contradict the others.

    Errors count as the eye sees them: dark patches more than their light says.

    Args:
        measured, target: Linear light, shape (patch, 3).
        usable: Patches that may count: neither clipped nor uneven; shape (patch,).
        name: Of the camera, for errors.

    Raises:
        CalibrationError: Too few patches, or too much alike, for an affine to be believed.
    """
    finite = usable & np.isfinite(measured).all(axis=1) & np.isfinite(target).all(axis=1)
    candidates = np.flatnonzero(finite)
    if len(candidates) < MIN_PATCHES:
        raise CalibrationError(
            f"{name}: {len(candidates)} of {len(usable)} patches can be used, {MIN_PATCHES} are needed",
            hint="expose so that no patch is clipped, and keep the chart free",
        )
    weights = 1 / (np.maximum(target @ LUMINANCE_WEIGHTS, 0) ** (2 / 3) + 0.05)  # slope of the cube root
    design = np.column_stack([measured, np.ones(len(measured))])
    used = _consensus(design, target, weights, candidates)
    if used.sum() < MIN_PATCHES:
        raise CalibrationError(
            f"{name}: only {used.sum()} patches agree with each other, {MIN_PATCHES} are needed",
            hint="is it the chart that was meant, and is it evenly lit? litdome color SESSION --corners FILE",
        )
    condition = _condition(measured[used])
    if condition > MAX_CONDITION:
        raise CalibrationError(
            f"{name}: the patches are too much alike for an affine (condition {condition:.0f} > {MAX_CONDITION:.0f})",
            hint="show the coloured patches too",
        )
    return ColorFit(_solve(design, target, weights, used), used, condition)


def _consensus(
    design: FloatArray, target: FloatArray, weights: FloatArray, candidates: npt.NDArray[np.intp]
) -> BoolArray:
    """The patches that the affine of the best of many small sets agrees with, then those that all these agree with."""
    rng = np.random.default_rng(0)
    best, best_score = candidates, np.inf
    for _ in range(DRAWS):
        drawn = rng.choice(candidates, DRAWN, replace=False)
        error = _error(design, target, _solve(design, target, weights, drawn))[candidates]
        score = float(np.minimum(error, OUTLIER).sum())
        if score < best_score:
            best, best_score = candidates[error < OUTLIER], score
    used = np.zeros(len(design), bool)
    used[best] = True
    for _ in range(5):
        if used.sum() < MIN_PATCHES:
            break
        again = np.zeros(len(design), bool)
        error = _error(design, target, _solve(design, target, weights, np.flatnonzero(used)))
        again[candidates] = error[candidates] < np.clip(4 * np.median(error[used]), EXACT, OUTLIER)
        if (again == used).all():
            break
        used = again
    return used


def _solve(design: FloatArray, target: FloatArray, weights: FloatArray, used: npt.NDArray[np.generic]) -> FloatArray:
    scale = weights[used][:, None]
    return np.asarray(np.linalg.lstsq(design[used] * scale, target[used] * scale, rcond=None)[0].T)


def _error(design: FloatArray, target: FloatArray, affine: FloatArray) -> FloatArray:
    """Distance of cube roots, shape (patch,)."""
    return np.asarray(np.linalg.norm(np.cbrt(design @ affine.T) - np.cbrt(target), axis=1) / np.sqrt(3))


def _condition(measured: FloatArray) -> float:
    design = np.column_stack([measured / measured.mean(axis=0), np.ones(len(measured))])
    return float(np.linalg.cond(design))


def white_balance(measured: FloatArray, target: FloatArray, usable: BoolArray) -> FloatArray:
    """Gain of red, green and blue, green 1, that makes the neutral patches neutral, shape (3,); NaN without any."""
    neutral = NEUTRAL[usable[NEUTRAL]]
    if len(neutral) == 0:
        return np.full(3, np.nan)
    gains = (measured * target)[neutral].sum(axis=0) / (measured[neutral] ** 2).sum(axis=0)
    return np.asarray(gains / gains[1])
