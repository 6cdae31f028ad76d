"""The pictures of a board take by number: only those that are wanted are decoded, where the source allows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.calib.boards.detect import grey_picture
from litdome.errors import CalibrationError
from litdome.media.folders import numbered_pictures, picture_codes
from litdome.media.images import iter_pictures
from litdome.media.index import SourceIndex, index_source
from litdome.media.planes import PictureCodes

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class BoardPictures:
    """A video or a folder of pictures, to be read at any numbers.

    Attributes:
        source: The file or folder.
        index: Of the source.
        numbers: Of the pictures that may be there, rising.
    """

    source: Path
    index: SourceIndex
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, source: Path) -> BoardPictures:
        """Index a source.

        Raises:
            InputError: Missing, empty or unreadable.
        """
        index = index_source(source)
        return cls(source, index, tuple(numbered_pictures(source)) if source.is_dir() else tuple(range(len(index))))

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, UInt8Array]]:
        """(number, grey picture, shape (y, x)) of the wanted numbers that are there, rising.

        Raises:
            InputError: Unreadable.
            CalibrationError: The pictures are not all of one size.
        """
        size: tuple[int, ...] | None = None
        for number, codes in self._codes(sorted(set(wanted) & set(self.numbers))):
            grey = grey_picture(codes)
            if size is not None and size != grey.shape:
                raise CalibrationError(
                    f"{self.source}: picture {number} is {grey.shape[1]}x{grey.shape[0]} px, the ones before it "
                    f"{size[1]}x{size[0]}",
                    hint="a take holds pictures of one size: film it again, or take the others out",
                )
            size = grey.shape
            yield number, grey

    def _codes(self, wanted: list[int]) -> Iterator[tuple[int, PictureCodes]]:
        if self.source.is_dir():
            files = numbered_pictures(self.source)
            yield from ((number, picture_codes(files[number])) for number in wanted)
            return
        for stretch in self._stretches(wanted):
            asked = set(stretch)
            for number, codes in iter_pictures(self.source, self.index, stretch[0], stretch[-1] + 1):
                if number in asked:
                    yield number, codes

    def _stretches(self, wanted: list[int]) -> list[list[int]]:
        """The wanted numbers in runs; a new run begins where a key picture saves decoding what lies between."""
        runs: list[list[int]] = []
        table = self.index.packets
        for number in wanted:
            key = int(table.picture[table.keys_before(number)[0]]) if table else 0
            if runs and key <= runs[-1][-1]:
                runs[-1].append(number)
            else:
                runs.append([number])
        return runs
