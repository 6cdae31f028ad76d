"""`litdome.Relighter`: arrays in, arrays out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import one_lamp, small_run

from litdome.errors import InputError, UsageError
from litdome.media.hdr import read_hdr

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("notebook")
    small_run(place)
    one_lamp(place / "lamp.exr")
    return place


def test_three_lines_relight_a_clip(folder: Path) -> None:
    from litdome import Relighter

    flat = np.random.default_rng(0).integers(0, 256, (3, 30, 44, 3), np.uint8)
    relighter = Relighter(folder / "run")
    pictures = relighter(flat, folder / "lamp.exr", rotate_deg=90)
    assert pictures.shape == flat.shape and pictures.dtype == np.uint8 and pictures.std() > 0
    as_floats = relighter(flat / np.float32(255), read_hdr(folder / "lamp.exr"), rotate_deg=(90, 90))
    assert as_floats.dtype == np.float32
    np.testing.assert_allclose(pictures / 255, as_floats, atol=0.51 / 255)  # half a code
    one = relighter(flat[0], folder / "lamp.exr", rotate_deg=90)
    np.testing.assert_array_equal(one, relighter(flat[:1], folder / "lamp.exr", rotate_deg=90)[0])


def test_every_picture_may_have_its_own_light_and_keeps_its_matte(folder: Path) -> None:
    from litdome import Relighter

    relighter = Relighter(folder / "run", size=(32, 48))
    still = np.tile(np.random.default_rng(1).integers(0, 256, (1, 32, 48, 4), np.uint8), (3, 1, 1, 1))
    turned = relighter(still, folder / "lamp.exr", rotate_deg=[0, 120, 0], gain=[1, 1, 2])
    np.testing.assert_array_equal(turned[..., 3], still[..., 3])
    assert (turned[0] != turned[1]).any() and (turned[0] != turned[2]).any()
    with pytest.raises(UsageError, match="rotation: 4 values for 3 pictures"):
        relighter(still, folder / "lamp.exr", rotate_deg=[0, 1, 2, 3])


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        (np.zeros((8, 8), np.uint8), "shape"),
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
        (np.zeros((0, 8, 8, 3), np.uint8), "shape"),
        (np.full((8, 8, 3), 255.0), "values of 255"),
        (np.full((8, 8, 3), np.nan), "values of"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(folder: Path, flat: np.ndarray, words: str) -> None:
    from litdome import Relighter

    with pytest.raises(InputError, match=words):
        Relighter(folder / "run")(flat, folder / "lamp.exr")


def test_naming_it_imports_nothing_heavy_before_it_is_used() -> None:
    code = "import sys, litdome; assert 'Relighter' in litdome.__all__; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
