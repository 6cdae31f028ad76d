"""Charts of a training show what was logged, where it was logged, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from litdome.report.training_charts import loss_chart, smoothed, training_charts

TIME = "2026-01-01T00:00:{:02d}.000+00:00"


def log(steps: int) -> list[dict[str, Any]]:
    """As training logs: a validation before the first step and every second one; high noise only."""
    lines: list[dict[str, Any]] = []
    for step in range(steps + 1):
        line: dict[str, Any] = {"step": step, "time": TIME.format(step)}
        if step:
            line |= {"loss": 4.0 / step, "loss_high_sigma": 2.0 / step}
        if step % 2 == 0:
            line |= {f"test_{name}/psnr": 10.0 + k + step for k, name in enumerate(("light", "camera"))}
            line |= {"test_light/loss_sigma_20.1": 1.0 / (step + 1), "test_light/loss_sigma_3.5": 1.0}
        lines.append(line)
    return lines


def said(svg: str) -> str:
    found = re.search(r'aria-label="([^"]*)"', svg)
    assert found is not None
    return found[1]


def test_every_measure_has_its_chart_with_a_line_for_each_split() -> None:
    charts = {chart.title: chart.svg for chart in training_charts(log(8))}
    assert list(charts) == [
        "Training loss by noise level",
        "Held-out PSNR: test_light 10 to 18, test_camera 11 to 19 dB",
        "Held-out loss at sigma 3.5",
        "Held-out loss at sigma 20.1",
    ]
    psnr = next(svg for title, svg in charts.items() if "PSNR" in title)
    assert said(charts["Training loss by noise level"]).endswith("sigma above 3 1.5 to 0.268")  # means of two steps
    assert psnr.count("<polyline") == 2 and "PSNR over that of the start, dB" in psnr
    assert charts["Held-out loss at sigma 20.1"].count("<polyline") == 1


def test_the_loss_counts_steps_and_not_the_validation_before_them() -> None:
    chart = loss_chart(log(8))
    assert chart is not None and said(chart).startswith("Training loss over 8 steps (7 s): from")


def test_what_was_logged_once_or_never_has_no_chart() -> None:
    assert training_charts(log(0)) == ()
    assert loss_chart(log(0)) is None
    titles = [chart.title for chart in training_charts(log(1))]
    assert titles == []


def test_smoothing_keeps_constants_and_skips_gaps() -> None:
    values = np.array([2.0, np.nan, 2.0, 2.0])
    assert smoothed(values).tolist() == [2.0, 2.0, 2.0, 2.0]
