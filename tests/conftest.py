"""Shared by all tests: one torch thread, where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LITDOME_DATA", ROOT.parent / "shared" / "data"))
FIXTURES = DATA.parent / "fixtures"

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    pass


def need(path: Path) -> Path:
    """``path``, or a skip that says what is missing."""
    if not path.exists():
        pytest.skip(f"real data is not here: {path} (set LITDOME_DATA)")
    return path


@pytest.fixture
def real_walk() -> Path:
    """The four-camera recording, in the recording layout."""
    return need(DATA / "real-walk")


@pytest.fixture
def relighter_fixture() -> Path:
    """Numbers made by the original DiffusionRenderer."""
    return need(FIXTURES / "relighter")
