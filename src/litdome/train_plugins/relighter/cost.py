"""What a training costs before it starts: parameters, FLOP and memory, counted from the network's shape.

Parameters and FLOP are exact (the tests count them in torch); of memory, what is kept through the forward pass is
counted from tensors that autograd kept, and what allocators waste is not in it.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass, replace

import torch
from safetensors import safe_open

from litdome.errors import PluginError
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.base_folder import read_compression, read_record, read_shape, tensor_files
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import SPATIAL_PATCH, NetworkShape
from litdome.train_plugins.relighter.weights import find_base, random_base

PATCH_AREA = SPATIAL_PATCH**2
# Bytes per token and channel of the width that one block keeps for its backward pass, and what it keeps of them with
# gradient checkpointing, by mode and precision: counted from what autograd kept of networks 192 wide.
KEPT = {("full", "float32"): 97, ("full", "bfloat16"): 93, ("lora", "float32"): 74, ("lora", "bfloat16"): 51}
KEPT_INPUT = {("full", "float32"): 4, ("full", "bfloat16"): 4, ("lora", "float32"): 4, ("lora", "bfloat16"): 2}
MFU = 0.45  # of the goal; not measured here
LARGE = 1e9  # parameters; more are not trained on a CPU
H100_FLOPS = 989e12  # dense bfloat16, NVIDIA's figure for the SXM card


@dataclass(frozen=True)
class Clip:
    """What one sample is, in latents.

    Attributes:
        frames, height, width: Latent frames, rows and columns.
    """

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Tokens that attention sees."""
        return self.frames * (self.height // SPATIAL_PATCH) * (self.width // SPATIAL_PATCH)


@dataclass(frozen=True)
class StepFlops:
    """FLOP of one sample; a multiplication and its addition count as two.

    Attributes:
        forward: One call of the network.
        backward: Gradients of what trains and of what lies between it and the loss.
        repeated: The forward pass again, with gradient checkpointing.
    """

    forward: int
    backward: int
    repeated: int

    @property
    def model(self) -> int:
        """What training needs, without what is computed twice: the numerator of model FLOP utilisation."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Memory:
    """Bytes on each device.

    Attributes:
        weights: The network, and its copy in half precision where that is made on the fly.
        training: Gradients, both moments and the average of what trains.
        activations: Kept for the backward pass.
    """

    weights: int
    training: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.training + self.activations


def parameters(shape: NetworkShape) -> int:
    """Weights of the network."""
    width, rank = shape.heads * shape.head_dim, shape.adaln_dim
    modulation = width * rank + rank * 3 * width
    block = 12 * width**2 + 2 * shape.head_dim + 2 * modulation
    if shape.context_dim:
        block += 2 * width**2 + 2 * width * shape.context_dim + 2 * shape.head_dim + modulation
    ends = PATCH_AREA * (shape.in_channels + shape.channels) * width
    return shape.blocks * block + ends + 4 * width**2 + width + width * rank + rank * 2 * width


def trainable_parameters(shape: NetworkShape, config: RelighterConfig) -> int:
    """Weights that train: all, or the adapter's matrices."""
    if config.mode == "full":
        return parameters(shape)
    width, rank = shape.heads * shape.head_dim, shape.adaln_dim
    sides = shape.blocks * 18 * width  # inputs and outputs of four width x width layers and two four times as wide
    if config.lora.targets == "all":
        sides += shape.blocks * 2 * (width + rank + rank + 3 * width)
        sides += width + rank + rank + 2 * width + 2 * width + PATCH_AREA * (shape.in_channels + shape.channels)
    return config.lora.rank * sides


def step_flops(shape: NetworkShape, clip: Clip, config: RelighterConfig) -> StepFlops:
    """FLOP of one sample's step, cross-attention left out as training does.

    For an adapter on all layers without those of input, output and modulation.
    """
    width, blocks, tokens = shape.heads * shape.head_dim, shape.blocks, clip.tokens
    layers = 2 * tokens * blocks * 12 * width**2
    attention = 4 * tokens**2 * width * blocks
    inputs = 2 * tokens * PATCH_AREA * shape.in_channels * width
    outputs = 2 * tokens * PATCH_AREA * shape.channels * width
    level = 2 * width**2
    of_blocks = 2 * blocks * 2 * 4 * width * shape.adaln_dim
    modulation = of_blocks + 2 * 3 * width**2 + 2 * 3 * width * shape.adaln_dim
    forward = layers + attention + inputs + outputs + level + modulation
    repeated = layers + attention + of_blocks
    if config.mode == "full":
        backward = 2 * forward - inputs - level
    else:
        adapter = 2 * tokens * config.lora.rank * 18 * width * blocks
        first = 2 * tokens * 3 * width  # of the first block's q, k and v: nothing before them trains
        forward, repeated = forward + adapter, repeated + adapter
        backward = layers - first * width + outputs + 2 * attention + 2 * adapter - first * config.lora.rank
    return StepFlops(forward, backward, repeated if config.gradient_checkpointing else 0)


def training_memory(shape: NetworkShape, clip: Clip, config: RelighterConfig, *, world: int = 1) -> Memory:
    """Bytes on each of ``world`` devices, for the samples that one of them works on at a time."""
    width, kind = shape.heads * shape.head_dim, (config.mode, config.precision)
    half, shards = config.precision == "bfloat16", world if config.sharded else 1
    count, training = parameters(shape), trainable_parameters(shape, config)
    if config.mode == "full":
        weights = count * (6 if half else 4) // shards  # autocast makes a copy in half precision
    else:
        weights = count * (2 if half else 4) + 4 * training
    together = math.ceil(config.batch / (world * config.accumulate))
    kept = KEPT[kind] * shape.blocks
    if config.gradient_checkpointing:
        kept = KEPT[kind] + KEPT_INPUT[kind] * shape.blocks
    inputs = 0  # kept for the first layer's gradient
    if config.mode == "full":
        inputs = PATCH_AREA * shape.in_channels * (2 if half else 4)
    return Memory(weights, 16 * training // shards, together * clip.tokens * (width * kept + inputs))


def describe(shape: NetworkShape, clip: Clip, config: RelighterConfig, *, world: int = 1) -> list[str]:
    """The costs of a step in words, one line each."""
    flops, memory = step_flops(shape, clip, config), training_memory(shape, clip, config, world=world)
    step = config.batch * (flops.model + flops.repeated)
    seconds = config.batch * flops.model / (MFU * H100_FLOPS * world)
    again = f", {_tera(flops.repeated)} again for gradient checkpointing" if flops.repeated else ""
    trained = "all train" if config.mode == "full" else f"adapter {trainable_parameters(shape, config) / 1e6:.2f} M"
    return [
        f"network: {parameters(shape) / 1e6:.2f} M parameters; {trained}",
        f"sample: {clip.tokens} tokens; {_tera(flops.forward)} forward, {_tera(flops.backward)} backward{again}",
        f"step: batch {config.batch}, {_tera(step)}; {seconds:.3g} s if {world} H100 reach {MFU:.0%} of their peak",
        f"memory: {memory.total / 1e9:.2f} GB on each device: weights {memory.weights / 1e9:.2f}, gradients, moments "
        f"and average {memory.training / 1e9:.2f}, activations {memory.activations / 1e9:.2f}; allocators take more",
    ]


def base_layout(config: RelighterConfig) -> tuple[NetworkShape, int, int]:
    """Shape of the base as it is trained, and pixels and frames per latent; its weights are not read.

    Raises:
        MissingWeightsError: No base there.
        InputError: Its configuration does not make sense.
    """
    if config.base == "random":
        opened = random_base(config.network.model_copy(update={"blocks": 1}), 0).shape
        return replace(opened, blocks=config.network.blocks), HaarAutoencoder.spatial, HaarAutoencoder.temporal
    folder = find_base(config.base)
    names: set[str] = set()
    for file in tensor_files(folder):
        with safe_open(file, framework="pt") as opened_file:
            names |= set(opened_file.keys())
    shape = replace(read_shape(folder, names), context_dim=0)
    if read_record(folder).autoencoder == "haar":
        return shape, HaarAutoencoder.spatial, HaarAutoencoder.temporal
    return shape, *read_compression(folder)


def clip_of(pictures: tuple[int, ...], spatial: int, temporal: int) -> Clip:
    """Latents of pictures of shape (t, 3, h, w)."""
    frames, _, height, width = pictures
    return Clip((frames - 1) // temporal + 1, height // spatial, width // spatial)


def need_device(config: RelighterConfig, pictures: tuple[int, ...], device: str, world: int = 1) -> None:
    """Make sure that a device can hold the training, before any weight is read.

    Args:
        pictures: Shape of a sample's pictures, (t, 3, h, w).

    Raises:
        PluginError: A large base without a GPU, or a GPU that cannot hold even what does not depend on the batch.
    """
    shape, spatial, temporal = base_layout(config)
    clip = clip_of(pictures, spatial, temporal)
    memory = training_memory(shape, clip, config, world=world)
    if device.startswith("cuda"):
        room = torch.cuda.get_device_properties(device).total_memory
        if memory.weights + memory.training > room:
            raise PluginError(
                f"relighter: {parameters(shape) / 1e9:.2f} B parameters need {memory.total / 1e9:.0f} GB a GPU, "
                f"this one has {room / 1e9:.0f}",
                hint=memory_advice(config),
            )
    elif parameters(shape) > LARGE:
        flops = step_flops(shape, clip, config)
        raise PluginError(
            f"relighter: no GPU here, and base {config.base} has {parameters(shape) / 1e9:.2f} B parameters: training "
            f"needs {memory.total / 1e9:.0f} GB of GPU memory and {_tera(config.batch * flops.model)} a step",
            hint="--device cuda on a machine with a GPU, or --set base=tiny",
        )


def memory_advice(config: RelighterConfig) -> str:
    """What to set when memory does not suffice: what costs least first."""
    if not config.gradient_checkpointing:
        return "--set gradient_checkpointing=true"
    if config.accumulate < config.batch:
        return f"--set accumulate={min(2 * config.accumulate, config.batch)}"
    if config.precision == "float32":
        return "--set precision=bfloat16"
    if config.mode == "full":
        return "--set mode=lora" if config.sharded else "--set sharded=true with --gpus 2 or more, or --set mode=lora"
    if config.latent_cache == "memory":
        return "--set latent_cache=run --set latent_cache_mb=0"
    return "fewer clip_frames, or litdome dataset build with a smaller size.height and size.width"


def memory_in_use(device: str) -> int:
    """The most memory that this process has had, bytes: of the GPU, or of the machine."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tera(flop: float) -> str:
    return f"{flop / 1e12:.3g} TFLOP" if flop >= 1e11 else f"{flop / 1e9:.3g} GFLOP"
