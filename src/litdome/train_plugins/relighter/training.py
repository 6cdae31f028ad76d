"""The training loop: every step is known from the seed and its number, so a killed run resumes to the same losses."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litdome.errors import PluginError, StoreError
from litdome.train_plugins.protocol import DatasetView, Run
from litdome.train_plugins.relighter.batches import channel_weight
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.latent_cache import LatentCache, cache_folder
from litdome.train_plugins.relighter.model import (
    AVERAGE_FILE,
    WeightAverage,
    load_weights,
    open_trainable,
    save_weights,
    trainable,
)
from litdome.train_plugins.relighter.objective import (
    draw_sigmas,
    drop_conditions,
    edm_losses,
    give_first_frames,
    losses_by_sigma,
)
from litdome.train_plugins.relighter.optimizers import (
    build_optimizers,
    optimizer_tensors,
    restore_optimizers,
    set_rate,
)
from litdome.train_plugins.relighter.samples import training_samples
from litdome.train_plugins.relighter.validation import Validation, validation_views

OPTIMIZER_FILE, STATE_FILE = "optimizer.safetensors", "state.json"


def train(data: DatasetView, config: RelighterConfig, run: Run) -> None:
    """Train from the run's latest checkpoint, or from the start.

    Raises:
        PluginError: The loss is not finite.
        StoreError: The checkpoint is damaged.
    """
    training = Training(data, config, run)
    checkpoint = run.latest_checkpoint()
    if checkpoint is not None:
        training.resume(checkpoint)
    training.run_to_end()


class Training:
    """State of one training: network, optimizer, average, step."""

    def __init__(self, data: DatasetView, config: RelighterConfig, run: Run) -> None:
        self.config, self.run = config, run
        self.data = training_samples(data, config, run.seed)
        self.order = self.data.order()
        self.step, self._seconds = 0, 0.0
        self.base = open_trainable(config, run.seed)
        self.network = self.base.network.to(run.device)
        self.autoencoder = self.base.autoencoder.to(run.device)
        self.weights = trainable(self.network)
        self.optimizers = build_optimizers(self.weights, config)
        full = config.mode == "full"
        self.average = WeightAverage(dict(self.network.state_dict()), config.ema_decay) if full else None
        self._channel_weight = channel_weight(self.autoencoder, config).to(run.device)
        self.validation = Validation(validation_views(data, config), config, self.autoencoder, run)
        self._cache = LatentCache(
            self.data,
            config,
            self.autoencoder,
            run.device,
            folder=cache_folder(data, config, run),
            identity=self.data.identity,
        )

    def run_to_end(self) -> None:
        """Step until the configuration's steps or minutes are over, or the user stops."""
        self._started = time.monotonic() - self._seconds
        if self.step == 0 and self.validation.data:
            self.run.log(0, **self.validation.scores(self.network))
        while self._progress() < 1 and not self.run.should_stop():
            scalars = self._train_step()
            self.step += 1
            last = self._progress() >= 1
            if self.step % self.config.validate_every == 0 or last:
                with self._averaged():
                    scalars |= self.validation.scores(self.network)
            self.run.log(self.step, **scalars)
            if self.step % self.config.checkpoint_every == 0 or last:
                self.save()
            if self.step % self.config.preview_every == 0 or last:
                with self._averaged():
                    self.validation.preview(self.network, self.step, self.data)
        if self.run.latest_checkpoint() is None or self.run.should_stop():
            self.save()

    def save(self) -> None:
        """Write a checkpoint: weights, average, optimizer, step and seed (which hold the order and all randomness)."""
        with self.run.checkpoint(self.step) as folder:
            save_weights(folder, self.network, self.config)
            if self.average is not None:
                save_file({k: v.cpu().contiguous() for k, v in self.average.average.items()}, folder / AVERAGE_FILE)
            save_file(optimizer_tensors(self.optimizers, self.weights), folder / OPTIMIZER_FILE)
            state = {"step": self.step, "seed": self.run.seed, "seconds": time.monotonic() - self._started}
            (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            StoreError: It is damaged.
        """
        load_weights(checkpoint, self.network, self.config, average=False)
        try:
            state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
            moments = load_file(checkpoint / OPTIMIZER_FILE)
            self.step, self._seconds = int(state["step"]), float(state["seconds"])
            if self.average is not None:
                self.average.average = {
                    k: v.to(self.run.device) for k, v in load_file(checkpoint / AVERAGE_FILE).items()
                }
            restore_optimizers(self.optimizers, self.weights, moments)
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"{checkpoint}: damaged checkpoint: {error}", hint="delete it to resume before") from error

    def _train_step(self) -> dict[str, float]:
        config, generator = self.config, _step_generator(self.run.seed, self.step)
        rate = config.learning_rate * self._rate_factor()
        set_rate(self.optimizers, rate)
        self.network.train()
        indices = [self.order.pick(draw) for draw in range(self.step * config.batch, (self.step + 1) * config.batch)]
        losses, sigmas = self._backward(indices, generator)
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.values(), config.clip_norm))
        loss = float(losses.mean())
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise PluginError(
                f"relighter: loss {loss}, gradient {norm} at step {self.step + 1} (samples {indices})",
                hint=f"--set learning_rate={config.learning_rate / 3:.1g}, then --resume {self.run.path}",
            )
        for optimizer in self.optimizers:
            optimizer.step()  # type: ignore[no-untyped-call]
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(dict(self.network.state_dict()), self.step + 1)
        return {"loss": loss, "learning_rate": rate, "gradient": norm, **losses_by_sigma(losses, sigmas)}

    def _backward(self, indices: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss; losses and noise levels of every sample, on the CPU."""
        losses, levels = [], []
        for _, batch in self._cache.batches(indices):
            count = len(batch.clean)
            sigmas = draw_sigmas(count, self.config.noise, generator)
            noise = torch.randn(batch.clean.shape, generator=generator).to(self.run.device)
            conditions = drop_conditions(batch.conditions, self.config.dropout, generator)
            batch = type(batch)(batch.clean, conditions, batch.weight)
            batch, levels_by_frame = give_first_frames(batch, sigmas, self.config.prefix, generator)
            with torch.autocast(
                self.run.device.split(":")[0], torch.bfloat16, enabled=self.config.precision == "bfloat16"
            ):
                each = edm_losses(self.network, batch, levels_by_frame.to(self.run.device), noise, self._channel_weight)
            (each.sum() / len(indices)).backward()  # type: ignore[no-untyped-call]
            losses.append(each.detach().cpu())
            levels.append(sigmas)
        return torch.cat(losses), torch.cat(levels)

    def _progress(self) -> float:
        """Share of the training that is over, by steps or by time, whichever is further."""
        done = self.step / self.config.steps
        if self.config.minutes is None:
            return done
        return max(done, (time.monotonic() - self._started) / (60 * self.config.minutes))

    def _rate_factor(self) -> float:
        warm = min(1.0, (self.step + 1) / (self.config.warmup_steps + 1))
        if self.config.decay == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self._progress())))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network with its averaged weights, where there are any."""
        if self.average is None:
            yield
            return
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.average)
        try:
            yield
        finally:
            self.network.load_state_dict(own)


def _step_generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_000_007 + step)
