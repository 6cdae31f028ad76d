"""Errors: what happened, where, measured against allowed, and what to type next. Only the CLI catches them."""

from __future__ import annotations

from typing import ClassVar


class LitdomeError(Exception):
    """An error for the user: one line, with a hint.

    Args:
        message: What happened and where, with measured and allowed values; characters that cannot be printed (of a
            file's name, say) are escaped.
        hint: What to type or do next.
    """

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LitdomeError, ValueError):
    """Wrong arguments, or an output that exists."""

    exit_code = 2
    code = "usage"


class ConsentError(UsageError):
    """A use that the subject did not agree to, no longer agrees to, or took back."""

    code = "consent"


class ConfigError(LitdomeError, ValueError):
    """A configuration key or value that cannot be."""

    exit_code = 3
    code = "config"


class InputError(LitdomeError, ValueError):
    """A recording, HDRI, clip or motion that is unreadable or contradicts itself."""

    exit_code = 4
    code = "input"


class StoreError(LitdomeError, OSError):
    """A store, dataset or run that is missing, damaged, foreign or too new."""

    exit_code = 5
    code = "store"


class FrameAbsentError(StoreError, LookupError):
    """The camera did not record this frame."""

    code = "frame-absent"


class ClusterError(LitdomeError, RuntimeError):
    """Workers or their scheduler that are lost, cannot be reached, or have other software."""

    exit_code = 5
    code = "cluster"


class CalibrationError(LitdomeError, ValueError):
    """A calibration that is missing, contradictory or not to be believed."""

    exit_code = 6
    code = "calibration"


class MissingPackageError(LitdomeError, ImportError):
    """An optional package is not installed."""

    exit_code = 7
    code = "missing-package"


class MissingWeightsError(LitdomeError, FileNotFoundError):
    """A weights file is not where it is looked for."""

    exit_code = 7
    code = "missing-weights"


class PluginError(LitdomeError, RuntimeError):
    """A training plugin failed or its loss diverged."""

    exit_code = 8
    code = "plugin"
