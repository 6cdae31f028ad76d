"""What every source of masks gives: coverage, and part labels with their names where it tells parts apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
Region = Literal["face", "hands", "body", "clothes"]
BACKGROUND = "background"
WORDS: dict[Region, frozenset[str]] = {
    "hands": frozenset({"hand", "hands"}),
    "face": frozenset(
        [
            "face",
            "lip",
            "lips",
            "teeth",
            "tongue",
            "mouth",
            "nose",
            "eye",
            "eyes",
            "eyebrow",
            "eyebrows",
            "ear",
            "ears",
            "eyeglass",
        ]
    ),
    "clothes": frozenset(["cloth", "clothes", "clothing", "apparel", "accessories", "shoe", "shoes", "sock", "socks"]),
}


@dataclass(frozen=True)
class Masks:
    """Masks of n pictures.

    Attributes:
        coverage: How much of a pixel is person, shape (n, y, x), 0 outside to 255 inside.
        parts: Label of the part that a pixel shows, an index into the source's ``part_names``, shape (n, y, x); None
            where the source tells no parts apart.
    """

    coverage: UInt8Array
    parts: UInt8Array | None = None


class Segmenter(Protocol):
    """Finds people in pictures, each by itself: what else is in the batch changes nothing.

    Attributes:
        part_names: What its labels mean, `BACKGROUND` among them; empty where it tells no parts apart.
        device: Where it runs, as its library names it.
    """

    part_names: tuple[str, ...]
    device: str

    def __call__(self, pictures: UInt8Array) -> Masks:
        """Masks of display-referred RGB pictures, shape (n, y, x, 3), at their size."""


def region_of(name: str) -> Region | None:
    """The region that a part belongs to: what names no face, hand or clothes is body; None for the background.

    ``Left_Hand`` and ``body-skin`` are read word by word, so the names of any network will do.
    """
    words = {word for word in re.split(r"[^a-z]+", name.lower()) if word}
    if BACKGROUND in words:
        return None
    return next((region for region, known in WORDS.items() if words & known), "body")


def from_confidences(confidences: Float32Array, part_names: Sequence[str]) -> tuple[UInt8Array, UInt8Array]:
    """Coverage and part labels of one picture.

    Args:
        confidences: How sure each part is, summing to one, shape (part, y, x).
        part_names: Of the parts; all but the background is person.

    Returns:
        Coverage and labels, shape (y, x).
    """
    background = [i for i, name in enumerate(part_names) if region_of(name) is None]
    person = 1 - confidences[background].sum(axis=0)
    return as_coverage(person), confidences.argmax(axis=0).astype(np.uint8)


def as_coverage(person: Float32Array) -> UInt8Array:
    """Parts of one as coverage; beyond 0..1 is clipped."""
    return np.asarray(np.clip(person * 255 + 0.5, 0, 255), np.uint8)
