"""What to compute on."""

from __future__ import annotations

from litdome.errors import UsageError


def best_device(wanted: str) -> str:
    """The device of ``--device``; ``auto`` is the GPU if there is one.

    Raises:
        UsageError: No such device here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:  # without CUDA in it torch asserts
        said = str(error).splitlines()[0]
        raise UsageError(f"--device {wanted}: not here ({said})", hint="--device auto") from error
    return wanted
