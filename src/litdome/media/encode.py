"""Write H.264 or HEVC video from RGB frames, tagged with the matrix and range that were used."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import numpy as np
import numpy.typing as npt

from litdome.errors import UsageError
from litdome.media.planes import ColorRange, Matrix, planes_from_rgb

COLORSPACE_TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9}  # AVColorSpace
PRIMARIES_TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9}  # AVColorPrimaries
TRANSFER_SRGB = 13
RANGE_TAGS = {"limited": 1, "full": 2}
Codec = Literal["h264", "hevc"]
ENCODERS = {"h264": "libx264", "hevc": "libx265"}
X265 = "log-level=error:bframes=0"  # with B frames, videos shorter than a group of them get times that are not theirs
X264 = "mbtree=0"  # its AVX-512 code reads memory nobody wrote: the same pictures gave other codes each time
SMALLEST_HEVC_PX = 64  # x265 spoils memory on smaller pictures
PIXELS = {8: ("yuv420p", np.uint8), 10: ("yuv420p10le", np.uint16)}  # by bits: format of the planes, dtype of rgb


class VideoWriter:
    """Writes an .mp4 (4:2:0); the file appears under its name only when it is whole.

    Args:
        path: The file to write.
        fps: Frames per second.
        crf: The encoder's constant rate factor, 0 (of 8 bits: lossless) to 51.
        matrix, range: Of the YCbCr codes; written into the stream.
        comment: Written into the file's header.
        bits: Of a code, 8 or 10.
        codec: ``h264`` or ``hevc``.

    Raises:
        UsageError: Bits or a codec that cannot be.

    Example:
        ``with VideoWriter(Path("out.mp4"), fps=25) as video: video.write(rgb)``
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        crf: int = 18,
        matrix: Matrix = "bt709",
        range: ColorRange = "limited",
        comment: str = "",
        bits: int = 8,
        codec: Codec = "h264",
    ) -> None:
        if bits not in PIXELS or codec not in ENCODERS:
            raise UsageError(f"{path}: {codec} with {bits} bits; h264 and hevc are written with 8 or 10")
        self.path = path
        self.fps = Fraction(fps).limit_denominator(1001)
        self.crf = crf
        self.matrix: Matrix = matrix
        self.range: ColorRange = range
        self.comment = comment
        self.bits = bits
        self.codec: Codec = codec
        self.count = 0
        self._partial = path.with_name(path.name + ".partial")
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, rgb: npt.NDArray[np.unsignedinteger[Any]]) -> None:
        """Append a frame, shape (y, x, 3), uint8, of 10 bits uint16 (full scale); all of one, even size.

        Raises:
            UsageError: An odd size, another size than the first frame's, or another dtype than its bits ask for.
        """
        height, width = rgb.shape[:2]
        pixels, dtype = PIXELS[self.bits]
        if rgb.dtype != dtype:
            raise UsageError(f"{self.path}: frame {self.count} is {rgb.dtype}; {self.bits} bits need {np.dtype(dtype)}")
        if self._container is None:
            self._open(width, height)
        if (width, height) != (self._stream.width, self._stream.height):
            raise UsageError(f"{self.path}: frame {self.count} is {width}x{height}, not as the first one")
        luma, chroma = planes_from_rgb(rgb, matrix=self.matrix, range=self.range, bits=self.bits)
        planar = np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(height * 3 // 2, width)
        frame = av.VideoFrame.from_ndarray(planar, format=pixels)
        frame.pts = self.count
        frame.colorspace, frame.color_range = COLORSPACE_TAGS[self.matrix], RANGE_TAGS[self.range]
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            with self._container:
                if kind is None:
                    self._container.mux(self._stream.encode())
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise UsageError(f"{self.path}: {width}x{height} px; 4:2:0 needs an even width and height")
        if self.codec == "hevc" and min(width, height) < SMALLEST_HEVC_PX:
            raise UsageError(f"{self.path}: {width}x{height} px; HEVC needs {SMALLEST_HEVC_PX} each way", hint="h264")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), "w", format="mp4")
        if self.comment:
            self._container.metadata["comment"] = self.comment
        own = {"x265-params": X265} if self.codec == "hevc" else {"x264-params": X264}
        options = {"crf": str(self.crf), **own}
        self._stream = self._container.add_stream(ENCODERS[self.codec], rate=self.fps, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS[self.bits][0]
        context = self._stream.codec_context
        context.colorspace, context.color_range = COLORSPACE_TAGS[self.matrix], RANGE_TAGS[self.range]
        context.color_primaries, context.color_trc = PRIMARIES_TAGS[self.matrix], TRANSFER_SRGB
