"""What is taken for lit when, and where pictures belong, when nothing but the pictures says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litdome.capture.check import IngestConfig, check_recording
from litdome.capture.recording import read_recording
from litdome.media.encode import VideoWriter

FRAMES, LIGHTS = 120, 25


def film(folder: Path, shown: dict[str, list[int]]) -> Path:
    """Cameras that film a wall, flat and lit by turns; each light from another side, held for two pairs."""
    rng = np.random.default_rng(0)
    walls = {id: rng.uniform(60, 200, (64, 48)) for id in shown}
    sides = rng.uniform(0.1, 1.0, (LIGHTS, 4, 3))
    order = rng.permutation(LIGHTS)
    for id, frames in shown.items():
        with VideoWriter(folder / "cameras" / f"{id}.mp4", fps=25, crf=0) as video:
            for frame in frames:
                light = np.ones((4, 3)) if frame % 2 == 0 else sides[order[frame // 4 % LIGHTS]]
                lit = walls[id] * np.kron(light, np.ones((16, 16))) + np.random.default_rng(frame).normal(
                    0, 1, (64, 48)
                )
                video.write(np.repeat(np.clip(lit, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    (folder / "recording.toml").write_text("fps = 25.0\n")
    return folder


@pytest.mark.parametrize("late", [3, 20])
def test_a_camera_that_starts_late_is_brought_in_step_by_its_light_alone(tmp_path: Path, late: int) -> None:
    shown = {"c00": list(range(FRAMES)), "c01": list(range(FRAMES)), "c02": list(range(late, FRAMES))}
    plan = check_recording(read_recording(film(tmp_path, shown)), IngestConfig())
    for id, frames in shown.items():
        found = plan.rig_frames[id]
        placed = found >= 0
        assert placed.mean() > 0.75 and np.array_equal(found[placed], np.array(frames)[placed])
    assert plan.lighting.schedule.kind.tolist() == [1, 2] * (FRAMES // 2)
    assert any(f"camera c02: by its light, it is {late} frames ahead" in warning for warning in plan.warnings)
