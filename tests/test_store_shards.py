from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
import zarrs  # noqa: F401  registers its codec pipeline

from litdome import open_session
from litdome.errors import StoreError
from litdome.store.files import refusals
from litdome.store.layout import ShardLayout
from litdome.store.session import Session

PATH = "cameras/c00/flat/luma"
SHAPE = (11, 70, 45)
ZARR_PYTHON, ZARRS = "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.new(str(tmp_path / "take.zarr"), {"name": "take"})


def make(session: Session, dtype: str = "uint8", shape: tuple[int, ...] = SHAPE, **options: Any) -> np.ndarray:
    """An array in shards of 4, and random values for it."""
    bits = np.random.default_rng(1).integers(0, 200, shape)
    dims = ("n", *"abcde"[: len(shape) - 1])
    session.create(PATH, shape, dtype, dims, shard=4, **{"chunk": (1, *(-(-s // 2) for s in shape[1:])), **options})
    return (bits > 100) if dtype == "bool" else bits.astype(dtype)


def put(session: Session, values: np.ndarray, rows: dict[int, list[int]]) -> None:
    for start, chosen in rows.items():
        with session.shard_writer(PATH, start) as shard:
            for n in chosen:
                shard.put(n, values[n])


def read_by_peers(url: str) -> dict[str, np.ndarray]:
    """The whole array as each other implementation of Zarr v3 reads it."""
    found = {}
    for name, pipeline in (("zarr-python", ZARR_PYTHON), ("zarrs", ZARRS)):
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            found[name] = np.asarray(zarr.open_array(f"{url}/{PATH}", mode="r")[...])
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{url}/{PATH}/"}}
    found["tensorstore"] = tensorstore.open(spec, read=True).result().read().result()
    return found


@pytest.mark.parametrize("compression", ["zstd-1", "lz4-1", "none"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "float16", "float32", "float64"])
def test_zarr_python_zarrs_and_tensorstore_read_every_bit(session: Session, dtype: str, compression: str) -> None:
    values = make(session, dtype, compression=compression)
    put(session, values, {0: [0, 1, 2, 3], 4: [7, 4], 8: [8, 10]})  # the last shard reaches beyond the array
    values[[5, 6, 9]] = 0
    for peer, found in read_by_peers(session.url).items():
        np.testing.assert_array_equal(found, values, err_msg=peer)
        assert found.dtype == values.dtype
    for n in range(len(values)):
        np.testing.assert_array_equal(session.read_at(PATH, n), values[n])


@pytest.mark.parametrize("fill", [0, 7])
@pytest.mark.parametrize("chunk", [(1, 70, 45), (1, 27, 8), (1, 1, 45), (2, 35, 45), (4, 70, 45)])
def test_any_tiling_reads_alike_whole_and_in_boxes(session: Session, chunk: tuple[int, ...], fill: int) -> None:
    values = make(session, chunk=chunk, fill=fill)
    put(session, values, {0: [0, 1, 2], 8: [8, 9, 10]})
    values[3:8] = fill
    for peer, found in read_by_peers(session.url).items():
        np.testing.assert_array_equal(found, values, err_msg=peer)
    for n in range(len(values)):
        for box in (((0, 70), (0, 45)), ((3, 4), (7, 9)), ((26, 28), (0, 45)), ((69, 70), (44, 45))):
            (y0, y1), (x0, x1) = box
            np.testing.assert_array_equal(session.read_at(PATH, n, box), values[n, y0:y1, x0:x1])


def test_what_zarr_python_writes_is_read(session: Session) -> None:
    values = make(session, "uint16")
    session.array(PATH)[...] = values
    assert np.array_equal(session.read_at(PATH, 9), values[9])


def test_shards_of_an_earlier_store_without_chunk_checksums_are_read(session: Session) -> None:
    values = make(session)
    older = session.root.create_array(
        "older", shape=SHAPE, dtype="u1", chunks=(1, 35, 45), shards=(4, 70, 45), compressors=zarr.codecs.ZstdCodec()
    )
    older[...] = values
    layout = ShardLayout.of(older)
    assert layout is not None and not layout.checked
    assert np.array_equal(session.read_at("older", 7), values[7])


def test_an_array_that_is_there_keeps_its_values_whatever_its_tiles(session: Session) -> None:
    values = make(session, chunk=(1, 10, 45))
    session.write(PATH, 0, values)
    make(session)
    assert session.array(PATH).chunks == (1, 10, 45) and np.array_equal(session.read(PATH), values)
    make(session, compression="lz4-1")
    assert not session.read(PATH).any()


def test_the_same_pictures_make_the_same_bytes(session: Session) -> None:
    values = make(session)
    path = Path(session.url, PATH, "c/0/0/0")
    session.write(PATH, 0, values)
    first = path.read_bytes()
    put(session, values, {0: [0, 1, 2, 3]})
    assert path.read_bytes() == first


def test_leaving_by_exception_leaves_nothing_and_the_old_shard(session: Session) -> None:
    values = make(session)
    with pytest.raises(RuntimeError), session.shard_writer(PATH, 0) as shard:
        shard.put(0, values[0])
        raise RuntimeError("decoder")
    assert not session.has_shard(PATH, 0) and not list(Path(session.url, PATH).rglob(".*"))
    put(session, values, {0: [0]})
    with pytest.raises(RuntimeError), session.shard_writer(PATH, 0) as shard:
        shard.put(0, values[1])
        raise RuntimeError("decoder")
    assert session.has_shard(PATH, 0) and np.array_equal(session.read_at(PATH, 0), values[0])


def test_a_row_outside_of_the_shard_twice_or_of_another_shape_is_refused(session: Session) -> None:
    values = make(session)
    for wrong in ((4, values[4]), (0, values[0].T), (0, values[0].astype("u2"))):
        with pytest.raises(StoreError, match="row"), session.shard_writer(PATH, 0) as shard:
            shard.put(*wrong)
    with pytest.raises(StoreError, match="already"), session.shard_writer(PATH, 0) as shard:
        shard.put(0, values[0])
        shard.put(0, values[0])
    for start in (2, 12, -4):
        with pytest.raises(StoreError, match="no shard that begins"):
            session.shard_writer(PATH, start)
    assert not any(session.has_shard(PATH, start) for start in (0, 4, 8))


def test_a_killed_writer_leaves_no_shard_and_its_rest_is_swept(session: Session) -> None:
    values = make(session)
    code = (
        "import sys, time; from litdome import open_session; s = open_session(sys.argv[1], writable=True)\n"
        f"with s.shard_writer({PATH!r}, 0) as shard:\n"
        f"    shard.put(0, s.read_at({PATH!r}, 0)); print('half', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, session.url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "half\n"
    folder = Path(session.url, PATH, "c/0/0")
    put(session, values, {0: [0]})
    assert len(list(folder.iterdir())) == 2  # a writer that lives keeps its file
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert np.array_equal(open_session(session.url).read_at(PATH, 0), values[0])
    for peer, found in read_by_peers(session.url).items():
        assert np.array_equal(found[0], values[0]), peer
    put(session, values, {0: [0, 1]})
    assert [path.name for path in folder.iterdir()] == ["0"]


def test_two_writers_of_one_shard_do_not_sweep_each_other(session: Session) -> None:
    """A worker that was given up may still be writing what another one was given."""
    session.create("twice", (2, 8, 8), np.uint8, ("n", "y", "x"), shard=2)
    values = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)

    def write(_: int) -> None:
        session.write("twice", 0, values)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(80)))
    assert np.array_equal(session.read("twice"), values)
    assert not list(Path(session.url, "twice").rglob("*.partial"))


def test_damage_is_named_and_never_read(session: Session) -> None:
    values = make(session)
    session.write(PATH, 0, values)
    path = Path(session.url, PATH, "c/1/0/0")
    whole = path.read_bytes()
    for at in (10, len(whole) - 30):  # a chunk, the index
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match=r"flat/luma: shard c/1/0/0 is damaged.*crc32c"):
            for n in range(4, 8):
                session.read_at(PATH, n)
    for cut in (3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match="cut off"):
            session.read_at(PATH, 5)
    path.write_bytes(whole)
    assert np.array_equal(session.read_at(PATH, 5), values[5])
    path.unlink()
    assert not session.read_at(PATH, 5).any()
    with pytest.raises(StoreError, match="c/1/0/0: the shard is missing"):
        session.read_at(PATH, 5, required=True)


def test_a_shard_written_anew_by_another_process_is_read_anew(session: Session) -> None:
    values = make(session)
    session.write(PATH, 0, values)
    reader = open_session(session.url)
    assert np.array_equal(reader.read_at(PATH, 2), values[2])
    put(session, 199 - values, {0: [3, 2]})
    assert np.array_equal(reader.read_at(PATH, 2), 199 - values[2]) and not reader.read_at(PATH, 0).any()


def test_a_session_reads_after_pickle_and_after_fork(session: Session) -> None:
    values = make(session)
    session.write(PATH, 0, values)
    session.read_at(PATH, 1)
    again = pickle.loads(pickle.dumps(session))
    assert np.array_equal(again.read_at(PATH, 1), values[1]) and again.writable
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(session.read_at(PATH, 5), values[5]) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_memory_is_a_few_pictures_however_long_the_shard(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        code = (
            "import sys, resource, numpy as np; from litdome.store.session import Session\n"
            "rows = int(sys.argv[2]); s = Session.new(sys.argv[1], {}); shape = (rows, 1080, 1920)\n"
            "s.create('a', shape, 'u1', ('n', 'y', 'x'), shard=rows); rng = np.random.default_rng(0)\n"
            "with s.shard_writer('a', 0) as shard:\n"
            "    for n in range(rows): shard.put(n, rng.integers(0, 255, shape[1:], np.uint8))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        arguments = [sys.executable, "-c", code, str(tmp_path / f"{rows}.zarr"), str(rows)]
        return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)

    assert peak(48) - peak(4) < 20  # MB; 44 pictures more are 91 MB


def test_a_full_disk_names_the_path_and_the_bytes_and_leaves_nothing(session: Session) -> None:
    values = make(session, shape=(4, 700, 450))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"c/0/0/0: the disk is full .* bytes free, up to 1,2\d\d,\d\d\d needed"):
            session.write(PATH, 0, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not session.has_shard(PATH, 0) and not list(Path(session.url, PATH).rglob(".*"))
    session.write(PATH, 0, values)


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "cannot be written"), (errno.ENOENT, "is gone")],
)
def test_what_the_system_says_becomes_one_line_with_a_hint(code: int, says: str) -> None:
    with pytest.raises(StoreError, match=f"^/tmp: {says}") as caught, refusals("/tmp", 5):
        raise OSError(code, os.strerror(code))
    assert caught.value.hint and caught.value.exit_code == 5
    with pytest.raises(ValueError, match="ours"), refusals("/tmp"):
        raise ValueError("ours")


def test_a_session_that_vanishes_is_not_made_anew(session: Session) -> None:
    values = make(session)
    Path(session.url).rename(session.url + ".moved")
    with pytest.raises(StoreError, match="is gone"):
        session.write(PATH, 0, values)
    with pytest.raises(StoreError, match="is gone"):
        session.write_small("pairs/hdri", np.zeros(3), ("pair",))
    assert not Path(session.url).exists()
