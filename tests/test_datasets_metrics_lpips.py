"""LPIPS from files in the published formats, with random weights, against torchmetrics' own network and heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torchmetrics.functional.image import lpips as theirs

from litdome.datasets.metrics import load_lpips
from litdome.datasets.metrics.lpips import BACKBONES
from litdome.errors import InputError, MissingWeightsError

PUBLISHED_HEADS = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
RNG = np.random.default_rng(5)
TRUTH = RNG.random((64, 72, 3))
NOISY = np.clip(TRUTH + RNG.normal(0, 0.2, TRUTH.shape), 0, 1)
EVERYWHERE = np.ones((64, 72))
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def convolutions(name: str) -> nn.Sequential:
    """``features`` of torchvision's AlexNet or VGG16, as published (Krizhevsky 2014; Simonyan and Zisserman 2015)."""
    torch.manual_seed(0)
    if name == "alex":
        return nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
    layers: list[nn.Module] = []
    before = 3
    for width in VGG16:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    return nn.Sequential(*layers)


def save(folder: Path, name: str, features: nn.Sequential) -> Path:
    """The network with a classifier's weights, as torchvision saves it."""
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    file = folder / f"{name}.pth"
    torch.save({**state, "classifier.6.weight": torch.zeros(10, 4), "classifier.6.bias": torch.zeros(10)}, file)
    return file


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_distance_is_that_of_torchmetrics(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = convolutions(name)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_: features)  # stands in for torchvision
    oracle = theirs._LPIPS(pretrained=True, net=name, pnet_rand=True)
    pair = [torch.from_numpy(shown.transpose(2, 0, 1)[None]).float() for shown in (NOISY, TRUTH)]
    expected = float(oracle(*pair, normalize=True))
    measure = load_lpips(save(tmp_path, name, features), PUBLISHED_HEADS / f"{name}.pth")
    assert measure.name == name
    assert measure(NOISY, TRUTH, EVERYWHERE) == pytest.approx(expected, rel=1e-4) and expected > 1e-4
    assert measure(TRUTH, TRUTH, EVERYWHERE) == 0


def test_outside_of_the_mask_nothing_counts(tmp_path: Path) -> None:
    measure = load_lpips(save(tmp_path, "alex", convolutions("alex")), PUBLISHED_HEADS / "alex.pth")
    mask = np.zeros((64, 72))
    mask[10:50, 12:60] = 1
    spoilt = np.where(mask[..., None] > 0, TRUTH, 0.5)
    assert measure(spoilt, TRUTH, mask) == 0 and measure(spoilt, TRUTH, EVERYWHERE) > 0
    assert measure(NOISY, TRUTH, mask) == pytest.approx(
        measure(NOISY[10:50, 12:60], TRUTH[10:50, 12:60], np.ones((40, 48))), rel=1e-5
    )
    small = np.zeros((64, 72))
    small[60:, 70:] = 1  # in a corner: the box grows inwards
    assert np.isfinite(measure(NOISY, TRUTH, small)) and np.isnan(measure(NOISY, TRUTH, mask * 0))
    with pytest.raises(InputError, match="72x20 px, 32 px are needed"):
        measure(NOISY[:20], TRUTH[:20], EVERYWHERE[:20])


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    alex = save(tmp_path, "alex", convolutions("alex"))
    with pytest.raises(MissingWeightsError, match=r"gone\.pth: no such weights"):
        load_lpips(tmp_path / "gone.pth", PUBLISHED_HEADS / "alex.pth")
    with pytest.raises(InputError, match=r"vgg\.pth: no LPIPS heads for alex"):
        load_lpips(alex, PUBLISHED_HEADS / "vgg.pth")
    with pytest.raises(InputError, match=r"alex\.pth: no weights of AlexNet or VGG16"):
        load_lpips(PUBLISHED_HEADS / "alex.pth", alex)
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match="no weights of AlexNet"):
        load_lpips(tmp_path / "part.pth", PUBLISHED_HEADS / "alex.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no table of weights"):
        load_lpips(tmp_path / "list.pth", PUBLISHED_HEADS / "alex.pth")
    for content in (b"", b"<html>not found</html>", alex.read_bytes()[:5000]):
        (tmp_path / "broken.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.pth: no weights that torch can read"):
            load_lpips(tmp_path / "broken.pth", PUBLISHED_HEADS / "alex.pth")


def test_heads_compare_one_result_of_every_block() -> None:
    assert [sum(layer.tapped for layer in layers) for layers in BACKBONES.values()] == [5, 5]
