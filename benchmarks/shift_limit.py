"""How much a compensated picture is worth by how far the person moved: what align's limits rest on.

    .venv/bin/python benchmarks/shift_limit.py SESSION [--camera c01] [--steps 1 2 3 4 6 8]

SESSION has been run up to deflicker. Flat pictures k apart stand for neighbours 2k, the one midway is hidden: the
motion that a slower camera, or a faster person, would have. Prints, by mean shift at 1080 rows, PSNR on the hidden
picture's mask of the flat picture as filmed and of the compensated one, dB, and the reliability.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import cv2
import numpy as np

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.compensation import compensate
from litdome.preprocess.flow import Step, estimate_flow, shrink
from litdome.preprocess.motion import Motion, Segment
from litdome.store.session import Session

EDGES_PX = (0, 2, 4, 6, 8, 10, 13, 17, 22, 30, np.inf)
EVERY = 6  # flat pictures


def psnr_db(picture: np.ndarray, true: np.ndarray, inside: np.ndarray) -> float:
    difference = (picture.astype(np.float32) - true)[inside]
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("session")
    parser.add_argument("--camera")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    session = Session.open(given.session)
    camera = given.camera or session.cameras[0]
    pictures = [session.read_frame(camera, "flat", n) for n in range(session.count("flat"))]
    rows = [row for k in given.steps for row in hide(session, camera, pictures, k)]
    shift, reliability, raw, compensated = np.array(rows).T
    for low, high in pairwise(EDGES_PX):
        here = (shift >= low) & (shift < high)
        if here.any():
            gain = compensated[here] - raw[here]
            print(
                f"{low:g}-{high:g} px, {here.sum()} pairs: as filmed {raw[here].mean():.1f} dB, "
                f"compensated {compensated[here].mean():.1f} dB, gain {gain.mean():.1f} (least {gain.min():.1f}), "
                f"reliability {reliability[here].mean():.2f}"
            )


def hide(session: Session, camera: str, pictures: list[np.ndarray], k: int) -> list[tuple[float, ...]]:
    """Shift at 1080 rows, reliability, PSNR as filmed and compensated, of pairs whose neighbours are 2k apart."""
    lumas = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]

    def step(n: int) -> Step | None:
        return estimate_flow(lumas[n], lumas[n + 2 * k]) if 0 <= n < len(lumas) - 2 * k else None

    rows = []
    for n in range(0, len(pictures) - 2 * k, EVERY):
        flow = step(n)
        assert flow is not None
        motion = Motion(Segment(n, n + 2 * k, 0.5, *flow), step(n - 2 * k), step(n + 2 * k))
        found = compensate(motion, pictures[n], pictures[n + 2 * k])
        mask = session.read_at(f"cameras/{camera}/flat/mask", n + k)
        small = shrink(mask, found.shift_px.shape[::-1]) > 127
        if not small.any():
            continue
        quality = [psnr_db(picture, pictures[n + k], mask > 127) for picture in (pictures[n], found.picture)]
        shift_px = float(found.shift_px[small].mean()) * REFERENCE_HEIGHT_PX / mask.shape[0]
        rows.append((shift_px, float(found.reliability[small].mean()), *quality))
    return rows


if __name__ == "__main__":
    main()
