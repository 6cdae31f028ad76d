"""Encoded samples: the same from memory, disk and autoencoder; nothing on disk is believed that is not what it says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from litdome.errors import StoreError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter.autoencoder import HAAR_STD, HaarAutoencoder
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.latent_cache import LatentCache
from litdome.train_plugins.relighter.objective import Batch

INDICES = [0, 2, 1, 3]


class Unreadable(SyntheticView):
    """Samples that nobody may ask for."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        raise AssertionError(f"sample {index} was read")


def encoded(
    folder: Path | None, data: SyntheticView | None = None, *, identity: str = "a", **settings: object
) -> Batch:
    autoencoder = settings.pop("autoencoder", HaarAutoencoder())
    config = RelighterConfig.model_validate(settings)
    cache = LatentCache(data or SyntheticView(), config, autoencoder, "cpu", folder=folder, identity=identity)  # type: ignore[arg-type]
    return cache.batches(INDICES)[0][1]


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.clean, other.clean) and torch.equal(one.conditions, other.conditions)


def test_latents_on_disk_are_those_that_would_be_encoded(tmp_path: Path) -> None:
    direct = encoded(None)
    assert same(encoded(tmp_path), direct)
    assert same(encoded(tmp_path, Unreadable()), direct)
    assert same(encoded(tmp_path, Unreadable(), latent_cache_mb=0), direct)  # no room in memory
    with pytest.raises(AssertionError, match="was read"):
        encoded(None, Unreadable())


def test_a_light_is_encoded_once_for_all_samples_that_have_it(tmp_path: Path) -> None:
    class OneLight(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            light = {key: value for key, value in super().__getitem__(0).items() if key.startswith("env_")}
            return {**super().__getitem__(index), **light}

    encoded(tmp_path / "one", OneLight())
    encoded(tmp_path / "own")
    assert len(list((tmp_path / "one").rglob("light-*"))) == 3  # ldr, log, direction
    assert len(list((tmp_path / "own").rglob("light-*"))) == 4 + 4 + 1  # a direction map belongs to a size
    assert len(list((tmp_path / "own").rglob("sample-*"))) == 4


@pytest.mark.parametrize("kind", ["light", "sample"])
def test_a_damaged_file_is_encoded_anew_and_one_line_says_so(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    direct = encoded(tmp_path)
    damaged = sorted(tmp_path.rglob(f"{kind}-*"))[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert same(encoded(tmp_path), direct)
    assert [record.message for record in caplog.records] == [f"{damaged}: damaged; encoded anew"]
    assert same(encoded(tmp_path, Unreadable()), direct)


def test_latents_of_other_data_or_another_autoencoder_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoded(tmp_path, SyntheticView(seed=1), identity="b")
    (other,) = tmp_path.iterdir()
    direct = encoded(None)
    assert same(encoded(tmp_path), direct)
    (own,) = set(tmp_path.iterdir()) - {other}
    (other / "sample-000000.safetensors").replace(own / "sample-000000.safetensors")
    with caplog.at_level(logging.WARNING):
        assert same(encoded(tmp_path), direct)
    assert [record.message for record in caplog.records] == [
        f"{own / 'sample-000000.safetensors'}: of other data; encoded anew"
    ]
    wider = HaarAutoencoder(std=tuple(2 * value for value in HAAR_STD))
    assert not torch.allclose(encoded(tmp_path, autoencoder=wider).clean, direct.clean)


def test_a_cache_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*cannot be written") as raised:
        encoded(tmp_path / "file")
    assert raised.value.hint == "--set latent_cache=memory"
