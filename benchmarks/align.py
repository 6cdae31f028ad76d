"""What align costs a pair, given its flow, and what raft would cost it in place of dis.

    .venv/bin/python benchmarks/align.py SESSION [--pairs 20] [--raft]

SESSION has been run up to deflicker, `litdome run RECORDING SESSION --until deflicker`, say. Prints the machine, its
load, and CPU milliseconds of one thread, the median over pairs: reading the pictures, masks and flow; measuring, of
which the compensation; DIS and, with --raft, both networks with random weights (theirs cost the same).
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from functools import lru_cache, partial

import cv2
import numpy as np

from litdome.preprocess.align import read_pair, read_view
from litdome.preprocess.compensation import compensate
from litdome.preprocess.flow import estimate_flow, shrink, working_size
from litdome.preprocess.motion import MOTION_LONG_SIDE_PX
from litdome.preprocess.pair_measures import measure_pair
from litdome.store.session import Session


def cpu_ms(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("session")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--raft", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    session = Session.open(given.session)
    camera = session.cameras[0]
    print("{} pairs of {}, {}x{}".format(given.pairs, camera, *session.size(camera)))
    inside = np.flatnonzero(session.pairs.next_flat >= 0)
    costs: dict[str, list[float]] = {"read": [], "measure": [], "of which compensate": [], "dis": []}
    flats = lru_cache(maxsize=2)(partial(read_view, session, camera, "flat"))
    for pair in inside[np.linspace(0, len(inside) - 1, given.pairs + 1).astype(int)]:
        motion, flat, next_flat, relit = read_pair(session, camera, int(pair), flats)
        if motion is None or next_flat is None:
            continue
        _ = flat.small.luma  # the pair before has asked for it
        costs["measure"].append(cpu_ms(lambda seen=(motion, flat, next_flat, relit): measure_pair(*seen)))
        lumas = flat.small.luma, next_flat.small.luma
        costs["of which compensate"].append(
            cpu_ms(lambda seen=(motion, flat.picture, next_flat.picture, lumas): compensate(*seen))
        )
        costs["dis"].append(cpu_ms(lambda lumas=lumas: estimate_flow(*lumas)))
        flats.cache_clear()
        flats(int(session.pairs.flat[pair]))
        costs["read"].append(cpu_ms(lambda pair=pair: read_pair(session, camera, int(pair), flats)))
    for name, values in costs.items():
        print(f"{name}: {np.median(values[1:]):.1f} ms")  # the first pair fills caches
    if given.raft:
        size = working_size(*session.size(camera), MOTION_LONG_SIDE_PX)
        time_raft([shrink(view.picture, size) for view in (flat, next_flat)])


def time_raft(pictures: list[np.ndarray]) -> None:
    import torch

    from litdome.preprocess.raft.network import LARGE, SMALL, Raft
    from litdome.preprocess.raft.weights import RaftFlow

    torch.set_num_threads(1)
    for name, size in (("small", SMALL), ("large", LARGE)):
        torch.manual_seed(0)
        network = RaftFlow(Raft(size).eval(), "cpu")
        cost_ms = cpu_ms(lambda network=network: network(*pictures))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"raft {name}: {cost_ms:.0f} ms, peak of the process {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
