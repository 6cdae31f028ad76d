"""Pairs and their scores as ``litdome pairs`` prints them: rows of a table, or of JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.config import nearest
from litdome.errors import UsageError
from litdome.pairs import PairTable
from litdome.store.pair_columns import GAP, BoolArray, Float32Array, PairColumns, low_is_bad

IntArray = npt.NDArray[np.intp]
Table = tuple[list[str], list[list[str]]]  # header and rows


def pair_rows(columns: PairColumns, pairs: PairTable, chosen: BoolArray) -> list[dict[str, Any]]:
    """What ``litdome pairs --json`` prints: one row per pair of which a camera is chosen, with those cameras.

    Returns:
        Keys pair, flat_frame, relit_frame, next_flat_frame (-1 none), hdri (name or None), gap_ms and cameras: by id,
        keep (effective), reason (names), the scores that were measured (None: not for this camera), and, where a
        curator decided, ``decision`` (the reason given).
    """
    keep, deciding = columns.keep.tolist(), columns.deciding.tolist()
    reasons = {int(bits): _names(int(bits), columns.reasons) for bits in np.unique(columns.reason)}
    reason = columns.reason.tolist()
    scores = {name: _rounded(values) for name, values in columns.scores.items() if name != GAP}

    def camera_scores(row: int, pair: int) -> dict[str, Any]:
        found = {"keep": keep[row][pair], "reason": reasons[reason[row][pair]]}
        found |= {name: values[row][pair] for name, values in scores.items()}
        holding = deciding[row][pair]
        return found if holding < 0 else {**found, "decision": columns.decisions[holding].reason}

    return [
        {
            "pair": pair,
            "flat_frame": int(pairs.flat_frame[pair]),
            "relit_frame": int(pairs.relit_frame[pair]),
            "next_flat_frame": int(pairs.next_flat_frame[pair]),
            "hdri": _light(columns, pair),
            "gap_ms": round(float(pairs.gap_ms[pair]), 3),
            "cameras": {
                columns.cameras[row]: camera_scores(row, pair) for row in np.flatnonzero(chosen[:, pair]).tolist()
            },
        }
        for pair in np.flatnonzero(chosen.any(0)).tolist()
    ]


def table_by_pair(columns: PairColumns, pairs: PairTable, chosen: BoolArray, sort: str | None) -> Table:
    """Header and a row for each pair of which a camera is chosen: the worst of those cameras, how many are kept."""
    scores = _shown(columns, sort)
    worst = {name: _worst(columns.scores[name], chosen, name) for name in scores}
    found = np.flatnonzero(chosen.any(0))
    if sort is not None:
        found = found[_worst_first(worst[sort][found], sort)]
    count, kept = chosen.sum(0), (chosen & columns.keep).sum(0)
    rows = [
        [
            str(pair),
            str(pairs.flat_frame[pair]),
            str(pairs.relit_frame[pair]),
            _light(columns, pair) or "-",
            *(_short(worst[name][pair]) for name in scores),
            f"{kept[pair]}/{count[pair]}",
        ]
        for pair in found.tolist()
    ]
    return ["pair", "flat", "relit", "hdri", *(f"worst {name}" for name in scores), "kept"], rows


def table_by_camera(columns: PairColumns, chosen: BoolArray, sort: str | None) -> Table:
    """Header and a row for each chosen pair of each camera: every score, what holds and why."""
    pair, camera = np.nonzero(chosen.T)
    if sort is not None:
        _shown(columns, sort)
        order = _worst_first(columns.scores[sort][camera, pair], sort)
        pair, camera = pair[order], camera[order]
    words = _words(columns)
    cells = [
        pair.astype(str).tolist(),
        np.array(columns.cameras, object)[camera].tolist(),
        np.array([*columns.hdris, "-"], object)[columns.hdri[pair]].tolist(),
        *([_short(value) for value in values[camera, pair].tolist()] for values in columns.scores.values()),
        np.where(columns.keep, "keep", "drop")[camera, pair].tolist(),
        [words(row, column) for row, column in zip(camera.tolist(), pair.tolist(), strict=True)],
    ]
    header = ["pair", "camera", "hdri", *columns.scores, "holds", "why"]
    return header, [list(row) for row in zip(*cells, strict=True)]


def _shown(columns: PairColumns, sort: str | None) -> list[str]:
    if sort is not None and sort not in columns.scores:
        raise UsageError(f"--sort {sort}: no such score here", hint=nearest(sort, columns.scores))
    return list(dict.fromkeys(name for name in ("shift_px", sort) if name in columns.scores))


def _words(columns: PairColumns) -> Callable[[int, int], str]:
    deciding, bits = columns.deciding, columns.reason
    said = {int(value): ", ".join(_names(int(value), columns.reasons)) for value in np.unique(bits)}

    def words(row: int, pair: int) -> str:
        holding = deciding[row, pair]
        if holding < 0:
            return said[int(bits[row, pair])]
        decision = columns.decisions[holding]
        return _one_line(f"{decision.author}: {decision.reason}")

    return words


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _names(bits: int, names: Sequence[str]) -> list[str]:
    return [name for bit, name in enumerate(names) if bits >> bit & 1]


def _light(columns: PairColumns, pair: int) -> str | None:
    return columns.hdris[columns.hdri[pair]] if columns.hdri[pair] >= 0 else None


def _rounded(values: Float32Array) -> list[list[float | None]]:
    texts = np.round(values.astype(float), 4).astype(object)
    texts[~np.isfinite(values)] = None
    return [list(row) for row in texts]


def _worst(values: Float32Array, chosen: BoolArray, name: str) -> Float32Array:
    """The worst of the chosen cameras, shape (pair,); NaN where none was measured."""
    sign = -1 if low_is_bad(name) else 1
    highest = np.where(chosen & ~np.isnan(values), sign * values, -np.inf).max(0)
    return np.where(np.isinf(highest), np.nan, sign * highest).astype(np.float32)


def _worst_first(values: Float32Array, name: str) -> IntArray:
    return np.argsort(values if low_is_bad(name) else -values, kind="stable")  # NaN comes last


def _short(value: float) -> str:
    return "-" if value != value else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
