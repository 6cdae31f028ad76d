"""Which recorded moment a training sample is, in words, for errors that name it."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from litdome.datasets.loading import Clips, RandomPairs
from litdome.datasets.views import DatasetView as BakedView
from litdome.train_plugins.relighter.augment import LightVariants
from litdome.train_plugins.relighter.batches import Samples
from litdome.train_plugins.relighter.samples import Driven, Joined, TrainingSamples


def sample_name(samples: Samples, index: int) -> str:
    """Session, camera, pair and HDRI of a sample, and its variant; its number where it comes from elsewhere."""
    if isinstance(samples, TrainingSamples):
        return sample_name(samples.raw, index)
    if isinstance(samples, LightVariants):
        variant, place = divmod(index, len(samples.data))
        return sample_name(samples.data, place) + (f", variant {variant}" if variant else "")
    if isinstance(samples, Joined):
        ends = list(accumulate(map(len, samples.parts)))
        part = bisect_right(ends, index)
        return sample_name(samples.parts[part], index - (ends[part - 1] if part else 0))
    if isinstance(samples, Driven):
        return sample_name(samples.samples, index) + ", driven"
    if isinstance(samples, Clips):
        return sample_name(samples.view, int(samples.starts[index])) + f", clip of {samples.length}"
    if isinstance(samples, RandomPairs):
        return sample_name(samples.view, index)
    if isinstance(samples, BakedView):
        session, camera, pair, hdri = (int(samples.column(key)[index]) for key in ("session", "camera", "pair", "hdri"))
        about = samples.attrs["sessions"][session]
        light = about["hdris"][hdri] if hdri >= 0 else "unknown"
        return f"session {about['name']}, camera {about['cameras'][camera]}, pair {pair}, HDRI {light}"
    return f"sample {index}"
