"""The training loop: every step is known from the seed and its number, so a killed run resumes to the same losses.

Every draw has its own random numbers, whatever batch, part or process it is worked on in: one process or many, whole
or in parts, the losses are the same up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from litdome.errors import PluginError
from litdome.train_plugins.protocol import DatasetView, Run
from litdome.train_plugins.relighter.batches import channel_weight
from litdome.train_plugins.relighter.checkpoints import (
    Standing,
    Trained,
    choosing_score,
    load_checkpoint,
    save_checkpoint,
)
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.cost import memory_advice, memory_in_use, need_device
from litdome.train_plugins.relighter.distillation import Distillation, Targets
from litdome.train_plugins.relighter.latent_cache import LatentCache, cache_folder
from litdome.train_plugins.relighter.model import WeightAverage, load_weights, open_trainable, trainable
from litdome.train_plugins.relighter.objective import (
    Batch,
    draw_sigmas,
    drop_conditions,
    edm_losses,
    give_first_frames,
    losses_by_sigma,
)
from litdome.train_plugins.relighter.optimizers import build_optimizers, set_rate
from litdome.train_plugins.relighter.parallel import gradients_sent, join_processes, need_fit, spread, whole
from litdome.train_plugins.relighter.physics_loss import PhysicsLoss
from litdome.train_plugins.relighter.sample_names import sample_name
from litdome.train_plugins.relighter.samples import training_samples
from litdome.train_plugins.relighter.teacher import find_teacher, open_teacher, start_as
from litdome.train_plugins.relighter.validation import Validation, validation_views

NAMED_SAMPLES = 4  # in an error
LAWS = ("superposition_error", "gain_error")


def train(data: DatasetView, config: RelighterConfig, run: Run) -> None:
    """Train from the run's latest checkpoint, or from the start.

    Raises:
        PluginError: The loss is not finite, memory does not suffice, or there is no GPU for a base that needs one.
        ConfigError: Settings and number of processes do not go together.
        StoreError: The checkpoint is damaged, or the disk is full.
    """
    try:
        Training(data, config, run).run_to_end()
    except RuntimeError as error:
        if isinstance(error, PluginError) or not _is_out_of_memory(error):
            raise
        raise PluginError(f"relighter: out of memory: {error}", hint=memory_advice(config)) from error


class Training:
    """State of one training: what changes (`Trained`), where it stands (`Standing`), what it reads."""

    def __init__(self, data: DatasetView, config: RelighterConfig, run: Run) -> None:
        self.config, self.run = config, run
        self.processes = join_processes(run.device)
        need_fit(config, self.processes)
        self.device = self.processes.device
        self.data = training_samples(data, config, run.seed)
        need_device(config, tuple(self.data[0]["relit"].shape), self.device, self.processes.world)
        self.order = self.data.order()
        base = open_trainable(config, run.seed)
        network, self.autoencoder = base.network.to(self.device), base.autoencoder.to(self.device)
        checkpoint = run.latest_checkpoint()
        teacher = None if config.distill.teacher is None else find_teacher(data, config)
        if teacher is not None and checkpoint is None:
            start_as(network, config, teacher)
        if checkpoint is not None:
            load_weights(checkpoint, network, config, average=False)
        if config.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        if config.compile:
            for block in network.transformer_blocks:
                block.compile()
        self.model = spread(network, config, self.processes)
        weights = trainable(network)
        average = WeightAverage(dict(weights), config.ema_decay)
        self.trained = Trained(network, weights, average, build_optimizers(weights, config))
        self.standing = Standing(0, run.seed, 0.0)
        if checkpoint is not None:
            self.standing = load_checkpoint(checkpoint, self.trained, config)
        self._channel_weight = channel_weight(self.autoencoder, config).to(self.device)
        self._physics = PhysicsLoss(config, self.autoencoder)
        self.validation = Validation(validation_views(data, config), config, self.autoencoder, run)
        folder, identity = cache_folder(data, config, run), self.data.identity
        self._cache = LatentCache(self.data, config, self.autoencoder, self.device, folder=folder, identity=identity)
        self._distillation: Distillation | None = None
        if teacher is not None:
            asked = open_teacher(teacher, network, config, self.device)
            targets = Targets(asked, config, run.seed, folder=folder, identity=f"{identity} {teacher.identity}")
            self._distillation = Distillation(targets, config, self.autoencoder, self._channel_weight, len(self.data))
        self._began = time.monotonic() - self.standing.seconds

    def run_to_end(self) -> None:
        """Step until the configuration's steps or minutes are over, or the user stops."""
        config, run, network = self.config, self.run, self.trained.network
        if self.standing.step == 0 and self.validation.data:
            run.log(0, **self.validation.scores(network))
            self.validation.preview(network, 0, self.data)
        self._agree_on_time()
        saved, stopped = -1, self._asked_to_stop()
        while self._progress() < 1 and not stopped:
            scalars = self._train_step()
            self.standing = replace(self.standing, step=self.standing.step + 1)
            step = self.standing.step
            self._agree_on_time()
            last = self._progress() >= 1
            if step % config.validate_every == 0 or last:
                with self.trained.averaged():
                    scalars |= self.validation.scores(network)
            run.log(step, **scalars)
            stopped = self._asked_to_stop()
            if step % config.checkpoint_every == 0 or last or stopped:
                self._save(choosing_score(scalars))
                saved = step
            if step % config.preview_every == 0 or last:
                with self.trained.averaged():
                    self.validation.preview(network, step, self.data)
        if saved < 0 and run.latest_checkpoint() is None:
            self._save(None)

    def _save(self, score: float | None) -> None:
        best = self.standing.best_score
        if score is not None and (best is None or score > best):
            self.standing = replace(self.standing, best_step=self.standing.step, best_score=score)
        save_checkpoint(self.run, self.trained, self.standing, self.config, self.processes)

    def _agree_on_time(self) -> None:
        """Take the first process's time spent for everybody's."""
        here = torch.tensor([time.monotonic() - self._began], dtype=torch.float64)
        self.standing = replace(self.standing, seconds=float(self.processes.gather(here)[0]))

    def _asked_to_stop(self) -> bool:
        """Whether anybody asked any of the processes to stop."""
        return bool(self.processes.gather(torch.tensor([float(self.run.should_stop())])).any())

    def _train_step(self) -> dict[str, float]:
        config, began, step = self.config, time.perf_counter(), self.standing.step
        rate = config.learning_rate * self._rate_factor()
        set_rate(self.trained.optimizers, rate)
        self.model.train()
        draws = range(step * config.batch, (step + 1) * config.batch)
        rank, world = self.processes.rank, self.processes.world
        here = self._backward(draws[rank::world])
        found = self.processes.gather(here).view(world, -1, 4).transpose(0, 1).reshape(-1, 4)
        losses, sigmas, laws = found[:, 0], found[:, 1], found[:, 2:].mean(dim=0).tolist()
        norm = float(whole(torch.nn.utils.clip_grad_norm_(list(self.trained.weights.values()), config.clip_norm)))
        self._need_finite(losses, norm, draws)
        for optimizer in self.trained.optimizers:
            optimizer.step()  # type: ignore[no-untyped-call]
            optimizer.zero_grad(set_to_none=True)
        self.trained.average.update(dict(self.trained.weights), step + 1)
        return {
            "loss": float(losses.mean()),
            "learning_rate": rate,
            "gradient": norm,
            "samples_per_second": config.batch / (time.perf_counter() - began),
            "memory_gb": memory_in_use(self.device) / 1e9,
            **losses_by_sigma(losses, sigmas),
            **(dict(zip(LAWS, laws, strict=True)) if self._physics.is_due(step) else {}),
        }

    def _backward(self, draws: Sequence[int]) -> Tensor:
        """Gradients of the mean loss; of every draw loss, noise level and what `LAWS` names (0 where not asked), shape
        (draw, 4), float32, on the CPU."""
        parts = [part.tolist() for part in np.array_split(np.asarray(draws), min(self.config.accumulate, len(draws)))]
        found = torch.zeros(len(draws), 4)
        done = 0
        for number, part in enumerate(parts):
            batches = self._cache.batches([self.order.pick(draw) for draw in part])
            for place, (places, batch) in enumerate(batches):
                rows = [done + at for at in places]
                if self._physics.is_due(self.standing.step):
                    found[rows, 2:] = self._backward_of_laws(batch, [part[at] for at in places], len(draws))
                last = number == len(parts) - 1 and place == len(batches) - 1
                with gradients_sent(self.model, last):
                    losses, sigmas = self._losses(batch, [part[at] for at in places])
                    # processes average their gradients, of the same number of draws each
                    (losses.sum() / len(draws)).backward()  # type: ignore[no-untyped-call]
                found[rows, :2] = torch.stack([losses.detach().float().cpu(), sigmas], dim=1)
            done += len(part)
        return found

    def _backward_of_laws(self, batch: Batch, draws: Sequence[int], count: int) -> Tensor:
        """Gradients of the laws of light; the errors of every sample, shape (b, 2), on the CPU."""
        with gradients_sent(self.model, False):
            errors = self._physics.errors(self.model, batch, [_generator(self.run.seed, draw, 1) for draw in draws])
            (self._physics.weighed(errors).sum() / count).backward()  # type: ignore[no-untyped-call]
        return errors.detach().float().cpu()

    def _losses(self, batch: Batch, draws: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Losses and noise levels of a batch, each sample with the random numbers of its draw."""
        if self._distillation is not None:
            half = self.config.precision == "bfloat16"
            with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half):
                return self._distillation.losses(self.model, batch, [self.order.pick(draw) for draw in draws], draws)
        config, ones, levels, noises, sigmas = self.config, [], [], [], []
        for at, draw in enumerate(draws):
            generator = _generator(self.run.seed, draw)
            sigma = draw_sigmas(1, config.noise, generator)
            noises.append(torch.randn(batch.clean[:1].shape, generator=generator))
            conditions = drop_conditions(batch.conditions[at : at + 1], config.dropout, generator)
            weight = None if batch.weight is None else batch.weight[at : at + 1]
            one, level = give_first_frames(
                Batch(batch.clean[at : at + 1], conditions, weight), sigma, config.prefix, generator
            )
            ones.append(one)
            levels.append(level)
            sigmas.append(sigma)
        weights = [one.weight for one in ones if one.weight is not None]
        drawn = Batch(batch.clean, torch.cat([one.conditions for one in ones]), torch.cat(weights) if weights else None)
        half = config.precision == "bfloat16"
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half):
            losses = edm_losses(
                self.model,
                drawn,
                torch.cat(levels).to(self.device),
                torch.cat(noises).to(self.device),
                self._channel_weight,
            )
        return losses, torch.cat(sigmas)

    def _need_finite(self, losses: Tensor, norm: float, draws: Sequence[int]) -> None:
        bad = [draw for draw, loss in zip(draws, losses.tolist(), strict=True) if not math.isfinite(loss)]
        if not bad and math.isfinite(norm):
            return
        names = [sample_name(self.data, self.order.pick(draw)) for draw in (bad or draws)]
        more = f" and {len(names) - NAMED_SAMPLES} more" if len(names) > NAMED_SAMPLES else ""
        raise PluginError(
            f"relighter: loss {float(losses.mean())}, gradient {norm} at step {self.standing.step + 1}: "
            f"{'; '.join(names[:NAMED_SAMPLES])}{more}",
            hint=f"--set learning_rate={self.config.learning_rate / 3:.1g} in a new run; "
            f"checkpoints before this step are in {self.run.path}",
        )

    def _progress(self) -> float:
        """Share of the training that is over, by steps or by time, whichever is further."""
        done = self.standing.step / self.config.steps
        if self.config.minutes is None:
            return done
        return max(done, self.standing.seconds / (60 * self.config.minutes))

    def _rate_factor(self) -> float:
        warm = min(1.0, (self.standing.step + 1) / (self.config.warmup_steps + 1))
        if self.config.decay == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self._progress())))


def _generator(*entropy: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
