"""What would go wrong in a training, found before it starts."""

from __future__ import annotations

from litdome.errors import LitdomeError
from litdome.train_plugins.protocol import DatasetView, Problem
from litdome.train_plugins.relighter.batches import as_video, sample_keys
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.weights import open_base


def find_problems(data: DatasetView, config: RelighterConfig) -> list[Problem]:
    """Problems of this data with this configuration; the base is opened, one sample is read."""
    missing = [key for key in sample_keys(config) if key not in data.keys]
    problems = [Problem("error", f"dataset: samples have no {key}", "litdome dataset build") for key in missing]
    if len(data) == 0:
        return [*problems, Problem("error", "dataset: 0 samples in this split", "litdome dataset show DATASET")]
    if len(data) < config.batch:
        message = f"dataset: {len(data)} samples < batch of {config.batch}: samples repeat within a step"
        problems.append(Problem("warning", message, f"--set batch={len(data)}"))
    if config.base == "random" and config.mode == "lora":
        problems.append(Problem("error", "base = random takes no adapter: its output layer is zero", "--set mode=full"))
    try:
        base = open_base(config.base, config.network, config.seed)
        if not missing:
            as_video(data[0]["relit"], "relit", base.autoencoder)
    except LitdomeError as error:
        return [*problems, Problem("error", error.message, error.hint or "")]
    if base.noise is not None and base.noise != config.noise:
        message = f"noise: the base was trained with {base.noise}, the configuration asks for {config.noise}"
        problems.append(Problem("warning", message, "leave [noise] out of the configuration"))
    return problems
