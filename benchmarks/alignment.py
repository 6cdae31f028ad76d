"""How well the flat picture is moved to a relit frame's time, and how well it is known where that fails.

    .venv/bin/python benchmarks/alignment.py [c01 c02 c03 c04 dance-twirl] [--every 1] [--fit]

Real pictures under one light (LITDOME_DATA): of the real walk the even frames; every second of them is hidden and has
to be made from its neighbours. In dB on the person in the hidden frame:

- flat: the earlier neighbour as it is; mean: of both; half-flow: DIS (medium preset, 640 px) halved, both sides, mean;
- ours: `compensate`, from flows as they are stored (tuned and fitted on c01 and c02);
- exact: DIS as for half-flow, but from the hidden frame itself to both neighbours.
- closed: how much of the way from half-flow to exact ours has gone.

The true motion is the flow from the hidden frame to the earlier one, searched like ours but at twice the rate, where
the flow back confirms it within half a px (of 640 px); "all" takes it as it is. A pixel is wrong above 1 px: a
quarter of a DIS patch, 1.5 to 3 px of the stored picture. Prints the machine, its load, and the cost.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from litdome.preprocess.compensation import compensate, doubt_features
from litdome.preprocess.flow import coarse_flow, dense_flow, estimate_flow, normalise_brightness, shrink, working_size
from litdome.preprocess.motion import FIELD_LONG_SIDE_PX, Motion, Segment, Step, compose, resize_flow, warp
from litdome.preprocess.plates import Plate, average_votes, spread_votes, still_noise
from litdome.preprocess.silhouettes import mask_flat_picture

DATA = Path(os.environ.get("LITDOME_DATA", "../shared/data"))
LONG_SIDE_PX, STRIDE_PX, WRONG_PX = 640, 8, 1.0
Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


@dataclass
class Clip:
    """Pictures under one light, and the person in each at full size, both shape (n, y, x, ...)."""

    pictures: Picture
    persons: npt.NDArray[np.bool_]
    alone: dict[tuple[int, int], Step] = field(default_factory=dict)

    @cached_property
    def size(self) -> tuple[int, int]:
        return working_size(self.pictures.shape[2], self.pictures.shape[1], LONG_SIDE_PX)

    @cached_property
    def lumas(self) -> list[Picture]:
        return [shrink(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), self.size) for picture in self.pictures]

    def first(self, i: int, j: int) -> Step | None:
        """Both flows between two pictures, searched once."""
        if min(i, j) < 0 or max(i, j) >= len(self.pictures):
            return None
        if (i, j) not in self.alone:
            self.alone[i, j] = estimate_flow(self.lumas[i], self.lumas[j])
        return self.alone[i, j]

    def step(self, i: int, j: int) -> Step | None:
        """Both flows between two pictures, searched as the stage does."""
        span = j - i
        before, after = self.first(i - span, i), self.first(j, j + span)
        if self.first(i, j) is None:
            return None
        guesses = (None if before is None else -before[1], None if after is None else -after[0])
        return estimate_flow(self.lumas[i], self.lumas[j], guesses=guesses)

    def stored(self, i: int, j: int, long_side_px: int = LONG_SIDE_PX) -> Step | None:
        """The same as it comes out of a session."""
        step = self.step(i, j)
        if step is None:
            return None
        height, width = self.pictures.shape[1:3]
        coarse = [coarse_flow(flow, STRIDE_PX, height, width).astype(np.float16) for flow in step]
        size = working_size(width, height, long_side_px)
        first, second = (dense_flow(flow, STRIDE_PX, height, width, size) for flow in coarse)
        return first, second

    def motion(self, t: int) -> Motion:
        """Around the picture after the t-th."""
        beside = (self.stored(i, i + 2, FIELD_LONG_SIDE_PX) for i in (t - 2, t + 2))
        return Motion(Segment(0, 1, 0.5, *self.stored(t, t + 2)), *beside)

    def small(self, person: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return shrink(person.astype(np.uint8) * 255, self.size) > 127


def read_walk(camera: str) -> Clip:
    """The even frames, and the person by a plate that they vote for."""
    video, frames = cv2.VideoCapture(str(DATA / "real-walk" / "cameras" / f"{camera}.mp4")), []
    while (read := video.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    clip = Clip(np.stack(frames[::2]), np.zeros(0, bool))
    picks = np.unique(np.linspace(1, len(clip.pictures) - 2, 24).round().astype(int))
    moving = [
        np.maximum(*(np.linalg.norm(clip.first(i, j)[0], axis=-1) for j in (i - 1, i + 1))) > LONG_SIDE_PX / 1000
        for i in picks
    ]
    votes = spread_votes(lambda i: clip.pictures[picks[i]], moving)
    clean = average_votes(lambda i: clip.pictures[picks[i]], votes, clip.size)
    small = [shrink(picture, clip.size) for picture in clip.pictures]
    plate = Plate(clean, cv2.resize(votes.confidence, clip.size), votes.person_odds, still_noise(small[::4], clean))
    full = clip.pictures.shape[2], clip.pictures.shape[1]
    clip.persons = np.stack([_largest(cv2.resize(mask_flat_picture(picture, plate), full) > 127) for picture in small])
    return clip


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest part: reflections of the person on the floor are none of them."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def read_twirl() -> Clip:
    """Every frame, with the true masks."""
    folder = DATA / "masks" / "dance-twirl"
    pictures = [
        cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in sorted((folder / "frames").glob("*"))
    ]
    truths = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 0 for file in sorted((folder / "truth").glob("*"))]
    return Clip(np.stack(pictures), np.stack(truths[: len(pictures)]))


def psnr(picture: npt.NDArray[np.floating] | Picture, truth: Picture, where: npt.NDArray[np.bool_]) -> float:
    error = picture[where].astype(np.float32) - truth[where]
    return float(10 * np.log10(255**2 / np.mean(error * error)))


def look_up(picture: Picture, way: Floats) -> Floats:
    return warp(picture, resize_flow(way, (picture.shape[1], picture.shape[0]))).astype(np.float32)


def area_under_curve(wrong: npt.NDArray[np.bool_], doubt: Floats) -> float:
    """Chance that a wrong pixel is doubted more than a right one."""
    ranks, bad = rankdata(doubt), int(wrong.sum())
    return float((ranks[wrong].sum() - bad * (bad + 1) / 2) / (bad * (len(wrong) - bad)))


@dataclass
class Found:
    """What one clip gave: dB by method, and per pixel of the person the estimate, the truth and what was said."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    pixels: list[Floats] = field(default_factory=list)  # estimated px, true px, error px, reliability, confirmed
    features: list[Floats] = field(default_factory=list)


def measure(clip: Clip, every: int) -> Found:
    """All hidden frames that have a flat one and one more on each side, or every n-th of them."""
    found, dis = Found(), cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    normal = [normalise_brightness(luma) for luma in clip.lumas]
    for t in range(2, len(clip.pictures) - 4, every):
        flat, hidden, other = clip.pictures[t : t + 3]
        person = clip.persons[t + 1]
        motion = clip.motion(t)
        ours = compensate(motion, flat, other)
        half = [0.5 * dis.calc(normal[a], normal[b], None) for a, b in ((t, t + 2), (t + 2, t))]
        exact = [-dis.calc(normal[t + 1], normal[i], None) for i in (t, t + 2)]
        pictures = {"flat": flat, "mean": (flat.astype(np.float32) + other) / 2}
        for name, ways in (("half-flow", half), ("exact", exact)):
            pictures[name] = (look_up(flat, -ways[0]) + look_up(other, -ways[1])) / 2
        pictures["ours"] = ours.picture
        for name, picture in pictures.items():
            found.scores.setdefault(name, []).append(psnr(picture, hidden, person))
        least = person & (cv2.resize(ours.reliability, person.shape[::-1]) < 0.5)
        if least.sum() > 500:
            for name in ("flat", "mean", "ours"):
                found.scores.setdefault(f"unreliable {name}", []).append(psnr(pictures[name], hidden, least))
        true, back = clip.step(t + 1, t), clip.step(t, t + 1)
        way, inside = resize_flow(ours.field.to_start, clip.size), clip.small(person)
        length = np.linalg.norm(true[0], axis=-1)
        confirmed = np.linalg.norm(compose(true[0], back[0]), axis=-1) < 0.5 + 0.05 * length
        error = np.linalg.norm(way - true[0], axis=-1)
        estimate = ours.shift_px * (LONG_SIDE_PX / max(flat.shape))
        stack = np.stack([estimate, length, error, ours.reliability, confirmed], -1)
        found.pixels.append(stack[inside])
        lumas = (shrink(clip.lumas[i], ours.field.near_end.shape[::-1]) for i in (t, t + 2))
        found.features.append(cv2.resize(doubt_features(ours.field, *lumas), clip.size)[inside])
    return found


def report(name: str, found: Found) -> None:
    mean = {key: float(np.mean(values)) for key, values in found.scores.items()}
    closed = (mean["ours"] - mean["half-flow"]) / (mean["exact"] - mean["half-flow"])
    print(
        f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in mean.items()) + f"; closed {100 * closed:.0f} %"
    )
    pixels = np.concatenate(found.pixels)
    for label, part in (("confirmed", pixels[pixels[:, 4] > 0]), ("all", pixels)):
        estimate, length, error, reliability = part.T[:4]
        sure = reliability >= np.quantile(reliability, 0.2)
        correlations = [np.corrcoef(estimate[where], length[where])[0, 1] for where in (slice(None), sure)]
        area = area_under_curve(error > WRONG_PX, -reliability)
        print(
            f"    {label:9s} true {length.mean():.2f} px, error {error.mean():.2f}, correlation {correlations[0]:.3f},"
            f" surest 80 % {correlations[1]:.3f}, wrong {np.mean(error > WRONG_PX):.3f}, AUC {area:.3f}"
        )


def fit(found: list[Found]) -> None:
    """Coefficients of the doubt on confirmed pixels, and the mean error by doubt."""
    pixels, features = (np.concatenate([x for f in found for x in getattr(f, key)]) for key in ("pixels", "features"))
    kept = pixels[:, 4] > 0
    terms, error = np.c_[features, np.ones(len(features))][kept].astype(np.float64), pixels[kept, 2]
    weights = np.zeros(terms.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-terms @ weights))
        curvature = (terms * (chance * (1 - chance))[:, None]).T @ terms + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curvature, terms.T @ ((error > WRONG_PX) - chance))
    print("doubt", weights.round(3))
    doubt = terms @ weights
    for low in range(-6, 6):
        inside = (doubt >= low) & (doubt < low + 1)
        if inside.sum() > 200:
            print(f"    doubt {low}..{low + 1}: mean error {error[inside].mean():.2f} px, {inside.mean():.3f} of all")


def costs(clip: Clip, repeats: int = 5) -> None:
    """CPU time on one thread for a pair of the clip's size."""
    motion = clip.motion(12)
    seconds: dict[str, list[float]] = {"compensate": [], "flow (two searches, both ways)": []}
    for _ in range(repeats):
        start = time.process_time()
        compensate(motion, clip.pictures[12], clip.pictures[14])
        seconds["compensate"].append(time.process_time() - start)
        clip.alone = {key: value for key, value in clip.alone.items() if key != (12, 14)}
        start = time.process_time()
        clip.first(12, 14)
        clip.step(12, 14)
        seconds["flow (two searches, both ways)"].append(time.process_time() - start)
    height, width = clip.pictures.shape[1:3]
    print(f"{width} x {height}: " + ", ".join(f"{name} {1000 * min(taken):.1f} ms" for name, taken in seconds.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="*", default=["c01", "c02", "c03", "c04", "dance-twirl"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    all_found = []
    for name in options.clips:
        clip = read_twirl() if name == "dance-twirl" else read_walk(name)
        found = measure(clip, options.every)
        report(name, found)
        costs(clip)
        all_found.append(found)
    if options.fit:
        fit(all_found)


if __name__ == "__main__":
    main()
