"""Results put into docs/evidence.md, and what the arms of an experiment make of one sample as a picture beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from paper.arms import REFERENCES
from paper.runs import Runs

Picture = npt.NDArray[np.uint8]
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
TIMES, LABEL_PX, PER_ROW, QUALITY = 2, 18, 4, 85
LEFT_OUT = (REFERENCES[4], REFERENCES[5])  # nearly the truth, which is shown


def update_page(page: Path, results: str, runs: Runs) -> None:
    """Put results between the page's marks, and pictures beside it.

    Raises:
        ValueError: The page has no marks.
    """
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page}: {BEGIN} and {END} are needed once each")
    shown = []
    for part in results.split("\n## "):
        name = part.split(".", 1)[0]
        sheet = experiment_sheet(runs, name)
        if sheet is not None:
            file = page.with_name(f"evidence-{name.lower()}.jpg")
            cv2.imwrite(str(file), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            part = f"{part.rstrip()}\n\n![{name}: one held-out sample]({file.name})\n"
        shown.append(part)
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{chr(10).join(['', '## ']).join(shown).strip()}\n\n{END}{rest.split(END)[1]}")


def experiment_sheet(runs: Runs, experiment: str) -> Picture | None:
    """What drives, what each arm makes and the truth of the first held-out sample of the first subject; None where
    nothing was run."""
    trials = [trial for trial in runs.plan.trials if trial.experiment == experiment and trial.arms[0] not in LEFT_OUT]
    tiles: list[Picture] = []
    seen: set[str] = set()
    place = next(((trial.data, trial.person) for trial in trials if not isinstance(trial.method, str)), None)
    for trial in trials:
        file = runs.stage.folder / "pictures" / f"{trial.key}.png"
        driven = "driven at" in trial.arms[0]  # shown once, as it is used
        if (trial.data, trial.person) != place or driven or not file.exists() or trial.arms[0] in seen:
            continue
        seen.add(trial.arms[0])
        drives, made, truth = np.split(np.asarray(cv2.imread(str(file)), np.uint8)[..., ::-1], 3, axis=1)
        columns = np.flatnonzero(truth.max(axis=(0, 2)) > 0)
        inside = slice(int(columns[0]), int(columns[-1]) + 1)
        if not tiles:
            tiles += [_tile(drives[:, inside], "flat"), _tile(truth[:, inside], "truth")]
        tiles.append(_tile(made[:, inside], trial.arms[0]))
    return _grid(tiles) if tiles else None


def _tile(picture: Picture, label: str) -> Picture:
    large = cv2.resize(np.ascontiguousarray(picture), None, fx=TIMES, fy=TIMES, interpolation=cv2.INTER_CUBIC)
    strip = np.full((LABEL_PX, max(large.shape[1], 150), 3), 255, np.uint8)
    cv2.putText(strip, label[:28], (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA)
    wide: Any = np.full((large.shape[0], strip.shape[1], 3), 255, np.uint8)
    wide[:, : large.shape[1]] = large
    return np.asarray(np.concatenate([strip, wide]), np.uint8)


def _grid(tiles: list[Picture]) -> Picture:
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    per_row = max(PER_ROW, int(np.ceil(len(tiles) / 3)))
    rows = -(-len(tiles) // per_row)
    sheet = np.full((rows * height, per_row * width, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // per_row * height, number % per_row * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
