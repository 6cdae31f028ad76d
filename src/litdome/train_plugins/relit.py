"""Where relit pictures go: a video or a folder, whole or not at all, each saying that it is synthetic and whence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.errors import StoreError, UsageError
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_half_exr
from litdome.media.png import write_png
from litdome.train_plugins.fitting import Fit, FloatArray
from litdome.train_plugins.protocol import Renderer
from litdome.train_plugins.relighting import LitClip, along, as_codes, relit_from

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["video", "png", "exr"]
SAID = "synthetic: relit by litdome"
TAG = "litdome"  # key of what a picture says of itself: tEXt of PNG, attribute of EXR, first key of a video's comment
PREVIEW_WIDTH_PX = 640  # of each half
SHEET_COLUMNS, SHEET_PICTURES = 3, 12
KEPT_CODES = 1024  # pictures that a stream may want to see again when it goes on
CAPTION_PX, CELL_PX = 22, 240  # height of a caption; a cell is at least so wide


def form_of(output: Path) -> Form:
    """What ``-o`` asks for: an .mp4, a folder called exr or NAME.exr of half floats, any other folder of .png.

    Raises:
        UsageError: Another suffix.
    """
    suffix = output.suffix.lower()
    if suffix == ".mp4":
        return "video"
    if suffix == ".exr" or output.name.lower() == "exr":
        return "exr"
    if suffix:
        raise UsageError(f"{output}: {suffix} is not written", hint="-o out.mp4, -o FOLDER, or -o FOLDER.exr")
    return "png"


@dataclass(frozen=True)
class Places:
    """Everything that relighting to one output writes.

    Attributes:
        output: The video or the folder.
        preview: Flat and relit side by side, a video.
        sheet: Some of the same on one picture.
        record: What was done, in JSON.
        unfinished: Holds what is there already until all is; a folder.
    """

    output: Path
    preview: Path
    sheet: Path
    record: Path
    unfinished: Path

    @classmethod
    def of(cls, output: Path) -> Places:
        """Those of an output.

        Raises:
            UsageError: Something is there already, or the suffix is unknown.
        """
        is_video = form_of(output) == "video"
        stem = output.with_suffix("") if is_video else output
        found = cls(
            output,
            stem.with_name(f"{stem.name}-preview.mp4"),
            stem.with_name(f"{stem.name}-sheet.png"),
            stem.with_name(f"{stem.name}.json") if is_video else output / "relit.json",
            output.with_name(f"{output.name}.unfinished"),
        )
        for path in (found.output, found.preview, found.sheet, found.record):
            if path.exists():
                raise UsageError(f"{path}: exists already", hint="give another -o, or remove it")
        return found


class Unfinished:
    """A relighting on its way: the pictures so far.

    Killed at any moment, opened again with the same ``about``, it goes on behind the last picture that was whole.

    Args:
        places: Where to.
        about: What was asked for and of what it is made; in every picture's header, and what a resumed one must equal.
        fps: Pictures per second of the videos.

    Raises:
        UsageError: What is there is of another relighting.
        StoreError: What is there is damaged.
    """

    def __init__(self, places: Places, about: Mapping[str, Any], fps: float) -> None:
        self.places, self.about, self.fps = places, dict(about), fps
        self.form = form_of(places.output)
        self._pictures, self._rows, self._codes = (places.unfinished / name for name in ("pictures", "rows", "codes"))
        asked = places.unfinished / "about.json"
        text = json.dumps(self.about, indent=1)
        if asked.exists():
            _need_same(places.unfinished, asked.read_text(encoding="utf-8"), text)
        else:
            shutil.rmtree(places.unfinished, ignore_errors=True)
            for folder in (self._pictures, self._rows, self._codes):
                folder.mkdir(parents=True)
            _write_whole(asked, text.encode())
        self.done = len(list(self._rows.glob("*.png")))

    def relight(self, renderer: Renderer, frames: LitClip, seed: int) -> Iterator[int]:
        """Make the pictures that are missing; yields how many are there, at first and after each."""
        try:
            yield self.done
            if self.done < len(frames):
                flats = frames.flat_from(self.done)
                relit = relit_from(renderer, frames, self.done, seed=seed, made=self._made)
                for picture, flat in zip(relit, flats, strict=True):
                    self.add(picture.numpy(), flat, frames.fit)
                    yield self.done
        except BaseException:
            if not self.done:
                shutil.rmtree(self.places.unfinished, ignore_errors=True)
            raise

    def add(self, relit: FloatArray, flat: FloatArray, fit: Fit) -> None:
        """Keep the next picture, (3, H, W), 0..1, beside the flat one, (3 or 4, H, W) with the matte of both."""
        name, codes = f"{self.done:06d}", as_codes(relit)
        shown, beside = fit.cut(relit), fit.cut(flat)
        matte, tags = beside[3:], {TAG: json.dumps(self.about), "comments": SAID}
        _whole(self._codes / f"{name}.png", lambda path: write_png(path, codes, {}))
        if self.form == "exr":
            layers = np.concatenate([linear_from_srgb(shown) * (matte if len(matte) else 1), matte])
            _whole(self._pictures / f"{name}.exr", lambda path: write_half_exr(path, layers.transpose(1, 2, 0), tags))
        else:
            layers = np.concatenate([shown, matte])
            _whole(self._pictures / f"{name}.png", lambda path: write_png(path, as_codes(layers), self._tags))
        row = np.concatenate([_small(as_codes(beside[:3])), _small(as_codes(shown))], axis=1)
        _whole(self._rows / f"{name}.png", lambda path: write_png(path, row, {}))  # the last: it counts
        self.done += 1
        (self._codes / f"{self.done - 1 - KEPT_CODES:06d}.png").unlink(missing_ok=True)

    def finish(self) -> None:
        """Make preview, sheet and record, then the output itself: when it is there, all is."""
        tag = json.dumps({TAG: self.about})
        rows = sorted(self._rows.glob("*.png"))
        with VideoWriter(self.places.preview, fps=self.fps, comment=tag) as video:
            for row in rows:
                video.write(_even(_read_png(row)))
        sheet = self.places.unfinished / "sheet.png"
        write_png(sheet, contact_sheet(rows, self.about), self._tags)
        sheet.replace(self.places.sheet)
        record = json.dumps({TAG: self.about, "pictures": self.done, "fps": self.fps, "made": _now()}, indent=1)
        if self.form == "video":
            _write_whole(self.places.record, record.encode())
            with VideoWriter(self.places.output, fps=self.fps, comment=tag) as video:
                for picture in sorted(self._pictures.glob("*.png")):
                    video.write(_even(_read_png(picture)))
        else:
            _write_whole(self._pictures / self.places.record.name, record.encode())
            self._pictures.rename(self.places.output)
        shutil.rmtree(self.places.unfinished)

    @property
    def _tags(self) -> dict[str, str]:
        return {TAG: json.dumps(self.about), "Software": "litdome", "Comment": SAID}

    def _made(self, number: int) -> Tensor:
        """A picture that is there already, in the model's frame, shape (3, H, W), uint8."""
        import torch

        return torch.from_numpy(_read_png(self._codes / f"{number:06d}.png").transpose(2, 0, 1).copy())


def contact_sheet(rows: list[Path], about: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Some pictures of a clip, flat and relit, evenly spaced, each with its number and its light; (y, x, 3)."""
    chosen = sorted({round(i) for i in np.linspace(0, len(rows) - 1, min(len(rows), SHEET_PICTURES))})
    turns = along(about["rotate_deg"], len(rows), "rotation")
    cells = []
    for n in chosen:
        picture = _read_png(rows[n])
        larger = -(-CELL_PX // picture.shape[1])
        picture = picture.repeat(larger, axis=0).repeat(larger, axis=1)
        caption = np.zeros((CAPTION_PX, picture.shape[1], 3), np.uint8)
        text = f"{n}  {turns[n]:.0f} deg"
        cv2.putText(caption, text, (4, CAPTION_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        cells.append(np.concatenate([caption, picture]))
    columns = min(SHEET_COLUMNS, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    lines = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    return np.concatenate(lines)


def _need_same(folder: Path, before: str, now: str) -> None:
    try:
        was, asked = json.loads(before), json.loads(now)
    except ValueError as error:
        raise StoreError(f"{folder}/about.json: damaged ({error})", hint=f"remove {folder} and start again") from error
    other = [key for key in sorted({*was, *asked}) if was.get(key) != asked.get(key)]
    if other:
        what = f"{other[0]} is {json.dumps(was.get(other[0]))} there, {json.dumps(asked.get(other[0]))} here"
        hint = f"the same options go on with it; to start again remove {folder}"
        raise UsageError(f"{folder}: an unfinished relighting, but {what}", hint=hint)


def _small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture no wider than `PREVIEW_WIDTH_PX`."""
    height, width = picture.shape[:2]
    if width <= PREVIEW_WIDTH_PX:
        return picture
    size = (PREVIEW_WIDTH_PX, max(1, round(height * PREVIEW_WIDTH_PX / width)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _even(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Colours without alpha, and without the last row or column where their number is odd, as 4:2:0 needs."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height // 2 * 2, : width // 2 * 2, :3])


def _read_png(path: Path) -> npt.NDArray[np.uint8]:
    """RGB, whatever alpha there is."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise StoreError(f"{path}: cannot be read back", hint=f"remove {path.parent.parent} and start again")
    return np.ascontiguousarray(picture[..., ::-1])


def _write_whole(path: Path, content: bytes) -> None:
    _whole(path, lambda partial: partial.write_bytes(content))


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """A file that is there whole or not at all."""
    partial = path.with_name(f".partial{path.suffix}")
    write(partial)
    partial.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
