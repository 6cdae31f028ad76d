"""Drivers: renderings come back as written, and none is taken that its avatar had been trained on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from relighter_take import driver_picture, driver_record, write_all_drivers

from litdome.datasets.views import DatasetView
from litdome.errors import InputError, UsageError
from litdome.train_plugins.drivers import RECORD_FILE, Driver, Drivers, write_drivers


@pytest.fixture
def view(relighter_data: DatasetView) -> DatasetView:
    return relighter_data


def test_renderings_come_back_as_they_were_written(tmp_path: Path, view: DatasetView) -> None:
    record = write_all_drivers(tmp_path / "drivers", view)
    drivers = Drivers.open(tmp_path / "drivers")
    assert drivers.record == record
    drivers.need_for(view.split("train"))
    assert np.array_equal(drivers.read("two", "c01", 3), driver_picture("two", "c01", 3))
    plain = cv2.imread(str(tmp_path / "drivers/b/two/c01/000003.png"), cv2.IMREAD_UNCHANGED)  # readable by anybody
    assert plain.shape[2] == 4 and (plain[8:24, :, 3] == 255).all()


def test_a_picture_whose_avatar_saw_its_moment_is_neither_written_nor_read(tmp_path: Path, view: DatasetView) -> None:
    record = driver_record(view)
    with pytest.raises(InputError, match="fold a was trained on it; it is held out of fold b"):
        write_drivers(tmp_path / "seen", record, [Driver("a", "one", "c00", 2, driver_picture("one", "c00", 2))])
    assert not (tmp_path / "seen" / RECORD_FILE).exists()
    write_all_drivers(tmp_path / "drivers", view)
    edited = json.loads((tmp_path / "drivers" / RECORD_FILE).read_text())
    edited["folds"][1]["held_out"]["two"] = [[2, 3]]  # fold b was trained on pair 3 after all
    (tmp_path / "drivers" / RECORD_FILE).write_text(json.dumps(edited))
    drivers = Drivers.open(tmp_path / "drivers")
    with pytest.raises(
        InputError, match="2 of 16 samples are seen in training by every avatar, the first: two/c00, pair 3"
    ):
        drivers.need_for(view.split("train"))
    with pytest.raises(InputError, match="trained on it"):
        drivers.read("two", "c00", 3)


def test_test_pairs_need_an_avatar_that_was_kept_from_them(tmp_path: Path, view: DatasetView) -> None:
    write_all_drivers(tmp_path / "drivers", view)
    with pytest.raises(InputError, match="8 of 8 samples are seen in training"):
        Drivers.open(tmp_path / "drivers").need_for(view.split("test_motion"))


def test_missing_pictures_other_datasets_and_other_sizes_are_refused(tmp_path: Path, view: DatasetView) -> None:
    record = write_all_drivers(tmp_path / "drivers", view, but=1)
    with pytest.raises(InputError, match="4 of 16 samples are without a picture, the first: one/c00, pair 1"):
        Drivers.open(tmp_path / "drivers").need_for(view.split("train"))
    for name, change, words in (
        ("other", {"dataset": "another"}, "renderings of dataset another, this one is f"),
        ("small", {"size": (16, 24)}, "pictures of .16, 24., the dataset's are .32, 48."),
    ):
        write_drivers(tmp_path / name, record.model_copy(update=change), [])
        with pytest.raises(InputError, match=words):
            Drivers.open(tmp_path / name).need_for(view)


def test_what_cannot_be_read_says_what_it_is(tmp_path: Path, view: DatasetView) -> None:
    with pytest.raises(InputError, match="No such file"):
        Drivers.open(tmp_path)
    write_all_drivers(tmp_path / "drivers", view)
    with pytest.raises(UsageError, match="exists already"):
        write_all_drivers(tmp_path / "drivers", view)
    (tmp_path / "drivers/a/one/c00/000000.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"000000\.png: not an RGBA picture"):
        Drivers.open(tmp_path / "drivers").read("one", "c00", 0)
    (tmp_path / "drivers" / RECORD_FILE).write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match="schema_version"):
        Drivers.open(tmp_path / "drivers")


def test_the_fingerprint_changes_with_any_picture(tmp_path: Path, view: DatasetView) -> None:
    write_all_drivers(tmp_path / "drivers", view)
    drivers = Drivers.open(tmp_path / "drivers")
    before = drivers.fingerprint
    assert before == Drivers.open(tmp_path / "drivers").fingerprint
    cv2.imwrite(str(tmp_path / "drivers/a/one/c00/000000.png"), np.zeros((32, 48, 4), np.uint8))
    assert drivers.fingerprint != before
