"""A light stage that does not exist, with exact truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litdome.synth.recording import make_recording
    from litdome.synth.truth import RecordingTruth

__all__ = ["RecordingTruth", "make_recording"]


def __getattr__(name: str) -> object:
    """Import on first use: OpenCV and embree stay out of ``litdome --help``."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from litdome.synth import recording, truth

    return getattr(recording if name == "make_recording" else truth, name)
