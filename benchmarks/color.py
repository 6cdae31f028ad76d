"""Colour of simulated cameras that differ: what is recovered against the truth, and what a corrected read costs.

python benchmarks/color.py [--cameras 6] [--pairs 12] [--spread 0.1]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litdome.calib.color.stage import Color, ColorConfig
from litdome.color import ColorCorrection, delta_e_2000, linear_from_srgb
from litdome.pipeline import ingest_recording, run_stage
from litdome.store.pictures import colour_corrected
from litdome.store.session import Session
from litdome.synth import make_recording

ROUNDS = 9


def session_of(folder: Path, arguments: argparse.Namespace, spread: float) -> Session:
    """A simulated take, ingested; the same person and light whatever the spread."""
    size = {"cameras": arguments.cameras, "pairs": arguments.pairs, "boards": False, "lights": 128}
    make_recording(folder, color_spread=spread, workers=1, **size)
    ingest_recording(folder, f"{folder}.zarr", {})
    return Session.open(f"{folder}.zarr", writable=True)


def person_error(seen: Session, plain: Session, masks: np.ndarray, camera: str, *, corrected: bool) -> float:
    """Median CIEDE2000 on the person between a camera and one without colour faults, means of 5 x 5 pixels."""
    pictures = [
        cv2.blur(session.read_rgb(camera, "flat", 0, dtype="float32", corrected=is_corrected), (5, 5))
        for session, is_corrected in ((seen, corrected), (plain, False))
    ]
    inside = masks > 250
    a, b = (linear_from_srgb(np.clip(picture, 0, 1))[inside] for picture in pictures)
    return float(np.median(delta_e_2000(a, b)))


def milliseconds(work: Callable[[], Any]) -> float:
    """Median CPU time of a call."""
    spent = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return float(np.median(spent)) * 1e3


def main() -> None:
    """Print what docs/benchmarks.md says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--spread", type=float, default=0.1)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        seen = session_of(folder / "seen", arguments, arguments.spread)
        plain = session_of(folder / "plain", arguments, 0.0)
        truth = np.load(folder / "seen" / "truth" / "color.npz")
        summary = run_stage(seen, Color(), ColorConfig()).summary
        print("camera  patches dE before after   person dE before after   matrix   black level   fall-off")
        for k, id in enumerate(seen.cameras):
            masks = np.load(folder / "seen" / "truth" / "masks" / f"{id}.npz")["mask"][seen.frames("flat")[0]]
            before, after = (person_error(seen, plain, masks, id, corrected=is_) for is_ in (False, True))
            found = seen.color_correction(id)
            matrix = np.abs(found.affine[:, :3] - np.linalg.inv(truth["matrix"][k])).max()
            black = np.abs(found.black_level - truth["black_level"][k]).max()
            corner = abs(found.vignetting[:3].sum() - truth["falloff"][k].sum())
            patches = f"{summary['delta_e_before'][k]:>17.2f} {summary['delta_e_after'][k]:5.2f}"
            print(f"{id} {patches} {before:>18.2f} {after:5.2f} {matrix:>14.4f} {black:10.5f} {corner:10.4f}")
        codes = np.random.default_rng(0).integers(0, 256, (1920, 1088, 3)).astype(np.uint8)
        found, whole = seen.color_correction(seen.cameras[0]), (0, 0, 1088, 1920)
        flat = ColorCorrection(found.affine, found.black_level, np.zeros(6))
        crop, region = np.ascontiguousarray(codes[600:1304, 200:840]), (200, 600, 840, 1304)
        for name, correction in (("matrix alone", flat), ("with fall-off", found)):
            whole_ms = milliseconds(lambda c=correction: colour_corrected(codes, c, whole, linear=False))
            crop_ms = milliseconds(lambda c=correction: colour_corrected(crop, c, region, linear=False))
            print(f"corrected uint8, {name}: 1088x1920 {whole_ms:.1f} ms, a 640x704 crop {crop_ms:.1f} ms of CPU")


if __name__ == "__main__":
    main()
