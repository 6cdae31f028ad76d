"""What de-flickering does for masks: of real segmenters, and of pictures that are underexposed as HDR-lit ones are.

    .venv/bin/python benchmarks/masks.py                          all, about ten minutes
    .venv/bin/python benchmarks/masks.py --frames 16 --steps 40   a minute; the figures mean little
    .venv/bin/python benchmarks/masks.py --only real,vote         parts: real, dance, stage, walk, vote

``real``: OSVOS, RVOS and the dropouts of data/masks against their truth. ``dance``, ``stage``, ``walk``: every second
picture stands for a relit one; it is darkened in linear light, gets noise (read noise 0.0008 of white and shot noise)
and 8-bit sRGB codes. A mask is then made of each picture by itself: on dance-twirl by a small network that is trained
here on well-exposed pictures, on the simulated stage and on real-walk by comparing it with its plate, darkened alike.
J and F are against the truth, of real-walk against the mask of the well-exposed picture. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import coarse_flow, dense_flow, estimate_flow, working_size
from litdome.preprocess.mask_votes import deflicker_mask, deflicker_masks, settle_mask
from litdome.preprocess.motion import MOTION_LONG_SIDE_PX, Segment, Step, resize_flow, step_within, undoes, warp
from litdome.preprocess.plates import Plate, average_votes, spread_votes, still_noise
from litdome.preprocess.silhouettes import mask_flat_picture
from litdome.synth import make_recording
from litdome.synth.camera_setup import CameraSetup

UInt8Array = npt.NDArray[np.uint8]
DATA = Path(os.environ.get("LITDOME_DATA", Path(__file__).parents[2] / "shared" / "data"))
DIMMED = (4, 8, 16)
READ_NOISE, SHOT_NOISE = 0.0008, 0.00012  # deviation and variance per unit of linear light, white 1
BOUNDARY = 0.008  # of the diagonal, as DAVIS has it
STRIDE_PX = 8
SIZE = (288, 160)  # at which the small network looks
Masker = Callable[[UInt8Array, int], UInt8Array]  # of one picture, and by how much it was dimmed


@dataclass(frozen=True)
class Filmed:
    """Pictures at one exposure, shape (n, y, x, 3), what each mask should be, and what masks one picture."""

    pictures: UInt8Array
    truth: UInt8Array
    mask: Masker


def dim(picture: UInt8Array, by: int, seed: int) -> UInt8Array:
    """The picture at 1/``by`` of its exposure."""
    if by == 1:
        return picture
    codes = picture / np.float32(255)
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4) / by
    noise = np.random.default_rng([seed, by]).normal(size=light.shape)
    light = np.clip(light + noise * np.sqrt(READ_NOISE**2 + SHOT_NOISE * light), 0, 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(255 * coded + 0.5, np.uint8)


def j_score(mask: UInt8Array, truth: UInt8Array) -> float:
    """Intersection over union at half coverage (DAVIS' J)."""
    a, b = mask > 127, truth > 127
    return float((a & b).sum() / max((a | b).sum(), 1))


def f_score(mask: UInt8Array, truth: UInt8Array) -> float:
    """How well two outlines match within 0.8 % of the diagonal, harmonic mean of both ways (DAVIS' F)."""
    radius = int(np.ceil(BOUNDARY * np.hypot(*mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    outlines = []
    for values in (mask, truth):
        inside = (values > 127).astype(np.uint8)
        outlines.append(inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0))
    if not (outlines[0].any() and outlines[1].any()):
        return float(outlines[0].any() == outlines[1].any())
    shares = [(a & cv2.dilate(b, disc)).sum() / a.sum() for a, b in (outlines, outlines[::-1])]
    return float(2 * shares[0] * shares[1] / max(sum(shares), 1e-9))


def flicker(masks: UInt8Array, n: int, flows: Sequence[Step]) -> float:
    """Part of the person where the n-th mask contradicts both neighbours, carried to it along true motion."""
    size = (masks.shape[2], masks.shape[1])
    own = masks[n] > 127
    before = warp(masks[n - 1], resize_flow(flows[n - 1][1], size)) > 127
    after = warp(masks[n + 1], resize_flow(flows[n][0], size)) > 127
    known = (undoes(*flows[n - 1][::-1]) & undoes(*flows[n])).astype(np.uint8)
    believed = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST) > 0
    alone = (own != before) & (own != after) & believed
    return float(alone.sum() / max((own | before | after).sum(), 1))


def stored_flow(luma: UInt8Array, other: UInt8Array) -> Step:
    """Flow as a session holds it: on a grid of 8 px, half precision, read at 640 px."""
    height, width = luma.shape
    size = working_size(width, height, MOTION_LONG_SIDE_PX)
    coarse = [coarse_flow(f, STRIDE_PX, height, width).astype(np.float16) for f in estimate_flow(luma, other)]
    there, back = (dense_flow(field, STRIDE_PX, height, width, size) for field in coarse)
    return there, back


def vote(raw: UInt8Array, steps: Sequence[Step], is_dark: bool) -> UInt8Array:
    """Even masks against the even ones around them, odd ones, perhaps dark, against those, half a step away."""
    out = raw.copy()
    out[0::2] = deflicker_masks(raw[0::2], steps)
    for n in range(1, len(raw) - 1, 2):
        segment = Segment(0, 1, 0.5, *steps[n // 2])
        halves = step_within(segment, 0, 0.5), step_within(segment, 0.5, 1)
        out[n] = deflicker_mask([out[n - 1], raw[n], out[n + 1]].__getitem__, halves.__getitem__, 1, 3, is_dark=is_dark)
    return out


def print_underexposed(name: str, found: Filmed) -> None:
    """One table: a row per exposure."""
    lumas = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in found.pictures]
    steps = [stored_flow(*two) for two in zip(lumas[0:-2:2], lumas[2::2], strict=True)]
    true_flows = [estimate_flow(*two) for two in pairwise(lumas)]
    bright = np.stack([found.mask(picture, 1) for picture in found.pictures])
    odd = range(1, len(bright) - 1, 2)
    full = np.mean([j_score(bright[n], found.truth[n]) for n in odd])
    print(f"\n{name}: {len(odd)} darkened pictures, {bright.shape[2]}x{bright.shape[1]}\n")
    print("| exposure | J raw | J | J lost that came back | F raw | F | flicker raw | flicker |\n|" + "---|" * 8)
    for by in (1, *DIMMED):
        raw = bright.copy()
        for n in odd if by > 1 else ():
            raw[n] = found.mask(dim(found.pictures[n], by, n), by)
        voted = vote(raw, steps, by > 1)
        rows = [
            [np.mean([score(m[n], found.truth[n]) for n in odd]) for score in (j_score, f_score)]
            + [np.mean([flicker(m, n, true_flows) for n in odd])]
            for m in (raw, voted)
        ]
        (j_raw, f_raw, flicker_raw), (j, f, left) = rows
        back = f"{(j - j_raw) / (full - j_raw):.0%}" if full > j_raw else ""
        print(f"| 1/{by} | {j_raw:.4f} | {j:.4f} | {back} | {f_raw:.3f} | {f:.3f} | {flicker_raw:.4f} | {left:.4f} |")


def dance_twirl(kind: str, frames: int) -> UInt8Array:
    """A folder of data/masks/dance-twirl: pictures in RGB, masks 0 or 255."""
    paths = sorted((DATA / "masks" / "dance-twirl" / kind).iterdir())[:frames]
    if kind == "frames":
        return np.stack([cv2.imread(str(path))[..., ::-1] for path in paths])
    return np.stack([(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8) * 255 for path in paths])


def dance(frames: int, steps: int) -> Filmed:
    """dance-twirl and a small network, trained on every third picture (odd and even ones by turns)."""
    pictures, truth = dance_twirl("frames", frames), dance_twirl("truth", frames)
    return Filmed(pictures, truth, train_network(pictures[::3], truth[::3], steps))


def train_network(pictures: UInt8Array, masks: UInt8Array, steps: int) -> Masker:
    """A U-net of 12 to 48 channels that looks at pictures of 288x160, trained down to 0.7 of their codes."""
    import torch
    from torch import nn
    from torch.nn import functional

    def block(before: int, after: int) -> nn.Sequential:
        layers = [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers)

    torch.manual_seed(0)
    down, up = nn.ModuleList([block(3, 12), block(12, 24), block(24, 36), block(36, 48)]), nn.ModuleList()
    up.extend([block(84, 36), block(60, 24), block(36, 12), nn.Conv2d(12, 1, 1)])

    def logits(picture: torch.Tensor) -> torch.Tensor:
        levels = [down[0](picture)]
        for layer in list(down)[1:]:
            levels.append(layer(functional.max_pool2d(levels[-1], 2)))
        found = levels.pop()
        for layer in list(up)[:-1]:
            beside = levels.pop()
            found = layer(torch.cat([functional.interpolate(found, size=beside.shape[-2:]), beside], 1))
        return up[-1](found)

    def tensor(values: UInt8Array) -> torch.Tensor:
        small = cv2.resize(values, SIZE, interpolation=cv2.INTER_AREA).reshape(SIZE[1], SIZE[0], -1)
        return torch.from_numpy(small).permute(2, 0, 1).float() / 255

    seen, wanted = torch.stack([tensor(p) for p in pictures]), torch.stack([tensor(m) for m in masks])
    optimiser = torch.optim.Adam([*down.parameters(), *up.parameters()], 3e-3)
    rng = np.random.default_rng(0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 3e-3 if step < 0.75 * steps else 6e-4
        picked = torch.from_numpy(rng.choice(len(seen), 2))
        x, y = seen[picked] * float(np.exp(rng.uniform(-0.35, 0.2))) - 0.5, wanted[picked]
        x, y = (x.flip(-1), y.flip(-1)) if rng.random() < 0.5 else (x, y)
        optimiser.zero_grad()
        functional.binary_cross_entropy_with_logits(logits(x), y).backward()
        optimiser.step()

    def mask(picture: UInt8Array, by: int) -> UInt8Array:
        with torch.no_grad():
            found = torch.sigmoid(logits(tensor(picture)[None] - 0.5))[0, 0].numpy()
        size = (picture.shape[1], picture.shape[0])
        return np.asarray(255 * cv2.resize(found, size, interpolation=cv2.INTER_LINEAR) + 0.5, np.uint8)

    return mask


def against_plate(plate: Plate) -> Masker:
    """Masks of pictures against a plate that is darkened as they are."""
    plates = {by: Plate(dim(plate.picture, by, 0), plate.confidence, plate.person_odds, 1.0) for by in DIMMED}
    return lambda picture, by: mask_flat_picture(picture, plates.get(by, plate))


def stage(frames: int) -> Filmed:
    """The simulated stage's flat pictures, their plate and their true masks."""
    with tempfile.TemporaryDirectory() as folder:
        take = Path(folder) / "take"
        size = {"width": 288, "height": 512, "hdris": 2, "lights": 64}
        alone = CameraSetup(face_cameras=0)
        truth = make_recording(
            take, cameras=1, camera=alone, pairs=frames - 1, subject="s3", seed=7, boards=False, **size
        )
        camera = truth.rig.cameras[0].id
        with av.open(str(take / "cameras" / f"{camera}.mp4")) as video:
            flats = [f.to_ndarray(format="rgb24") for n, f in enumerate(video.decode(video=0)) if n % 2 == 0]
        masks = np.load(take / "truth" / "masks" / f"{camera}.npz")
        plate = cv2.imread(str(take / "background" / f"{camera}.png"))[..., ::-1]
    given = Plate.given(np.ascontiguousarray(plate), still_noise(flats[::4], plate))
    return Filmed(np.stack(flats), masks[masks.files[0]][0::2][: len(flats)], against_plate(given))


def walk(frames: int, camera: str) -> Filmed:
    """real-walk's flat pictures at a third of their size, and the plate that their median makes."""
    size = (360, 640)
    with av.open(str(DATA / "real-walk" / "cameras" / f"{camera}.mp4")) as video:
        found = [f.to_ndarray(format="rgb24") for n, f in enumerate(video.decode(video=0)) if n % 2 == 0]
    pictures = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in found[:frames]])
    lumas = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures]
    moving = [np.linalg.norm(estimate_flow(*two)[0], axis=-1) > 0.64 for two in pairwise(lumas)]
    votes = spread_votes(pictures.__getitem__, moving)
    made = average_votes(pictures.__getitem__, votes)
    confidence = cv2.resize(votes.confidence, size)
    plate = Plate(made, np.asarray(confidence), votes.person_odds, still_noise(list(pictures[::4]), made))
    mask = against_plate(plate)
    return Filmed(pictures, np.stack([mask(p, 1) for p in pictures]), mask)


def print_real(frames: int) -> None:
    """The masks of real segmenters, at the rate they were made."""
    lumas = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in dance_twirl("frames", frames)]
    flows, truth = [stored_flow(*two) for two in pairwise(lumas)], dance_twirl("truth", frames)
    print("\n| source | J raw | J de-flickered | F raw | F de-flickered |\n|" + "---|" * 5)
    for kind in ("osvos", "rvos", "dropouts", "truth"):
        raw = dance_twirl(kind, frames)
        odd = slice(1, None, 2) if kind == "dropouts" else slice(None)  # where dropouts were drawn
        cells = [
            np.mean([score(a, b) for a, b in zip(m[odd], truth[odd], strict=True)])
            for score in (j_score, f_score)
            for m in (raw, deflicker_masks(raw, flows))
        ]
        print(f"| {kind} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")


def print_vote() -> None:
    """Milliseconds of one thread for the vote on a 1080p mask."""
    mask = np.zeros((1080, 1920), np.uint8)
    cv2.ellipse(mask, (900, 540), (200, 450), 0, 0, 360, 255, -1)
    bitten = mask.copy()
    cv2.circle(bitten, (1080, 400), 60, 0, -1)
    sides, known = [np.roll(mask, shift, 1) for shift in (2, -2)], np.full_like(mask, 255)
    for name, own in (("nothing to change", mask), ("a bite to fill", bitten)):
        spent = []
        for _ in range(200):
            began = time.thread_time()
            settle_mask(own, *sides, known)
            spent.append(time.thread_time() - began)
        print(f"vote on 1080p, {name}: {1000 * np.median(spent):.2f} ms of CPU")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=89, help="pictures of each sequence, odd")
    parser.add_argument("--steps", type=int, default=400, help="training steps of the small network")
    parser.add_argument("--only", default="real,dance,stage,walk,vote")
    parser.add_argument("--camera", default="c03", help="of real-walk")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    frames = arguments.frames - 1 + arguments.frames % 2
    parts: dict[str, Callable[[], None]] = {
        "real": lambda: print_real(90 if frames == 89 else frames),
        "dance": lambda: print_underexposed("dance-twirl, small network", dance(frames, arguments.steps)),
        "stage": lambda: print_underexposed("simulated stage, plate", stage(min(frames, 41))),
        "walk": lambda: print_underexposed(
            f"real-walk {arguments.camera}, plate", walk(min(frames, 49), arguments.camera)
        ),
        "vote": print_vote,
    }
    for name in arguments.only.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
