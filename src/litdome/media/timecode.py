"""SMPTE timecode: where a container keeps it, and its seconds."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from litdome.errors import InputError

TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d\d\d?)", re.ASCII)


def find_timecode(container: Any, stream: Any) -> str | None:
    """The timecode of the first picture of an open PyAV container: stream tag, tmcd track or container tag."""
    places = [stream.metadata, *(data.metadata for data in container.streams.data), container.metadata]
    found = (place.get("timecode", "").strip() for place in places)
    return next((text for text in found if TIMECODE.fullmatch(text)), None)


def timecode_seconds(timecode: str, fps: float) -> float:
    """Seconds since midnight at which a picture was taken, in the recording's own time.

    Args:
        timecode: ``hh:mm:ss:ff``; ``;`` or ``.`` before the frames marks drop-frame counting, in which every minute
            but each tenth leaves out the first 2 frame numbers at 29.97 (4 at 59.94).
        fps: Pictures per second, 29.97 being 30000 / 1001.

    Raises:
        InputError: Not a timecode, a frame number beyond the rate, or one that drop-frame counting leaves out.

    Source: SMPTE ST 12-1.
    """
    match = TIMECODE.fullmatch(timecode.strip())
    if match is None:
        raise InputError(f"timecode {timecode!r} is not hh:mm:ss:ff")
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    nominal = round(fps)
    if frames >= nominal:
        raise InputError(f"timecode {timecode}: frame {frames}, but there are {nominal} in a second")
    count = ((hours * 60 + minutes) * 60 + seconds) * nominal + frames
    if match[4] != ":":
        dropped = round(nominal / 15)
        if seconds == 0 and minutes % 10 and frames < dropped:
            raise InputError(f"timecode {timecode}: drop-frame counting has no such number")
        count -= dropped * (hours * 54 + minutes - minutes // 10)
    rate = Fraction(nominal * 1000, 1001) if abs(fps - nominal) > 1e-4 * nominal else Fraction(nominal)
    return float(count / rate)
