"""Mixing LEDs of more than three colours (RGBAW) so that a colour chart looks as it should under each light.

Source: LeGendre et al., Practical Multispectral Lighting Reproduction, 2016: photograph a chart under each LED channel,
then find the channels' non-negative weights by least squares; no spectrometer.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from litdome.config import nearest
from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
COLUMNS = ("patch", "light", "r", "g", "b")
TARGET = "target"  # the chart under the light that maps are to be reproduced as: daylight, or the stage's own white
NEUTRAL = "white"
MOST_CHANNELS = 8  # all 255 sets of lit channels are tried
IN_GAMUT = 0.01  # relative error of a neutral patch
TIE = 1e-9  # of the mean square response: of mixtures that look alike, the one with the least drive


@dataclass(frozen=True, eq=False)
class MixChart:
    """What a chart looks like under each LED channel.

    Attributes:
        channels: Names of the LED channels.
        patches: Names of the patches.
        response: Linear camera RGB at full drive, shape (patch, 3, channel); scaled so that the neutral patch has a
            mean of 1 under all channels together.
        target: Linear RGB under the target light, shape (patch, 3), the neutral patch (1, 1, 1); only a neutral patch
            is matched where it is None.
        neutral: Index of the neutral patch.
    """

    channels: tuple[str, ...]
    patches: tuple[str, ...]
    response: FloatArray
    target: FloatArray | None
    neutral: int

    @property
    def channel_rgb(self) -> FloatArray:
        """What each channel at full drive shows of a neutral surface, shape (channel, 3)."""
        return cast(FloatArray, self.response[self.neutral].T)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights of the LED channels.

    Attributes:
        weights: Share of full drive (above 1 where the light is brighter than that), shape (..., channel).
        residual: Over all patches, against the size of what was wanted, shape (...).
        out_of_gamut: No mixture shows a neutral patch within 1 % of the colour, shape (...), bool.
    """

    weights: FloatArray
    residual: FloatArray
    out_of_gamut: npt.NDArray[np.bool_]


def mix_chart(
    channels: Sequence[str],
    patches: Sequence[str],
    response: FloatArray,
    target: FloatArray | None = None,
    *,
    neutral: str = NEUTRAL,
    name: str = "chart",
) -> MixChart:
    """A chart from its readings, linear and with the black level taken off.

    Args:
        channels: Names of the LED channels: three to eight.
        patches: Names of the patches.
        response: Shape (patch, 3, channel).
        target: Shape (patch, 3), or None.
        neutral: Which patch an RGB value means.
        name: What errors call it.

    Raises:
        CalibrationError: Too few or too many channels, no neutral patch, a dark one, values that are not finite.
    """
    if not 3 <= len(channels) <= MOST_CHANNELS:
        raise CalibrationError(f"{name}: {len(channels)} LED channels, 3 to {MOST_CHANNELS} can be mixed")
    if neutral not in patches:
        raise CalibrationError(f"{name}: no patch {neutral}", hint=nearest(neutral, patches))
    at = list(patches).index(neutral)
    everything = [response] if target is None else [response, target]
    if not all(np.isfinite(values).all() for values in everything):
        raise CalibrationError(f"{name}: a value that is not finite")
    if not (response[at].sum(axis=0) > 0).all() or (target is not None and not (target[at] > 0).all()):
        dark = [channel for channel, light in zip(channels, response[at].sum(axis=0), strict=True) if not light > 0]
        raise CalibrationError(f"{name}: patch {neutral} is dark under {', '.join(dark) or TARGET}")
    scaled = response / response[at].sum(axis=1).mean()
    wanted = None if target is None else target / target[at]
    return MixChart(tuple(channels), tuple(patches), scaled, wanted, at)


def read_mix_chart(file: Path, *, neutral: str = NEUTRAL) -> MixChart:
    """Read chart readings: ``patch,light,r,g,b``, one row per patch and photograph; ``light`` is a LED channel, or
    ``target`` for the chart in the light that is to be reproduced.

    Raises:
        CalibrationError: Unreadable, a patch twice or left out (names both), or as `mix_chart`.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            found = tuple(reader.fieldnames or ())
    except OSError as error:
        raise CalibrationError(f"{file}: cannot be read ({error.strerror})", hint="is the path right?") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CalibrationError(f"{file}: not a CSV ({error})") from error
    if found != COLUMNS:
        raise CalibrationError(f"{file}: columns {','.join(map(str, found))[:80]}", hint=",".join(COLUMNS))
    values: dict[tuple[str, str], FloatArray] = {}
    for n, row in enumerate(rows, start=2):
        key = str(row["light"]), str(row["patch"])
        if key in values:
            raise CalibrationError(f"{file} line {n}: {key[1]} under {key[0]} a second time", hint="once each")
        values[key] = _rgb(f"{file} line {n}", row)
    lights = list(dict.fromkeys(light for light, _ in values))
    patches = list(dict.fromkeys(patch for _, patch in values))
    for light in lights:
        missing = [patch for patch in patches if (light, patch) not in values]
        if missing:
            raise CalibrationError(f"{file}: {light} lacks {', '.join(missing[:5])}", hint="every patch in every light")
    table = {light: np.array([values[light, patch] for patch in patches]) for light in lights}
    target = table.pop(TARGET, None)
    if not table:
        raise CalibrationError(f"{file}: no LED channels in it", hint="one photograph of the chart per LED channel")
    response = np.stack(list(table.values()), axis=-1)
    return mix_chart(list(table), patches, response, target, neutral=neutral, name=str(file))


def mix_lights(rgb: npt.NDArray[np.floating[Any]], chart: MixChart) -> Mixture:
    """Channel weights that show the chart as light of the given colours would.

    With a target, every patch should look as in the target light, scaled channel by channel; without one, the neutral
    patch alone counts, and of all mixtures that do it the one with the least drive is taken.

    Args:
        rgb: Of the light, as a neutral patch shows it, shape (..., 3), not negative.
        chart: Of `mix_chart` or `read_mix_chart`.
    """
    flat = np.reshape(rgb, (-1, 3)).astype(np.float64)
    neutral = chart.response[chart.neutral][None], np.ones((1, 3))
    response, target = neutral if chart.target is None else (chart.response, chart.target)
    weights = _weights(response, target, flat)
    wanted = target[None] * flat[:, None]
    off = np.einsum("pck,nk->npc", response, weights) - wanted
    residual = np.linalg.norm(off, axis=(1, 2)) / np.maximum(np.linalg.norm(wanted, axis=(1, 2)), 1e-30)
    best = _weights(*neutral, flat) @ chart.channel_rgb
    size = np.linalg.norm(flat, axis=1)
    outside = np.linalg.norm(best - flat, axis=1) > IN_GAMUT * size
    shape = np.shape(rgb)[:-1]
    return Mixture(weights.reshape(*shape, -1), residual.reshape(shape), outside.reshape(shape))


def _weights(response: FloatArray, target: FloatArray, rgb: FloatArray) -> FloatArray:
    """Non-negative least squares for many colours at once, shape (n, channel)."""
    columns = response.reshape(-1, response.shape[-1])
    gram = columns.T @ columns
    gram += TIE * np.trace(gram) / len(gram) * np.eye(len(gram))
    wanted = np.einsum("pck,pc->ck", response, target)
    return nonnegative_least_squares(gram, rgb @ wanted)


def nonnegative_least_squares(gram: FloatArray, wanted: FloatArray) -> FloatArray:
    """Minimise w G w / 2 - w b over w >= 0, for many b and one small G: exact, by trying every set of lit channels.

    Args:
        gram: G, shape (channel, channel), positive definite.
        wanted: b, shape (n, channel).

    Returns:
        w, shape (n, channel).
    """
    count = len(gram)
    best, least = np.zeros_like(wanted), np.zeros(len(wanted))
    for size in range(1, count + 1):
        for lit in map(list, combinations(range(count), size)):
            weights = np.linalg.solve(gram[np.ix_(lit, lit)], wanted[:, lit].T).T
            value = -(weights * wanted[:, lit]).sum(axis=1)  # twice the minimum on this set
            better = (weights >= 0).all(axis=1) & (value < least)
            least[better] = value[better]
            best[better] = 0
            best[np.ix_(better, lit)] = weights[better]
    return best


def _rgb(where: str, row: dict[str, str]) -> FloatArray:
    try:
        values = np.array([float(row[channel]) for channel in "rgb"])
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{where}: r, g and b must be numbers") from error
    return values
