"""What each measure of a relit picture costs, and how well registration finds a known motion on real pictures.

    .venv/bin/python benchmarks/metrics.py [--width 1280] [--height 704] [--repeats 3]

Costs are CPU milliseconds of one picture (LPIPS: random AlexNet weights, the heads' size and cost are the real ones).
The motion is made: pictures of the real walk (LITDOME_DATA) are read along a smooth field of up to --motion px, so it
is known exactly; the field found is compared with it over the middle of the picture. Prints the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from litdome.datasets.metrics import (
    Lpips,
    color_bias,
    detail_ratio,
    displacement,
    masked_psnr,
    masked_ssim,
    register,
    warp,
)
from litdome.datasets.metrics.lpips import BACKBONES

DATA = Path(os.environ.get("LITDOME_DATA", "../shared/data"))


def random_lpips() -> Lpips:
    """AlexNet's shape with random weights: the cost of the real one, not its judgement."""
    state, heads, before, sides = {}, [], 3, {0: 11, 3: 5}
    for layer in BACKBONES["alex"]:
        side = sides.get(layer.index, 3)
        state[f"features.{layer.index}.weight"] = torch.randn(layer.channels, before, side, side) * 0.05
        state[f"features.{layer.index}.bias"] = torch.zeros(layer.channels)
        heads.append(torch.rand(layer.channels))
        before = layer.channels
    return Lpips("alex", state, heads)


def costs(height: int, width: int, repeats: int) -> None:
    """CPU time of each measure."""
    rng = np.random.default_rng(0)
    truth = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 2.0)
    picture = np.roll(truth, 2, axis=1) + rng.normal(0, 0.01, truth.shape)
    mask = np.zeros((height, width))
    mask[height // 10 : -height // 10, width // 3 : -width // 3] = 1
    measures: dict[str, Callable[..., object]] = {
        **{"psnr": masked_psnr, "ssim": masked_ssim, "register": register, "detail": detail_ratio},
        **{"colour": color_bias, "lpips": random_lpips()},
    }
    for name, measure in measures.items():
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            measure(picture, truth, mask)
            seconds.append(time.process_time() - start)
        print(f"{name:10s} {1000 * min(seconds):7.0f} ms")


def registration(motion_px: float, noise: float) -> None:
    """A known smooth field on pictures of the real walk, whose texture is that of clothes and skin."""
    for file in sorted((DATA / "real-walk").rglob("*.mp4"))[:4]:
        found, frame = cv2.VideoCapture(str(file)).read()
        if not found:
            continue
        original = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) / 255.0
        height, width = original.shape[:2]
        mask = np.zeros((height, width))
        mask[height // 5 : -height // 8, width // 4 : -width // 4] = 1
        rng = np.random.default_rng(1)
        field = cv2.GaussianBlur(rng.normal(size=(height, width, 2)), (0, 0), 24.0)
        field *= motion_px / np.linalg.norm(field, axis=-1).max()
        truth = warp(original, field)[0]
        picture = np.clip(original + rng.normal(0, noise, original.shape), 0, 1)
        inside = mask > 0
        error_px = np.linalg.norm(displacement(picture, truth, mask) - field, axis=-1)[inside].mean()
        true_px = np.linalg.norm(field, axis=-1)[inside].mean()
        raw, scores = masked_psnr(picture, truth, mask), register(picture, truth, mask)
        print(
            f"{file.stem:16s} true {true_px:.2f} px, found {scores.shift_px:.2f} px, off by {error_px:.2f} px;"
            f" psnr {raw:.2f} dB raw, {scores.psnr:.2f} dB registered"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--motion", type=float, default=6.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"one picture of {options.width}x{options.height}, CPU time on one thread")
    costs(options.height, options.width, options.repeats)
    for noise in (0.0, 0.02):
        print(f"real walk, smooth motion of up to {options.motion:g} px, noise {noise:g}")
        registration(options.motion, noise)


if __name__ == "__main__":
    main()
