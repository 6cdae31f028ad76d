"""How right the simulated stage's light is: furnaces, irradiance, superposition, colour of five-channel LEDs.

    .venv/bin/python benchmarks/simulated_light.py [--leds 331]

Furnace: a white ball in flat light, which should show 1 everywhere. Irradiance: of each kind of HDRI's lights against
the sum over its texels, at the directions of a 24x48 grid, as a share of the strongest. Superposition: a ball under
every LED alone, added up, against all at once. Colour: how far a mixture's 24-patch chart is from that in daylight,
RMS. Prints the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import replace

import numpy as np

from litdome.color import COLORCHECKER_24
from litdome.geometry import Camera, look_at
from litdome.lighting import latlong_directions, latlong_solid_angles
from litdome.synth.hdris import HDRI_KINDS, make_hdri
from litdome.synth.led_dome import Dome, far_dome, make_dome
from litdome.synth.render import Mesh, Scene, Surface, cast_surface
from litdome.synth.rig import TARGET
from litdome.synth.shading import flat_lights, light_vertices, shade, shade_vertices
from litdome.synth.spectra import RGBAW, channel_responses, mix_channels

EYE = TARGET + np.array([0.0, 0.0, 0.6])


def seen_ball(radius_m: float, **material: float) -> tuple[Scene, Surface]:
    """A white ball in the middle of the stage, and what a camera sees of it."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 65), np.linspace(0, 2 * np.pi, 129), indexing="ij")
    normal = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), -np.sin(theta) * np.sin(phi)], -1).reshape(-1, 3)
    index = np.arange(65 * 129).reshape(65, 129)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    scene = Scene((Mesh(TARGET + radius_m * normal, faces, normal, np.ones_like(normal), **material),))
    intrinsics = np.array([[25 / radius_m * 0.6, 0, 39.5], [0, 25 / radius_m * 0.6, 39.5], [0, 0, 1]])
    return scene, cast_surface(scene, Camera("c00", 80, 80, intrinsics, np.zeros(8), look_at(EYE, TARGET)))


def furnaces(leds: int) -> None:
    scene, surface = seen_ball(0.05, reflectance=0.0)
    domes = {"128 at infinity": flat_lights(128), f"{leds} at infinity": flat_lights(leds)}
    domes[f"{leds} on a dome to -66 degrees"] = make_dome(leds).lights(make_dome(leds).flat_drive())
    for name, lights in domes.items():
        shown = shade(scene, surface, lights)
        print(f"furnace, Lambert, {name}: {shown.min():.4f} to {shown.max():.4f}, mean {shown.mean():.4f}")
    for roughness in (0.1, 0.3, 0.45, 0.6, 0.85, 1.0):
        scene, surface = seen_ball(0.05, roughness=roughness, metallic=1.0)
        shown = shade(scene, surface, flat_lights(2048))[:, 0]
        facing = (surface.normal * surface.to_viewer).sum(axis=1)
        print(
            f"furnace, white metal, roughness {roughness}: facing {shown[facing > 0.95].mean():.3f}, "
            f"45 degrees {shown[np.abs(facing - 0.707) < 0.05].mean():.3f}, mean {shown.mean():.3f}"
        )


def irradiance(dome: Dome, name: str) -> None:
    normals = latlong_directions(24, 48).reshape(-1, 3)
    worst = []
    for kind in HDRI_KINDS:
        for seed in range(4):
            hdr = make_hdri(kind, seed)
            energy = (hdr * latlong_solid_angles(*hdr.shape[:2])[..., None]).reshape(-1, 3).astype(float)
            exact = np.maximum(normals @ latlong_directions(*hdr.shape[:2]).reshape(-1, 3).T, 0) @ energy
            light = dome.lights(dome.drive_hdri(hdr))
            found = np.maximum(normals @ light.directions.T.astype(float), 0) @ light.rgb
            off = np.abs(found - exact) / exact.max(axis=0)
            worst.append((kind, 100 * np.quantile(off, 0.95), 100 * off.max()))
    for kind in HDRI_KINDS:
        p95, most = (max(row[n] for row in worst if row[0] == kind) for n in (1, 2))
        print(f"irradiance, {name}, {kind}: p95 {p95:.2f} %, worst {most:.2f} % of the strongest, of 4 maps")


def by_hand(leds: int) -> None:
    """Shading against a sum in double precision, LED by LED."""
    dome = make_dome(leds)
    scene, surface = seen_ball(0.3, reflectance=0.0)
    for kind in ("room", "sun_and_sky"):
        light = dome.lights(dome.drive_hdri(make_hdri(kind, 1)))
        wanted = np.zeros((len(surface.position), 3))
        for at, intensity in zip(dome.leds.positions_m, light.intensity.astype(float), strict=True):
            away = at - surface.position
            distance = np.linalg.norm(away, axis=1)
            share = np.maximum((surface.normal * away).sum(axis=1), 0) * ((at - TARGET) ** 2).sum() / distance**3
            wanted += share[:, None] * intensity
        off, far = (
            np.abs(shade(scene, surface, lit) * np.pi - wanted).max() / wanted.max()
            for lit in (light, replace(light, positions=None))
        )
        print(f"LEDs at 3.6 m, {kind}: {off:.1e} off the sum by hand; at infinity {far:.2f}")


def superposition(leds: int) -> None:
    dome = make_dome(leds)
    drive = dome.flat_drive()
    scene, surface = seen_ball(0.2, roughness=0.45)

    def shown(drive: np.ndarray) -> np.ndarray:
        return shade_vertices(scene, surface, light_vertices(scene, (dome.lights(drive),)), EYE)[0]

    one_by_one = sum(shown(drive * (np.arange(leds) == led)[:, None]).astype(float) for led in range(leds))
    print(f"superposition of {leds} LEDs: {np.abs(one_by_one - shown(drive)).max():.1e} linear at most")


def colours() -> None:
    patches = np.clip(COLORCHECKER_24, 0, None)
    for channels in ([0, 1, 2], [0, 1, 2, 4], [0, 1, 2, 3, 4]):
        responses = channel_responses()[channels]
        mixed = np.einsum("c,cij->ji", mix_channels(np.ones((1, 3)), responses)[0], responses)
        off = patches @ mixed - patches
        print(f"chart under {'+'.join(RGBAW[c] for c in channels)}: {np.sqrt((off**2).mean()):.4f} RMS, linear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leds", type=int, default=331)
    leds = parser.parse_args().leds
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    furnaces(leds)
    irradiance(far_dome(128), "128 at infinity")
    irradiance(far_dome(leds), f"{leds} at infinity")
    irradiance(make_dome(leds), f"{leds} on a dome to -66 degrees")
    by_hand(leds)
    superposition(leds)
    colours()


if __name__ == "__main__":
    main()
