"""What training is watched by: fixed samples of held-out splits, with fixed noise, before, during and after it.

Test splits choose nothing: the last checkpoint counts, and they only tell how it goes. Who compares settings by such
numbers should hold back training data (``validation.hold_back``): then the tests stay unseen, and the best checkpoint
by what was held back is kept beside the last ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litdome.datasets.metrics import masked_psnr
from litdome.datasets.views import DatasetView as BakedView
from litdome.errors import InputError
from litdome.train_plugins.drivers import Drivers
from litdome.train_plugins.protocol import DatasetView, Run
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.batches import Samples, channel_weight, encode_sample, flat_key
from litdome.train_plugins.relighter.config import NoiseConfig, RelighterConfig
from litdome.train_plugins.relighter.masking import masked
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.objective import edm_losses
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.sampler import seeded_noise
from litdome.train_plugins.relighter.samples import read_samples
from litdome.train_plugins.relighter.selection import hold_back, with_light

PREVIEW_ROWS = 4
QUANTILES = (-1.2816, 0.0, 1.2816)  # 10, 50 and 90 % of the noise levels that training draws


def validation_views(data: DatasetView, config: RelighterConfig) -> dict[str, DatasetView]:
    """What a training on ``data`` is validated on, by name: held-back training data, else the dataset's ``validation``
    split, else every test split; none where the dataset is not on disk, and no split whose drivers are not there."""
    if config.validation.samples == 0 or not isinstance(data, BakedView):
        return {}
    if config.validation.hold_back > 0:
        found = {"held_back": hold_back(data, config.validation.hold_back)[1]}
    else:
        whole = BakedView(data.path, None)
        names = ["validation"] if "validation" in whole.splits else [n for n in whole.splits if n.startswith("test_")]
        found = {name: whole.split(name) for name in names}
    lit = {name: with_light(view, config) for name, view in found.items()}
    return {name: view for name, view in lit.items() if len(view) and lacking_drivers(view, config) is None}


def lacking_drivers(view: BakedView, config: RelighterConfig) -> str | None:
    """Why a view cannot be rendered with the drivers that training reads, or None."""
    if config.drivers is None:
        return None
    try:
        Drivers.open(Path(config.drivers)).need_for(view)
    except InputError as error:
        return error.message
    return None


def fixed_sigmas(noise: NoiseConfig) -> Tensor:
    """Three noise levels that every validation measures the loss at, shape (3,)."""
    return (torch.tensor(QUANTILES) * noise.ln_sigma_std + noise.ln_sigma_mean).exp()


@dataclass(frozen=True)
class Validation:
    """Scores and previews of a network at any point of its training.

    Attributes:
        data: Views by name, from `validation_views`.
        config, run: Of the training.
        autoencoder: On the run's device.
    """

    data: Mapping[str, DatasetView]
    config: RelighterConfig
    autoencoder: Autoencoder
    run: Run

    @torch.no_grad()
    def scores(self, network: RelighterNetwork) -> dict[str, float]:
        """Means over the fixed samples of each view: ``NAME/psnr`` over the mask, dB, and ``NAME/loss_sigma_S`` at
        each of `fixed_sigmas`. The same network gives the same numbers; its mode stays as it was."""
        found: dict[str, float] = {}
        was_training = network.training
        network.eval()
        for name, view in self.data.items():
            samples = read_samples(view, self.config, extra=("mask", "weight"))
            rows = [self._score(network, samples[index], index) for index in self._indices(view)]
            for key in rows[0] if rows else ():
                values = np.array([row[key] for row in rows])
                if np.isfinite(values).any():  # a sample without a mask has no PSNR
                    found[f"{name}/{key}"] = float(values[np.isfinite(values)].mean())
        network.train(was_training)
        return found

    @torch.no_grad()
    def preview(self, network: RelighterNetwork, step: int, otherwise: Samples) -> None:
        """A picture ``step-000100``: of the first sample of each view what is read, what is made, and the truth, a row
        each; of ``otherwise`` where there is no view."""
        shown = [read_samples(view, self.config)[0] for view in self.data.values()]
        rows = [self._row(network, sample) for sample in (shown[:PREVIEW_ROWS] or [otherwise[0]])]
        codes = (torch.cat(rows, dim=1).permute(1, 2, 0).clamp(0, 1) * 255).round()
        self.run.preview(f"step-{step:06d}", codes.numpy().astype(np.uint8))

    def _indices(self, view: DatasetView) -> list[int]:
        count = min(self.config.validation.samples, len(view))
        return [int(place) for place in np.linspace(0, len(view) - 1, count).round()] if count else []

    def _render(self, network: RelighterNetwork, sample: Mapping[str, Tensor]) -> Tensor:
        renderer = RelighterRenderer(network, self.autoencoder, self.config, self.run.device)
        return renderer.render({key: sample[key] for key in renderer.reads}, seed=self.run.seed).rgb[0].cpu()

    def _row(self, network: RelighterNetwork, sample: Mapping[str, Tensor]) -> Tensor:
        read = flat_key(self.config) if "flat" in self.config.buffers else self.config.buffers[0]
        return torch.cat([sample[read][0].expand(3, -1, -1), self._render(network, sample), sample["relit"][0]], dim=2)

    def _score(self, network: RelighterNetwork, sample: Mapping[str, Tensor], index: int) -> dict[str, float]:
        made, truth = self._render(network, sample), sample["relit"][0]
        mask = (sample["mask"] * (sample["weight"] > 0))[0, 0].numpy()  # weight 0: padding
        psnr = masked_psnr(made.permute(1, 2, 0).numpy(), truth.permute(1, 2, 0).numpy(), mask)
        prepared = masked(sample, self.config, seed=(self.run.seed, index))
        batch = encode_sample(prepared, self.config, self.autoencoder, self.run.device)
        noise = seeded_noise(tuple(batch.clean.shape), self.run.seed + 1 + index).to(self.run.device)
        scale = channel_weight(self.autoencoder, self.config).to(self.run.device)
        losses, is_half = {}, self.config.precision == "bfloat16"
        for sigma in fixed_sigmas(self.config.noise).to(self.run.device):
            with torch.autocast(self.run.device.split(":")[0], torch.bfloat16, enabled=is_half):
                loss = edm_losses(network, batch, sigma[None], noise, scale)
            losses[f"loss_sigma_{float(sigma):.3g}"] = float(loss)
        return {"psnr": psnr, **losses}
