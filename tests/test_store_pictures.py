from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stored_take import SIZE, stored_take, whole_rgb

from litdome.errors import FrameAbsentError, StoreError, UsageError
from litdome.geometry import Camera, Resampler
from litdome.store.session import Session

REGIONS = [(0, 0, *SIZE), (0, 0, 1, 1), (31, 23, 33, 25), (5, 7, 90, 68), (95, 69, 96, 70)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return stored_take(str(tmp_path / "take.zarr"))


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_region_is_the_same_part_of_the_whole_picture(tmp_path: Path, dtype: str, subsampling: str) -> None:
    session = stored_take(str(tmp_path / "other.zarr"), dtype=dtype, subsampling=subsampling)
    whole = whole_rgb(session, "flat", 2)
    np.testing.assert_array_equal(session.read_frame("c00", "flat", 2), whole)
    mask = session.read("cameras/c00/flat/mask")[2]
    for x0, y0, x1, y1 in REGIONS:
        region = (x0, y0, x1, y1)
        np.testing.assert_array_equal(session.read_rgb("c00", "flat", 2, region=region), whole[y0:y1, x0:x1])
        np.testing.assert_array_equal(session.read_mask("c00", "flat", 2, region=region), mask[y0:y1, x0:x1])
    luma = session.read("cameras/c00/flat/luma")[1]
    np.testing.assert_array_equal(session.read_luma("c00", "flat", 1), luma if dtype == "uint8" else luma >> 2)


def test_a_region_reads_its_own_tiles_only(session: Session) -> None:
    """Every tile of the picture but one is damaged; what lies in that one still reads, and nothing else."""
    path = Path(session.url, "cameras/c00/flat/luma/c/0/0/0")
    damaged = bytearray(path.read_bytes())
    reader = session._need_reader("cameras/c00/flat/luma")
    reader.read(0)
    kept = reader._slot(0)
    assert kept is not None
    index = kept[2].reshape(2, 3, 3, 2)[0]
    for row, column in np.ndindex(3, 3):
        if (row, column) != (1, 2):
            damaged[int(index[row, column, 0]) + 5] ^= 1
    path.write_bytes(damaged)
    whole = whole_rgb_from(session)
    region = (64, 24, 96, 48)
    np.testing.assert_array_equal(session.read_rgb("c00", "flat", 0, region=region), whole[24:48, 64:96])
    with pytest.raises(StoreError, match="damaged"):
        session.read_rgb("c00", "flat", 0, region=(63, 24, 96, 48))


def whole_rgb_from(session: Session) -> np.ndarray:
    """The first flat picture of an undamaged twin."""
    return whole_rgb(stored_take(session.url.replace("take.zarr", "twin.zarr")), "flat", 0)


@pytest.mark.parametrize("region", [(-1, 0, 4, 4), (0, 0, 97, 4), (4, 4, 4, 8), (0, 9, 4, 8)])
def test_a_region_beyond_the_picture_is_refused(session: Session, region: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="is not inside 0,0,96,70"):
        session.read_rgb("c00", "flat", 0, region=region)
    with pytest.raises(UsageError, match="is not inside"):
        session.read_mask("c00", "flat", 0, region=region)


def test_absent_and_lost_pictures_are_errors_not_black(session: Session) -> None:
    with pytest.raises(FrameAbsentError, match="rig frame 3"):
        session.read_rgb("c00", "relit", 1)
    with pytest.raises(FrameAbsentError, match="no next_flat"):
        session.read_rgb("c00", "next_flat", 2)
    Path(session.url, "cameras/c00/relit/chroma/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match=r"relit/chroma/c/1/0/0/0: the shard is missing"):
        session.read_rgb("c00", "relit", 2)
    assert session.read_rgb("c00", "relit", 0).shape == (70, 96, 3)


def test_an_undistorted_region_is_the_same_part_of_the_undistorted_picture(session: Session) -> None:
    camera = np.array([[90.0, 0, 47], [0, 90, 34], [0, 0, 1]])
    lens = np.array([-0.2, 0.05, 1e-3, 0, 0, 0, 0, 0])
    for name, values in (("intrinsics", camera), ("distortion", lens), ("world_from_camera", np.eye(4))):
        session.write_small(f"rig/{name}", values[None], ("camera", *"ab"[: values.ndim]))
    seen = Camera("c00", *SIZE, camera, lens, np.eye(4))
    truth = Resampler.between(seen, seen.undistorted())(whole_rgb(session, "flat", 0))
    np.testing.assert_array_equal(session.read_rgb("c00", "flat", 0, undistort=True), truth)
    for x0, y0, x1, y1 in REGIONS:
        part = session.read_rgb("c00", "flat", 0, undistort=True, region=(x0, y0, x1, y1))
        assert np.abs(part.astype(int) - truth[y0:y1, x0:x1]).max() <= 1  # the maps' last bit
