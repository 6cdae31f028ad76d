"""Compare a run with simple baselines and ceilings on held-out samples: measures by split and method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.datasets.metrics import (
    Measure,
    color_bias,
    cross_inference,
    detail_ratio,
    gain_error,
    masked_psnr,
    masked_ssim,
    one_light,
    one_light_error_deg,
    register,
    superposition_error,
    turn_error,
)
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import sh_basis
from litdome.progress import Progress, silent
from litdome.train_plugins.clips import array_clip
from litdome.train_plugins.protocol import DatasetView, Renderer
from litdome.train_plugins.relighting import relight_one

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
FLAT, RATIO = "flat copied", "colour ratio"
RELIT_FROM = {"flat", "env_ldr", "env_log", "env_direction"}  # what a flat picture and any HDRI give
PHYSICS_GAIN, PHYSICS_TURN_DEG = 2.0, 60.0
REGIONS = ("face", "hands")
MARGIN_PX = 32  # more than any window of the measures, and than people move in half a step


@dataclass(frozen=True)
class Score:
    """Means over ``n`` samples; None: not measured. docs/metrics.md defines each.

    Attributes:
        psnr, ssim: Over the mask.
        lpips: None while no weights are given.
        n: Samples with a mask.
        registered_psnr, shift_px: After local registration, and how far it moved; None for the flat picture copied,
            whose light is another.
        detail_ratio: High-band energy over that of the truth.
        color_bias: CIEDE2000 between mean colours.
        cross_psnr: Between noise seeds; None with one seed and for methods without noise.
        superposition_error, gain_error, turn_error: Of the first sample, where asked for; None for methods that
            cannot show any light.
        one_light_deg: Likewise, where the sample has normals.
        regions: Face and hands by name, where the dataset has their masks.
    """

    psnr: float
    ssim: float
    lpips: float | None
    n: int
    registered_psnr: float | None = None
    shift_px: float | None = None
    detail_ratio: float | None = None
    color_bias: float | None = None
    cross_psnr: float | None = None
    superposition_error: float | None = None
    gain_error: float | None = None
    turn_error: float | None = None
    one_light_deg: float | None = None
    regions: Mapping[str, RegionScore] | None = None


@dataclass(frozen=True)
class RegionScore:
    """Means over the ``n`` samples that show a region."""

    psnr: float
    ssim: float
    n: int


@dataclass(frozen=True)
class Example:
    """One sample as every method shows it, each (y, x, 3), 0..1; masks (y, x), of its regions by name."""

    pictures: Mapping[str, FloatArray]
    mask: FloatArray
    regions: Mapping[str, FloatArray] = field(default_factory=dict)


def predicted_ratio(env_log: FloatArray, direction: FloatArray) -> FloatArray:
    """Colour that an HDRI gives, on average, to surfaces facing the camera, relative to flat light of radiance 1.

    Args:
        env_log: DiffusionRenderer's env_log in 0..1, shape (v, u, 3), in the camera's frame.
        direction: Directions of its pixels, shape (v, u, 3), z to the viewer.

    Returns:
        Linear factor per channel, shape (3,).
    """
    radiance = np.expm1(linear_from_srgb(env_log.astype(np.float64)) * np.log(10001.0))
    weights = np.sqrt(np.maximum(1 - direction[..., 1] ** 2, 0))
    weights *= 4 * np.pi / weights.sum()
    coefficients = np.einsum("vu,vuk,vuc->kc", weights, sh_basis(direction.astype(np.float64)), radiance)
    irradiance = coefficients * np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)[:, None]
    facing = np.maximum(direction[..., 2], 0) * weights
    mean_basis = np.einsum("vu,vuk->k", facing / facing.sum(), sh_basis(direction.astype(np.float64)))
    return cast(FloatArray, np.maximum(mean_basis @ irradiance, 0))


def ratio_picture(flat: FloatArray, ratio: FloatArray) -> FloatArray:
    """A flat-lit picture, 0..1, multiplied by ``ratio`` in linear light and clipped."""
    return cast(FloatArray, np.clip(srgb_from_linear(linear_from_srgb(flat) * ratio), 0, 1))


def evaluate(
    data: DatasetView,
    splits: Sequence[str],
    renderers: Mapping[str, Renderer],
    *,
    limit: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    lpips: Measure | None = None,
    physics: bool = False,
    progress: Progress = silent,
) -> tuple[dict[str, dict[str, Score]], dict[str, list[Example]]]:
    """Score every method on every split.

    Args:
        data: The dataset.
        splits: Names of the splits to score.
        renderers: Methods beside the two baselines (flat copied, colour ratio).
        limit: At most so many samples a split, evenly spaced; all by default.
        seed: Of the renderers' noise.
        seeds: Noises that every renderer is asked for; the first is scored, all are compared with each other.
        lpips: Measures LPIPS; without it there is none.
        physics: Check superposition, gain, turn, and single lights where there are normals, on the first sample of each
            split (seven to ten more renderings).
        progress: Called per sample.

    Returns:
        Scores by split and method, and the first two samples of each split as every method shows them.
    """
    chosen = {name: spaced(len(data.split(name)), limit) for name in splits}
    total, done = sum(map(len, chosen.values())), 0
    progress("evaluate", 0, total)
    table: dict[str, dict[str, Score]] = {}
    examples: dict[str, list[Example]] = {}
    for name, indices in chosen.items():
        view = data.split(name)
        rows: dict[str, list[dict[str, float]]] = {}
        in_regions: dict[str, list[dict[str, tuple[float, float]]]] = {}
        for index in indices:
            sample = view[index]
            example = show(sample, renderers, seed)
            for method, picture in example.pictures.items():
                if method != "truth":
                    scores = measure(method, picture, example, lpips)
                    if method in renderers and seeds > 1:
                        others = [render(renderers[method], sample, other) for other in range(seed + 1, seed + seeds)]
                        spread = cross_inference(np.stack([picture, *others]), example.mask)
                        scores |= {"cross_psnr": spread.psnr} if spread.variance > 0 else {}
                    rows.setdefault(method, []).append(scores)
                    in_regions.setdefault(method, []).append(measure_regions(picture, example))
            if len(examples.setdefault(name, [])) < 2:
                examples[name].append(example)
            done += 1
            progress("evaluate", done, total)
        table[name] = {
            method: replace(mean_score(scores), regions=mean_regions(in_regions.get(method, [])))
            for method, scores in rows.items()
        }
        if physics and indices:
            sample = view[indices[0]]
            for method, renderer in renderers.items():
                found: dict[str, Any] = dict(check_physics(renderer, sample, seed))
                table[name][method] = replace(table[name][method], **found)
    return table, examples


def show(sample: Mapping[str, Tensor], renderers: Mapping[str, Renderer], seed: int) -> Example:
    """The first picture of a sample as every method makes it."""
    flat, truth = _picture(sample["flat"]), _picture(sample["relit"])
    ratio = predicted_ratio((_picture(sample["env_log"]) + 1) / 2, _picture(sample["env_direction"]))
    pictures = {FLAT: flat, RATIO: ratio_picture(flat, ratio)}
    for method, renderer in renderers.items():
        pictures[method] = render(renderer, sample, seed)
    mask = _mask(sample)
    regions = {
        key: np.asarray(sample[f"mask_{key}"][0, 0].numpy(), np.float64) for key in REGIONS if f"mask_{key}" in sample
    }
    return Example({**pictures, "truth": truth}, mask, {name: inside * (mask > 0) for name, inside in regions.items()})


def render(renderer: Renderer, sample: Mapping[str, Tensor], seed: int) -> FloatArray:
    """The first picture that a renderer makes of a sample, shape (y, x, 3), 0..1."""
    return _picture(renderer.render({key: sample[key] for key in renderer.reads}, seed=seed).rgb)


def measure(method: str, picture: FloatArray, example: Example, lpips: Measure | None) -> dict[str, float]:
    """Every measure of one method's picture, by the names of `Score`."""
    box = around(example.mask)
    picture, truth, mask = picture[box], example.pictures["truth"][box], example.mask[box]
    scores = {
        "psnr": masked_psnr(picture, truth, mask),
        "ssim": masked_ssim(picture, truth, mask),
        "detail_ratio": detail_ratio(picture, truth, mask),
        "color_bias": color_bias(picture, truth, mask),
    }
    if method != FLAT:
        registered = register(picture, truth, mask)
        scores |= {"registered_psnr": registered.psnr, "shift_px": registered.shift_px}
    return scores if lpips is None else {**scores, "lpips": lpips(picture, truth, mask)}


def measure_regions(picture: FloatArray, example: Example) -> dict[str, tuple[float, float]]:
    """PSNR and SSIM of one method's picture in each region, by name; NaN where a region is not seen."""
    found = {}
    for name, mask in example.regions.items():
        box = around(mask)
        shown = picture[box], example.pictures["truth"][box], mask[box]
        found[name] = masked_psnr(*shown), masked_ssim(*shown)
    return found


def check_physics(renderer: Renderer, sample: Mapping[str, Tensor], seed: int) -> dict[str, float]:
    """Errors of superposition, gain and turn on one sample, by the names of `Score`; none where it reads more than a
    flat picture and a light.

    The lights are made: soft lamps left and right of the camera, each over a weak sky. Where the sample has ``normal``
    (in the camera's frame, x right, y up, z to the viewer), small ones from there and from above, each by itself.
    """
    if not set(renderer.reads) <= RELIT_FROM:
        return {}
    pose = sample["world_from_camera"][0].numpy().astype(np.float64)
    clip = array_clip(sample["flat"].numpy(), pose)
    relight, mask = relight_one(renderer, clip, seed), _mask(sample)
    lamps = [pose[:3, :3] @ np.array(towards) for towards in ((0.7, -0.3, -0.7), (-0.7, -0.3, -0.7), (0, -0.7, -0.7))]
    left, right = (np.float32(0.05) + one_light(lamp, irradiance=0.2, radius_deg=40.0) for lamp in lamps[:2])
    found = {
        "superposition_error": superposition_error(relight, left, right, mask),
        "gain_error": gain_error(relight, left, PHYSICS_GAIN, mask),
        "turn_error": turn_error(relight, left, PHYSICS_TURN_DEG, mask),
    }
    if "normal" in sample:
        normals = _picture(sample["normal"]) @ (pose[:3, :3] @ OPENCV_FROM_OPENGL).T
        angles = [one_light_error_deg(relight, lamp, _picture(sample["flat"]), normals, mask) for lamp in lamps]
        found["one_light_deg"] = float(np.mean(angles))
    return found


def around(mask: FloatArray) -> tuple[slice, slice]:
    """The mask's bounding box and `MARGIN_PX` around it: what lies further off changes no measure. Empty: all."""
    if not mask.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = (max(int(where[0]) - MARGIN_PX, 0) for where in (rows, columns))
    return slice(top, int(rows[-1]) + 1 + MARGIN_PX), slice(left, int(columns[-1]) + 1 + MARGIN_PX)


def mean_score(scores: Sequence[Mapping[str, float]]) -> Score:
    """Mean over samples; samples without a mask (NaN) do not count."""
    counted = [sample for sample in scores if not np.isnan(sample["psnr"])]
    if not counted:
        return Score(float("nan"), float("nan"), None, 0)
    names = [one.name for one in fields(Score) if all(one.name in sample for sample in counted)]
    means: dict[str, Any] = {name: float(np.mean([sample[name] for sample in counted])) for name in names}
    return Score(**{"lpips": None, "n": len(counted), **means})


def mean_regions(samples: Sequence[Mapping[str, tuple[float, float]]]) -> dict[str, RegionScore] | None:
    """Means over the samples that show each region; None where no sample tells regions apart."""
    names = {name for sample in samples for name in sample}
    found = {}
    for name in sorted(names):
        seen = [sample[name] for sample in samples if not np.isnan(sample[name][0])]
        if seen:
            psnr, ssim = np.mean(seen, axis=0)
            found[name] = RegionScore(float(psnr), float(ssim), len(seen))
    return found or None


def spaced(length: int, limit: int | None) -> list[int]:
    """At most ``limit`` indices below ``length``, evenly spaced."""
    if limit is None or length <= limit:
        return list(range(length))
    return [int(i) for i in np.linspace(0, length - 1, limit).round()]


def _mask(sample: Mapping[str, Tensor]) -> FloatArray:
    shown = sample["weight"] > 0  # not padding
    return np.asarray((sample["mask"] * shown)[0, 0].numpy(), np.float64)


def _picture(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor[0].permute(1, 2, 0).cpu().numpy(), np.float64)


def write_evaluation(
    folder: Path, table: Mapping[str, Mapping[str, Score]], examples: Mapping[str, Sequence[Example]]
) -> None:
    """Keep scores (evaluation.json) and example pictures (previews/eval-SPLIT-N.png, methods side by side)."""
    names = []
    for split, shown in examples.items():
        for n, example in enumerate(shown):
            name = f"previews/eval-{split}-{n}.png"
            row = np.concatenate(list(example.pictures.values()), axis=1)
            codes = (np.clip(row, 0, 1) * 255 + 0.5).astype(np.uint8)
            cv2.imwrite(str(folder / name), cv2.cvtColor(codes, cv2.COLOR_RGB2BGR))
            names.append({"picture": name, "split": split, "methods": list(example.pictures)})
    scores = {split: {method: asdict(score) for method, score in row.items()} for split, row in table.items()}
    partial = folder / "evaluation.json.partial"
    partial.write_text(json.dumps({"splits": scores, "examples": names}, indent=1))
    partial.rename(folder / "evaluation.json")
