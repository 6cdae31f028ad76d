"""A light stage that does not exist, with exact truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litdome.synth.recording import RecordingTruth, make_recording

__all__ = ["RecordingTruth", "make_recording"]


def __getattr__(name: str) -> object:
    """Import on first use: OpenCV and embree stay out of ``litdome --help``."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from litdome.synth import recording

    return getattr(recording, name)
