"""Timecode counts as SMPTE ST 12-1 says."""

from __future__ import annotations

import pytest

from litdome.errors import InputError
from litdome.media.timecode import timecode_seconds

NTSC = 30000 / 1001


def test_plain_counting() -> None:
    assert timecode_seconds("00:00:00:00", 25) == 0
    assert timecode_seconds("10:00:07:12", 25) == 36007.48
    assert timecode_seconds("00:00:01:00", 24000 / 1001) == pytest.approx(1.001)


def test_drop_frame_counting_keeps_up_with_the_clock() -> None:
    assert timecode_seconds("00:01:00;02", NTSC) == pytest.approx(1800 / NTSC)  # the picture after 00:00:59;29
    assert timecode_seconds("00:10:00;00", NTSC) == pytest.approx(17982 / NTSC)
    assert timecode_seconds("24:00:00;00", NTSC) == pytest.approx(86400, abs=0.09)  # 2.6 frames a day
    assert timecode_seconds("00:01:00;04", 2 * NTSC) == pytest.approx(3600 / 2 / NTSC)
    assert timecode_seconds("24:00:00:00", NTSC) > 86486  # without dropping


@pytest.mark.parametrize("count", [0, 1799, 1800, 17981, 17982, 53999, 107891])
def test_every_drop_frame_number_is_one_frame_on(count: int) -> None:
    """Counted by walking the numbers that exist."""
    numbers = (
        (minute, second, frame)
        for minute in range(61)
        for second in range(60)
        for frame in range(30)
        if not (second == 0 and frame < 2 and minute % 10)
    )
    minute, second, frame = next(number for n, number in enumerate(numbers) if n == count)
    text = f"{minute // 60:02}:{minute % 60:02}:{second:02};{frame:02}"
    assert timecode_seconds(text, NTSC) * NTSC == pytest.approx(count, abs=1e-6)


@pytest.mark.parametrize("text", ["", "10:00:00", "10:00:00:25", "aa:00:00:00", "00:61:00:00", "00:01:00;01"])
def test_what_is_no_timecode_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="timecode"):
        timecode_seconds(text, 25 if ";" not in text else NTSC)
