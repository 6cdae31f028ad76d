"""How near LED drives come to their HDRIs: three methods, whole domes and broken ones, turned maps; and the time.

    .venv/bin/python benchmarks/led_drive.py ../shared/data/real-walk/hdris [--rotations 12] [--best]

The dome is `litdome.synth.led_dome.ring_dome`: 331 LEDs, laid out as on a real stage. Methods: ``equal`` (each LED the
mean of its cell's pixels, all LEDs alike, total 4 pi: no solid angles), ``cells`` (spherical Voronoi with solid angles:
the baseline), ``fit`` (what `drive_hdri` gives). ``--best`` also finds, by linear programming, the smallest worst error
that any non-negative drive of this dome can have, against the strongest irradiance and against the local one. Prints
the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import cKDTree

from litdome.calib.leds.drive import DriveErrors, MapLight, drive_hdri, judge_drive, measure_light, probe_normals
from litdome.lighting.effective_map import effective_map
from litdome.lighting.led_set import LedSet, led_set
from litdome.media.hdr import HDR_SUFFIXES, read_hdr
from litdome.synth.led_dome import ring_dome

UP = int(np.argmax(probe_normals()[:, 1]))


def equal_weights(hdr: np.ndarray, light: MapLight, leds: LedSet) -> np.ndarray:
    """Mean pixel of each cell, times 4 pi over the number of LEDs; shape (light, 3)."""
    cells = cKDTree(leds.directions).query(light.directions)[1]
    counts = np.bincount(cells, minlength=len(leds))[:, None]
    sums = np.stack([np.bincount(cells, hdr.reshape(-1, 3)[:, c], len(leds)) for c in range(3)], axis=1)
    return np.asarray(sums / counts * 4 * np.pi / len(leds))


def best_possible(light: MapLight, leds: LedSet, allowed: np.ndarray) -> float:
    """The smallest worst |error| / ``allowed``, shape (642, 3), over all drives and normals; of the worst channel."""
    cosine = np.maximum(probe_normals() @ leds.directions.T, 0)
    worst = 0.0
    for c in range(3):
        scale = light.irradiance[:, c].max()
        rows = cosine * scale / allowed[:, c : c + 1]
        wanted = light.irradiance[:, c] / allowed[:, c]
        one = np.ones((len(rows), 1))
        found = linprog(
            np.append(np.zeros(len(leds)), 1),
            A_ub=np.block([[rows, -one], [-rows, -one]]),
            b_ub=np.concatenate([wanted, -wanted]),
            bounds=(0, None),
        )
        worst = max(worst, float(found.fun))
    return worst


def shown(errors: DriveErrors) -> str:
    """Percent."""
    numbers = (errors.p95, errors.worst, errors.uncovered, errors.local_p95, errors.specular)
    return "  ".join(f"{100 * value:6.2f}" for value in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rotations", type=int, default=12)
    parser.add_argument("--best", action="store_true")
    options = parser.parse_args()
    print(platform.processor() or platform.machine(), os.cpu_count(), "cores, load", os.getloadavg()[0])
    leds = led_set(ring_dome())
    broken = leds.without(np.random.default_rng(0).choice(331, 10, replace=False))
    hatch = leds.without(np.flatnonzero(leds.directions @ [0, -0.3, 0.954] > np.cos(np.radians(20))))
    print(f"{'':44} {'p95':>6}  {'worst':>6}  {'below':>6}  {'local':>6}  {'lobe':>6}   (percent)")
    for path in sorted(path for path in options.folder.iterdir() if path.suffix in HDR_SUFFIXES):
        hdr = read_hdr(path)
        start = time.perf_counter()
        light = measure_light(hdr, "physical", path.name)
        measured = time.perf_counter()
        found = drive_hdri(light, leds)
        solved = time.perf_counter()
        equal = equal_weights(hdr, light, leds)
        name = path.stem[:26]
        for method, intensity in (("equal", equal), ("cells", found.start), ("fit", found.intensity)):
            up = np.maximum(leds.directions[:, 1], 0) @ intensity / light.irradiance[UP] - 1
            away = " ".join(f"{100 * value:+5.1f}" for value in up)
            print(f"{name:26} {method:6} {'':10} {shown(judge_drive(light, leds, intensity))}   facing up: {away}")
        for what, stage in (("10 dead", broken), ("hatch", hatch)):
            part = drive_hdri(light, stage)
            print(f"{name:26} fit    {what:10} {shown(part.errors)}   cells: {shown(part.start_errors)}")
        turns = 360 / options.rotations * np.arange(options.rotations)
        turned = [drive_hdri(light, leds, rotation_deg=float(turn)).errors for turn in turns]
        worst = DriveErrors(*(max(vars(one)[field] for one in turned) for field in vars(turned[0])))
        print(f"{name:26} fit    worst of {options.rotations} {shown(worst)}")
        given = measure_light(effective_map(leds, found.intensity, len(hdr), "physical"), "physical")
        off = np.abs(given.irradiance - light.irradiance) / light.irradiance.max(axis=0)
        print(f"{name:26} effective map     {100 * np.quantile(off, 0.95):6.2f}  {100 * off.max():6.2f}")
        if options.best:
            strongest = np.broadcast_to(light.irradiance.max(axis=0), (642, 3))
            against = best_possible(light, leds, strongest), best_possible(light, leds, light.irradiance)
            print(f"{name:26} best possible     worst {100 * against[0]:.2f}, local {100 * against[1]:.2f}")
        print(f"{name:26} map {measured - start:.2f} s, drive {solved - measured:.2f} s", flush=True)


if __name__ == "__main__":
    main()
