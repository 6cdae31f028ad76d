"""Filters in words over the pairs of every camera: ``shift_px > 6 and region == "hands"``.

The page has the same grammar (``web/page/filter.js``); one table of cases holds both to it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from litdome.config import nearest
from litdome.errors import UsageError
from litdome.store.pair_columns import BoolArray, PairColumns

WORD = re.compile(r"""\s*(>=|<=|==|!=|=|>|<|\(|\)|"[^"]*"|'[^']*'|[^\s()<>=!"']+)""")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
PLACES, STATES = ("camera", "hdri", "pair", "region"), ("kept", "dropped", "decided")
DEEPEST = 50


@dataclass(frozen=True)
class Flag:
    """A word that is true or not: a state or a reason."""

    name: str


@dataclass(frozen=True)
class Comparison:
    """A score or a place against a value."""

    name: str
    symbol: str
    value: str


@dataclass(frozen=True)
class Not:
    """What the part does not let through."""

    part: Part


@dataclass(frozen=True)
class Group:
    """``and`` (every part) or ``or`` (any) of parts."""

    every: bool
    parts: tuple[Part, ...]


Part: TypeAlias = Flag | Comparison | Not | Group


@dataclass(frozen=True)
class PairFilter:
    """A filter as it was written, understood; an empty one lets everything through."""

    text: str
    part: Part | None

    def select(self, columns: PairColumns) -> BoolArray:
        """Which pairs fit, shape (camera, pair).

        What was not measured fits no comparison. A filter that names ``region`` asks whether one region fits all of
        it, with the region's own scores; ``not ( ... )`` over a region and its score, whether none does.

        Raises:
            UsageError: A score, word or region that the session does not have.
        """
        fits = np.ones((), bool) if self.part is None else _any_region(self.part, columns)
        return np.broadcast_to(fits, columns.shape).copy()


def parse_filter(text: str) -> PairFilter:
    """Understand a filter; whether a session has its names shows only when it selects.

    Comparisons ``> >= < <= == !=`` of a score, ``pair``, ``camera``, ``hdri`` or ``region`` with a value (quoted where
    it has spaces), the words ``kept``, ``dropped``, ``decided`` and reasons, ``and``, ``or``, ``not``, brackets.

    Raises:
        UsageError: It is no filter.
    """
    words = _split(text)
    return PairFilter(text.strip(), _Parser(words).whole() if words else None)


def _split(text: str) -> list[str]:
    words, at, whole = list[str](), 0, text.rstrip()
    while at < len(whole):
        found = WORD.match(whole, at)
        if found is None:
            raise _error(f"not understood: {whole[at:].strip()}")
        words.append(found[1])
        at = found.end()
    return words


class _Parser:
    def __init__(self, words: list[str]) -> None:
        self.words, self.at, self.depth = words, 0, 0

    @property
    def word(self) -> str | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def whole(self) -> Part:
        part = self.group("or")
        if self.word is not None:
            raise _error(f"{self.word} is not expected here; and, or?")
        return part

    def group(self, joint: str) -> Part:
        inner = self.one if joint == "and" else lambda: self.group("and")
        parts = [inner()]
        while self.word == joint:
            self.at += 1
            parts.append(inner())
        return parts[0] if len(parts) == 1 else Group(joint == "and", tuple(parts))

    def one(self) -> Part:
        word = self.word
        if word is None:
            raise _error("it ends too early")
        self.at += 1
        if word in ("not", "("):
            return self.inner(word)
        if word in COMPARE or word in (")", "and", "or") or word[0] in "\"'":
            raise _error(f"{word} is not expected here; a score, a word or a bracket is")
        symbol = self.word
        if symbol not in COMPARE:
            return Flag(word)
        self.at += 1
        value = self.word
        if value is None or value in COMPARE or value in ("(", ")"):
            raise _error(f"{word} is compared with nothing")
        self.at += 1
        return Comparison(word, symbol, value[1:-1] if value[0] in "\"'" else value)

    def inner(self, word: str) -> Part:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _error(f"brackets and not are {self.depth} deep, {DEEPEST} at most")
        if word == "not":
            part: Part = Not(self.one())
        else:
            part = self.group("or")
            if self.word != ")":
                raise _error("a ) is missing")
            self.at += 1
        self.depth -= 1
        return part


def _error(message: str, hint: str = 'shift_px > 6 and region == "hands"') -> UsageError:
    return UsageError(f"filter: {message}", hint=hint)


def _any_region(part: Part, columns: PairColumns) -> BoolArray:
    if "region" not in _free_names(part, columns):
        return _fits(part, columns, None)
    if not columns.regions:
        raise _error("no region was measured here", "segment with a network that gives parts, then align")
    return np.asarray(np.logical_or.reduce([_fits(part, columns, region) for region in columns.regions]))


def _free_names(part: Part, columns: PairColumns) -> set[str]:
    """Names compared in a part; without ``region`` where a ``not`` inside has settled it."""
    if isinstance(part, Comparison):
        return {part.name}
    if isinstance(part, Group):
        return set().union(*(_free_names(inner, columns) for inner in part.parts))
    if isinstance(part, Not):
        return _free_names(part.part, columns) - ({"region"} if _settles(part, columns) else set())
    return set()


def _settles(part: Not, columns: PairColumns) -> bool:
    """Whether a ``not`` is over both a region and its score: it then asks whether no region fits."""
    names = _free_names(part.part, columns)
    return "region" in names and any(
        f"{region}_{name}" in columns.scores for region in columns.regions for name in names
    )


def _fits(part: Part, columns: PairColumns, region: str | None) -> BoolArray:
    if isinstance(part, Flag):
        return _flag(part.name, columns)
    if isinstance(part, Comparison):
        return _compared(part, columns, region)
    if isinstance(part, Not):
        inner = part.part
        return ~(_any_region(inner, columns) if _settles(part, columns) else _fits(inner, columns, region))
    joined = np.logical_and if part.every else np.logical_or
    found = _fits(part.parts[0], columns, region)
    for inner in part.parts[1:]:
        found = joined(found, _fits(inner, columns, region))
    return found


def _flag(name: str, columns: PairColumns) -> BoolArray:
    if name == "kept":
        return columns.keep
    if name == "dropped":
        return ~columns.keep
    if name == "decided":
        return columns.deciding >= 0
    if name in columns.reasons:
        return (columns.reason >> columns.reasons.index(name) & 1).astype(bool)
    if name in columns.scores or name in PLACES:
        raise _error(f"{name} stands alone; compare it", f"{name} > 6" if name in columns.scores else f"{name} == ...")
    raise _error(f"no {name} here", nearest(name, (*STATES, *columns.reasons)))


def _compared(part: Comparison, columns: PairColumns, region: str | None) -> BoolArray:
    compare, name, value = COMPARE[part.symbol], part.name, part.value
    if name == "camera":
        return _each(compare(id, value) for id in columns.cameras)[:, None]
    if name == "hdri":  # the last one: pairs without a light, which have index -1
        return _each((*(compare(entry, value) for entry in columns.hdris), False))[columns.hdri]
    if name == "region":
        if value not in columns.regions:
            raise _error(f"no region {value} here", nearest(value, columns.regions))
        return np.asarray(compare(region, value), bool)
    if name != "pair" and name not in columns.scores:
        raise _error(f"no score {name} here", nearest(name, (*columns.scores, *PLACES)))
    if not NUMBER.fullmatch(value):
        raise _error(f"{name} is compared with {value}, not with a number", f"{name} > 6")
    if name == "pair":
        return np.asarray(compare(np.arange(columns.shape[1]), float(value)))
    column = columns.scores.get(f"{region}_{name}", columns.scores[name])
    with np.errstate(over="ignore"):
        limit = np.float32(float(value))  # scores are single precision: at 6.1 a score of 6.1 is not above it
    return np.asarray(compare(column, limit) & ~np.isnan(column))


def _each(values: Iterable[bool]) -> BoolArray:
    return np.fromiter(values, bool)
