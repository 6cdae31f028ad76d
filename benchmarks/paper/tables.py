"""Tables and verdicts of what has been run so far, as Markdown and JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from litdome.datasets.metrics import Interval, Term, bootstrap_sum, detectable, verdict
from paper.arms import Training, Trial
from paper.runs import Runs
from paper.scoring import Row, input_rows
from paper.takes import NOVEL, SEEN

EXPECTED = Path(__file__).resolve().parents[1] / "expected.toml"
MEASURES = ("psnr", "structure_psnr", "registered_psnr", "shift_px", "detail_ratio", "color_bias")
HEADS = ("PSNR", "structure", "registered", "shift px", "detail", "colour dE")
Seeded = tuple[int, Row]


@dataclass(frozen=True)
class Checked:
    """A claim with what came out; ``interval`` is None where an arm was not run."""

    says: str
    measure: str
    bounds: str
    interval: Interval | None
    outcome: str


def rows_by_arm(runs: Runs, experiment: str) -> dict[str, list[Seeded]]:
    """All rows that are there, with their seeds; what trains nothing is the same for every seed."""
    trials = [trial for trial in runs.plan.trials if trial.experiment == experiment]
    found: dict[str, list[Seeded]] = {}
    for trial in trials:
        for seed, rows in _kept(runs, trial):
            for arm in trial.arms:
                found.setdefault(arm, []).extend((seed, row) for row in rows)
    trained = {seed for trial in trials if isinstance(trial.method, Training) for seed, _ in _kept(runs, trial)}
    for trial in trials:
        if isinstance(trial.method, str) and trial.arms[0] in found:
            rows = [row for seed, row in found[trial.arms[0]] if seed == 0]
            found[trial.arms[0]] = [(seed, row) for seed in (trained or {0}) for row in rows]
    return found


def _kept(runs: Runs, trial: Trial) -> Iterator[tuple[int, list[Row]]]:
    for path in sorted((runs.stage.folder / "scores").glob(f"{trial.key}-{runs.base_mark}-seed*.json")):
        yield int(path.stem.rsplit("seed", 1)[1]), json.loads(path.read_text())


def cell(rows: Sequence[Seeded], measure: str, split: str) -> Term | None:
    """The values of one arm, as a term; None where there are none."""
    kept = [(seed, row) for seed, row in rows if row["split"] == split and np.isfinite(float(row.get(measure, np.nan)))]
    if not kept:
        return None
    clusters = [(row["person"], row["camera"], row["hdri"]) for _, row in kept]
    return Term(1.0, np.array([float(row[measure]) for _, row in kept]), clusters, [seed for seed, _ in kept])


def check(claim: Mapping[str, Any], experiment: Mapping[str, Any], rows: Mapping[str, Sequence[Seeded]]) -> Checked:
    """One claim against the rows of its experiment."""
    measure = str(claim.get("measure", experiment.get("measure", "psnr")))
    bounds = {key: float(claim[key]) for key in ("above", "below", "within") if key in claim}
    said = ", ".join(f"{key} {value:g}" for key, value in bounds.items())
    parts = {name: name.partition(" @ ") for name in claim["terms"]}
    shown = [{_whose(pair) for pair in rows.get(arm, ())} for arm, _, _ in parts.values()]
    common = set.intersection(*shown)  # while runs are missing: what all arms were shown
    terms = []
    for name, (arm, _, split) in parts.items():
        own = [pair for pair in rows.get(arm, ()) if _whose(pair) in common]
        term = cell(own, measure, split or experiment["split"])
        if term is None:
            return Checked(claim["says"], measure, said, None, "not run")
        terms.append(replace(term, factor=claim["terms"][name]))
    interval = bootstrap_sum(terms)
    return Checked(claim["says"], measure, said, interval, verdict(interval, **bounds))


def _whose(pair: Seeded) -> tuple[int, float | str]:
    return pair[0], pair[1]["person"]


def write_tables(runs: Runs, folder: Path) -> str:
    """results.md and results.json of everything that is there; the former."""
    expected = tomllib.loads(EXPECTED.read_text())
    text, kept = [], {}
    for name in dict.fromkeys(trial.experiment for trial in runs.plan.trials):
        rows = rows_by_arm(runs, name)
        if not rows:
            continue
        checked = [check(claim, expected[name], rows) for claim in expected[name]["claims"]]
        text += [f"## {name}. {expected[name]['title']}", "", f"The paper: {expected[name]['paper']}.", ""]
        text += [*_arm_table(runs, name, rows), "", *_claim_table(checked), ""]
        text += _inputs(runs) if name == "E4" else []
        kept[name] = {"claims": [asdict(one) for one in checked], "arms": {arm: _summary(r) for arm, r in rows.items()}}
    folder.mkdir(parents=True, exist_ok=True)
    whole = "\n".join([*_head(runs), *text])
    (folder / "results.md").write_text(whole)
    (folder / "results.json").write_text(json.dumps(kept, indent=1))
    return whole


def _head(runs: Runs) -> list[str]:
    scale, costs = runs.stage.scale, runs.stage.costs()
    spent = {
        kind: sum(c["cpu_s"] for what, c in costs.items() if what.startswith(kind)) for kind in ("film", "process")
    }
    return [
        f"Scale {scale.name}: {scale.cameras} cameras, {scale.pairs} pairs, {scale.hdris} lights, pictures of "
        f"{scale.picture[0]}x{scale.picture[1]} px, {scale.steps} steps of {scale.batch}; base {runs.base} "
        f"({runs.base_mark}). CPU minutes of one core: filming {spent['film'] / 60:.1f}, preprocessing "
        f"{spent['process'] / 60:.1f}.",
        "",
    ]


def _arm_table(runs: Runs, experiment: str, rows: Mapping[str, Sequence[Seeded]]) -> list[str]:
    heads = ["arm", *HEADS, "PSNR, seen light", "samples x seeds", "trains", "CPU min"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for arm, own in rows.items():
        novel = [cell(own, measure, NOVEL) for measure in MEASURES]
        shown = [_mean(term, 2) for term in novel]
        first = novel[0]
        count = "" if first is None else f"{len(first.values) // len(set(first.seeds))} x {len(set(first.seeds))}"
        shown += [_mean(cell(own, "psnr", SEEN), 2), count, *_cost(runs, experiment, arm)]
        lines.append("| " + " | ".join([arm, *shown]) + " |")
    return lines


def _mean(term: Term | None, digits: int) -> str:
    """Mean over samples, and the standard deviation over seeds."""
    if term is None:
        return ""
    seeds = np.array(term.seeds)
    by_seed = [float(term.values[seeds == seed].mean()) for seed in sorted(set(term.seeds))]
    spread = f" ± {np.std(by_seed, ddof=1):.{digits}f}" if len(by_seed) > 1 and np.ptp(by_seed) > 0 else ""
    return f"{np.mean(by_seed):.{digits}f}{spread}"


def _cost(runs: Runs, experiment: str, arm: str) -> tuple[str, str]:
    """Trainable parameters and CPU minutes of one training of an arm."""
    for trial in runs.plan.trials:
        if trial.experiment == experiment and arm in trial.arms and isinstance(trial.method, Training):
            cost = runs.cost(trial.method, 0)
            if cost is not None:
                return f"{cost['parameters'] / 1e6:.2f} M", f"{cost['cpu_s'] / 60:.1f}"
    return "0", ""


def _claim_table(checked: Sequence[Checked]) -> list[str]:
    lines = ["| expected | bounds | came out | 95 % interval | detectable | |", "|---|---|---|---|---|---|"]
    for one in checked:
        found = ["", "", ""]
        if one.interval is not None:
            i = one.interval
            found = [f"{i.value:+.3g}", f"{i.low:+.3g} to {i.high:+.3g}", f"{detectable(i.error):.2g}"]
        says = one.says + ("" if one.measure == "psnr" else f" ({one.measure})")
        lines.append("| " + " | ".join([says, one.bounds, *found, f"**{one.outcome}**"]) + " |")
    return lines


def _inputs(runs: Runs) -> list[str]:
    """What drives the relighter against the flat picture at the relit time, by speed."""
    lines = [
        "Before any training: the flat picture, and the compensated one, against the true flat picture at the relit "
        "time.",
        "",
        "| speed | shift recorded px | flat, dB | compensated, dB |",
        "|---|---|---|---|",
    ]
    for speed in sorted(runs.stage.scale.speeds_px):
        place = runs.stage.folder / "scores" / f"inputs-{speed}px.json"
        if place.exists():
            rows = input_rows(runs, f"{speed}px", "s3")
            means = [
                np.mean([float(r["psnr"]) for r in rows if r["key"] == key]) for key in ("flat", "flat_compensated")
            ]
            shift = np.nanmean([float(row["shift_px_recorded"]) for row in rows])
            lines.append(f"| {speed} px | {shift:.2f} | {means[0]:.2f} | {means[1]:.2f} |")
    return [*lines, ""] if len(lines) > 4 else []


def _summary(rows: Sequence[Seeded]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split in (NOVEL, SEEN):
        for measure in (*MEASURES, "excess_warped_error"):
            term = cell(rows, measure, split)
            if term is not None:
                found[f"{measure} @ {split}"] = {"mean": float(term.values.mean()), "n": len(term.values)}
    return found
