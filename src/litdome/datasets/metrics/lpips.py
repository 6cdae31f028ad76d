"""LPIPS (Zhang et al. 2018) from weight files that the user brings: a backbone of torchvision and LPIPS's own heads.

The network is written out here, since the packages that bring it need torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from litdome.errors import InputError, MissingWeightsError

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in -1..1: ImageNet's mean and deviation
MIN_SIDE_PX = 32  # the deepest features still have one pixel


@dataclass(frozen=True)
class Layer:
    """A convolution with its ReLU.

    Attributes:
        index: Number in torchvision's ``features``.
        channels: Of its result.
        stride, padding: Of the convolution.
        pool: Kernel of the max pooling with stride 2 before it; 0 for none.
        tapped: Whether LPIPS compares its result.
    """

    index: int
    channels: int
    stride: int = 1
    padding: int = 1
    pool: int = 0
    tapped: bool = True


BACKBONES = {
    "alex": (Layer(0, 64, 4, 2), Layer(3, 192, 1, 2, 3), Layer(6, 384, pool=3), Layer(8, 256), Layer(10, 256)),
    "vgg": (
        *(Layer(0, 64, tapped=False), Layer(2, 64)),
        *(Layer(5, 128, pool=2, tapped=False), Layer(7, 128)),
        *(Layer(10, 256, pool=2, tapped=False), Layer(12, 256, tapped=False), Layer(14, 256)),
        *(Layer(17, 512, pool=2, tapped=False), Layer(19, 512, tapped=False), Layer(21, 512)),
        *(Layer(24, 512, pool=2, tapped=False), Layer(26, 512, tapped=False), Layer(28, 512)),
    ),
}


class Lpips:
    """The distance, ready to measure pictures.

    Attributes:
        name: Backbone: alex or vgg.
    """

    def __init__(self, name: str, backbone: Mapping[str, Tensor], heads: list[Tensor]) -> None:
        self.name, self._backbone, self._heads = name, backbone, heads

    def __call__(self, picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
        """LPIPS over the mask's bounding box, everything outside the mask set to 0 in both pictures.

        Args:
            picture, truth: Shape (y, x, 3), 0..1, display-referred.
            mask: Weights, shape (y, x), 0..1; all ones for the whole picture. A box below 32 px grows to 32 px.

        Returns:
            Distance, 0 for equal pictures; NaN for an empty mask.

        Raises:
            InputError: The picture is smaller than 32 px.
        """
        import torch

        if min(mask.shape) < MIN_SIDE_PX:
            raise InputError(f"LPIPS: the picture is {mask.shape[1]}x{mask.shape[0]} px, {MIN_SIDE_PX} px are needed")
        if mask.sum() == 0:
            return float("nan")
        box = tuple(_reach(np.asarray(mask.any(axis=axis))) for axis in (1, 0))
        pair = np.stack([(shown * mask[..., None])[box].transpose(2, 0, 1) for shown in (picture, truth)])
        with torch.no_grad():
            return float(self._distance(torch.from_numpy(np.ascontiguousarray(pair, np.float32))))

    def _distance(self, pair: Tensor) -> Tensor:
        """Of two pictures, shape (2, 3, y, x), 0..1."""
        import torch

        total = torch.zeros(())
        for features, head in zip(self._features(pair), self._heads, strict=True):
            unit = features / torch.sqrt((features**2).sum(dim=1, keepdim=True) + 1e-8)
            total = total + ((unit[0] - unit[1]) ** 2 * head.reshape(-1, 1, 1)).sum(dim=0).mean()
        return total

    def _features(self, pair: Tensor) -> list[Tensor]:
        import torch
        from torch.nn import functional

        shift, scale = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (SHIFT, SCALE))
        x, found = (pair * 2 - 1 - shift) / scale, []
        for layer in BACKBONES[self.name]:
            if layer.pool:
                x = functional.max_pool2d(x, layer.pool, 2)
            weight, bias = (self._backbone[f"features.{layer.index}.{part}"] for part in ("weight", "bias"))
            x = functional.relu(functional.conv2d(x, weight, bias, layer.stride, layer.padding))
            if layer.tapped:
                found.append(x)
        return found


def load_lpips(backbone: Path, heads: Path) -> Lpips:
    """Load LPIPS from the files as published.

    Args:
        backbone: torchvision's state dict of AlexNet (alexnet-owt-7be5be79.pth) or VGG16 (vgg16-397923af.pth).
        heads: LPIPS's linear weights for it (alex.pth or vgg.pth, version 0.1).

    Raises:
        MissingWeightsError: A file is not there.
        InputError: Not such files, or not for each other.
    """
    layers, linear = _state(backbone), _state(heads)
    name = next((name for name in BACKBONES if _fits(name, layers)), None)
    if name is None:
        raise InputError(
            f"{backbone}: no weights of AlexNet or VGG16 as torchvision names them",
            hint="alexnet-owt-7be5be79.pth or vgg16-397923af.pth from download.pytorch.org/models",
        )
    widths = [layer.channels for layer in BACKBONES[name] if layer.tapped]
    found = [linear.get(f"lin{n}.model.1.weight") for n in range(len(widths))]
    whole = [head for head, width in zip(found, widths, strict=True) if head is not None and head.numel() == width]
    if len(whole) != len(widths):
        raise InputError(f"{heads}: no LPIPS heads for {name}", hint=f"{name}.pth of the lpips package, weights/v0.1")
    return Lpips(name, layers, whole)


def _fits(name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the convolutions of a backbone, and no others."""
    named = {key for key, value in state.items() if key.startswith("features.") and value.ndim == 4}
    return named == {f"features.{layer.index}.weight" for layer in BACKBONES[name]} and all(
        len(state.get(f"features.{layer.index}.{part}", ())) == layer.channels
        for layer in BACKBONES[name]
        for part in ("weight", "bias")
    )


def _state(file: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    if not file.is_file():
        raise MissingWeightsError(f"{file}: no such weights", hint="litdome evaluate RUN --lpips BACKBONE HEADS")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{file}: no weights that torch can read", hint="download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{file}: holds no table of weights", hint="a state dict, as torchvision and lpips publish it")
    return {str(key): value.float() for key, value in state.items()}


def _reach(occupied: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last true value, at least `MIN_SIDE_PX`, kept inside."""
    where = np.flatnonzero(occupied)
    length = max(int(where[-1] - where[0]) + 1, MIN_SIDE_PX)
    start = min(int(where[0]), len(occupied) - length)
    return slice(start, start + length)
