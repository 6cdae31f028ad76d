"""How well and how fast board corners are found, against OpenCV's own corners and its refinement of them.

    .venv/bin/python benchmarks/boards.py [--pictures 6]

ChArUco boards with exact truth are filmed by the simulated stage's ray caster at 720p and 4K, tilted by up to 50
degrees, sharp and blurred, with sensor noise. Prints the machine, its load, CPU milliseconds a picture, corners found,
and the mean and the 95th percentile of their errors in px.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import cv2
import numpy as np

from litdome.calib.boards import BoardSpec
from litdome.calib.boards.detect import find_board
from litdome.geometry import Camera
from litdome.synth.boards import BoardDesign, film_board

SPEC = BoardSpec("charuco", 9, 7, 0.1, 0.075, "DICT_4X4_100")
DESIGN = BoardDesign(9, 7, 100.0, 75.0)
SIZES = {"720p": (1280, 720), "4K": (3840, 2160)}
NOISE = 3.0  # grey levels
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-4)

Corners = tuple[np.ndarray, np.ndarray]  # ids, pixels


def film(size: tuple[int, int], blur_px: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture of the board and where its corners truly are."""
    width, height = size
    focal = 1.2 * width
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    camera = Camera("c00", width, height, intrinsics, np.array([-0.08, 0.03, 0, 0, 0, 0, 0, 0.0]), np.eye(4))
    axis, tilt = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(10, 50))
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(tilt * np.array([np.cos(axis), np.sin(axis), 0.0]))[0]
    pose[:3, 3] = [rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.1), rng.uniform(2.0, 3.5)]
    pose[:3, 3] -= pose[:3, :3] @ [0.45, 0.35, 0]
    picture = film_board(camera, DESIGN, pose, np.full((height, width, 3), 0.1, np.float32), rng)
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), blur_px)
    grey = np.clip(grey + rng.normal(0, NOISE, grey.shape) + 0.5, 0, 255).astype(np.uint8)
    return grey, camera.project(SPEC.points @ pose[:3, :3].T + pose[:3, 3])


def ours(grey: np.ndarray) -> Corners:
    """Our own corners."""
    found = find_board(grey, SPEC, "as printed")
    return (found[0].ids, found[0].pixels) if found else (np.zeros(0, int), np.zeros((0, 2)))


def opencv(grey: np.ndarray, window: int = 0) -> Corners:
    """CharucoDetector's corners; refined by cornerSubPix in a window of ``2 window + 1`` px."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, SPEC.dictionary))
    board = cv2.aruco.CharucoBoard((SPEC.columns, SPEC.rows), SPEC.square_m, SPEC.marker_m, dictionary)
    markers = cv2.aruco.DetectorParameters()
    markers.adaptiveThreshWinSizeStep = 20
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board, cv2.aruco.CharucoParameters(), markers).detectBoard(grey)
    if ids is None:
        return np.zeros(0, int), np.zeros((0, 2))
    if window:
        corners = cv2.cornerSubPix(grey, corners, (window, window), (-1, -1), CRITERIA)
    return ids.ravel(), corners.reshape(-1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=6, help="of each kind")
    count = parser.parse_args().pictures
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    finders = {
        "litdome": ours,
        "OpenCV CharucoDetector": opencv,
        "and cornerSubPix 5x5": lambda grey: opencv(grey, 5),
        "and cornerSubPix 11x11": lambda grey: opencv(grey, 11),
    }
    print("| pictures | corners of | found | mean px | 95 % px | CPU ms |\n|---|---|---|---|---|---|")
    for (name, size), blur_px in ((item, blur) for item in SIZES.items() for blur in (0.7, 1.6)):
        rng = np.random.default_rng(0)
        filmed = [film(size, blur_px, rng) for _ in range(count)]
        for finder, find in finders.items():
            started, errors = time.process_time(), []
            for grey, truth in filmed:
                ids, pixels = find(grey)
                errors.append(np.linalg.norm(pixels - truth[ids], axis=1))
            cpu_ms = (time.process_time() - started) * 1000 / count
            error = np.concatenate(errors)
            share = f"{len(error)} of {count * len(SPEC.points)}"
            kind = f"{name}, blur {blur_px} px"
            print(
                f"| {kind} | {finder} | {share} | {error.mean():.3f} | {np.quantile(error, 0.95):.3f} | {cpu_ms:.0f} |"
            )


if __name__ == "__main__":
    main()
