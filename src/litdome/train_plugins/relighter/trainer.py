"""The relighter as a training plugin; torch is imported only where something is computed."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import BaseModel

from litdome.config import build_config, read_toml
from litdome.errors import PluginError
from litdome.train_plugins.protocol import CONTRACT, DatasetView, Problem, Renderer, Run
from litdome.train_plugins.relighter.config import RelighterConfig


class RelighterTrainer:
    """Fine-tune a diffusion model that relights flat-lit pictures by an HDRI."""

    name: ClassVar[str] = "relighter"
    summary: ClassVar[str] = "Flat-lit pictures to HDRI-lit ones: LoRA of DiffusionRenderer's forward model."
    contract: ClassVar[int] = CONTRACT
    needs: ClassVar[tuple[str, ...]] = ("flat", "relit", "env_ldr", "env_log", "env_direction")
    packages: ClassVar[tuple[str, ...]] = ("torch", "diffusers", "peft", "safetensors", "accelerate")
    Config: ClassVar[type[BaseModel]] = RelighterConfig

    def check(self, data: DatasetView, config: BaseModel) -> list[Problem]:
        """Keys, sizes, number of samples, and whether the base knows the noise levels that are asked for."""
        from litdome.train_plugins.relighter.check import find_problems

        return find_problems(data, cast(RelighterConfig, config))

    def fit(self, data: DatasetView, config: BaseModel, run: Run) -> None:
        """Train; see `litdome.train_plugins.relighter.training.train`."""
        from litdome.train_plugins.relighter.training import train

        train(data, cast(RelighterConfig, config), run)

    def cost(self, data: DatasetView, config: BaseModel, world: int) -> list[str]:
        """What a step costs with ``world`` processes, in words; the base's weights are not read."""
        from litdome.train_plugins.relighter.cost import base_layout, clip_of, describe
        from litdome.train_plugins.relighter.samples import training_samples

        settings = cast(RelighterConfig, config)
        shape, spatial, temporal = base_layout(settings)
        samples = training_samples(data, settings, settings.seed)
        pictures = tuple(samples[len(samples) - 1]["relit"].shape)  # clips come after single pictures
        return describe(shape, clip_of(pictures, spatial, temporal), settings, world=world)

    def load(self, run: Run, device: str) -> Renderer:
        """The run's latest checkpoint, averaged weights first.

        Raises:
            PluginError: No checkpoint, too little room, or an adapter that changes nothing.
        """
        from litdome.train_plugins.relighter.model import load_weights, open_trainable, require_live_adapter
        from litdome.train_plugins.relighter.renderer import RelighterRenderer
        from litdome.train_plugins.relighter.room import need_room_to_render

        config = _config_of(run)
        checkpoint = run.latest_checkpoint()
        if checkpoint is None:
            raise PluginError(f"{run.path}: no checkpoint yet", hint=f"litdome train --resume {run.path}")
        need_room_to_render(config, device)
        base = open_trainable(config, run.seed, to_render=True)
        load_weights(checkpoint, base.network, config, average=True)
        network = base.network.to(device)
        if config.mode == "lora":
            require_live_adapter(network)
        return RelighterRenderer(network, base.autoencoder.to(device), config, device)

    def references(self, run: Run, device: str) -> dict[str, Renderer]:
        """What a run is compared with: its base before training (none for random), and the autoencoder's ceiling.

        Raises:
            PluginError: Too little room.
        """
        from litdome.train_plugins.relighter.model import open_frozen
        from litdome.train_plugins.relighter.renderer import AutoencoderCeiling, RelighterRenderer
        from litdome.train_plugins.relighter.room import need_room_to_render

        config = _config_of(run)
        need_room_to_render(config, device)
        base = open_frozen(config, run.seed)
        autoencoder = base.autoencoder.to(device)
        found: dict[str, Renderer] = {"autoencoder": AutoencoderCeiling(autoencoder, device)}
        if config.base != "random":
            found["base"] = RelighterRenderer(base.network.to(device), autoencoder, config, device)
        return found


def _config_of(run: Run) -> RelighterConfig:
    return build_config(
        RelighterConfig, RelighterTrainer.name, {RelighterTrainer.name: read_toml(run.path / "config.toml")}
    )
