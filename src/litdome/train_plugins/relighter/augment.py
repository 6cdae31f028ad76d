"""More light from the same takes: samples mirrored, and their light tinted, as light transport allows.

Relit pictures are linear in the light: a gain per channel on the HDRI is the same gain on the relit picture. Mirrored
pictures under a mirrored light are pictures as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.lighting import tone_map_ldr, tone_map_log
from litdome.train_plugins.relighter.batches import Samples

TINT_LOG_STD = 0.35  # of the gain per channel; two deviations halve or double
UNTURNED = ("env_direction", "intrinsics", "world_from_camera")  # the map of directions belongs to the picture plane


@dataclass(frozen=True)
class LightVariants:
    """Every sample ``count`` times: once as recorded, then mirrored every other time and tinted by gains drawn from
    the sample's index. What was clipped in a picture stays clipped, so gains below 1 darken highlights a little."""

    data: Samples
    count: int
    seed: int

    def __len__(self) -> int:
        return len(self.data) * self.count

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        variant, place = divmod(index, len(self.data))
        sample = self.data[place]
        if variant == 0:
            return sample
        rng = np.random.default_rng((self.seed, variant, place))
        gain = np.exp(rng.normal(0, TINT_LOG_STD, 3)).astype(np.float32)
        return tinted(mirrored(sample) if variant % 2 else sample, gain)


def mirrored(sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sample seen in a mirror: pictures, masks and the light's maps, left for right."""
    flipped = {
        key: value.flip(-1) if value.dim() >= 3 and key not in UNTURNED else value for key, value in sample.items()
    }
    if "normal" in flipped:
        flipped["normal"] = flipped["normal"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    return flipped


def tinted(sample: Mapping[str, Tensor], gain: np.ndarray[tuple[int], np.dtype[np.float32]]) -> dict[str, Tensor]:
    """The sample under its light times ``gain``, shape (3,), in linear light: both maps and the relit picture."""
    factor = gain[None, :, None, None]
    logarithm = (sample["env_log"].numpy().astype(np.float32) + 1) / 2
    radiance = np.expm1(linear_from_srgb(logarithm) * np.log1p(np.float32(10000))) * factor
    relit = srgb_from_linear(linear_from_srgb(sample["relit"].numpy()) * factor).clip(0, 1)
    made = {"relit": relit, "env_ldr": tone_map_ldr(radiance) * 2 - 1, "env_log": tone_map_log(radiance) * 2 - 1}
    return {**sample, **{key: torch.from_numpy(np.asarray(value, np.float32)) for key, value in made.items()}}
