"""What was lit when: the entries of a take's lighting schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KIND_CODES = {"dark": 0, "flat": 1, "hdri": 2, "pattern": 3}


@dataclass(frozen=True)
class HdriEntry:
    """One distinct light: an HDRI file with its rotation and gain; the unit that ``schedule/hdri`` indexes.

    Attributes:
        name: File stem.
        rotation_deg: Turns the light from world +z towards +x about +y.
        gain: Multiplies the radiance.
    """

    name: str
    rotation_deg: float = 0.0
    gain: float = 1.0

    @property
    def entry(self) -> str:
        """Name of the entry in the store: the file stem, with rotation and gain where they are not 0 and 1."""
        rotation = f"@{self.rotation_deg:g}" if self.rotation_deg else ""
        return self.name + rotation + (f"x{self.gain:g}" if self.gain != 1 else "")


@dataclass(frozen=True)
class LightingSchedule:
    """What was lit at each rig frame.

    Attributes:
        kind: Shape (frame,), uint8: 0 dark, 1 flat, 2 hdri, 3 pattern.
        hdri: Shape (frame,), int32: index into `entries`, -1 none.
        entries: Distinct lights, sorted by entry name (code points).
    """

    kind: npt.NDArray[np.uint8]
    hdri: npt.NDArray[np.int32]
    entries: tuple[HdriEntry, ...]
