"""From the original checkpoints' names to diffusers' names, with every name and shape checked.

Source: huggingface/diffusers scripts/convert_cosmos_to_diffusers.py (the COSMOS_1_0 and tokenizer tables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.relighter.network import CONDITION_COUNT, SPATIAL_PATCH, NetworkShape

_NORM_OF_PART = {"0": "norm1", "1": "norm2", "2": "norm3"}
_OUTSIDE_BLOCKS = {
    "x_embedder.proj.1.weight": "patch_embed.proj.weight",
    "t_embedder.1.linear_1.weight": "time_embed.t_embedder.linear_1.weight",
    "t_embedder.1.linear_2.weight": "time_embed.t_embedder.linear_2.weight",
    "affline_norm.weight": "time_embed.norm.weight",
    "final_layer.linear.weight": "proj_out.weight",
    "final_layer.adaLN_modulation.1.weight": "norm_out.linear_1.weight",
    "final_layer.adaLN_modulation.2.weight": "norm_out.linear_2.weight",
}
_INSIDE_ATTENTION = {
    "to_q.0": "to_q",
    "to_k.0": "to_k",
    "to_v.0": "to_v",
    "to_q.1": "norm_q",
    "to_k.1": "norm_k",
    "to_out.0": "to_out.0",
}
_NETWORK_DROPPED = re.compile(r"^logvar\.|pos_embedder\.seq$|_extra_state$")
_BLOCK = re.compile(r"^blocks\.block(\d+)\.blocks\.([012])\.(.+)$")


def convert_network_state(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an original forward renderer's weights.

    Args:
        original: State dict with the names ``net.*``; ``logvar.*`` and TransformerEngine's extra state are left out.

    Returns:
        The same tensors under diffusers' names.

    Raises:
        InputError: A name that the layout does not know.
    """
    kept = {key: value for key, value in original.items() if not _NETWORK_DROPPED.search(key)}
    return {network_key(key): value for key, value in kept.items()}


def network_key(original: str) -> str:
    """diffusers' name of one original name (``net.`` is optional)."""
    key = original.removeprefix("net.")
    if key in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[key]
    match = _BLOCK.match(key)
    inside = _key_in_block(match[2], match[3].removesuffix(".weight")) if match else None
    if match is None or inside is None:
        raise InputError(
            f"checkpoint: unknown tensor {original}", hint="give the forward renderer's model.pt, not the inverse one's"
        )
    return f"transformer_blocks.{match[1]}.{inside}.weight"


def _key_in_block(part: str, name: str) -> str | None:
    if name in ("adaLN_modulation.1", "adaLN_modulation.2"):
        return f"{_NORM_OF_PART[part]}.linear_{name[-1]}"
    if part == "2":
        return {"block.layer1": "ff.net.0.proj", "block.layer2": "ff.net.2"}.get(name)
    inside = _INSIDE_ATTENTION.get(name.removeprefix("block.attn."))
    return f"attn{int(part) + 1}.{inside}" if inside else None


def network_shape(state: Mapping[str, Tensor], max_size: tuple[int, int, int] = (128, 240, 240)) -> NetworkShape:
    """Read the shape of a network from its converted weights.

    Raises:
        InputError: The weights are not those of a forward renderer with eight conditions.
    """
    try:
        width = state["patch_embed.proj.weight"].shape[0]
        head_dim = state["transformer_blocks.0.attn1.norm_q.weight"].shape[0]
        adaln_dim = state["norm_out.linear_1.weight"].shape[0]
        channels = state["proj_out.weight"].shape[0] // SPATIAL_PATCH**2
    except KeyError as missing:
        raise InputError(f"checkpoint: tensor {missing} is missing") from missing
    context = state.get("transformer_blocks.0.attn2.to_k.weight")
    blocks = {key.split(".")[1] for key in state if key.startswith("transformer_blocks.")}
    shape = NetworkShape(
        channels=channels,
        heads=width // head_dim,
        head_dim=head_dim,
        blocks=len(blocks),
        adaln_dim=adaln_dim,
        context_dim=0 if context is None else context.shape[1],
        max_size=max_size,
    )
    found = state["patch_embed.proj.weight"].shape[1] // SPATIAL_PATCH**2
    if found != shape.in_channels:
        raise InputError(
            f"checkpoint: {found} input channels, a forward renderer with {CONDITION_COUNT} conditions of "
            f"{channels} channels has {shape.in_channels}"
        )
    return shape


def check_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """Compare names and shapes of two state dicts.

    Raises:
        InputError: A tensor is missing, not expected, or of another shape; the first of each is named.
    """
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        examples = [*(f"{key} is missing" for key in missing[:1]), *(f"{key} is unknown" for key in extra[:1])]
        raise InputError(f"{name}: {len(missing)} tensors missing, {len(extra)} not expected ({', '.join(examples)})")
    for key, tensor in expected.items():
        if found[key].shape != tensor.shape:
            raise InputError(f"{name}: {key} has shape {tuple(found[key].shape)}, not {tuple(tensor.shape)}")


_TOKENIZER_DROPPED = re.compile(r"wavelets$|_arange$|patch_size_buffer$")
_TOKENIZER_RENAMES = (
    (".block.", ".resnets."),
    ("downsample.", "downsamplers.0."),
    ("upsample.", "upsamplers.0."),
    ("mid.block_1", "mid_block.resnets.0"),
    ("mid.block_2", "mid_block.resnets.1"),
    ("mid.attn_1.0", "mid_block.attentions.0"),
    ("mid.attn_1.1", "mid_block.temp_attentions.0"),
    ("nin_shortcut.conv3d", "conv_shortcut"),
    (".q.conv3d", ".to_q"),
    (".k.conv3d", ".to_k"),
    (".v.conv3d", ".to_v"),
    (".proj_out.conv3d", ".to_out.0"),
    (".0.conv3d", ".conv_s"),
    (".1.conv3d", ".conv_t"),
    (".conv3d", ""),
)


def convert_tokenizer_state(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an original tokenizer's weights (encoder's and decoder's together) to `AutoencoderKLCosmos` names."""
    kept = {key: value for key, value in original.items() if not _TOKENIZER_DROPPED.search(key)}
    levels = len({key.split(".")[2] for key in kept if key.startswith("decoder.up.")})
    return {_tokenizer_key(key, levels): value for key, value in kept.items()}


def _tokenizer_key(key: str, levels: int) -> str:
    key = re.sub(r"\bdown\.(\d+)", r"down_blocks.\1", key)
    key = re.sub(r"\bup\.(\d+)", lambda match: f"up_blocks.{levels - 1 - int(match[1])}", key)
    for old, new in _TOKENIZER_RENAMES:
        key = key.replace(old, new)
    return key
