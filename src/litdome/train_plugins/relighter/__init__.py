"""The relighter: a diffusion model that turns flat-lit pictures into pictures under an HDRI."""

from litdome.train_plugins.relighter.trainer import RelighterTrainer

__all__ = ["RelighterTrainer"]
