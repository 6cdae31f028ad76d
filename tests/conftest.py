"""Shared by all tests: one torch thread, where the real data lies."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from litdome.datasets.views import DatasetView

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


@pytest.fixture(scope="session")
def relighter_data(tmp_path_factory: pytest.TempPathFactory) -> DatasetView:
    """The dataset of relighter_take.py, not to be changed."""
    from relighter_take import relighter_take

    return relighter_take(tmp_path_factory.mktemp("take") / "data")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on an S3 server on this machine."""
    import fsspec
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "a")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        S3FileSystem.clear_instance_cache()  # one of another test's server may be remembered
        name = f"stage-{uuid.uuid4().hex[:8]}"  # what servers of one process hold, they share
        fsspec.filesystem("s3").mkdir(name)
        yield f"s3://{name}"
        S3FileSystem.clear_instance_cache()
    server.stop()
