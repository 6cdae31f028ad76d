"""Drive files: 16-bit codes of every LED and channel, as a Goliath-style lights json or a pylightstage sequence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from litdome.calib.leds.mixing import MixChart, Mixture, mix_lights
from litdome.config import nearest
from litdome.errors import CalibrationError, MissingPackageError, UsageError
from litdome.lighting.led_set import LedSet, leds_as_json, read_json

FloatArray = npt.NDArray[np.float64]
FULL_DRIVE = 65535
RGB = ("red", "green", "blue")
FLAT = "flat"
SUFFIXES = (".json", ".cbor")
Gain = float | Literal["shared", "each"]


@dataclass(frozen=True, eq=False)
class DriveTable:
    """What every LED is driven with, pattern by pattern; pattern 0 is flat: all LEDs alike.

    Attributes:
        names: Of the patterns: ``flat``, then HDRI entries.
        codes: Shape (pattern, light, channel), uint16.
        gains: Full drive per intensity 1, shape (pattern,): code = 65535 * gain * weight.
        channels: Names of the LED channels.
        channel_rgb: What a channel at full drive shows of a neutral surface, shape (channel, 3).
        order: Pattern of each frame, shape (frame,).
        fps: Frames per second.
        clipped: Share of each pattern's light that is more than full drive, and lost; shape (pattern,).
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.uint16]
    gains: FloatArray
    channels: tuple[str, ...]
    channel_rgb: FloatArray
    order: npt.NDArray[np.int32]
    fps: float
    clipped: FloatArray

    def intensity(self, pattern: int) -> FloatArray:
        """The light that the codes of a pattern give, in the units of its map, shape (light, 3)."""
        return cast(FloatArray, self.codes[pattern] / FULL_DRIVE / self.gains[pattern] @ self.channel_rgb)


def drive_table(
    intensities: Mapping[str, FloatArray],
    leds: LedSet,
    *,
    mix: MixChart | None = None,
    gain: Gain = "shared",
    order: Sequence[int] | None = None,
    fps: float = 25.0,
) -> tuple[DriveTable, dict[str, Mixture]]:
    """Codes for LED intensities.

    Args:
        intensities: By HDRI entry, each of shape (light, 3); they become patterns 1, 2, ... in this order.
        leds: The stage.
        mix: How RGB is made of the LED's channels; without it the channels are red, green and blue themselves.
        gain: Full drive per intensity 1. ``shared``: the brightest LED of all maps at full drive, so that maps keep
            their brightness against each other; ``each``: the brightest LED of each map at full drive.
        order: Pattern of each frame; by default each map once, a flat frame before each and at the end.
        fps: Frames per second.

    Returns:
        The table, and the mixture of each entry (none without ``mix``).

    Raises:
        CalibrationError: A gain that is not above 0.
    """
    if not isinstance(gain, str) and not gain > 0:
        raise CalibrationError(f"gain {gain:g}: must be above 0")
    mixtures = {name: mix_lights(rgb, mix) for name, rgb in intensities.items()} if mix is not None else {}
    wanted = [mixtures[name].weights if mixtures else rgb for name, rgb in intensities.items()]
    peaks = np.array([weights.max() for weights in wanted])
    scale = {"shared": np.full(len(peaks), 1 / peaks.max()), "each": 1 / peaks}
    gains = scale[gain] if isinstance(gain, str) else np.full(len(peaks), float(gain))
    scaled = np.stack([weights * one for weights, one in zip(wanted, gains, strict=True)])
    flat = _flat_pattern(leds, scaled)
    every = np.concatenate([flat[None], scaled])
    names = (FLAT, *intensities)
    if order is None:
        order = [*(frame for n in range(1, len(names)) for frame in (0, n)), 0]
    table = DriveTable(
        names,
        np.round(np.clip(every, 0, 1) * FULL_DRIVE).astype(np.uint16),
        np.concatenate([[1.0], gains]),
        RGB if mix is None else mix.channels,
        np.eye(3) if mix is None else mix.channel_rgb,
        np.array(order, np.int32),
        fps,
        np.maximum(every - 1, 0).sum(axis=(1, 2)) / np.maximum(every.sum(axis=(1, 2)), 1e-30),
    )
    return table, mixtures


def write_drives(path: Path, table: DriveTable, leds: LedSet) -> None:
    """Write a drive file: ``.json`` (Goliath's layout) or ``.cbor`` (pylightstage).

    In the json, ``light_index_drives`` holds [LED, code of each channel] and ``light_index_durations`` the brightest
    channel as a share of full drive. In a sequence red, green and blue are coloured fixtures, the other channels white
    fixtures in groups of three, arc by arc.

    Raises:
        UsageError: Another suffix, or the file exists.
        MissingPackageError: A sequence, and cbor2 is not installed.
    """
    check_drive_path(path)
    content = _sequence(path, table, leds) if path.suffix.lower() == ".cbor" else _json(table, leds)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_drive_path(path: Path) -> None:
    """Refuse what `write_drives` would not write to.

    Raises:
        UsageError: Another suffix, no such folder, or the file exists.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: drives are written as .json or .cbor", hint=f"-o {path.with_suffix('.json').name}")
    check_new_file(path)


def check_new_file(path: Path) -> None:
    """Refuse what no new file can be written to, before anything is computed.

    Raises:
        UsageError: No such folder, or the file exists.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: no such folder {path.parent}", hint=f"mkdir -p {path.parent}")
    if path.exists():
        raise UsageError(f"{path}: exists already", hint="give another name, or remove it")


def read_drives(file: Path) -> DriveTable:
    """Read back the json that `write_drives` wrote.

    Raises:
        CalibrationError: Unreadable, or a lights json without drives.
    """
    content = read_json(file)
    try:
        patterns = content["light_patterns"]
        lights, channels = len(content["light_positions"]), len(content["channels"])
        codes = np.zeros((len(patterns), lights, channels), np.uint16)
        for n, pattern in enumerate(patterns):
            listed = np.array(pattern["light_index_drives"], np.uint16).reshape(-1, channels + 1)
            codes[n, listed[:, 0]] = listed[:, 1:]
        return DriveTable(
            tuple(pattern["name"] for pattern in patterns),
            codes,
            np.array([float(pattern["gain"]) for pattern in patterns]),
            tuple(content["channels"]),
            np.array(content["channel_rgb"], np.float64).reshape(channels, 3),
            np.array(content["light_pattern_per_frame"], np.int32).reshape(-1, 2)[:, 1],
            float(content["fps"]),
            np.array([float(pattern["clipped"]) for pattern in patterns]),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise CalibrationError(
            f"{file}: no drive file ({type(error).__name__}: {str(error)[:60]})", hint="litdome lights drive"
        ) from error


def pattern_of(table: DriveTable, name: str, file: Path) -> int:
    """The pattern that drives an HDRI entry.

    Raises:
        CalibrationError: The file holds none; the hint gives the nearest name.
    """
    if name not in table.names[1:]:
        raise CalibrationError(f"{file}: no drive of {name}", hint=nearest(name, table.names[1:]))
    return table.names.index(name)


def _flat_pattern(leds: LedSet, scaled: FloatArray) -> FloatArray:
    """All working LEDs alike, as bright as the maps are on the average and at most at full drive: red, green and blue
    together, or the other channels where there are any (white and amber make the better white). (light, channel)."""
    channels = scaled.shape[2]
    used = slice(0, 3) if channels == 3 else slice(3, channels)
    flat = np.zeros(scaled.shape[1:])
    flat[leds.valid, used] = min(1.0, float(scaled.sum(axis=2)[:, leds.valid].mean()) / len(range(channels)[used]))
    return flat


def _json(table: DriveTable, leds: LedSet) -> bytes:
    patterns = []
    for name, codes, gain, clipped in zip(table.names, table.codes, table.gains, table.clipped, strict=True):
        lit = np.flatnonzero(codes.any(axis=1))
        brightest = codes.max(axis=1)
        pattern = {
            "name": name,
            "gain": float(gain),
            "clipped": float(clipped),
            "light_index_durations": [[int(n), round(int(brightest[n]) / FULL_DRIVE, 7)] for n in lit],
            "light_index_drives": [[int(n), *map(int, codes[n])] for n in lit],
        }
        patterns.append(pattern)
    content: dict[str, Any] = {
        **leds_as_json(leds),
        "fps": table.fps,
        "channels": list(table.channels),
        "channel_rgb": table.channel_rgb.tolist(),
        "light_patterns": patterns,
        "light_pattern_per_frame": [[frame, int(pattern)] for frame, pattern in enumerate(table.order)],
    }
    return json.dumps(content).encode()


def _sequence(path: Path, table: DriveTable, leds: LedSet) -> bytes:
    try:
        import cbor2
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: writing it needs cbor2", hint="pip install 'litdome[interchange]'"
        ) from error
    groups = -(-(len(table.channels) - 3) // 3)
    white = np.zeros((*table.codes.shape[:2], groups * 3), np.uint16)
    white[..., : len(table.channels) - 3] = table.codes[..., 3:]
    white_arcs = [count * groups for count in leds.arcs] if groups else []
    frames = [
        {
            "white_fixtures": _arcs(white[pattern].reshape(-1, 3), white_arcs),
            "rgb_fixtures": _arcs(table.codes[pattern, :, :3], leds.arcs),
        }
        for pattern in table.order
    ]
    return cbor2.dumps({"name": path.stem, "capture_hz": table.fps, "frames": frames})


def _arcs(fixtures: npt.NDArray[np.uint16], arcs: Sequence[int]) -> list[list[list[int]]]:
    """Triples by arc, as plain numbers."""
    ends = np.cumsum(arcs)
    return [fixtures[end - count : end].tolist() for end, count in zip(ends, arcs, strict=True)]
