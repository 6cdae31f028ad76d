"""What the page says and shows about a training run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from litdome.errors import StoreError
from litdome.report.sheets import Picture, Sheet, shrink, spaced
from litdome.report.training_charts import Chart, column, loss_chart, smoothed, training_charts
from litdome.stage import UInt8Array

if TYPE_CHECKING:
    from litdome.train_plugins.run import RunFolder

SHOWN_PREVIEWS, PREVIEW_WIDTH_PX, EXAMPLE_WIDTH_PX = 4, 900, 320
MEASURES = (
    ("psnr", "PSNR, dB", 2),
    ("registered_psnr", "registered, dB", 2),
    ("shift_px", "shift, px", 2),
    ("ssim", "SSIM", 3),
    ("lpips", "LPIPS", 3),
    ("detail_ratio", "detail", 2),
    ("color_bias", "colour, dE", 1),
    ("cross_psnr", "seeds, dB", 1),
    ("superposition_error", "superposition", 3),
    ("gain_error", "gain", 3),
    ("turn_error", "turn", 3),
    ("one_light_deg", "one light deg", 1),
)
LESS_IS_BETTER = ("shift_px", "lpips", "color_bias", "superposition_error", "gain_error", "turn_error", "one_light_deg")
METHODS = {
    "flat copied": "the flat-lit picture, unchanged",
    "colour ratio": "the flat-lit picture times one colour that the HDRI predicts",
    "base": "the weights that training started from",
    "autoencoder": "the truth through the model's autoencoder",
}
CEILINGS = ("ceiling", "autoencoder")  # bounds of the method, not competitors


@dataclass(frozen=True)
class ScoreTable:
    """Methods by splits.

    Attributes:
        splits: Name and number of samples of each split.
        measures: Titles of the columns that repeat under every split.
        rows: Method, whether it is a ceiling, and (text, is best) for every split and measure in turn.
        reading: What is better, in words.
    """

    splits: tuple[tuple[str, int], ...]
    measures: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[tuple[str, bool], ...]], ...]
    reading: str


@dataclass(frozen=True)
class RunSection:
    """A run for the page's template."""

    name: str
    facts: tuple[tuple[str, str], ...]
    verdict: tuple[str, ...]
    examples: tuple[Sheet, ...]
    loss: str | None
    charts: tuple[Chart, ...]
    scores: ScoreTable | None
    previews: tuple[tuple[str, Picture], ...]
    settings: str
    base: str | None
    methods: Mapping[str, str]


def run_section(path: Path) -> RunSection:
    """Collect everything that the page shows of a run.

    Raises:
        StoreError: Not a run, or a damaged one.
    """
    from litdome.train_plugins.run import RunFolder

    run = RunFolder.open(path)
    metrics = run.metrics()
    evaluation = _evaluation(path)
    methods = [method for split in evaluation.get("splits", {}).values() for method in split]
    scores = score_table(evaluation["splits"]) if evaluation.get("splits") else None
    settings = _settings(path / "config.toml")
    return RunSection(
        name=path.resolve().name,
        facts=_facts(run),
        verdict=_verdict(run, metrics, evaluation),
        examples=_examples(path, evaluation.get("examples", ())),
        loss=loss_chart(metrics),
        charts=training_charts(metrics),
        scores=scores,
        previews=_previews(path),
        settings=settings,
        base=tomllib.loads(settings).get("base"),
        methods={**dict.fromkeys(methods, ""), **METHODS, run.record.plugin: "the run of this page"},
    )


def _evaluation(path: Path) -> dict[str, Any]:
    file = path / "evaluation.json"
    if not file.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    except ValueError as error:
        raise StoreError(f"{file}: damaged: {error}", hint=f"litdome evaluate {path}") from error


def _settings(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StoreError(f"{file}: {error}", hint="restore it from a copy of the run") from error
    return text


def _facts(run: RunFolder) -> tuple[tuple[str, str], ...]:
    record = run.record
    return (
        ("plugin", record.plugin),
        ("dataset", Path(record.dataset).name),
        ("seed", str(record.seed)),
        ("device", record.device),
        ("started", record.started[:16].replace("T", " ") + " UTC"),
        ("software", record.software),
        ("host", record.host),
    )


def _verdict(run: RunFolder, metrics: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    if not metrics:
        return ("not one step trained yet",)
    last = int(metrics[-1]["step"])
    parts = [f"{last} of {run.record.steps} steps" if last < run.record.steps else f"{last} steps"]
    losses = column([entry for entry in metrics if "loss" in entry], "loss")
    if np.isfinite(losses).any():
        smooth = smoothed(losses)
        parts.append(f"loss {smooth[0]:.3g} to {smooth[-1]:.3g}")
    for split, methods in evaluation.get("splits", {}).items():
        own = methods.get(run.record.plugin)
        rivals = [name for name in methods if name != run.record.plugin and not is_ceiling(name)]
        if own and _is_number(own["psnr"]):
            best = max(_numbers(methods[name]["psnr"] for name in rivals), default=None)
            beside = "" if best is None else f" (best baseline {best:.1f})"
            parts.append(f"{split} {own['psnr']:.1f} dB{beside}")
    return tuple(parts)


def is_ceiling(method: str) -> bool:
    """Whether a method is a bound that no training can pass, such as the autoencoder's own loss."""
    return any(word in method.lower() for word in CEILINGS)


def score_table(splits: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> ScoreTable:
    """Methods as rows, splits as columns; the best value of each column is marked, ceilings do not compete.

    Args:
        splits: As in evaluation.json: split, method, then the measures (None where not measured) and n.
    """
    splits = {name: split for name, split in splits.items() if split}
    methods = list(dict.fromkeys(name for split in splits.values() for name in split))
    methods.sort(key=is_ceiling)
    scores = [score for split in splits.values() for score in split.values()]
    measures = [m for m in MEASURES if any(_is_number(score.get(m[0])) for score in scores)]
    columns = [_column_texts(split, methods, key, digits) for split in splits.values() for key, _, digits in measures]
    rows = tuple(
        (method, is_ceiling(method), tuple(column[n] for column in columns)) for n, method in enumerate(methods)
    )
    counts = tuple((name, max(int(score["n"]) for score in split.values())) for name, split in splits.items())
    return ScoreTable(counts, tuple(title for _, title, _ in measures), rows, _reading(measures))


def _reading(measures: Sequence[tuple[str, str, int]]) -> str:
    less = [title.split(",")[0] for key, title, _ in measures if key in LESS_IS_BETTER]
    words = "More is better" + (f", for {', '.join(less)} less" if less else "")
    return words + (", and detail is best at 1." if any(key == "detail_ratio" for key, _, _ in measures) else ".")


def _column_texts(
    split: Mapping[str, Mapping[str, Any]], methods: Sequence[str], key: str, digits: int
) -> list[tuple[str, bool]]:
    values = [split.get(method, {}).get(key) for method in methods]
    contest = _numbers(value for value, name in zip(values, methods, strict=True) if not is_ceiling(name))
    best = _best(key, contest)
    return [
        (f"{value:.{digits}f}", value == best and not is_ceiling(name)) if _is_number(value) else ("-", False)
        for value, name in zip(values, methods, strict=True)
    ]


def _best(key: str, values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None  # alone, nothing is best
    if key == "detail_ratio":
        return min(values, key=lambda value: abs(np.log(max(value, 1e-9))), default=None)
    return (min if key in LESS_IS_BETTER else max)(values, default=None)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values if _is_number(value)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _examples(path: Path, examples: Sequence[Any]) -> tuple[Sheet, ...]:
    """Example strips cut into one picture per method, the samples of a split below each other."""
    sheets: dict[str, list[tuple[tuple[str, ...], tuple[Picture, ...]]]] = {}
    for example in examples:
        strip = _read(path / example["picture"])
        if strip is None:
            continue
        methods, split = tuple(example["methods"]), str(example["split"])
        parts = np.split(strip[:, : strip.shape[1] // len(methods) * len(methods)], len(methods), axis=1)
        cells = (shrink(part, EXAMPLE_WIDTH_PX) for part in parts)
        pictures = tuple(Picture.of(c, f"{split}: {name}") for c, name in zip(cells, methods, strict=True))
        sheets.setdefault(split, []).append((methods, pictures))
    return tuple(
        Sheet(split, shown[0][0], tuple((f"sample {n + 1}", "", pictures) for n, (_, pictures) in enumerate(shown)))
        for split, shown in sheets.items()
    )


def _previews(path: Path) -> tuple[tuple[str, Picture], ...]:
    files = sorted(file for file in (path / "previews").glob("*.png") if not file.name.startswith("eval-"))
    found = ((file.stem, _read(file)) for file in spaced(files, SHOWN_PREVIEWS))
    return tuple(
        (name, Picture.of(shrink(pixels, PREVIEW_WIDTH_PX), f"preview {name}"))
        for name, pixels in found
        if pixels is not None
    )


def _read(file: Path) -> UInt8Array | None:
    found = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) if file.exists() else None
    return None if found is None else np.asarray(found, np.uint8)
