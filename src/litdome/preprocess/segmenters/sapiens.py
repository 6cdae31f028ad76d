"""Sapiens 2 through transformers: people and their 28 parts, or fine outlines by its matting network.

The pictures are prepared here: the processor that belongs to the network needs torchvision, which litdome keeps out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from litdome.errors import ConfigError, InputError, MissingPackageError, MissingWeightsError
from litdome.preprocess.segmenters.protocol import Float32Array, Masks, as_coverage, region_of
from litdome.stage import UInt8Array

if TYPE_CHECKING:
    import torch

Dtype = Literal["bf16", "fp32"]
PARTS, MATTE = "Sapiens2ForSemanticSegmentation", "Sapiens2ForImageMatting"
TRAINED_SIZE = (1024, 768)  # height, width
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet's, RGB
STD = np.array([0.229, 0.224, 0.225], np.float32)
HINT = (
    "--set segment.weights=facebook/sapiens2-seg-0.4b downloads them, or name a folder with config.json and "
    "model.safetensors; Meta's Sapiens2 License applies to the weights"
)
# facebookresearch/sapiens2, docs/SEG.md
PART_NAMES = tuple(
    [
        "Background",
        "Apparel",
        "Eyeglass",
        "Face_Neck",
        "Hair",
        "Left_Foot",
        "Left_Hand",
        "Left_Lower_Arm",
        "Left_Lower_Leg",
        "Left_Shoe",
        "Left_Sock",
        "Left_Upper_Arm",
        "Left_Upper_Leg",
        "Lower_Clothing",
        "Right_Foot",
        "Right_Hand",
        "Right_Lower_Arm",
        "Right_Lower_Leg",
        "Right_Shoe",
        "Right_Sock",
        "Right_Upper_Arm",
        "Right_Upper_Leg",
        "Torso",
        "Upper_Clothing",
        "Lower_Lip",
        "Upper_Lip",
        "Lower_Teeth",
        "Upper_Teeth",
        "Tongue",
    ]
)


def prepare_pictures(pictures: UInt8Array, size: tuple[int, int]) -> Float32Array:
    """Pictures as Sapiens 2 takes them: squeezed to its size without padding, minus ImageNet's mean, over its spread.

    Args:
        pictures: Display-referred RGB, shape (n, y, x, 3).
        size: (height, width) of the network's input, px.

    Returns:
        Shape (n, 3, height, width).

    Source: facebookresearch/sapiens2, SegResize: INTER_AREA where the width shrinks, else INTER_CUBIC.
    """
    height, width = size
    method = cv2.INTER_AREA if width < pictures.shape[2] else cv2.INTER_CUBIC
    resized = np.stack([cv2.resize(picture, (width, height), interpolation=method) for picture in pictures])
    scaled = (resized.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.asarray(scaled.transpose(0, 3, 1, 2), np.float32)


class Sapiens:
    """A Sapiens 2 network, or two: one that tells parts apart, and one for the outline."""

    def __init__(self, networks: Sequence[Any], device: str) -> None:
        """``networks``: what `load_sapiens` loads, of different kinds, on ``device``."""
        found = {type(network).__name__: network for network in networks}
        self._parts, self._matte = found.get(PARTS), found.get(MATTE)
        self.device = device
        self.part_names = () if self._parts is None else _part_names(self._parts.config, self._parts.name_or_path)

    def __call__(self, pictures: UInt8Array) -> Masks:
        """Masks of pictures; the coverage is the matting network's where there is one."""
        import torch

        with torch.inference_mode():
            if self._parts is None:
                return Masks(self._find_matte(pictures))
            coverage, labels = self._find_parts(pictures)
            return Masks(coverage if self._matte is None else self._find_matte(pictures), labels)

    def _find_parts(self, pictures: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        background = [label for label, name in enumerate(self.part_names) if region_of(name) is None]
        coverage, labels = [], []
        for one in self._run(self._parts, pictures).logits:  # one by one: 29 floats a pixel
            logits = _resized(one, pictures.shape[1:3])
            labels.append(logits.argmax(dim=0).byte().cpu().numpy())
            coverage.append(as_coverage(1 - logits.softmax(dim=0)[background].sum(dim=0).cpu().numpy()))
        return np.stack(coverage), np.stack(labels)

    def _find_matte(self, pictures: UInt8Array) -> UInt8Array:
        alphas = self._run(self._matte, pictures).alphas
        return np.stack([as_coverage(_resized(one, pictures.shape[1:3])[0].cpu().numpy()) for one in alphas])

    def _run(self, network: Any, pictures: UInt8Array) -> Any:
        import torch

        prepared = torch.from_numpy(prepare_pictures(pictures, _input_size(network.config)))
        return network(prepared.to(network.device, network.dtype))


def load_sapiens(weights: Sequence[str], *, device: str = "auto", dtype: Dtype = "bf16") -> Sapiens:
    """The network of a checkpoint as transformers saves it, or those of two.

    Args:
        weights: For each a hub id, which is downloaded where it was not before, or a folder.
        device: As torch names it; ``auto`` is the GPU where there is one.
        dtype: What the network computes in.

    Raises:
        ConfigError: torch knows no such device.
        InputError: A checkpoint of another network, or two of the same kind.
        MissingPackageError: torch or transformers is not installed, or too old for Sapiens 2.
        MissingWeightsError: Nothing there, or weights of the network are not in it.
    """
    try:
        import torch
        import transformers
        from transformers import Sapiens2ForImageMatting, Sapiens2ForSemanticSegmentation
    except ImportError as error:
        raise MissingPackageError(
            f"Sapiens 2 needs torch and transformers 5.23 or newer: {error}", hint="pip install 'litdome[segment]'"
        ) from error
    kinds = {PARTS: Sapiens2ForSemanticSegmentation, MATTE: Sapiens2ForImageMatting}
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    number = torch.bfloat16 if dtype == "bf16" else torch.float32
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        networks = [_load(name, kinds, transformers.AutoConfig, number) for name in weights]
    finally:
        if bars:
            transformers.logging.enable_progress_bar()
    if len({type(network) for network in networks}) < len(networks):
        raise InputError(f"{' and '.join(weights)}: two networks of one kind", hint="one finds parts, one the outline")
    try:
        return Sapiens([network.to(place).eval() for network in networks], place)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"segment.device = {device}: {str(error).splitlines()[0]}", hint="cpu or cuda") from error


def _load(name: str, kinds: Mapping[str, Any], configs: Any, dtype: torch.dtype) -> Any:
    """The network of one checkpoint; raises as `load_sapiens`."""
    if not name:
        raise MissingWeightsError("sapiens: no weights are named", hint=HINT)
    try:
        kind = (configs.from_pretrained(name).architectures or ["no network"])[0]
        if kind not in kinds:
            raise InputError(f"{name}: holds {kind}, not {PARTS} or {MATTE}", hint=HINT)
        network, found = kinds[kind].from_pretrained(name, dtype=dtype, output_loading_info=True)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise MissingWeightsError(f"{name}: no Sapiens 2 weights here{_inside(name)}", hint=HINT) from error
    if found["missing_keys"]:  # transformers would make them up
        missing = sorted(found["missing_keys"])
        raise MissingWeightsError(
            f"{name}: {len(missing)} weights of the network are not in it, {missing[0]} among them", hint=HINT
        )
    return network


def _inside(name: str) -> str:
    """What a folder holds instead of weights, in words; nothing for a hub id."""
    folder = Path(name)
    if not folder.is_dir():
        return ""
    names = sorted(path.name for path in folder.iterdir())
    return f" (it holds {', '.join(names[:4]) or 'nothing'})"


def _input_size(config: Any) -> tuple[int, int]:
    """(height, width) that a checkpoint was made for; what Sapiens 2 was trained at where it names one side only."""
    size = config.image_size
    return TRAINED_SIZE if isinstance(size, int) else (int(size[0]), int(size[1]))


def _part_names(config: Any, name: str) -> tuple[str, ...]:
    """The checkpoint's own names; those of Sapiens 2 where it has only LABEL_0 and so on."""
    names = tuple(str(config.id2label[label]) for label in range(config.num_labels))
    if len(names) == len(PART_NAMES) and all(name == f"LABEL_{label}" for label, name in enumerate(names)):
        return PART_NAMES
    if all(region_of(name) for name in names):
        raise InputError(f"{name}: none of its {len(names)} labels is named background", hint=HINT)
    return names


def _resized(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Shape (channel, y, x) in single precision at the size of the picture, (height, width)."""
    from torch.nn.functional import interpolate

    return interpolate(values[None].float(), size=tuple(size), mode="bilinear", align_corners=False)[0]
