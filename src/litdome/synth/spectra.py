"""Colour by spectrum: five kinds of LED, a camera, and surfaces of smooth reflectance, in 31 bands.

Reflectances are mixtures of three smooth ones, so that what a camera sees of a surface of linear RGB reflectance under
one LED channel is a 3x3 matrix times that reflectance: exact, and no dearer than RGB.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

FloatArray = npt.NDArray[np.float64]
BANDS_NM = np.linspace(400.0, 700.0, 31)
RGBAW = ("red", "green", "blue", "amber", "white")
DAYLIGHT_K = 6500.0
SECOND_RADIATION_NM_K = 1.4388e7  # h c / k


def bump(peak_nm: float, width_nm: float) -> FloatArray:
    """A Gaussian of full width at half maximum ``width_nm`` over `BANDS_NM`, shape (31,)."""
    return np.asarray(np.exp(-4 * np.log(2) * ((BANDS_NM - peak_nm) / width_nm) ** 2))


@lru_cache(maxsize=1)
def led_spectra() -> FloatArray:
    """Of `RGBAW` at full drive, relative power, shape (5, 31): three narrow ones, two with a phosphor."""
    amber = bump(595, 80)
    white = bump(452, 24) + bump(548, 105)
    return np.stack([bump(630, 18), bump(525, 34), bump(460, 22), amber, white])


@lru_cache(maxsize=1)
def camera_sensitivities() -> FloatArray:
    """Of R, G and B, shape (3, 31); in `daylight` a white surface shows (1, 1, 1)."""
    raw = np.stack([bump(605, 65) + 0.03 * bump(440, 40), bump(535, 70), bump(455, 55)])
    return np.asarray(raw / (raw @ daylight())[:, None])


@lru_cache(maxsize=1)
def daylight() -> FloatArray:
    """The light that RGB reflectances and HDRIs are meant in: a black body of 6500 K, shape (31,), mean 1."""
    power = BANDS_NM**-5 / np.expm1(SECOND_RADIATION_NM_K / (BANDS_NM * DAYLIGHT_K))
    return np.asarray(power / power.mean())


@lru_cache(maxsize=1)
def reflectance_basis() -> FloatArray:
    """Reflectances of the surfaces that show pure R, G and B in daylight, shape (31, 3); they add up to 1."""
    smooth = np.stack([1 / (1 + np.exp((585 - BANDS_NM) / 12)), np.zeros(31), 1 / (1 + np.exp((BANDS_NM - 490) / 12))])
    smooth[1] = 1 - smooth[0] - smooth[2]
    shown = (camera_sensitivities() * daylight()) @ smooth.T
    return np.asarray(smooth.T @ np.linalg.inv(shown))


@lru_cache(maxsize=1)
def channel_responses() -> FloatArray:
    """What the camera sees under each channel, ``response[channel] @ reflectance``, shape (5, 3, 3); scaled so that a
    white surface shows a mean of 1 under each."""
    seen = np.stack([(camera_sensitivities() * led) @ reflectance_basis() for led in led_spectra()])
    return np.asarray(seen / seen.sum(axis=2).mean(axis=1)[:, None, None])


def mix_channels(rgb: npt.NDArray[np.floating], responses: FloatArray) -> FloatArray:
    """Non-negative intensities of the channels that show surfaces most nearly as daylight of colours ``rgb`` would.

    Args:
        rgb: As a white surface shows the light, shape (n, 3).
        responses: Of `channel_responses`, or some of its channels, shape (channel, 3, 3).

    Returns:
        Shape (n, channel). White surfaces count as much as the three basic colours together.
    """
    columns = np.concatenate([responses, responses.sum(axis=2, keepdims=True)], axis=2).reshape(len(responses), -1).T
    wanted = np.concatenate([np.eye(3), np.ones((3, 1))], axis=1)
    return np.stack([nnls(columns, (wanted * light[:, None]).ravel())[0] for light in np.asarray(rgb, np.float64)])
