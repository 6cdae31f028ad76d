"""How a simulated take is lit: by which lights, in which order; HDRIs, one LED at a time, dark frames."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from litdome.errors import UsageError
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule
from litdome.lighting.effective_map import effective_map
from litdome.lighting.led_set import LedSet
from litdome.synth.hdris import HDRI_KINDS, make_hdri
from litdome.synth.led_dome import Dome, far_dome, import_dome, make_dome
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Float32Array

IntArray = npt.NDArray[np.int32]
TakeKind = Literal["hdri", "olat"]
DEFAULT_PAIRS = 24
STAGE_LEDS = 331  # FaceOLAT, HumanOLAT
OLAT_INTERLEAVE = 20  # FaceOLAT, HumanOLAT: one frame in 21 is flat
DARK, FLAT = -1, 0  # numbers of patterns; the others count from 1


@dataclass(frozen=True)
class LightSetup:
    """The lights of a take: LEDs on a dome, those of a file, or lights at infinity.

    Attributes:
        leds: LEDs on a dome of real size; None: as many as a real stage has.
        positions: A Goliath-style lights json to take the LEDs from instead.
        far_lights: Number of lights at infinity instead: light as in the open, and quicker to film.
        spectral: Red, green, blue, amber and white LEDs with their spectra.
        take: ``hdri``: flat and HDRIs; ``olat``: flat and one LED at a time.
        dark_frames: With no light at all, after the take.
        gain: Session gain: linear light in the pictures over radiance of the HDRIs; multiplies flat light too. None:
            that of the subject's session.
    """

    leds: int | None = None
    positions: Path | None = None
    far_lights: int | None = None
    spectral: bool = False
    take: TakeKind = "hdri"
    dark_frames: int = 0
    gain: float | None = None

    def dome(self) -> Dome:
        """The LEDs.

        Raises:
            UsageError: What cannot be.
            CalibrationError: A file of LEDs that cannot be used.
        """
        if self.take not in get_args(TakeKind):
            raise UsageError(f"take {self.take!r} is not one of {', '.join(get_args(TakeKind))}", hint="--take olat")
        if self.gain is not None and not 0 < self.gain < inf:
            raise UsageError(f"light_gain = {self.gain:g}, must be above 0 and finite")
        if self.dark_frames < 0:
            raise UsageError(f"dark_frames = {self.dark_frames}, at least 0 is needed")
        given = {"leds": self.leds, "positions": self.positions, "far_lights": self.far_lights}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            said = "--leds, --light-positions and --far-lights: one of them"
            raise UsageError(f"lights are given both by {' and by '.join(named)}", hint=said)
        if self.positions is not None:
            return import_dome(self.positions, spectral=self.spectral)
        if self.far_lights is not None:
            return far_dome(self.far_lights, spectral=self.spectral)
        return make_dome(STAGE_LEDS if self.leds is None else self.leds, spectral=self.spectral)


@dataclass(frozen=True, eq=False)
class LightPlan:
    """What is lit when.

    Attributes:
        schedule: As lights.csv says it.
        pattern: Of each frame, shape (frame,): -1 dark, 0 flat, k the k-th other one of `lit`: HDRI entry or LED k - 1.
        lit: The light of each pattern.
        dark: No light.
        maps: Radiance of the schedule's entries, their gain not applied.
        leds: Where the LEDs are (lights at infinity: 1 m away).
        channels: Of the LEDs.
        gain: Of the session; applied in `lit`.
    """

    schedule: LightingSchedule
    pattern: IntArray
    lit: tuple[DirectionalLights, ...]
    dark: DirectionalLights
    maps: tuple[Float32Array, ...]
    leds: LedSet
    channels: tuple[str, ...]
    gain: float

    @property
    def names(self) -> list[str]:
        """Of the patterns."""
        rest = [entry.name for entry in self.schedule.entries] or [f"led{k}" for k in range(len(self.leds))]
        return ["flat", *rest]

    @property
    def by_frame(self) -> list[DirectionalLights]:
        """The light of each frame."""
        return [self.dark if number == DARK else self.lit[number] for number in self.pattern]

    def env_requested(self, entry: int) -> Float32Array:
        """What an HDRI entry asks for: its map, the entry's gain applied, the session's not."""
        return self.maps[entry] * np.float32(self.schedule.entries[entry].gain)

    def env_effective(self, entry: int) -> Float32Array:
        """What the LEDs made of an HDRI entry: a map of its size, the entry's gain applied, the session's not."""
        return effective_map(self.leds, self.lit[1 + entry].rgb / self.gain, len(self.maps[entry]), "physical")


def plan_light(
    setup: LightSetup,
    *,
    pairs: int | None,
    interleave: int | None,
    hdris: int,
    hdri_gain: float,
    session_gain: float,
    seed: int,
    rng: np.random.Generator,
) -> LightPlan:
    """Draw what is lit when.

    Args:
        setup: The lights.
        pairs: Relit frames; None: 24, or every working LED once.
        interleave: Relit frames from one flat frame to the next; None: 1, or 20 with one LED at a time.
        hdris, hdri_gain: Number of HDRIs and what dims them.
        session_gain: Where the setup does not say it.
        seed: Draws HDRIs.
        rng: Draws their order.

    Raises:
        UsageError, CalibrationError: As `LightSetup.dome`, or more pairs than LEDs.
    """
    dome, gain = setup.dome(), session_gain if setup.gain is None else setup.gain
    maps: list[Float32Array] = []
    entries: tuple[HdriEntry, ...] = ()
    if setup.take == "olat":
        order = _led_order(dome.leds, pairs, rng)
        pattern = _interleaved(order + 1, interleave or OLAT_INTERLEAVE, short_first=interleave != 1)
        lit = [dome.lights(dome.one_led_drive(led)) for led in range(len(dome.leds))]
    else:
        pairs = DEFAULT_PAIRS if pairs is None else pairs
        names, maps = _draw_hdris(min(hdris, pairs), seed)
        entries = tuple(HdriEntry(name, 0.0, hdri_gain) for name in names)
        pattern = _interleaved(_hdri_order(len(maps), pairs, rng) + 1, interleave or 1)
        lit = [dome.lights(dome.drive_hdri(hdr * np.float32(hdri_gain))) for hdr in maps]
    pattern = np.concatenate([pattern, np.full(setup.dark_frames, DARK, np.int32)])
    lit = [dome.lights(dome.flat_drive()), *lit]
    other = KIND_CODES["pattern" if setup.take == "olat" else "hdri"]
    kind = np.select([pattern == DARK, pattern == FLAT], [KIND_CODES["dark"], KIND_CODES["flat"]], other)
    hdri = np.where(kind == KIND_CODES["hdri"], pattern - 1, -1).astype(np.int32)
    return LightPlan(
        LightingSchedule(kind.astype(np.uint8), hdri, entries),
        pattern,
        tuple(light.scaled(gain) for light in lit),
        lit[FLAT].scaled(0.0),
        tuple(maps),
        dome.leds,
        dome.channels,
        gain,
    )


def _draw_hdris(count: int, seed: int) -> tuple[list[str], list[Float32Array]]:
    """Names, sorted, and radiance of ``count`` HDRIs."""
    kinds = list(HDRI_KINDS)
    names = sorted(f"{kinds[k % len(kinds)]}_{k:02d}" for k in range(count))
    return names, [make_hdri(name.rsplit("_", 1)[0], seed * 100 + int(name.rsplit("_", 1)[1])) for name in names]


def _hdri_order(count: int, pairs: int, rng: np.random.Generator) -> IntArray:
    """The HDRI of each relit frame, shape (pairs,): each lit for a few in a row, twice where there are enough."""
    rounds = 2 if pairs >= 2 * count else 1  # a light that comes twice can be in the training and in a held-out motion
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    blocks = np.array_split(np.arange(pairs), len(order))
    return np.concatenate([np.full(len(block), index, np.int32) for index, block in zip(order, blocks, strict=True)])


def _led_order(leds: LedSet, pairs: int | None, rng: np.random.Generator) -> IntArray:
    """Working LEDs in the order in which they are lit, the first ``pairs`` of them."""
    working = np.flatnonzero(leds.valid)
    if pairs is not None and pairs > len(working):
        raise UsageError(f"pairs = {pairs}, but {len(working)} LEDs are lit once each", hint=f"--pairs {len(working)}")
    return rng.permutation(working)[:pairs].astype(np.int32)


def _interleaved(patterns: IntArray, interleave: int, *, short_first: bool = False) -> IntArray:
    """Patterns with a flat frame before the first, after every ``interleave`` and after the last.

    Args:
        patterns: Shape (n,).
        interleave: Patterns between flat frames.
        short_first: One fewer after the first flat frame, as real stages of one LED at a time do it.
    """
    frame = np.arange(len(patterns))
    frame += 1 + (frame + short_first) // interleave
    out = np.full(frame[-1] + 2, FLAT, np.int32)
    out[frame] = patterns
    return out
