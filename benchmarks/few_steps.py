"""Few-step students against their teacher's 15 steps, on clips of moving objects that neither was trained on.

    .venv/bin/python benchmarks/few_steps.py WORK [--teacher-minutes 12] [--student-minutes 4] [--clips 3] [--small]
    .venv/bin/python benchmarks/few_steps.py WORK --memory 400

Trains what is not in the folder WORK yet: a teacher of several steps, from nothing, first at high noise and then at all
levels (the tiny base is one of one step and can teach nobody); students of one step with and without the loss on
detail, of four steps, and of one step that sees the past only. Then every arm relights the same held-out clips from
three noises. Goals: PSNR at most 0.1 dB below the teacher's, distance of gradients and excess warped error at most 1.05
of its, high-band energy 0.9 to 1.1 of the truth, ten times as fast with everything included. Prints the machine and
its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from moving_clips import ClipView, MovingClip, make_clip

from litdome.datasets.metrics import detail_ratio, excess_warped_error, masked_psnr
from litdome.train_plugins.protocol import Renderer
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.base_folder import read_tensors
from litdome.train_plugins.relighter.causal import make_causal
from litdome.train_plugins.relighter.config import (
    DistillConfig,
    NetworkConfig,
    NoiseConfig,
    RelighterConfig,
    SamplingConfig,
)
from litdome.train_plugins.relighter.model import AVERAGE_FILE
from litdome.train_plugins.relighter.network import NetworkShape
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import random_base, save_base
from litdome.train_plugins.run import RunFolder

HELD_OUT_FIRST_SEED = 20_000
CLIPS, FRAMES, CHUNK, STEPS = 40, 16, 4, 15
NETWORK = NetworkConfig(heads=4, head_dim=48, blocks=3)
HIGH_NOISE = NoiseConfig(sigma_max=20, ln_sigma_mean=1.0, ln_sigma_std=1.5)
NOISE = NoiseConfig(sigma_max=20, ln_sigma_mean=-0.3, ln_sigma_std=1.7)
STUDENTS = {  # steps, weight of the loss on detail, latent frames that a frame sees
    "one step, no loss on detail": (1, 0.0, 0),
    "one step": (1, 0.1, 0),
    "four steps": (4, 0.1, 0),
    "one step, causal": (1, 0.1, CHUNK),
}


@dataclass(frozen=True)
class Scores:
    """Of one clip: dB, distance of gradients, high-band energy over the truth's, excess warped error, CPU s."""

    psnr: float
    gradient: float
    detail: float
    warped: float
    seconds: float


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of clips and runs")
    parser.add_argument("--teacher-minutes", type=float, default=12.0)
    parser.add_argument("--student-minutes", type=float, default=4.0)
    parser.add_argument("--taught", type=int, default=16, help="clips that students see; the teacher makes each once")
    parser.add_argument("--clips", type=int, default=3, help="held-out clips")
    parser.add_argument("--small", action="store_true", help="a minute in all; its figures mean nothing")
    parser.add_argument("--train-only", action="store_true", help="compare nothing")
    parser.add_argument("--memory", type=int, metavar="PICTURES", help="stream so many causally, print peak memory")
    parser.add_argument("--students", nargs="+", default=list(STUDENTS), choices=list(STUDENTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    if arguments.memory:
        measure_memory(arguments.memory)
        return
    small = arguments.small
    minutes = (0.1, 0.1) if small else (arguments.teacher_minutes, arguments.student_minutes)
    taught = 2 if small else arguments.taught
    arguments.work.mkdir(exist_ok=True)
    teacher = trained_teacher(arguments.work, minutes[0], 2 if small else CLIPS)
    runs = {name: trained(*student(teacher, name, minutes[1]), taught) for name in arguments.students}
    if arguments.train_only:
        return
    clips = held_out(arguments.work, 1 if small else arguments.clips)
    compare(teacher, runs, clips, seeds=1 if small else 3)


def trained_teacher(work: Path, minutes: float, clips: int) -> RunFolder:
    """Two thirds of the time at high noise, then at all levels."""
    first = trained(work / "first", teacher_config("random", HIGH_NOISE, minutes * 2 / 3), clips)
    if not (work / "base").exists():
        shape = NetworkShape(
            **{"channels": HaarAutoencoder.channels, "heads": NETWORK.heads, "head_dim": NETWORK.head_dim},
            **{"blocks": NETWORK.blocks, "adaln_dim": NETWORK.adaln_dim, "context_dim": 0},
        )
        checkpoint = first.latest_checkpoint()
        assert checkpoint is not None
        state = read_tensors(checkpoint / AVERAGE_FILE)
        save_base(work / "base", shape, state, HIGH_NOISE, note="benchmarks/few_steps.py")
    return trained(work / "teacher", teacher_config(str(work / "base"), NOISE, minutes / 3), clips)


def teacher_config(base: str, noise: NoiseConfig, minutes: float) -> RelighterConfig:
    """Single pictures and clips of four."""
    return RelighterConfig(
        **{"base": base, "mode": "full", "network": NETWORK, "noise": noise, "background_weight": 0.2},
        **{"steps": 100_000, "minutes": minutes, "batch": 4, "optimizer": "muon", "learning_rate": 1e-3},
        **{"ema_decay": 0.99, "clip_frames": CHUNK, "clip_share": 0.4, "picture_weighting": 2.0},
        sampling=SamplingConfig(steps=STEPS, chunk_frames=CHUNK, overlap_frames=1),
    )


def student(teacher: RunFolder, name: str, minutes: float) -> tuple[Path, RelighterConfig]:
    """Folder and settings; students that read the same share what the teacher makes."""
    steps, detail, causal = STUDENTS[name]
    config = teacher.config(RelighterConfig)
    changes = {
        **{"steps": 100_000, "minutes": minutes, "learning_rate": 5e-4, "latent_cache": "run", "causal_frames": causal},
        **({"batch": 2, "clip_share": 1.0} if causal else {"batch": 8, "clip_frames": 1, "clip_share": 1.0}),
        "sampling": SamplingConfig(steps=steps, chunk_frames=CHUNK, overlap_frames=1),
        "distill": DistillConfig(teacher=str(teacher.path), steps=STEPS, noises=1, detail=detail),
    }
    made = config.model_copy(update=changes)
    assert isinstance(made, RelighterConfig)
    return teacher.path.parent / name.replace(",", "").replace(" ", "-"), made


def trained(path: Path, config: RelighterConfig, clips: int) -> RunFolder:
    """The run at ``path``, trained if it is not there."""
    if (path / "run.json").exists():
        return RunFolder.open(path)
    work = path.parent
    view = ClipView(work / "clips", clips, FRAMES)
    about = {"plugin": "relighter", "dataset": "moving clips", "dataset_fingerprint": f"{view.fingerprint} {clips}"}
    with RunFolder.create(path, config=config, progress=_report, **about) as run:
        if config.latent_cache == "run":
            (work / "latents").mkdir(exist_ok=True)
            (path / "latents").symlink_to(work / "latents")
        RelighterTrainer().fit(view, config, run)
    print(f"{path.name}: {run.metrics()[-1]['step']} steps", flush=True)
    return run


def _report(what: str, done: int, total: int | None) -> None:
    if done % 50 == 0:
        print(f"{what}: step {done}", flush=True)


def held_out(work: Path, count: int) -> list[MovingClip]:
    """Clips that nobody was trained on; the light of every second one turns."""
    found = []
    for number in range(count):
        file = work / f"held-out-{number}.npz"
        if not file.exists():
            clip = make_clip(HELD_OUT_FIRST_SEED + number, 12, turn_deg=4.0 * (number % 2))
            np.savez(file, **{field.name: getattr(clip, field.name) for field in fields(clip)})
        found.append(MovingClip(**np.load(file)))
    return found


def compare(teacher: RunFolder, runs: dict[str, RunFolder], clips: Sequence[MovingClip], seeds: int) -> None:
    """Print a row for every arm: mean over clips and noises, and the spread over noises."""
    trainer = RelighterTrainer()
    many = trainer.load(teacher, "cpu")
    arms: dict[str, Renderer | None] = {"flat copied": None, f"teacher, {STEPS} steps": many}
    for steps in (4, 1):
        arms[f"teacher, {steps} {'step' if steps == 1 else 'steps'}"] = in_steps(many, steps)
    arms |= {f"student, {name}": trainer.load(run, "cpu") for name, run in runs.items()}
    print("| arm | PSNR dB | gradient distance | high band | excess warped error | CPU s a picture | times as fast |")
    print("|---|---|---|---|---|---|---|")
    reference: Scores | None = None
    for name, renderer in arms.items():
        found = np.array([[_values(score(renderer, clip, seed)) for clip in clips] for seed in range(seeds)])
        mean, spread = Scores(*found.mean(axis=(0, 1))), Scores(*np.atleast_1d(found.mean(axis=1).std(axis=0)))
        reference = mean if name == f"teacher, {STEPS} steps" else reference
        shown = [f"{mean.psnr:.2f} ± {spread.psnr:.2f}"]
        for key in ("gradient", "detail", "warped"):
            value = getattr(mean, key)
            ratio = "" if reference is None or key == "detail" else f" ({value / getattr(reference, key):.2f})"
            shown.append(f"{value:.4f}{ratio}")
        faster = "" if reference is None or renderer is None else f"{reference.seconds / mean.seconds:.1f}"
        print("| " + " | ".join([name, *shown, f"{mean.seconds:.3f}", faster]) + " |", flush=True)
        draw(clips, renderer, teacher.path.parent / f"{name.replace(',', '').replace(' ', '-')}.png")


def in_steps(renderer: RelighterRenderer, steps: int) -> RelighterRenderer:
    """The same network, sampled in other steps."""
    sampling = renderer._config.sampling.model_copy(update={"steps": steps})
    config = renderer._config.model_copy(update={"sampling": sampling})
    return RelighterRenderer(renderer._network, renderer._autoencoder, config, "cpu")


def relit(renderer: Renderer | None, clip: MovingClip, seed: int) -> npt.NDArray[np.float32]:
    """Pictures, shape (t, y, x, 3); the flat ones where there is no renderer."""
    made = clip.flat if renderer is None else renderer.render(clip.sample(), seed=seed).rgb.numpy()
    return np.asarray(made.transpose(0, 2, 3, 1), np.float32)


def score(renderer: Renderer | None, clip: MovingClip, seed: int) -> Scores:
    """One clip from one noise; seconds include the autoencoder and all maps."""
    started = time.process_time()
    video = relit(renderer, clip, seed)
    seconds = (time.process_time() - started) / len(video)
    truth, mask = clip.relit.transpose(0, 2, 3, 1), clip.mask
    rows = (each.reshape(-1, *each.shape[2:]) for each in (video, truth, mask))
    detail = [detail_ratio(*each) for each in zip(video, truth, mask, strict=True)]
    warped = [
        excess_warped_error(video[t], video[t - 1], truth[t], truth[t - 1], clip.flow[t], clip.seen[t] * mask[t])
        for t in range(1, len(video))
    ]
    return Scores(
        masked_psnr(*rows), gradient_distance(video, truth, mask), np.nanmean(detail), np.nanmean(warped), seconds
    )


def gradient_distance(
    video: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], mask: npt.NDArray[np.float32]
) -> float:
    """Mean absolute difference of horizontal and vertical differences, over the mask."""
    apart = video - truth
    across = np.abs(np.diff(apart, axis=2)).mean(axis=-1)[:, :-1] * mask[:, :-1, :-1]
    down = np.abs(np.diff(apart, axis=1)).mean(axis=-1)[:, :, :-1] * mask[:, :-1, :-1]
    return float((across + down).sum() / (2 * mask[:, :-1, :-1].sum()))


def draw(clips: Sequence[MovingClip], renderer: Renderer | None, path: Path) -> None:
    """Flat, made and true pictures of the middle of each clip."""
    rows = []
    for clip in clips:
        at, made = len(clip.flat) // 2, relit(renderer, clip, 0)
        rows.append(np.concatenate([clip.flat[at].transpose(1, 2, 0), made[at], clip.relit[at].transpose(1, 2, 0)], 1))
    codes = (np.concatenate(rows).clip(0, 1) * 255).round().astype(np.uint8)
    shown = cv2.resize(codes, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))


def _values(scores: Scores) -> list[float]:
    return [scores.psnr, scores.gradient, scores.detail, scores.warped, scores.seconds]


def measure_memory(pictures: int) -> None:
    """Peak memory of the process after a tenth of a stream and at its end, with a random causal network."""
    base = random_base(NETWORK, 0)
    make_causal(base.network, CHUNK)
    config = RelighterConfig(base="random", mode="full", causal_frames=CHUNK, noise=NOISE)
    renderer = RelighterRenderer(base.network, base.autoencoder, config, "cpu")  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    one = {key: torch.rand(3, 64, 96, generator=generator) for key in renderer.reads}
    for number, _ in enumerate(renderer.stream((one for _ in range(pictures)), seed=0), start=1):
        if number in (pictures // 10, pictures):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"causal, one step: peak {peak:.0f} MB after {number} pictures", flush=True)


if __name__ == "__main__":
    main()
