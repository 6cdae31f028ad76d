"""From dataset samples to latents: which sample keys are which condition, the cache, the order of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor
from torch.nn.functional import interpolate

from litdome.errors import InputError
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.conditions import Condition, assemble_conditions
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import SPATIAL_PATCH
from litdome.train_plugins.relighter.objective import Batch

SIGNED = ("normal", "env_ldr", "env_log", "env_direction")  # sample keys in -1..1; the others are 0..1
LOSS_WEIGHT = "loss_weight"
_LIGHT: dict[str, Condition] = {"env_ldr": "env_ldr", "env_log": "env_log", "env_direction": "env_nrm"}
_BUFFERS: dict[str, Condition] = {
    **{"flat": "basecolor", "basecolor": "basecolor", "normal": "normal"},
    **{"metallic": "metallic", "roughness": "roughness", "depth": "depth"},
}


def flat_key(config: RelighterConfig) -> str:
    """The sample key of the flat picture that is read."""
    return "flat_compensated" if config.use_compensated else "flat"


def weight_key(config: RelighterConfig) -> str:
    """The sample key that says how far each pixel of the flat picture that is read agrees with the relit one."""
    return "weight_compensated" if config.use_compensated else "weight"


def condition_keys(config: RelighterConfig) -> dict[str, Condition]:
    """The sample keys that become conditions: buffers, then the light."""
    buffers = {(flat_key(config) if key == "flat" else key): _BUFFERS[key] for key in config.buffers}
    return buffers | {key: _LIGHT[key] for key in config.env}


def input_keys(config: RelighterConfig) -> tuple[str, ...]:
    """The sample keys that a trained relighter reads: conditions, and the mask that puts flat before black."""
    return (*condition_keys(config), *(("mask_flat",) if config.masks == "black" else ()))


def sample_keys(config: RelighterConfig) -> tuple[str, ...]:
    """All keys of a dataset's samples that training reads."""
    wanted = {
        "relit": True,
        "mask": config.background_weight < 1 or config.masks == "black",
        "mask_flat": config.masks != "off" and config.drivers is None,
        weight_key(config): config.motion_weights,
        "env_ldr": config.light_variants > 1,
        "env_log": config.light_variants > 1,
        **{key: config.drivers is not None for key in ("session", "camera", "pair")},
    }
    return tuple(dict.fromkeys((*condition_keys(config), *(key for key, is_read in wanted.items() if is_read))))


def before_black(inputs: Mapping[str, Tensor], config: RelighterConfig) -> dict[str, Tensor]:
    """Inputs of a trained relighter with flat before black where it was trained so, by ``mask_flat``."""
    if config.masks != "black":
        return dict(inputs)
    flat = flat_key(config)
    return {**inputs, flat: inputs[flat] * inputs["mask_flat"]}


def encode_conditions(
    pictures: Mapping[str, Tensor], keys: Mapping[str, Condition], autoencoder: Autoencoder
) -> dict[Condition, Tensor]:
    """Latents (1, c, t, h, w) of a sample's conditions, pictures of shape (t, 1 or 3, h, w).

    Raises:
        InputError: A size that is not whole in latents and patches.
    """
    return {name: autoencoder.encode(as_video(pictures[key], key, autoencoder)) for key, name in keys.items()}


def need_whole_patches(pictures: Tensor, key: str, spatial: int) -> None:
    """Make sure that pictures, shape (..., h, w), are whole in latents of ``spatial`` pixels and patches of those.

    Raises:
        InputError: They are not.
    """
    unit = spatial * SPATIAL_PATCH
    height, width = pictures.shape[-2:]
    if height % unit or width % unit:
        raise InputError(
            f"{key}: {height}x{width} px, not whole multiples of {unit}",
            hint="litdome dataset build SESSION --set size.height=704",
        )


def as_video(pictures: Tensor, key: str, autoencoder: Autoencoder) -> Tensor:
    """A sample's pictures as the autoencoder takes them, shape (1, 3, t, h, w), -1..1.

    Raises:
        InputError: A size or a number of pictures that is not whole in latents.
    """
    need_whole_patches(pictures, key, autoencoder.spatial)
    count, together = len(pictures), autoencoder.temporal
    if (count - 1) % together:
        raise InputError(
            f"{key}: {count} pictures, this autoencoder takes one more than a multiple of {together}",
            hint="a fitting clip_frames or sampling.chunk_frames",
        )
    video = pictures.expand(-1, 3, -1, -1).transpose(0, 1)[None].float()
    return video if key in SIGNED else video * 2 - 1


def encode_sample(
    sample: Mapping[str, Tensor], config: RelighterConfig, autoencoder: Autoencoder, device: str
) -> Batch:
    """One prepared sample as a batch of one on the device, float32."""
    keys = condition_keys(config)
    pictures = {key: sample[key].to(device) for key in keys}
    clean = autoencoder.encode(as_video(sample["relit"].to(device), "relit", autoencoder))
    conditions = assemble_conditions(encode_conditions(pictures, keys, autoencoder), clean)
    weight = latent_weight(sample, clean)
    return Batch(clean, conditions, None if weight is None else weight.to(device))


def latent_weight(sample: Mapping[str, Tensor], clean: Tensor) -> Tensor | None:
    """A prepared sample's ``loss_weight`` at the places of its latents, shape (1, 1, t, h, w); None: it has none."""
    if LOSS_WEIGHT not in sample:
        return None
    return interpolate(sample[LOSS_WEIGHT].float().transpose(0, 1)[None], tuple(clean.shape[2:]), mode="area")


def channel_weight(autoencoder: Autoencoder, config: RelighterConfig) -> Tensor:
    """How much each latent channel counts in the loss, shape (c,), mean 1, on the CPU."""
    scale = autoencoder.channel_scale().cpu() ** config.picture_weighting
    return scale / scale.mean()


class Samples(Protocol):
    """What training reads: a `DatasetView`, or its clips."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Tensor]: ...
