"""The relighter's settings. No torch here: ``litdome config show`` and ``--help`` read this."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Buffer = Literal["flat", "basecolor", "normal", "metallic", "roughness", "depth"]
Light = Literal["env_ldr", "env_log", "env_direction"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoiseConfig(_Table):
    """Noise levels in training and where the sampler starts: what the sampler starts from must be trained.

    Light and colour are decided at high noise, where one step does everything; the tiny base, sampled in one step, is
    trained around it. For many steps, as with the 7B model, train wider and start higher: 80, 0 and 1 are the
    original's.
    """

    sigma_max: float = Field(20.0, gt=0, description="Noise level that sampling starts from.")
    ln_sigma_mean: float = Field(2.5, description="Mean of the natural logarithm of the noise level in training.")
    ln_sigma_std: float = Field(1.2, gt=0, description="Its standard deviation.")


class SamplingConfig(_Table):
    """How pictures are made."""

    steps: int = Field(1, ge=1, description="Network calls per chunk; 15 for the 7B model.")
    chunk_frames: int = Field(4, ge=1, description="Pictures per chunk of a clip; 57 for the 7B model.")
    overlap_frames: int = Field(1, ge=0, description="Pictures that neighbouring chunks share; at most half of them.")
    seams: Literal["cut", "fade", "latent", "prefix"] = Field(
        "fade",
        description="How chunks join: side by side; faded linearly; denoised together, agreeing in what they share; "
        "or each going on from the last pictures of the one before, which needs [prefix] in training.",
    )


class DistillConfig(_Table):
    """Learning to make in ``sampling.steps`` what a trained run makes in many, from the same noise."""

    teacher: str | None = Field(None, description="Folder of the run that is learned from; what was recorded is not.")
    steps: int = Field(15, ge=1, description="Steps that the teacher takes.")
    noises: int = Field(4, ge=1, description="Noises that each sample is made from; what the teacher makes is kept.")
    detail: float = Field(
        0.0, ge=0, description="Weight of the loss on how strong edges and texture of the decoded pictures are."
    )


class PrefixConfig(_Table):
    """Training on clips whose first frames are given, so that a chunk can go on from the pictures before it."""

    share: float = Field(0.0, ge=0, le=1, description="Share of the clips whose first latent frames are given.")
    frames: int = Field(1, ge=1, description="Most latent frames that are given; each clip draws 1 to this many.")
    sigma: float = Field(
        0.02, gt=0, description="Noise on the given frames, in training and rendering; more of it stops drift."
    )


class LoraConfig(_Table):
    """Size of the adapter."""

    rank: int = Field(16, ge=1, description="Rank of every adapter matrix.")
    alpha: float = Field(16.0, gt=0, description="Scale of the adapter; alpha / rank multiplies it.")
    targets: Literal["attention", "all"] = Field(
        "attention",
        description="attention: self-attention and feed-forward layers; all: also input, output and modulation.",
    )


class NetworkConfig(_Table):
    """Size of the network for base = random."""

    heads: int = Field(4, ge=1, description="Attention heads.")
    head_dim: int = Field(80, ge=12, multiple_of=2, description="Channels of each head.")
    blocks: int = Field(3, ge=1, description="Transformer blocks.")
    adaln_dim: int = Field(48, ge=1, description="Rank of the modulation by the noise level.")


class DropoutConfig(_Table):
    """How often conditions are left out in training."""

    each: float = Field(0.0, ge=0, le=1, description="Probability that a condition is left out, for each by itself.")
    geometry: float = Field(0.0, ge=0, le=1, description="Probability that all buffers but the colour are left out.")


class PhysicsConfig(_Table):
    """What is asked of the network about lights that no take holds; the errors of ``litdome evaluate --physics``."""

    superposition: float = Field(
        0.0, ge=0, description="Weight in the loss of the error of R(L1 + L2) against R(L1) + R(L2)."
    )
    gain: float = Field(0.0, ge=0, description="Weight in the loss of the error of R(g L) against g R(L).")
    every: int = Field(1, ge=1, description="Steps from one that asks to the next; such a step costs a few more.")


class ValidationConfig(_Table):
    """What is watched while training runs; nothing is chosen by it: the last checkpoint counts."""

    samples: int = Field(4, ge=0, description="Samples of each held-out split that are rendered and scored; 0: none.")
    hold_back: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the training pairs, the last of each session, kept out of training to validate on; "
        "then the test splits are left alone.",
    )


class RelighterConfig(_Table):
    """Settings of the relighter.

    What is read and what trains is D-Rex's by default. Its digits (rank, rate, batch, steps, overlap) are not known:
    those defaults are ours, and sized for the tiny base.
    """

    base: str = Field("tiny", description="What training starts from: tiny (ships with litdome), random, or a folder.")
    mode: Literal["lora", "full"] = Field("lora", description="Train an adapter, or every weight.")
    buffers: tuple[Buffer, ...] = Field(("flat",), description="Sample keys given as conditions; flat is base colour.")
    env: tuple[Light, ...] = Field(
        ("env_ldr", "env_log", "env_direction"),
        description="Maps of the light given as conditions; the pretrained model knows all three.",
    )
    masks: Literal["off", "black", "random"] = Field(
        "off",
        description="off: pictures as they are (the paper); black: flat and relit before black, each by its own mask; "
        "random: flat before a random background, the loss on the person of the flat mask only.",
    )
    drivers: str | None = Field(
        None, description="Folder of an avatar's renderings, read in place of flat: relight and enhance."
    )
    use_compensated: bool = Field(False, description="Read flat_compensated (at the relit time) in place of flat.")
    background_weight: float = Field(
        1.0, ge=0, le=1, description="Weight of the background in the loss; below 1 the mask is read."
    )
    motion_weights: bool = Field(
        False, description="Weigh the loss by how well each pixel of flat and relit is known to agree (align)."
    )
    max_shift_px: float | None = Field(
        None, gt=0, description="Train on pairs that moved less between flat and relit, px of the recorded picture."
    )
    reliability_sampling: bool = Field(False, description="Draw pairs as often as their motion is reliable (align).")
    balance: Literal["samples", "sessions", "subjects"] = Field(
        "samples", description="What is drawn equally often: every sample, or every session or subject as a whole."
    )
    light_variants: int = Field(
        1, ge=1, description="Times that a sample is used: as recorded, then mirrored and with its light tinted."
    )
    steps: int = Field(300, ge=1, description="Training steps.")
    minutes: float | None = Field(None, gt=0, description="Stop after this long at the latest (steps still hold).")
    batch: int = Field(4, ge=1, description="Samples per step, of all processes together.")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon moves the blocks' matrices faster in training from nothing (mode full)."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    warmup_steps: int = Field(20, ge=0, description="Steps in which the learning rate rises from 0.")
    decay: Literal["constant", "cosine"] = Field("cosine", description="Course of the learning rate after that.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay.")
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="Decay of the averaged weights, which are validated and rendered with."
    )
    picture_weighting: float = Field(
        1.0, ge=0, le=2, description="Power of a latent channel's effect on the picture in the loss; 0: all the same."
    )
    clip_frames: int = Field(1, ge=1, description="Pictures of a clip; 1 trains on single pairs (the paper).")
    clip_share: float = Field(
        1.0, gt=0, le=1, description="Share of the samples that are clips where clip_frames > 1; the rest are single."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of the network; bfloat16 also stores a frozen base so. What trains is float32.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute each block's inside again in the backward pass: far less memory, a third more time."
    )
    tile_px: int = Field(
        0, ge=0, description="Largest side of what the autoencoder sees at once, for small GPUs; 0: whole pictures."
    )
    compile: bool = Field(False, description="Compile the blocks (torch.compile): minutes at the start, then faster.")
    accumulate: int = Field(1, ge=1, description="Parts that a process's share of a batch is worked through in.")
    sharded: bool = Field(
        False,
        description="Share weights, gradients and optimizer among the processes (FSDP) in place of a copy on each "
        "(DDP); for mode full.",
    )
    seed: int = Field(0, ge=0, description="Where all randomness starts.")
    checkpoint_every: int = Field(100, ge=1, description="Steps between checkpoints.")
    keep: int = Field(
        3, ge=1, description="Checkpoints that stay: the last ones, and the best by validation on training data."
    )
    tensorboard: bool = Field(True, description="Also write the numbers for TensorBoard: tensorboard --logdir runs.")
    preview_every: int = Field(100, ge=1, description="Steps between previews.")
    validate_every: int = Field(
        100, ge=1, description="Steps between validations; there is one before the first and one at the end."
    )
    latent_cache: Literal["memory", "run", "dataset"] = Field(
        "memory",
        description="Where encoded samples are kept: in memory only, or also on disk, in the run's folder or beside "
        "the dataset (DATASET.latents), where other runs find them.",
    )
    latent_cache_mb: int = Field(1024, ge=0, description="Memory for encoded samples, MB, of each process.")
    noise: NoiseConfig = Field(NoiseConfig(), description="Noise levels, in training and to start sampling from.")
    sampling: SamplingConfig = Field(SamplingConfig(), description="How pictures are made.")
    prefix: PrefixConfig = Field(PrefixConfig(), description="Training on clips whose first frames are given.")
    lora: LoraConfig = Field(LoraConfig(), description="Size of the adapter (mode lora).")
    network: NetworkConfig = Field(NetworkConfig(), description="Size of the network (base = random).")
    dropout: DropoutConfig = Field(DropoutConfig(), description="How often conditions are left out in training.")
    causal_frames: int = Field(
        0,
        ge=0,
        description="Latent frames that a frame sees, itself and those before it, so that clips are made frame by "
        "frame; 0: all of its chunk.",
    )
    distill: DistillConfig = Field(DistillConfig(), description="Few steps, learned from a trained run.")
    physics: PhysicsConfig = Field(PhysicsConfig(), description="Laws of light in the loss.")
    validation: ValidationConfig = Field(ValidationConfig(), description="What training is watched by.")
