"""Whether the speed that is asked of a simulated person is the one that exact flow shows.

    python benchmarks/picture_speed.py              all speeds, s1 and s4
    python benchmarks/picture_speed.py --pairs 4    in small

Measured: the exact flow from each frame to the next of every pixel that shows the person, mean over all body cameras
and frames, px in a picture 1080 px high. It is independent of how the speed is found (vertices, ten moments).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from litdome.synth.ground_truth import surface_flow
from litdome.synth.picture_speed import PICTURE_HEIGHT
from litdome.synth.recording import plan_take
from litdome.synth.render import Scene, cast_surface
from litdome.synth.truth import RecordingTruth

SPEEDS = (0.0, 2.0, 4.0, 8.0, 12.0)


def flow_px(truth: RecordingTruth) -> np.ndarray:
    """Length of the exact flow of every pixel on the person, all body cameras and frames, px at a height of 1080."""
    scenes = [Scene((truth.body.mesh(truth.time_s(frame)),)) for frame in range(len(truth.schedule.kind))]
    lengths = []
    for camera in (camera for camera in truth.rig.cameras if camera.role == "body"):
        for now, later in pairwise(scenes):
            flow, _ = surface_flow(cast_surface(now, camera, antialias=False), camera, later)
            lengths.append(np.linalg.norm(flow, axis=1) * PICTURE_HEIGHT / camera.height)
    return np.concatenate(lengths)


def main() -> None:
    """Print asked and exact speeds, and what a frame costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--subjects", default="s1,s4")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("| subject | asked | said in rig.json | exact flow, mean | median | 95 % |\n|---|---|---|---|---|---|")
    for subject in options.subjects.split(","):
        for speed in SPEEDS:
            with tempfile.TemporaryDirectory() as folder:
                take = plan_take(
                    Path(folder) / "take", cameras=3, pairs=options.pairs, subject=subject, speed_px=speed, lights=16,
                    hdris=1, width=180, height=320,
                )  # fmt: skip
            found = flow_px(take.truth)
            median, high = np.percentile(found, [50, 95])
            said = f"{subject} | {speed:g} | {take.truth.speed_px:.2f}"
            print(f"| {said} | {found.mean():.2f} | {median:.2f} | {high:.1f} |", flush=True)


if __name__ == "__main__":
    main()
