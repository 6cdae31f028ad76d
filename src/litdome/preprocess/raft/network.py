"""RAFT, large and small: correlate every point with every other, then correct the motion step by step.

Runs forward only. Source: Teed and Deng 2020 (RAFT: Recurrent All-Pairs Field Transforms), with the published
networks' sizes. They were trained on neighbourhoods listed column by column, so these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STEP = 8  # px of the picture per feature
LEVELS = 4
SMALLEST_PX = STEP * 2**LEVELS  # the coarsest correlation must keep two points a side


@dataclass(frozen=True)
class Size:
    """What tells the two published networks apart.

    Attributes:
        widths: Channels of the encoder: stem, three layers.
        features: Channels that are correlated.
        bottleneck: Blocks of three convolutions instead of two.
        radius: Neighbours to each side that are looked up, at each level.
        hidden, context: Channels of the memory, and of what it is told at every step.
        correlation, motion: Channels of the layers that read the correlation, and the motion so far.
        joined: Channels of both together.
        kernels: (height, width) of the memory's convolutions, one after the other.
        head: Channels of the layer before the correction.
        learned_upsampling: Whether the motion is enlarged by learned weights; else bilinear.
    """

    widths: tuple[int, int, int, int]
    features: int
    bottleneck: bool
    radius: int
    hidden: int
    context: int
    correlation: tuple[int, ...]
    motion: tuple[int, int]
    joined: int
    kernels: tuple[tuple[int, int], ...]
    head: int
    learned_upsampling: bool


LARGE = Size(
    (64, 64, 96, 128),
    256,
    False,
    4,
    128,
    128,
    (256, 192),
    (128, 64),
    126,
    ((1, 5), (5, 1)),
    256,
    learned_upsampling=True,
)
SMALL = Size((32, 32, 64, 96), 128, True, 3, 96, 64, (96,), (64, 32), 80, ((3, 3),), 128, learned_upsampling=False)


def _convolution(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1) -> nn.Conv2d:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Conv2d(inputs, outputs, (height, width), stride, (height // 2, width // 2))


def _layers(channels: Sequence[int], kernels: Sequence[int]) -> nn.Sequential:
    """Convolutions, each followed by a ReLU."""
    made: list[nn.Module] = []
    for inputs, outputs, kernel in zip(channels[:-1], channels[1:], kernels, strict=True):
        made += [_convolution(inputs, outputs, kernel), nn.ReLU()]
    return nn.Sequential(*made)


class _Block(nn.Module):
    """Convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module], bottleneck: bool) -> None:
        super().__init__()
        inner = outputs // 4
        shapes = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        if bottleneck:
            shapes = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
        self.steps = nn.ModuleList(nn.Sequential(_convolution(*shape), norm(shape[1]), nn.ReLU()) for shape in shapes)
        self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), norm(outputs)) if stride > 1 else None

    def forward(self, picture: Tensor) -> Tensor:
        found = picture
        for step in self.steps:
            found = step(found)
        return functional.relu(found + (picture if self.shortcut is None else self.shortcut(picture)))


class _Encoder(nn.Module):
    """Features of pictures, one for every `STEP` px."""

    def __init__(self, size: Size, outputs: int, norm: type[nn.Module]) -> None:
        super().__init__()
        first, *widths = size.widths
        self.stem = nn.Sequential(_convolution(3, first, 7, 2), norm(first), nn.ReLU())
        self.blocks = nn.ModuleList()
        for inputs, outputs_, stride in zip(size.widths[:-1], widths, (1, 2, 2), strict=True):
            self.blocks.append(_Block(inputs, outputs_, stride, norm, size.bottleneck))
            self.blocks.append(_Block(outputs_, outputs_, 1, norm, size.bottleneck))
        self.last = _convolution(widths[-1], outputs, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        found = self.stem(pictures)
        for block in self.blocks:
            found = block(found)
        return self.last(found)  # type: ignore[no-any-return]


class _Gate(nn.Module):
    """A gated recurrent unit over pictures."""

    def __init__(self, inputs: int, hidden: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.update, self.reset, self.propose = (_convolution(hidden + inputs, hidden, kernel) for _ in range(3))

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        both = torch.cat([hidden, inputs], dim=1)
        share, kept = self.update(both).sigmoid(), self.reset(both).sigmoid()
        proposed = self.propose(torch.cat([kept * hidden, inputs], dim=1)).tanh()
        return (1 - share) * hidden + share * proposed  # type: ignore[no-any-return]


class Raft(nn.Module):
    """Motion between two pictures, both ways."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        context_norm = nn.Identity if size.bottleneck else nn.BatchNorm2d
        self.features = _Encoder(size, size.features, nn.InstanceNorm2d)
        self.context = _Encoder(size, size.hidden + size.context, context_norm)
        looked_up = LEVELS * (2 * size.radius + 1) ** 2
        self.correlation = _layers([looked_up, *size.correlation], [1, 3][: len(size.correlation)])
        self.motion = _layers([2, *size.motion], [7, 3])
        self.joined = _layers([size.correlation[-1] + size.motion[-1], size.joined], [3])
        inputs = size.context + size.joined + 2
        self.memory = nn.ModuleList(_Gate(inputs, size.hidden, kernel) for kernel in size.kernels)
        self.head = nn.Sequential(_convolution(size.hidden, size.head, 3), nn.ReLU(), _convolution(size.head, 2, 3))
        self.upsampling = (
            nn.Sequential(_convolution(size.hidden, 256, 3), nn.ReLU(), _convolution(256, STEP**2 * 9, 1))
            if size.learned_upsampling
            else None
        )

    def forward(self, pictures: Tensor, corrections: int = 12) -> Tensor:
        """Flow from the first picture to the second, and back.

        Args:
            pictures: RGB, shape (2, 3, y, x), -1..1; sides are multiples of `STEP` and at least `SMALLEST_PX`.
            corrections: How often the motion is corrected.

        Returns:
            Shape (2, 2, y, x), px, x before y.
        """
        pyramid = _correlate(self.features(pictures))
        hidden, context = self.context(pictures).split([self.size.hidden, self.size.context], dim=1)
        hidden, context = hidden.tanh(), context.relu()
        rows, columns = (torch.arange(n, device=pictures.device, dtype=pictures.dtype) for n in hidden.shape[2:])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1])
        flow = torch.zeros_like(grid).expand(2, -1, -1, -1)
        for _ in range(corrections):
            seen = torch.cat([self.correlation(self._look_up(pyramid, grid + flow)), self.motion(flow)], dim=1)
            inputs = torch.cat([context, self.joined(seen), flow], dim=1)
            for gate in self.memory:
                hidden = gate(hidden, inputs)
            flow = flow + self.head(hidden)
        return self._enlarge(flow, hidden)

    def _look_up(self, pyramid: Sequence[Tensor], points: Tensor) -> Tensor:
        """Correlations around ``points``, shape (2, 2, y, x): shape (2, level * neighbour, y, x)."""
        batch, _, height, width = points.shape
        side = torch.arange(-self.size.radius, self.size.radius + 1, device=points.device, dtype=points.dtype)
        around = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1)  # x in the outer loop
        centre = points.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        found = []
        for level, correlation in enumerate(pyramid):
            end = torch.tensor(correlation.shape[:1:-1], device=points.device, dtype=points.dtype) - 1
            place = 2 * (centre / 2**level + around) / end - 1
            sampled = functional.grid_sample(correlation, place, align_corners=True)
            found.append(sampled.view(batch, height, width, -1))
        return torch.cat(found, dim=-1).permute(0, 3, 1, 2)

    def _enlarge(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """``flow`` for every px of the picture."""
        if self.upsampling is None:
            return functional.interpolate(STEP * flow, scale_factor=STEP, mode="bilinear", align_corners=True)
        batch, _, height, width = flow.shape
        # a quarter: how the published networks were trained
        shares = (self.upsampling(hidden) / 4).view(batch, 1, 9, STEP, STEP, height, width).softmax(dim=2)
        around = functional.unfold(STEP * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
        mixed: Tensor = (shares * around).sum(dim=2)
        return mixed.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, STEP * height, STEP * width)


def _correlate(features: Tensor) -> list[Tensor]:
    """How alike every point of each picture is to all of the other, at `LEVELS` halvings of the other.

    Args:
        features: Shape (2, channel, y, x).

    Returns:
        For each level, shape (2 * y * x, 1, y', x').
    """
    _, channels, height, width = features.shape
    flat = features.flatten(2)
    there = flat[0].T @ flat[1] / channels**0.5
    level = torch.stack([there, there.T]).reshape(-1, 1, height, width)
    pyramid = [level]
    for _ in range(LEVELS - 1):
        pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
    return pyramid
