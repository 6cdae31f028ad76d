"""What would go wrong in a training, found before it starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from litdome.datasets.views import DatasetView as BakedView
from litdome.errors import LitdomeError
from litdome.train_plugins.protocol import DatasetView, Problem
from litdome.train_plugins.relighter.base_folder import read_record
from litdome.train_plugins.relighter.batches import need_whole_patches, sample_keys
from litdome.train_plugins.relighter.chunks import chunk_layout, frame_by_frame
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.cost import base_layout
from litdome.train_plugins.relighter.network import NetworkShape
from litdome.train_plugins.relighter.parallel import obstacle_to_shares
from litdome.train_plugins.relighter.samples import TrainingSamples, training_samples
from litdome.train_plugins.relighter.selection import hold_back, with_light
from litdome.train_plugins.relighter.teacher import find_teacher
from litdome.train_plugins.relighter.validation import lacking_drivers
from litdome.train_plugins.relighter.weights import find_base

DATASET_UNIT_PX = 16  # sizes of datasets are whole multiples of it
FIXES = {  # of missing sample keys
    "flat_compensated": "litdome align SESSION, then litdome dataset build",
    "weight_compensated": "litdome align SESSION, then litdome dataset build",
}


def find_problems(data: DatasetView, config: RelighterConfig) -> list[Problem]:
    """Problems of this data with this configuration; one sample is read, and what the base says of itself."""
    found = [*_setting_problems(config), *_key_problems(data, config), *_few_step_problems(data, config)]
    if len(data) == 0:
        return [*found, Problem("error", "dataset: 0 samples in this split", "litdome dataset show DATASET")]
    if any(problem.severity == "error" for problem in found):
        return found
    try:
        samples = training_samples(data, config, config.seed)
    except LitdomeError as error:
        return [*found, _as_problem(error)]
    return [*found, *_data_problems(data, config, samples), *_base_problems(samples, config)]


def _setting_problems(config: RelighterConfig) -> Iterator[Problem]:
    """Settings that do not go together."""
    if config.base == "random" and config.mode == "lora":
        yield Problem("error", "base = random takes no adapter: its output layer is zero", "--set mode=full")
    if not config.env:
        yield Problem(
            "error", "env = []: nothing says how to light the picture", '--set \'env=["env_ldr", "env_log"]\''
        )
    if not config.buffers:
        yield Problem("error", "buffers = []: nothing says what to light", "--set 'buffers=[\"flat\"]'")
    if {"flat", "basecolor"} <= set(config.buffers):
        yield Problem("error", "buffers: flat and basecolor are the same condition", "--set 'buffers=[\"flat\"]'")
    obstacle = obstacle_to_shares(config)
    if obstacle is not None:
        yield Problem("error", *obstacle)
    if config.masks != "off" and "flat" not in config.buffers:
        yield Problem("error", f"masks = {config.masks} needs flat among the buffers", "--set masks=off")
    if config.masks == "random" and config.background_weight < 1:
        message = "masks = random counts nothing of the background, whatever background_weight says"
        yield Problem("error", message, "--set background_weight=1")
    if config.clip_share < 1 and config.clip_frames == 1:
        yield Problem("error", f"clip_share = {config.clip_share:g} of clips of 1 picture", "--set clip_frames=57")
    if config.prefix.share > 0 and config.clip_frames == 1:
        message = f"prefix.share = {config.prefix.share:g}, but a clip of 1 picture has nothing to go on from"
        yield Problem("error", message, "--set clip_frames=57")
    if config.sampling.seams == "prefix" and config.prefix.share == 0:
        message = "sampling.seams = prefix, but with prefix.share = 0 the network never learns to go on"
        yield Problem("error", message, "--set prefix.share=0.5 --set clip_frames=57")
    if config.physics.superposition + config.physics.gain > 0 and "env_log" not in config.env:
        message = "physics makes its lights out of env_log, which is not in env"
        yield Problem("error", message, '--set \'env=["env_ldr", "env_log"]\'')
    if config.drivers is None:
        return
    if "flat" not in config.buffers:
        yield Problem(
            "error", "drivers are read in place of flat, which is not among the buffers", "--set 'buffers=[\"flat\"]'"
        )
    for name in ("use_compensated", "motion_weights"):
        if getattr(config, name):
            message = f"{name} is about recorded flat pictures, drivers show the relit moment"
            yield Problem("error", message, f"--set {name}=false")
    if config.masks == "off":
        message = "masks = off: drivers stand before black, the relit pictures before the stage"
        yield Problem("warning", message, "--set masks=black")


def _few_step_problems(data: DatasetView, config: RelighterConfig) -> Iterator[Problem]:
    if config.causal_frames and config.clip_frames == 1:
        message = f"causal_frames = {config.causal_frames}, but a clip of 1 picture has no past to learn from"
        yield Problem("warning", message, "--set clip_frames=8")
    if config.distill.teacher is None:
        return
    try:
        find_teacher(data, config)
    except LitdomeError as error:
        yield _as_problem(error)
    if config.sampling.steps >= config.distill.steps:
        message = f"sampling.steps = {config.sampling.steps} are no fewer than the teacher's {config.distill.steps}"
        yield Problem("warning", message, "--set sampling.steps=1")


def _key_problems(data: DatasetView, config: RelighterConfig) -> Iterator[Problem]:
    for key in sample_keys(config):
        if key not in data.keys:
            yield Problem("error", f"dataset: samples have no {key}", FIXES.get(key, "litdome dataset build"))


def _data_problems(data: DatasetView, config: RelighterConfig, samples: TrainingSamples) -> Iterator[Problem]:
    """What is left out, and what will be missed."""
    if len(samples) < config.batch:
        message = f"dataset: {len(samples)} samples < batch of {config.batch}: samples repeat within a step"
        yield Problem("warning", message, f"--set batch={len(samples)}")
    if not isinstance(data, BakedView):
        return
    unnamed = len(data) - len(with_light(data, config))
    if unnamed:
        message = f"dataset: {unnamed} of {len(data)} samples under a light that nobody named are left out"
        yield Problem("warning", message, "name it in lights.csv, ingest and build again")
    if samples.weights is not None and not samples.weights.all():
        never = int((samples.weights == 0).sum())
        message = f"dataset: {never} of {len(samples)} samples are never drawn: their reliability is 0 or not measured"
        yield Problem("warning", message, "litdome align SESSION, then litdome dataset build")
    if config.masks == "black":
        yield from _mask_problems(data)
    yield from _validation_problems(data, config)


def _mask_problems(data: BakedView) -> Iterator[Problem]:
    """A look at eight masks: with an empty one, a picture is black and teaches black."""
    places = np.unique(np.linspace(0, len(data) - 1, min(8, len(data))).round().astype(int))
    empty = [int(place) for place in places if not data.codes(int(place), "mask").any()]
    if empty:
        message = (
            f"masks = black: {len(empty)} of {len(places)} samples looked at have an empty mask ({empty[0]} is one)"
        )
        yield Problem("warning", message, "litdome segment SESSION, then litdome dataset build")


def _validation_problems(data: BakedView, config: RelighterConfig) -> Iterator[Problem]:
    if config.validation.samples == 0:
        return
    whole = BakedView(data.path, None)
    if config.validation.hold_back > 0:
        names = {"held_back": hold_back(data, config.validation.hold_back)[1]}
    else:
        names = {name: whole.split(name) for name in whole.splits if name != "train"}
    if not names:
        message = "dataset: nothing is held out, so nothing is validated"
        yield Problem("warning", message, "--set validation.hold_back=0.1")
    for name, view in names.items():
        lacking = lacking_drivers(view, config)
        if lacking is not None:
            yield Problem("warning", f"{name} is not validated: {lacking}", "render drivers for it, too")


def _base_problems(samples: TrainingSamples, config: RelighterConfig) -> Iterator[Problem]:
    """What the base says of itself; its weights are not read, which for 7B takes minutes."""
    pictures = samples[0]["relit"]
    try:
        noise = None if config.base == "random" else read_record(find_base(config.base)).noise
        shape, spatial, temporal = base_layout(config)
        need_whole_patches(pictures, "relit", spatial)
    except LitdomeError as error:
        yield _as_problem(error)
        return
    yield from _size_problems((pictures.shape[-2], pictures.shape[-1]), shape, spatial, config.base)
    if (config.clip_frames - 1) % temporal:
        whole = (config.clip_frames - 1) // temporal * temporal + temporal + 1
        message = f"clip_frames = {config.clip_frames}: this base takes one picture more than a multiple of {temporal}"
        yield Problem("error", message, f"--set clip_frames={whole}")
    try:
        frame_by_frame(temporal) if config.causal_frames else chunk_layout(config.sampling, temporal)
    except LitdomeError as error:  # training works, relighting a clip with this run will not
        yield Problem("warning", error.message, error.hint or "")
    if noise is not None and noise != config.noise:
        message = f"noise: the base was trained with {noise}, the configuration asks for {config.noise}"
        yield Problem("warning", message, " ".join(f"--set noise.{key}={value:g}" for key, value in noise))


def _size_problems(size: tuple[int, int], shape: NetworkShape, spatial: int, base: str) -> Iterator[Problem]:
    """Pictures of more latents than the network has positions for."""
    largest = shape.max_size[1] * spatial, shape.max_size[2] * spatial
    scale = min(most / px for most, px in zip(largest, size, strict=True))
    if scale >= 1:
        return
    fitting = [int(px * scale) // DATASET_UNIT_PX * DATASET_UNIT_PX for px in size]
    message = f"pictures of {size[0]}x{size[1]} px, base {base} takes up to {largest[0]}x{largest[1]}"
    hint = f"litdome dataset build SESSION --set size.height={fitting[0]} --set size.width={fitting[1]}"
    yield Problem("error", message, hint)


def _as_problem(error: LitdomeError) -> Problem:
    return Problem("error", error.message, error.hint or "")
