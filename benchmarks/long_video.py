"""Seams of long videos: chunks cut, faded, agreeing while they are denoised, or each going on from the one before.

    .venv/bin/python benchmarks/long_video.py BASE_OR_RUN [--clips 3] [--chunks 10] [--steps 1 8]
        [--noises still] [--out DIR]
    .venv/bin/python benchmarks/long_video.py BASE_OR_RUN --memory 300 [--steps 2]
    .venv/bin/python benchmarks/long_video.py --train RUN [--base tiny] [--minutes 14]

Clips of moving objects that were never trained on, with exact flow; the light of every second one turns. Prints the
measures of docs/metrics.md (`score_seams`) for every kind of seam and of noise: *fresh* for each chunk, *chunk*: one
video of noise for all chunks, *still*: one picture of noise for all frames. Objects and light are back where they were
after nine chunks, so that colours of the tenth can be compared with the first's. With --out, x-t slices as pictures.
--train makes a run for it: the base trained further on clips, part of which begin with given frames, at noise levels
for several steps. Prints the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from moving_clips import PERIOD, ClipView, MovingClip, make_clip
from torch import Tensor

from litdome.config import build_config, read_toml
from litdome.datasets.metrics import SeamScores, color_drift, masked_psnr, score_seams
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import NoiseConfig, PrefixConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.sampler import seeded_noise
from litdome.train_plugins.relighter.weights import open_base
from litdome.train_plugins.run import RunFolder

HELD_OUT_FIRST_SEED = 10_000
ARMS = (
    *(("cut", "fresh"), ("cut", "chunk"), ("cut", "still")),
    *(("fade", "fresh"), ("fade", "chunk"), ("fade", "still")),
    *(("latent", "chunk"), ("latent", "still")),
    *(("prefix", "fresh"), ("prefix", "chunk"), ("prefix", "still")),
)
CHUNK, OVERLAP = 8, 2


class WithNoise(RelighterRenderer):
    """The relighter with another noise than its own."""

    kind, drawn = "still", 0

    def _noise(self, chunk: object, seed: int) -> Tensor:
        shape: torch.Size = chunk.shape  # type: ignore[attr-defined]
        self.drawn += 1
        if self.kind == "still":
            return seeded_noise((1, shape[1], 1, *shape[3:]), seed).expand(shape)
        return seeded_noise(tuple(shape), seed + (self.drawn * 1000 if self.kind == "fresh" else 0))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="tiny, a base's folder, or a run's")
    parser.add_argument("--train", type=Path, metavar="RUN", help="train this run instead")
    parser.add_argument("--base", default="tiny", help="what --train starts from")
    parser.add_argument("--minutes", type=float, default=14.0, help="how long to train")
    parser.add_argument("--clips", type=int, default=3, help="clips to score")
    parser.add_argument("--chunks", type=int, default=10, help="chunks of a clip")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 8], help="sampling steps to try")
    parser.add_argument("--noises", nargs="+", default=["fresh", "chunk", "still"], help="kinds of noise to try")
    parser.add_argument("--memory", type=int, metavar="PICTURES", help="stream so many, and print the peak memory")
    parser.add_argument("--out", type=Path, help="folder for x-t slices and the clips that were made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    if arguments.train:
        train(arguments.train, arguments.base, arguments.minutes)
        return
    renderer = open_model(arguments.model)
    if arguments.memory:
        for seams in ("fade", "latent"):
            measure_memory(renderer, seams, arguments.memory, arguments.steps[-1])
        return
    frames = OVERLAP + arguments.chunks * (CHUNK - OVERLAP)
    clips = [
        make_clip(HELD_OUT_FIRST_SEED + n, frames, turn_deg=360 / PERIOD * (n % 2)) for n in range(arguments.clips)
    ]
    for steps in arguments.steps:
        compare(renderer, clips, steps, arguments.noises, arguments.out)


def open_model(name: str) -> WithNoise:
    """A run's averaged weights, or a base as it is."""
    if (Path(name) / "run.json").exists():
        run = RunFolder.open(Path(name))
        config = build_config(RelighterConfig, "relighter", {"relighter": read_toml(run.path / "config.toml")})
        found = RelighterTrainer().load(run, "cpu")
        return WithNoise(found._network, found._autoencoder, config, "cpu")  # type: ignore[attr-defined]
    config = RelighterConfig(base=name)
    base = open_base(name, config.network, 0)
    config = config.model_copy(update={"noise": base.noise or config.noise})
    return WithNoise(base.network, base.autoencoder, config, "cpu")


def compare(
    renderer: WithNoise, clips: Sequence[MovingClip], steps: int, noises: Sequence[str], out: Path | None
) -> None:
    """Print a table of all arms."""
    trained = renderer._config
    print(f"\n{steps} steps, {len(clips)} clips of {len(clips[0].flat)} pictures, chunks of {CHUNK}, {OVERLAP} shared")
    print("              PSNR | excess warped error | change of the error | shift px    |        | drift")
    print("seams   noise   dB | seam inside  ratio  | seam inside  ratio  | seam inside | detail | % of range | CPU s")
    for seams, noise in ARMS:
        if noise not in noises or (seams == "prefix" and trained.prefix.share == 0):
            continue
        sampling = SamplingConfig(steps=steps, chunk_frames=CHUNK, overlap_frames=OVERLAP, seams=seams)  # type: ignore[arg-type]
        renderer._config, renderer.kind = trained.model_copy(update={"sampling": sampling}), noise
        started = time.process_time()
        videos = [renderer.render(clip.sample(), seed=0).rgb.numpy().transpose(0, 2, 3, 1) for clip in clips]
        seconds = time.process_time() - started
        scored = [score(clip, video, seams) for clip, video in zip(clips, videos, strict=True)]
        for n, (clip, video) in enumerate(zip(clips, videos, strict=True)):
            if out is not None:
                draw(out / f"{steps}-{seams}-{noise}-{n}.png", clip, video)
        found = SeamScores(*np.nanmean([astuple(each) for each, _, _ in scored], axis=0))
        psnr, drift = (float(np.mean([each[n] for each in scored])) for n in (1, 2))
        print(row(f"{seams:7} {noise:6}", psnr, found, drift, seconds), flush=True)
    renderer._config = trained


def score(clip: MovingClip, video: npt.NDArray[np.float32], seams: str) -> tuple[SeamScores, float, float]:
    """Measures of one clip, its PSNR on the objects, and its drift over a period."""
    truth, overlap = clip.relit.transpose(0, 2, 3, 1), 0 if seams == "cut" else OVERLAP
    starts = range(CHUNK - overlap, len(video) - overlap, CHUNK - overlap)
    mask = clip.seen * (clip.mask > 0.99)
    mask[0] = clip.mask[0]
    shown, true, inside = (each.reshape(-1, *each.shape[2:]) for each in (video, truth, clip.mask))
    first, last = ((video[at], truth[at], clip.mask[at]) for at in (slice(0, CHUNK), slice(PERIOD, PERIOD + CHUNK)))
    drift = color_drift(first, last) if len(video) >= PERIOD + CHUNK else float("nan")
    return score_seams(video, truth, clip.flow, mask, list(starts), overlap), masked_psnr(shown, true, inside), drift


def row(name: str, psnr: float, found: SeamScores, drift: float, seconds: float) -> str:
    """One line of the table."""
    pairs = ((found.warped_seam, found.warped_inside), (found.error_seam, found.error_inside))
    warped, changed = (f"{seam:.4f} {inside:.4f} {seam / inside:6.2f}" for seam, inside in pairs)
    shift = f"{found.shift_px:5.2f} {found.shift_inside_px:5.2f}"
    shown = [f"{name} {psnr:5.2f}", warped, changed, shift, f"{found.detail:6.3f}", f"{100 * drift:10.2f}"]
    return " | ".join([*shown, f"{seconds:5.0f}"])


def draw(path: Path, clip: MovingClip, video: npt.NDArray[np.float32]) -> None:
    """The middle row over time (down) of the truth, of the video, and of their difference (grey: none)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row_y = int(clip.mask.sum(axis=(0, 2)).argmax())
    truth, made = clip.relit.transpose(0, 2, 3, 1)[:, row_y], video[:, row_y]
    side = np.concatenate([truth, made, np.clip(0.5 + 2 * (made - truth), 0, 1)], axis=1)
    codes = cv2.resize((side * 255).astype(np.uint8), None, fx=4, fy=8, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), cv2.cvtColor(codes, cv2.COLOR_RGB2BGR))


def measure_memory(renderer: WithNoise, seams: str, pictures: int, steps: int) -> None:
    """Peak memory of the process after a tenth of a stream and at its end."""
    sampling = SamplingConfig(steps=steps, chunk_frames=CHUNK, overlap_frames=OVERLAP, seams=seams)  # type: ignore[arg-type]
    renderer._config = renderer._config.model_copy(update={"sampling": sampling})
    one = {key: value[0] for key, value in make_clip(HELD_OUT_FIRST_SEED, 1).sample().items()}
    for number, _ in enumerate(renderer.stream((one for _ in range(pictures)), seed=0), start=1):
        if number in (pictures // 10, pictures):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{seams}, {steps} steps: peak {peak:.0f} MB after {number} pictures", flush=True)


def train(path: Path, base: str, minutes: float) -> None:
    """Train a base further on clips, at noise levels for several steps, part of them going on from given frames."""
    config = RelighterConfig(
        base=base,
        mode="full",
        background_weight=0.2,
        steps=100_000,
        minutes=minutes,
        batch=2,
        optimizer="muon",
        learning_rate=6e-4,
        ema_decay=0.99,
        clip_frames=CHUNK,
        noise=NoiseConfig(sigma_max=20, ln_sigma_mean=1.0, ln_sigma_std=1.5),
        sampling=SamplingConfig(steps=8, chunk_frames=CHUNK, overlap_frames=OVERLAP),
        prefix=PrefixConfig(share=0.5, frames=OVERLAP, sigma=0.05),
    )
    view = ClipView(path.with_name(path.name + "-clips"), 40, 16)
    about = {"plugin": "relighter", "dataset": "moving clips", "dataset_fingerprint": view.fingerprint}
    with RunFolder.create(path, config=config, progress=_report, **about) as run:
        RelighterTrainer().fit(view, config, run)


def _report(what: str, done: int, total: int | None) -> None:
    if done % 20 == 0:
        print(f"{what}: step {done}", flush=True)


if __name__ == "__main__":
    main()
