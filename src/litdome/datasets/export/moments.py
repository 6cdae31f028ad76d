"""Moments: all views of one recorded instant, a static scene under one light, as one folder."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from litdome.datasets.export.shots import LIGHTS, MASKS, Light, Selection, Shot, binary_mask, write_png


@dataclass(frozen=True)
class Moment:
    """The views of one pair under one of its two lights.

    Attributes:
        split: Of its light and motion; held-out cameras see it too (`Shot.is_held_out_camera`).
        session, pair, light: Which one.
        shots: Its views, by camera.
    """

    split: str
    session: str
    pair: int
    light: Light
    shots: tuple[Shot, ...]

    @property
    def name(self) -> str:
        """``relit_000012``."""
        return f"{self.light}_{self.pair:06d}"

    @property
    def folder(self) -> Path:
        """``train/take01/relit_000012``."""
        return Path(self.split, self.session, self.name)


def moments_of(selection: Selection) -> list[Moment]:
    """Every pair of the selection twice: under flat light and relit."""
    seen: dict[tuple[str, str, int], list[Shot]] = defaultdict(list)
    for shot in selection.shots:
        seen[shot.moment_split, shot.session, shot.pair].append(shot)
    return [Moment(*key, light, tuple(shots)) for key, shots in sorted(seen.items()) for light in LIGHTS]


def write_views(selection: Selection, moment: Moment, folder: Path, mask_name: str) -> None:
    """``images/c00.png`` of every view, and its mask, 255 or 0, as ``masks/`` and ``mask_name`` (of ``{camera}``)."""
    for shot in moment.shots:
        write_png(folder / "images" / f"{shot.camera}.png", selection.picture(shot, moment.light))
        mask = binary_mask(selection.picture(shot, MASKS[moment.light]))
        write_png(folder / "masks" / mask_name.format(camera=shot.camera), mask)
