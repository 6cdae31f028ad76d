"""What the light check at the end of ingest costs on a long take: reading the looks, and estimating.

    .venv/bin/python benchmarks/light.py [--cameras 40] [--frames 40000] [--period 2]

The looks are simulated with exact truth: each camera of a stage with its own wall, a subject that walks, flat light by
turns with HDRIs held for some periods, noise; one camera in ten lost pictures, one shows two lights at times. They are
written as ingest does and read back. Prints the machine, its load, CPU and wall seconds, what of the truth was found,
and the peak of memory.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from litdome.capture.light_check import LightEstimate, estimate_light
from litdome.capture.looks import GRID, Looks
from litdome.store.session import Session

SEED, LIGHTS, HELD, BLOCK = 3, 200, 3, 1024
MOTION, NOISE, GAIN = 0.02, 0.0005, 0.5
LOSSES = 3  # by each camera that lost pictures
NEAR = 8  # frames: a loss is told where the light changes next


def film(camera: int, lights: np.ndarray, shown: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Grids of a camera, shape (picture, 24, 8), float16; ``lights`` by rig frame, -1 flat; ``shown``: rig frames."""
    rng = np.random.default_rng([SEED, camera])
    wall = cv2.resize(rng.uniform(0.05, 0.5, (6, 4)), GRID[::-1]).astype(np.float32)
    sides = [cv2.resize(rng.normal(0, 0.8, (4, 3)), GRID[::-1], interpolation=cv2.INTER_CUBIC) for _ in range(LIGHTS)]
    common = np.random.default_rng([SEED, 1]).normal(0, 0.5, LIGHTS)
    gains = np.concatenate([GAIN * np.exp(np.array(sides) + common[:, None, None]), np.ones((1, *GRID))])
    steps = np.random.default_rng([SEED, 2]).normal(0, MOTION, (len(lights), 2))
    path = np.tanh(np.cumsum(steps, axis=0) * [1 + camera % 3, 1])[shown].astype(np.float32)
    rows, columns = ((np.arange(count, dtype=np.float32) + 0.5) / count for count in GRID)
    down = np.exp(-(((rows - 0.5 - 0.3 * path[:, 1:]) / 0.25) ** 2))
    across = np.exp(-(((columns - 0.5 - 0.4 * path[:, :1]) / 0.12) ** 2))
    person = down[:, :, None] * across[:, None]
    gain = gains.astype(np.float32)[lights[shown]]
    gain[mixed, GRID[0] // 2 :] = gains[lights[shown[mixed] - 1], GRID[0] // 2 :]
    levels = np.clip((wall * (1 - person) + 0.45 * person) * gain, 0, 1) ** (1 / 2.2)
    levels += rng.normal(0, NOISE, levels.shape).astype(np.float32)
    return levels.astype(np.float16)


def write_take(path: Path, cameras: int, frames: int, period: int) -> tuple[dict[str, list[int]], list[int]]:
    """A store with ``looks/*`` of a take; (frames lost by camera, mixed pictures of the last camera)."""
    rng = np.random.default_rng(SEED)
    session = Session.new(str(path), {"name": "take", "subject": "s", "fps": 50.0, "recording": "/stage/take"})
    at = np.arange(frames + LOSSES)
    lights = np.where(at % period == 0, -1, (at // (HELD * period) * (period - 1) + at % period) % LIGHTS)
    shape, chunk = (cameras, frames), (1, min(BLOCK, frames))
    for name, dtype, rest in (("grid", "f2", GRID), ("fingerprint", "u4", ()), ("clipped", "f4", ())):
        dims = ("camera", "frame", "row", "column")[: 2 + len(rest)]
        session.create(f"looks/{name}", shape + rest, dtype, dims, shard=None, chunk=chunk + rest)
    mixed = np.sort(rng.choice(np.arange(50, frames - 50, 10), min(50, frames // 20), replace=False))
    lost: dict[str, list[int]] = {}
    for row in range(cameras):
        id = f"c{row:02d}"
        own = sorted(rng.choice(np.arange(100, frames - 100), LOSSES, replace=False).tolist()) if row % 10 == 5 else []
        if own:
            lost[id] = own
        shown = np.delete(at, own)[:frames]
        two_lights = mixed if row == cameras - 1 else mixed[:0]
        session.array("looks/grid")[row] = film(row, lights, shown, two_lights)
        session.array("looks/fingerprint")[row] = rng.integers(1, 2**32, frames, dtype=np.uint32)
    return lost, mixed.tolist()


def read_light(session: Session, cameras: int) -> Looks:
    """What the light check needs of all looks."""
    grid, fingerprint = (session.read(f"looks/{name}") for name in ("grid", "fingerprint"))
    none = np.zeros((0, 0), np.float32)
    return Looks(tuple(f"c{row:02d}" for row in range(cameras)), grid, none, none, none, none, fingerprint)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print CPU and wall seconds, and the highest memory of the process so far."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {name} | {cpu:.2f} | {wall:.2f} | {peak:.0f} |", flush=True)


def told(estimate: LightEstimate, lost: dict[str, list[int]], mixed: list[int]) -> str:
    """How much of the truth was found, in a line."""
    found = {id: [at for at, count in drops for _ in range(count)] for id, drops in estimate.drops.items() if drops}
    near = sum(
        len(found.get(id, [])) == len(own) and np.abs(np.subtract(found[id], own)).max() <= NEAR
        for id, own in lost.items()
    )
    seen = [np.flatnonzero(row).tolist() for row in estimate.mixed]
    right, wrong = len(set(seen[-1]) & set(mixed)), sum(map(len, seen)) - len(set(seen[-1]) & set(mixed))
    return (
        f"period {estimate.beat and estimate.beat.period}, confidence {estimate.confidence:.3f}; losses of {near} of "
        f"{len(lost)} cameras, {len(set(found) - set(lost))} invented; {right} of {len(mixed)} mixed pictures, "
        f"{wrong} invented; {int(estimate.duplicates.sum())} repeated pictures invented"
    )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--period", type=int, default=2)
    asked = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.zarr"
        with ProcessPoolExecutor(1) as pool:  # its memory is not ours
            lost, mixed = pool.submit(write_take, path, asked.cameras, asked.frames, asked.period).result()
        print(f"{asked.cameras} cameras x {asked.frames} frames, flat every {asked.period}\n")
        print("| what | CPU s | wall s | peak MB |\n|---|---|---|---|")
        with timed("open the session"):
            session = Session.open(str(path))
        with timed("read the looks"):
            looks = read_light(session, asked.cameras)
        with timed("estimate the light"):
            estimate = estimate_light(looks)
    print(f"\n{told(estimate, lost, mixed)}")


if __name__ == "__main__":
    main()
