"""Colour charts on the page: every patch before, as it should be, and after, by camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from litdome.report.sheets import png_uri, to_codes
from litdome.store.session import Session

FloatArray = npt.NDArray[np.floating[Any]]
COLUMNS, STRIPE_PX, GAP_PX = 6, 14, 4  # of a chart; before, reference and after are stripes of a patch


@dataclass(frozen=True)
class ColorCard:
    """A camera's patches; ``uri`` is empty where no chart was found, and ``words`` say so."""

    id: str
    words: str
    uri: str
    width: int = 0
    height: int = 0


def color_cards(session: Session) -> tuple[tuple[ColorCard, ...], str]:
    """Every camera's patches, and where they are from; nothing where colour is not calibrated."""
    if not session.has("color/after"):
        return (), ""
    attrs = cast(Any, session.array("color/after").attrs)
    reference, before, after = (session.read(f"color/{name}") for name in ("reference", "before", "after"))
    was, now = attrs["delta_e_before"], attrs["delta_e_after"]
    said = attrs.get("patches") or ["no chart found"] * len(after)
    cards = []
    for row, (id, found) in enumerate(zip(session.cameras, attrs["found"], strict=True)):
        words = said[row] if found else f"{said[row]}: its colour is left as it is"
        if was[row] is None or not np.isfinite(after[row]).any():  # not found, or found without a chart
            cards.append(ColorCard(id, words, ""))
            continue
        picture = patch_picture(before[row], reference, after[row])
        words = f"CIEDE2000 {was[row]:.1f} before, {now[row]:.1f} after"
        cards.append(ColorCard(id, words, png_uri(picture), picture.shape[1], picture.shape[0]))
    return tuple(cards), str(attrs.get("source", ""))


def patch_picture(before: FloatArray, reference: FloatArray, after: FloatArray) -> npt.NDArray[np.uint8]:
    """Patches in rows of six, each as three stripes: before, reference, after; nothing between them, none for NaN.

    Args:
        before, reference, after: Display sRGB, 0..1, shape (patch, 3).

    Returns:
        Shape (y, x, 4); the fourth channel is opacity.
    """
    count, side = len(reference), 3 * STRIPE_PX
    rows, columns = -(-count // COLUMNS), min(COLUMNS, count)
    picture = np.zeros((rows * (side + GAP_PX) - GAP_PX, columns * (side + GAP_PX) - GAP_PX, 4), np.uint8)
    stripes: Sequence[FloatArray] = (before, reference, after)
    for patch in range(count):
        y, x = patch // COLUMNS * (side + GAP_PX), patch % COLUMNS * (side + GAP_PX)
        for n, values in enumerate(stripes):
            if np.isfinite(values[patch]).all():
                stripe = picture[y : y + side, x + n * STRIPE_PX : x + (n + 1) * STRIPE_PX]
                stripe[...] = (*to_codes(values[patch].astype(np.float64)), 255)
    return picture
