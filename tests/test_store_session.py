from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from litdome import open_session
from litdome.errors import StoreError, UsageError
from litdome.store.decisions import Decision, add_decision, effective_keep, read_decisions
from litdome.store.schema import default_chunk, tile_length
from litdome.store.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.new(str(tmp_path / "take.zarr"), {"name": "take"})


def test_written_shards_read_back_bit_for_bit(session: Session) -> None:
    values = np.random.default_rng(0).integers(0, 255, (40, 36, 64, 3), np.uint8)
    session.create("cameras/c00/flat/rgb", values.shape, np.uint8, ("n", "y", "x", "channel"), unit="code")
    for start, stop in session.shards(40):
        session.write("cameras/c00/flat/rgb", start, values[start:stop])
    reopened = open_session(session.url)
    array = reopened.array("cameras/c00/flat/rgb")
    np.testing.assert_array_equal(array[...], values)
    assert array.shards == (16, 36, 64, 3) and array.chunks == (1, 36, 64, 3)
    assert array.metadata.dimension_names == ("n", "y", "x", "channel") and array.attrs["unit"] == "code"
    plain = zarr.open_array(f"{session.url}/cameras/c00/flat/rgb", mode="r")
    np.testing.assert_array_equal(plain[17], values[17])


def test_a_write_across_a_shard_raises_and_changes_nothing(session: Session) -> None:
    session.create("motion/c00", (40, 2, 4, 4), np.float16, ("pair", "2", "y", "x"))
    for start, length in ((8, 16), (0, 8), (16, 20)):
        with pytest.raises(StoreError, match="not aligned"):
            session.write("motion/c00", start, np.ones((length, 2, 4, 4), np.float16))
    session.write("motion/c00", 32, np.ones((8, 2, 4, 4), np.float16))
    assert session.read("motion/c00")[:32].max() == 0


def test_the_same_array_is_kept_and_another_is_replaced(session: Session) -> None:
    session.create("a/b", (4, 3), np.float32, ("camera", "pair"), shard=None)
    session.write("a/b", 0, np.ones((4, 3), np.float32))
    session.create("a/b", (4, 3), np.float32, ("camera", "pair"), shard=None)
    assert session.read("a/b").min() == 1
    session.create("a/b", (4, 5), np.float32, ("camera", "pair"), shard=None)
    assert session.read("a/b").max() == 0


@pytest.mark.parametrize(
    ("shape", "dims", "chunk"),
    [
        ((100, 2160, 3840), ("n", "y", "x"), (1, 540, 480)),
        ((100, 2, 1080, 1920), ("n", "cbcr", "y2", "x2"), (1, 2, 270, 240)),
        ((100, 1079, 1913), ("n", "y", "x"), (1, 540, 479)),  # primes: as little padding as 2 %
        ((100, 704, 1280, 3), ("n", "y", "x", "channel"), (1, 352, 320, 3)),
        ((50, 2, 120, 68), ("pair", "2", "y", "x"), (1, 2, 120, 68)),
        ((4, 50), ("camera", "pair"), (4, 50)),
    ],
)
def test_pictures_are_split_into_tiles_that_divide_or_hardly_pad(
    shape: tuple[int, ...], dims: tuple[str, ...], chunk: tuple[int, ...]
) -> None:
    assert default_chunk(shape, dims) == chunk


@pytest.mark.parametrize("length", [1, 7, 601, 719, 1079, 1080, 1440, 1913, 2048, 2160, 3000, 3840, 4096, 7681])
def test_tiles_pad_at_most_two_percent_and_stay_near_their_target(length: int) -> None:
    tile = tile_length(length, 540)
    assert -(-length // tile) * tile <= length * 1.02
    assert tile == length or 270 <= tile <= 675


def test_an_existing_output_is_never_touched(session: Session) -> None:
    with pytest.raises(UsageError, match="exists already"):
        Session.new(session.url, {})


def test_what_is_not_ours_or_too_new_is_refused(tmp_path: Path, session: Session) -> None:
    with pytest.raises(StoreError, match="no session here"):
        open_session(str(tmp_path / "nothing.zarr"))
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="not a litdome-session"):
        open_session(str(tmp_path / "other.zarr"))
    session.root.attrs["schema"] = "2.0"
    with pytest.raises(StoreError, match=r"2\.0 is newer than 1\.0"):
        open_session(session.url)
    session.root.attrs["schema"] = "1.7"
    assert open_session(session.url).attrs["name"] == "take"


def test_a_later_decision_wins_and_a_damaged_one_is_named(session: Session) -> None:
    keep = np.ones((2, 6), bool)
    drop = Decision("drop", ("c01",), ((1, 4),), "blur", "ann", "2026-01-01T00:00:00+00:00")
    back = Decision("keep", None, ((2, 3),), "fine", "bob", "2026-01-02T00:00:00+00:00")
    add_decision(session.url, back)
    add_decision(session.url, drop)
    decisions = read_decisions(session.url)
    assert decisions == (drop, back)
    result = effective_keep(keep, ["c00", "c01"], decisions)
    assert result[0].all() and result[1].tolist() == [True, False, True, False, True, True]
    folder = Path(session.url.removesuffix(".zarr") + ".decisions")
    (folder / "x.json").write_text(json.dumps({"action": "keep"}))
    with pytest.raises(StoreError, match=r"x\.json"):
        read_decisions(session.url)
