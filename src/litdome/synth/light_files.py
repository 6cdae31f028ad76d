"""What a simulated take says of its lights: lights.json beside the pictures, drives and effective maps in truth/."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from litdome.lighting.led_set import leds_as_json
from litdome.media.hdr import write_hdr
from litdome.synth.light_setup import DARK, LightPlan
from litdome.synth.truth import made


def write_lights_json(path: Path, light: LightPlan, *, shift: int = 0) -> None:
    """Positions, patterns and the pattern of every frame, Goliath-style; a duration is the LED's brightest channel over
    the brightest of all patterns.

    Args:
        path: The file.
        light: What was lit.
        shift: Frames by which the file is early.
    """
    brightest = [lit.intensity.max(axis=1) for lit in light.lit]
    top = max(float(of_leds.max()) for of_leds in brightest)
    patterns = [
        {
            "name": name,
            "light_index_durations": [[int(n), round(float(of_leds[n]) / top, 7)] for n in np.flatnonzero(of_leds)],
        }
        for name, of_leds in zip(light.names, brightest, strict=True)
    ]
    if (light.pattern == DARK).any():
        patterns.append({"name": "dark", "light_index_durations": []})
    said = np.roll(np.where(light.pattern == DARK, len(light.lit), light.pattern), -shift)
    content = {
        **leds_as_json(light.leds),
        "light_patterns": patterns,
        "light_pattern_per_frame": [[frame, int(number)] for frame, number in enumerate(said)],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def write_light_truth(folder: Path, light: LightPlan) -> None:
    """``drive.npz``: positions_m, centre_m, valid, channels, channel_rgb, drive (pattern, light, channel) and pattern
    (frame,), -1 dark; ``env_requested/ENTRY.exr`` and ``env_effective/ENTRY.exr``: each HDRI as it was asked for and as
    the LEDs made it, its entry's gain applied. The session gain is in none of them."""
    response = light.lit[0].response
    np.savez_compressed(
        made(folder / "drive.npz"),
        positions_m=light.leds.positions_m,
        centre_m=light.leds.centre_m,
        valid=light.leds.valid,
        channels=np.array(light.channels),
        channel_rgb=np.eye(3) if response is None else response.sum(axis=2),
        drive=np.stack([lit.intensity / np.float32(light.gain) for lit in light.lit]),
        pattern=light.pattern,
    )
    for index, entry in enumerate(light.schedule.entries):
        write_hdr(made(folder / "env_requested" / f"{entry.name}.exr"), light.env_requested(index))
        write_hdr(made(folder / "env_effective" / f"{entry.name}.exr"), light.env_effective(index))
