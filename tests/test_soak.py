"""Killed at any moment of ingest and of every stage, a take is finished by running again: the same bytes, nothing twice.

``LITDOME_KILLS`` sets how often (``make soak``: 200).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from killed_runs import STAGES, Death, Server, contents, done_twice, serving

from litdome.calib.exchange import write_transforms
from litdome.synth import make_recording

KILLS = int(os.environ.get("LITDOME_KILLS", "20"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("soak")
    small = {"width": 48, "height": 80, "hdris": 2, "lights": 16, "boards": False, "workers": 1}
    truth = make_recording(folder / "take", cameras=2, pairs=18, **small)
    write_transforms(folder / "transforms.json", truth.rig)
    with serving(folder) as found:
        yield found


def test_a_take_killed_at_any_moment_ends_as_one_that_was_not(server: Server, tmp_path: Path) -> None:
    """Each round kills a run once in every stage, or a resumed run soon after its start; then it is let end."""
    whole = server.run(tmp_path / "whole.zarr")
    assert not whole.error
    expected = contents(tmp_path / "whole.zarr")
    assert contents(tmp_path / "whole.zarr") == expected and len(expected) > 100
    rng = np.random.default_rng(0)
    killed = 0
    for number in range(math.ceil(KILLS / len(STAGES))):
        url = tmp_path / f"take{number}.zarr"
        for stage in STAGES:
            death = Death(stage, change=int(rng.integers(1, whole.changes[stage] + 1)))
            if number % 3 == 2:  # soon after the start of a resumed run: lock, sweep, flags
                death = Death(change=int(rng.integers(1, 40)))
            elif number % 3 == 1 and number > 1:  # in the middle of writing, whenever that is
                death = Death(stage, seconds=float(rng.uniform(0, 0.25)))
            ending = server.run(url, death)
            assert not ending.error, (death, ending.error)
            killed += ending.killed
        ending = server.run(url)
        assert not ending.error, ending.error
        found = contents(url)
        assert sorted(found) == sorted(expected), number
        assert [name for name in found if found[name] != expected[name]] == [], number
        assert done_twice(Path(f"{url}.log")) == [], number
        assert not url.with_suffix(".lock").exists()
    assert killed >= 0.9 * KILLS  # a run that dies by the clock may be faster


def test_a_unit_that_is_lost_or_done_twice_is_seen(server: Server, tmp_path: Path) -> None:
    assert not server.run(tmp_path / "take.zarr").error
    before = contents(tmp_path / "take.zarr")
    shard = next(path for path in (tmp_path / "take.zarr" / "motion").rglob("0") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert contents(tmp_path / "take.zarr") != before
    log = tmp_path / "take.zarr.log"
    log.write_text(log.read_text() + "begun flow 1\n")
    assert done_twice(log) == ["flow 1"]
