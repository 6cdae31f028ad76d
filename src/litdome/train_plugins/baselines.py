"""Baselines that train nothing: the flat picture times what a Lambertian surface of its normals would show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.lighting import sh_basis
from litdome.train_plugins.evaluate import ratio_picture
from litdome.train_plugins.protocol import Rendered

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
COSINE_LOBE = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)[:, None]
LEAST_LENGTH = 0.5  # of a normal; shorter ones are no surface


class LambertRelighter:
    """Image-space relighting: flat light shows the albedo, spherical harmonics of the light shade it.

    Attributes:
        reads: ``normal`` is (t, 3, h, w), unit, x right, y up, z to the viewer, 0 where nothing is. Where it comes
            from is for the caller to say: of a simulation it is an oracle. Where there is none, the light's mean over
            all normals that face the camera counts.
    """

    reads: tuple[str, ...] = ("flat", "normal", "env_log", "env_direction")

    def __init__(self, flat_radiance: float = 1.0) -> None:
        """Relight pictures that were taken under light of ``flat_radiance`` from everywhere (the session's gain)."""
        self._flat_radiance = flat_radiance

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """Pictures of a clip; ``seed`` changes nothing."""
        import torch

        keys = {key: inputs[key].movedim(1, -1).numpy().astype(np.float64) for key in self.reads}
        made = []
        for number, flat in enumerate(keys["flat"]):
            normal, env_log, direction = (
                keys[key][min(number, len(keys[key]) - 1)] for key in ("normal", "env_log", "env_direction")
            )
            light = light_harmonics((env_log + 1) / 2, direction) / self._flat_radiance
            made.append(ratio_picture(flat, lambert_ratio(normal, light)))
        return Rendered(torch.from_numpy(np.stack(made)).movedim(-1, 1).float(), alpha=None)


def light_harmonics(env_log: FloatArray, direction: FloatArray) -> FloatArray:
    """What an albedo-1 Lambertian surface shows, as spherical harmonics of its normal, shape (9, 3).

    Args:
        env_log: DiffusionRenderer's env_log in 0..1, shape (v, u, 3), in the camera's frame.
        direction: Directions of its pixels, shape (v, u, 3).
    """
    radiance = np.expm1(linear_from_srgb(env_log.astype(np.float64)) * np.log(10001.0))
    weights = np.sqrt(np.maximum(1 - direction[..., 1] ** 2, 0))
    weights *= 4 * np.pi / weights.sum()
    coefficients = np.einsum("vu,vuk,vuc->kc", weights, sh_basis(direction.astype(np.float64)), radiance)
    return cast(FloatArray, coefficients * COSINE_LOBE)


def lambert_ratio(normal: FloatArray, light: FloatArray) -> FloatArray:
    """Linear factor of each pixel, shape (y, x, 3), of normals (y, x, 3) under `light_harmonics`."""
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    shown = np.maximum(sh_basis(normal / np.maximum(length, LEAST_LENGTH)) @ light, 0)
    towards = _facing_mean() @ light
    return cast(FloatArray, np.where(length > LEAST_LENGTH, shown, np.maximum(towards, 0)))


def _facing_mean() -> FloatArray:
    """Mean of the basis over normals that face the camera, by their area in the picture, shape (9,)."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, 65)] * 2)
    inside = x**2 + y**2 < 1
    normals = np.stack([x[inside], y[inside], np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)], axis=-1)
    return cast(FloatArray, sh_basis(normals).mean(axis=0))
