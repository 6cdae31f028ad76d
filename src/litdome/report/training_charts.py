"""How a training went, as charts: its loss, all and by noise level, and its scores on held-out samples meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.report.charts import Line, line_chart
from litdome.report.session_section import duration

Metrics = Sequence[Mapping[str, Any]]
FloatArray = npt.NDArray[np.float64]
NOISE_LEVELS = {"low": "below 0.3", "middle": "0.3 to 3", "high": "above 3"}
HALF_WIDTH = 540
PSNR, LOSS_AT = "psnr", "loss_sigma_"


@dataclass(frozen=True)
class Chart:
    """A titled drawing."""

    title: str
    svg: str


def loss_chart(metrics: Metrics) -> str | None:
    """The training loss, each step and its running mean; None where nothing finite was logged."""
    metrics = [entry for entry in metrics if "loss" in entry]
    losses = column(metrics, "loss")
    if not np.isfinite(losses).any():
        return None
    steps, smooth = column(metrics, "step"), smoothed(losses)
    seconds = training_seconds(metrics)
    what = f"Training loss over {len(losses)} steps ({duration(seconds)}): from {smooth[0]:.3g} to {smooth[-1]:.3g}"
    lines = [Line("each step", steps, losses, faint=True), Line("running mean", steps, smooth)]
    return line_chart(lines, x_label="step", y_label="loss", what=what)


def training_charts(metrics: Metrics) -> tuple[Chart, ...]:
    """Loss by noise level, and the validation's PSNR and losses at fixed noise, a line for each of its splits."""
    made = [_by_noise_level(metrics)]
    keys = list(dict.fromkeys(key for entry in metrics for key in entry if "/" in key))
    measures = sorted({key.rpartition("/")[2] for key in keys}, key=_psnr_first)
    for measure in measures:
        own = [key for key in keys if key.endswith(f"/{measure}")]
        made.append(_validation(metrics, measure, own))
    return tuple(chart for chart in made if chart is not None)


def training_seconds(metrics: Metrics) -> float:
    """Time from the first logged step to the last one, s; pauses between resumes count."""
    if len(metrics) < 2:
        return 0.0
    first, last = (datetime.fromisoformat(str(metrics[n]["time"])) for n in (0, -1))
    return (last - first).total_seconds()


def smoothed(values: FloatArray) -> FloatArray:
    """Centred mean over a twentieth of the values (finite ones; NaN where there is none), same shape."""
    reach = max(1, len(values) // 40)
    windows = (values[max(0, n - reach) : n + reach + 1] for n in range(len(values)))
    return np.array([window[np.isfinite(window)].mean() if np.isfinite(window).any() else np.nan for window in windows])


def column(metrics: Metrics, key: str) -> FloatArray:
    """One value per line, NaN where a line has none."""
    return np.array([float(entry.get(key, np.nan)) for entry in metrics], np.float64)


def _by_noise_level(metrics: Metrics) -> Chart | None:
    found = {name: column(metrics, f"loss_{name}_sigma") for name in NOISE_LEVELS}
    steps = column(metrics, "step")
    lines = [
        Line(f"sigma {NOISE_LEVELS[name]}", steps[np.isfinite(values)], smoothed(values[np.isfinite(values)]))
        for name, values in found.items()
        if np.isfinite(values).sum() > 1
    ]
    if not lines:
        return None
    title = "Training loss by noise level"
    ends = ", ".join(f"{line.name} {line.y[0]:.3g} to {line.y[-1]:.3g}" for line in lines)
    svg = line_chart(lines, x_label="step", y_label="loss", what=f"{title}: {ends}", width=HALF_WIDTH)
    return Chart(title, svg)


def _validation(metrics: Metrics, measure: str, keys: Sequence[str]) -> Chart | None:
    steps = column(metrics, "step")
    found: dict[str, tuple[FloatArray, FloatArray]] = {}
    for key in keys:
        values = column(metrics, key)
        at = np.isfinite(values)
        if at.sum() > 1:
            found[key.rpartition("/")[0]] = steps[at], values[at]
    if not found:
        return None
    is_psnr = measure == PSNR
    title = "Held-out PSNR" if is_psnr else f"Held-out loss at sigma {measure.removeprefix(LOSS_AT)}"
    ends = ", ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in found.items())
    # gains of a dB would be flat beside the PSNR itself
    lines = [Line(name, at, values - values[0] if is_psnr else values) for name, (at, values) in found.items()]
    y_label = "PSNR over that of the start, dB" if is_psnr else "loss"
    svg = line_chart(lines, x_label="step", y_label=y_label, what=f"{title}: {ends}", width=HALF_WIDTH)
    return Chart(f"{title}: {ends} dB" if is_psnr else title, svg)


def _psnr_first(measure: str) -> tuple[bool, float]:
    level = measure.removeprefix(LOSS_AT)
    return measure != PSNR, float(level) if measure.startswith(LOSS_AT) else 0.0
