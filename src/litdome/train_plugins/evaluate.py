"""Compare a run with simple baselines and ceilings on held-out samples: masked PSNR and SSIM per split and method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.datasets.metrics import masked_psnr, masked_ssim
from litdome.lighting import sh_basis
from litdome.progress import Progress, silent
from litdome.train_plugins.protocol import DatasetView, Renderer

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
FLAT, RATIO = "flat copied", "colour ratio"


@dataclass(frozen=True)
class Score:
    """Means over ``n`` samples; lpips is None while no backbone weights are given."""

    psnr: float
    ssim: float
    lpips: float | None
    n: int


@dataclass(frozen=True)
class Example:
    """One sample as every method shows it, each (y, x, 3), 0..1."""

    pictures: Mapping[str, FloatArray]
    mask: FloatArray


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
    progress: Progress = silent,
) -> tuple[dict[str, dict[str, Score]], dict[str, list[Example]]]:
    """Score every method on every split.

    Args:
        data: The dataset.
        splits: Names of the splits to score.
        renderers: Methods beside the two baselines (flat copied, colour ratio).
        limit: At most so many samples a split, evenly spaced; all by default.
        seed: Of the renderers' noise.
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
        rows: dict[str, list[tuple[float, float]]] = {}
        for index in indices:
            example = show(view[index], renderers, seed)
            for method, picture in example.pictures.items():
                if method != "truth":
                    truth, mask = example.pictures["truth"], example.mask
                    scores = masked_psnr(picture, truth, mask), masked_ssim(picture, truth, mask)
                    rows.setdefault(method, []).append(scores)
            if len(examples.setdefault(name, [])) < 2:
                examples[name].append(example)
            done += 1
            progress("evaluate", done, total)
        table[name] = {method: mean_score(scores) for method, scores in rows.items()}
    return table, examples


def show(sample: Mapping[str, Tensor], renderers: Mapping[str, Renderer], seed: int) -> Example:
    """The first picture of a sample as every method makes it."""
    flat, truth = _picture(sample["flat"]), _picture(sample["relit"])
    ratio = predicted_ratio((_picture(sample["env_log"]) + 1) / 2, _picture(sample["env_direction"]))
    pictures = {FLAT: flat, RATIO: ratio_picture(flat, ratio)}
    for method, renderer in renderers.items():
        rendered = renderer.render({key: sample[key] for key in renderer.reads}, seed=seed)
        pictures[method] = _picture(rendered.rgb)
    mask = (sample["mask"] * sample["weight"])[0, 0].numpy().astype(np.float64)
    return Example({**pictures, "truth": truth}, mask)


def mean_score(scores: Sequence[tuple[float, float]]) -> Score:
    """Mean over samples; samples without a mask (NaN) do not count."""
    values = np.array([pair for pair in scores if not np.isnan(pair[0])]).reshape(-1, 2)
    if not len(values):
        return Score(float("nan"), float("nan"), None, 0)
    psnr, ssim = values.mean(axis=0)
    return Score(float(psnr), float(ssim), None, len(values))


def spaced(length: int, limit: int | None) -> list[int]:
    """At most ``limit`` indices below ``length``, evenly spaced."""
    if limit is None or length <= limit:
        return list(range(length))
    return [int(i) for i in np.linspace(0, length - 1, limit).round()]


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
