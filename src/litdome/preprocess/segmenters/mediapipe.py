"""MediaPipe's image segmenter with a model file of the user's: small, quick on a CPU, coarse at the outline."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litdome.errors import InputError, MissingPackageError, MissingWeightsError
from litdome.preprocess.segmenters.protocol import Float32Array, Masks, as_coverage, from_confidences, region_of
from litdome.stage import UInt8Array

PERSON = "person"
HINT = "--set segment.weights=FILE, a .tflite or .task of MediaPipe's image segmenter (selfie_multiclass_256x256, say)"


class Mediapipe:
    """A model file in MediaPipe's image segmenter.

    A model with one output shows the person; one that names a person among other things (as DeepLab does) gives that
    one; any other tells parts of a person apart.
    """

    device = "cpu"

    def __init__(self, model: Path) -> None:
        """Load ``model``.

        Raises:
            InputError: No model of an image segmenter.
            MissingPackageError: mediapipe is not installed.
            MissingWeightsError: No such file.
        """
        try:
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions
            from mediapipe.tasks.python.vision import ImageSegmenter, ImageSegmenterOptions
        except ImportError as error:
            raise MissingPackageError(
                f"MediaPipe's masks need mediapipe: {error}", hint="pip install 'litdome[face]'"
            ) from error
        if not model.is_file():
            raise MissingWeightsError(f"{model}: no such file", hint=HINT)
        options = ImageSegmenterOptions(base_options=BaseOptions(model_asset_path=str(model)))
        try:
            self._segmenter: Any = ImageSegmenter.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{model}: no model of an image segmenter: {reason}", hint=HINT) from error
        weakref.finalize(self, self._segmenter.close)  # by itself it closes too late at the interpreter's end
        self._wrap: Callable[[UInt8Array], Any] = lambda picture: Image(
            image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture)
        )
        self._model, self._names = model, tuple(self._segmenter.labels)
        tells_parts = len(self._names) > 1 and PERSON not in self._names
        self.part_names = self._names if tells_parts else ()
        if tells_parts and all(region_of(name) for name in self._names):
            raise InputError(f"{model}: none of {', '.join(self._names)} is background or person", hint=HINT)

    def __call__(self, pictures: UInt8Array) -> Masks:
        """Masks of pictures, one after the other."""
        confidences = [self._confidences(picture) for picture in pictures]
        if not self.part_names:
            person = self._names.index(PERSON) if PERSON in self._names else 0
            return Masks(np.stack([as_coverage(found[person]) for found in confidences]))
        coverage, labels = zip(*(from_confidences(found, self.part_names) for found in confidences), strict=True)
        return Masks(np.stack(coverage), np.stack(labels))

    def _confidences(self, picture: UInt8Array) -> Float32Array:
        """How sure each output is, at the picture's size, shape (output, y, x)."""
        found = self._segmenter.segment(self._wrap(picture)).confidence_masks
        if len(found) != max(1, len(self._names)):
            raise InputError(f"{self._model}: {len(found)} outputs, {len(self._names)} names for them", hint=HINT)
        return np.stack([np.asarray(one.numpy_view(), np.float32).reshape(picture.shape[:2]) for one in found])
