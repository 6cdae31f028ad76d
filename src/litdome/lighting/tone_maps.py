"""Tone maps of environment maps: DiffusionRenderer's pair, and Reinhard's operators in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from litdome.color import luminance, srgb_from_linear
from litdome.lighting.latlong import FloatArray, latlong_solid_angles

ToneMapKind = Literal["diffusionrenderer", "simple", "extended", "luminance", "photographic"]
DIFFUSIONRENDERER_WHITE = 16.0
DARKEST = 1e-6  # keeps the logarithm of black finite


@dataclass(frozen=True)
class ToneMap:
    """How radiance becomes the ldr map, before the sRGB curve. The log map has one form only.

    Attributes:
        kind: diffusionrenderer: extended with white 16, what its weights were trained on; simple: x / (1 + x);
            extended: x (1 + x / white^2) / (1 + x); luminance: the extended factor of luminance for all channels, so
            that hues stay; photographic: as luminance, after each map's own log-average luminance was brought to key.
        white: Radiance that becomes 1 (photographic: after the exposure); extended, luminance and photographic.
        key: Where photographic brings the log-average luminance.
    """

    kind: ToneMapKind = "diffusionrenderer"
    white: float = DIFFUSIONRENDERER_WHITE
    key: float = 0.18

    def linear(self, radiance: FloatArray) -> FloatArray:
        """Display-linear values, not clamped, of radiance, shape (v, u, 3); 1 is white.

        Source: Reinhard et al. 2002, equations 1 to 4; its average is weighted by solid angle here, so that all cameras
        give a map one exposure.
        """
        if self.kind == "diffusionrenderer":
            return reinhard(radiance, radiance, DIFFUSIONRENDERER_WHITE)
        if self.kind == "simple":
            return reinhard(radiance, radiance, np.inf)
        if self.kind == "extended":
            return reinhard(radiance, radiance, self.white)
        exposed = radiance * self._exposure(radiance) if self.kind == "photographic" else radiance
        return reinhard(exposed, luminance(exposed)[..., None], self.white)

    def _exposure(self, radiance: FloatArray) -> float:
        weights = latlong_solid_angles(len(radiance), 1)[:, 0]
        logarithm = np.log(DARKEST + luminance(radiance.astype(np.float64)))
        return float(self.key / np.exp(np.average(logarithm.mean(axis=1), weights=weights)))


DIFFUSIONRENDERER = ToneMap()


def reinhard(x: FloatArray, brightness: FloatArray, white: float) -> FloatArray:
    """The extended operator: ``x`` where ``brightness`` is small; a brightness of ``white`` gives x / white."""
    return x * (1 + brightness / white**2) / (1 + brightness)


def tone_map_ldr(radiance: FloatArray, tone_map: ToneMap = DIFFUSIONRENDERER) -> FloatArray:
    """The ldr map in 0..1, shape kept: ``tone_map``, clamped, then the sRGB curve. By default DiffusionRenderer's
    env_ldr."""
    return np.clip(srgb_from_linear(np.clip(tone_map.linear(radiance), 0, 1)), 0, 1)


def tone_map_log(radiance: FloatArray) -> FloatArray:
    """DiffusionRenderer's env_log in 0..1: the sRGB curve of ln(1 + x) / ln(1 + 10000), clamped."""
    return np.clip(srgb_from_linear(np.log1p(radiance) / np.log1p(np.float32(10000))), 0, 1)
