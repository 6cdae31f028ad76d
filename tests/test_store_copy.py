from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from stored_take import stored_take, whole_rgb

from litdome import open_session
from litdome.cli import run
from litdome.errors import StoreError, UsageError
from litdome.store.copy import copy_session
from litdome.store.decisions import Decision, add_decision, read_decisions
from litdome.store.session import Session
from litdome.store.verify import verify_session

LUMA = "cameras/c00/flat/luma"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    taken = stored_take(str(tmp_path / "take.zarr"))
    add_decision(taken.url, Decision("drop", ("c00",), ((1, 2),), "blur", "ann", "2026-01-01T00:00:00+00:00"))
    return taken


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_the_same_bytes_and_brings_the_decisions(session: Session, tmp_path: Path) -> None:
    target = tmp_path / "archive" / "take.zarr"
    report = copy_session(session.url, str(target))
    assert contents(target) == contents(Path(session.url)) and report.left == 0
    assert report.copied == len(contents(target)) + 1  # the decision
    assert read_decisions(str(target)) == read_decisions(session.url)
    assert not target.with_name("take.zarr.partial").exists()
    again = copy_session(session.url, str(target))
    assert (again.copied, again.left) == (0, report.copied)


def test_an_interrupted_copy_goes_on_and_shows_no_session_before(session: Session, tmp_path: Path) -> None:
    target, asked = tmp_path / "copy.zarr", iter([False] * 9 + [True] * 99)
    copy_session(session.url, str(target), should_stop=lambda: next(asked))
    partial = target.with_name("copy.zarr.partial")
    half = contents(partial)
    assert half and not target.exists() and "zarr.json" not in half
    name = sorted(half)[0]
    (partial / name).write_bytes(half[name][:-1] + b"?")  # what reads back wrong is copied again
    report = copy_session(session.url, str(target))
    assert report.left == len(half) - 1 and contents(target) == contents(Path(session.url))


def test_what_is_not_a_copy_is_never_touched(session: Session, tmp_path: Path) -> None:
    other = tmp_path / "other.zarr"
    shutil.copytree(session.url, other)
    Session.open(str(other), writable=True).write(LUMA, 0, np.zeros((3, 70, 96), np.uint8))
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"x")
    for target in (other, photos):
        before = contents(target)
        with pytest.raises(UsageError, match="exists already"):
            copy_session(session.url, str(target))
        assert contents(target) == before
    with pytest.raises(StoreError, match="no session here"):
        copy_session(str(photos), str(tmp_path / "new.zarr"))
    assert not (tmp_path / "new.zarr").exists()


def test_a_whole_session_has_no_damage(session: Session) -> None:
    assert verify_session(session.url) == []


@pytest.mark.parametrize("at", [7, 300, -1, -40])
def test_a_changed_byte_anywhere_in_a_shard_is_found(session: Session, at: int) -> None:
    path = Path(session.url, LUMA, "c/0/0/0")
    changed = bytearray(path.read_bytes())
    changed[at] ^= 16
    path.write_bytes(changed)
    (damage,) = verify_session(session.url)
    assert (damage.array, damage.file) == (LUMA, f"{LUMA}/c/0/0/0") and "crc32c" in damage.what


def test_lost_cut_and_unreadable_files_are_found(session: Session) -> None:
    root = Path(session.url)
    (root / LUMA / "c/1/0/0").unlink()
    (root / "pairs/hdri/c/0").unlink()
    (root / "cameras/c00/flat/mask/c/1/0/0").unlink()  # de-flickering is not finished: nothing says it was written
    cut = root / "cameras/c00/relit/chroma/c/0/0/0/0"
    cut.write_bytes(cut.read_bytes()[:-9])
    small = root / "pairs/alpha/c/0"
    small.write_bytes(small.read_bytes()[:-1] + b"?")
    (root / "pairs/gap_ms/zarr.json").write_text("{")
    found = {damage.file: damage.what for damage in verify_session(session.url)}
    cut_one = "cameras/c00/relit/chroma/c/0/0/0/0"
    assert found.keys() == {f"{LUMA}/c/1/0/0", "pairs/hdri/c/0", cut_one, "pairs/alpha", "pairs/gap_ms/zarr.json"}
    assert found[f"{LUMA}/c/1/0/0"] == "is missing" and "cut off" in found[cut_one]


def test_the_commands_say_what_they_found(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "copy.zarr")
    assert run(["-q", "session", "copy", session.url, target]) == 0
    assert run(["-q", "session", "verify", target]) == 0
    assert "copy.zarr: whole" in capsys.readouterr().out
    Path(target, LUMA, "c/1/0/0").unlink()
    assert run(["-q", "session", "verify", target]) == 5
    shown = capsys.readouterr()
    assert f"{LUMA}/c/1/0/0: is missing" in shown.out and "1 files damaged or missing" in shown.err
    assert run(["-q", "session", "copy", session.url, target]) == 2
    assert f"exists already, without {LUMA}/c/1/0/0" in capsys.readouterr().err


def test_a_session_lives_on_s3(session: Session, bucket: str, tmp_path: Path) -> None:
    url = f"{bucket}/made.zarr"
    made = stored_take(url)
    add_decision(url, Decision("keep", None, (), "fine", "bob", "2026-01-02T00:00:00+00:00"))
    assert [decision.author for decision in read_decisions(url)] == ["bob"]
    with pytest.raises(UsageError, match="exists already"):
        Session.new(url, {})
    reopened = open_session(url)
    whole = whole_rgb(session, "flat", 1)
    np.testing.assert_array_equal(reopened.read_rgb("c00", "flat", 1, region=(5, 7, 90, 68)), whole[7:68, 5:90])
    with pytest.raises(RuntimeError), made.shard_writer(LUMA, 2) as shard:
        shard.put(2, np.zeros((70, 96), np.uint8))
        raise RuntimeError("decoder")
    assert np.array_equal(open_session(url).read_frame("c00", "flat", 2), whole_rgb(session, "flat", 2))
    made.write(LUMA, 0, 255 - session.read(LUMA))
    assert np.array_equal(reopened.read_luma("c00", "flat", 1), 255 - session.read(LUMA)[1])  # its index was kept
    with pytest.raises(StoreError, match="no session here"):
        open_session(f"{bucket}/nothing.zarr")


def test_a_session_goes_to_s3_and_back_and_damage_there_is_found(session: Session, bucket: str, tmp_path: Path) -> None:
    url, back = f"{bucket}/day/take.zarr", tmp_path / "back.zarr"
    copy_session(session.url, url)
    assert verify_session(url) == [] and read_decisions(url) == read_decisions(session.url)
    copy_session(url, str(back))
    assert contents(back) == contents(Path(session.url))
    files = fsspec.filesystem("s3")
    path = f"{bucket}/day/take.zarr/{LUMA}/c/0/0/0"
    files.pipe_file(path, b"?" + files.cat_file(path)[1:])
    files.rm_file(f"{bucket}/day/take.zarr/{LUMA}/c/1/0/0")
    found = [(damage.file[-7:], damage.what[:10]) for damage in verify_session(url)]
    assert found == [("c/0/0/0", "1 chunks d"), ("c/1/0/0", "is missing")]


def test_an_address_without_a_server_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"s3://stage/x\.zarr"):
        open_session("s3://stage/x.zarr")
