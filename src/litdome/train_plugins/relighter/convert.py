"""From the original checkpoints' names to diffusers' names, with every name and shape checked.

Source: huggingface/diffusers scripts/convert_cosmos_to_diffusers.py (the COSMOS_1_0 table).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

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


def original_layout(shape: NetworkShape) -> dict[str, tuple[int, ...]]:
    """Every tensor of an original forward renderer of this shape, by its original name."""
    width, adaln = shape.heads * shape.head_dim, shape.adaln_dim
    patch = SPATIAL_PATCH**2
    positions = max(shape.max_size[0], *(side // SPATIAL_PATCH for side in shape.max_size[1:]))
    layout: dict[str, tuple[int, ...]] = {
        "x_embedder.proj.1.weight": (width, shape.in_channels * patch),
        "pos_embedder.seq": (positions,),
        "t_embedder.1.linear_1.weight": (width, width),
        "t_embedder.1.linear_2.weight": (3 * width, width),
        "affline_norm.weight": (width,),
        "final_layer.linear.weight": (shape.channels * patch, width),
        "final_layer.adaLN_modulation.1.weight": (adaln, width),
        "final_layer.adaLN_modulation.2.weight": (2 * width, adaln),
    }
    block: dict[str, tuple[int, ...]] = {}
    for part, source in (("0", width), ("1", shape.context_dim)):
        for name, size in (("q", width), ("k", source), ("v", source), ("out", width)):
            block[f"{part}.block.attn.to_{name}.0.weight"] = (width, size)
        for name in "qk":
            block[f"{part}.block.attn.to_{name}.1.weight"] = (shape.head_dim,)
    block["2.block.layer1.weight"], block["2.block.layer2.weight"] = (4 * width, width), (width, 4 * width)
    for part in "012":
        block[f"{part}.adaLN_modulation.1.weight"] = (adaln, width)
        block[f"{part}.adaLN_modulation.2.weight"] = (3 * width, adaln)
    for number in range(shape.blocks):
        layout |= {f"blocks.block{number}.blocks.{name}": size for name, size in block.items()}
    logvar: dict[str, tuple[int, ...]] = {"0.freqs": (128,), "0.phases": (128,), "1.weight": (1, 128)}
    return {f"net.{name}": size for name, size in layout.items()} | {f"logvar.{k}": v for k, v in logvar.items()}


def check_original(found: Mapping[str, Tensor], file: str) -> None:
    """Make sure that a checkpoint is a forward renderer's: every name and shape; extra state is passed over.

    Args:
        found: State dict of the file.
        file: Its name, for the error.

    Raises:
        InputError: Another model, or tensors that are missing, unknown or of another shape.
    """
    found = {_full_name(name): value for name, value in found.items() if not name.endswith("_extra_state")}
    what = _other_model(found)
    if what is not None:
        raise InputError(
            f"{file}: {what}, not DiffusionRenderer's forward renderer",
            hint="take model.pt of Diffusion_Renderer_Forward_Cosmos_7B",
        )
    try:
        shape = network_shape({_lenient_key(name): value for name, value in found.items()})
    except InputError as error:
        raise InputError(f"{file}: {error.message}", hint=error.hint) from error
    if "net.pos_embedder.seq" in found:  # how far positions go; the largest latent itself is in the configuration
        shape = replace(shape, max_size=(found["net.pos_embedder.seq"].shape[0], SPATIAL_PATCH, SPATIAL_PATCH))
    layout = original_layout(shape)
    missing, unknown = sorted(layout.keys() - found.keys()), sorted(found.keys() - layout.keys())
    wrong = [
        f"{k} {tuple(found[k].shape)} for {layout[k]}" for k in layout if k in found and layout[k] != found[k].shape
    ]
    problems = [(missing, "missing"), (unknown, "unknown"), (wrong, "of another shape")]
    said = [f"{len(names)} tensors {how}: {_some(names)}" for names, how in problems if names]
    if said:
        raise InputError(f"{file}: {'; '.join(said)}", hint="download it again, or name the file that NVIDIA released")


def _other_model(found: Mapping[str, Tensor]) -> str | None:
    names = {name.removeprefix("net.") for name in found}
    if "context_embedding.weight" in names:
        return "the inverse renderer's weights"
    if any(name.startswith("transformer_blocks.") for name in names):
        return "weights under diffusers' names (converted already?)"
    patch = found.get("net.x_embedder.proj.1.weight")
    if patch is None or patch.ndim != 2:
        return f"weights of another network ({_some(sorted(names)) or 'no tensors'})"
    channels = patch.shape[1] // SPATIAL_PATCH**2
    if any(name.startswith("extra_pos_embedder") for name in names) or channels in (16, 17, 18):
        return f"a Cosmos model without conditions ({channels} input channels)"
    return None


def _lenient_key(name: str) -> str:
    try:
        return network_key(name)
    except InputError:
        return name


def _full_name(name: str) -> str:
    return name if name.startswith(("net.", "logvar.")) else f"net.{name}"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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
