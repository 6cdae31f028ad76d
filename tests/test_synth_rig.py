"""Rigs: face cameras hold the face all through a take; rigs that cannot be are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from litdome.errors import UsageError
from litdome.synth import picture_speed
from litdome.synth.body import PART_NAMES
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.led_dome import ring_dome
from litdome.synth.light_setup import LightSetup
from litdome.synth.picture_speed import measure_speed_px
from litdome.synth.recording import plan_take
from litdome.synth.rig import make_rig, place_cameras
from litdome.synth.subjects import SUBJECTS

SIZE = {"width": 90, "height": 160}
STILL = np.array([[[0.0, 1.0, 0.0], [0.0, 1.5, 0.05]]])


def placed(setup: CameraSetup, count: int = 2, **size: int):
    faces = np.array([[0.0, 1.55, 0.1]])
    return place_cameras(setup, count, joints=STILL, faces=faces, seed=1, **{**SIZE, **size})


@pytest.mark.parametrize("subject", ["s1", "s4"])
def test_face_cameras_hold_the_face_over_the_whole_motion(subject: str, tmp_path) -> None:
    small = {"pairs": 24, "hdris": 1, "lights": 16, "seed": 3, **SIZE}
    take = plan_take(tmp_path / "t", cameras=2, subject=subject, camera=CameraSetup(face_cameras=3), **small)
    body, rig = take.truth.body, take.truth.rig
    assert [camera.role for camera in rig.cameras] == ["body"] * 2 + ["face"] * 3
    assert rig.ids == ("c00", "c01", "f00", "f01", "f02")
    face = np.unique(body.template.faces[body.labels == PART_NAMES.index("eyes")])
    head = np.flatnonzero(body.template.vertices[:, 1] > body.template.vertices[face, 1].min() - 0.13)
    frames = range(0, len(take.truth.schedule.kind), 4)
    points = [body.vertices(take.truth.time_s(frame))[head] for frame in frames]
    for camera in rig.cameras:
        inside = [camera.project(some) for some in points]
        held = all(((at >= 0) & (at <= [89, 159])).all() for at in inside)
        spans = [np.ptp(at, axis=0).max() for at in inside]
        if camera.role == "face":
            assert held
            assert np.median(spans) > 0.25 * 160  # a long lens: the head fills the picture, as far as it moves
            toward = camera.centre - points[0].mean(axis=0)
            assert toward[2] > 0 and abs(np.degrees(np.arctan2(toward[0], toward[2]))) < 45
        else:
            assert np.median(spans) < 0.2 * 160


def test_a_small_dome_holds_the_face_cameras_of_a_ring_inside_it(tmp_path) -> None:
    file = tmp_path / "lights.json"
    positions = ring_dome(24, radius_m=1.8) * 1e3
    file.write_text(json.dumps({"light_axes": "y-up", "light_positions": positions.tolist()}))
    small = {"cameras": 1, "pairs": 1, "hdris": 1, "light": LightSetup(positions=file), **SIZE}
    rig = plan_take(tmp_path / "t", subject="s2", camera=CameraSetup(distance_m=1.5), **small).truth.rig
    assert rig.ids == ("c00", "f00", "f01", "f02")
    with pytest.raises(UsageError, match=r"camera c00 2\.\d+ m from the centre"):
        plan_take(tmp_path / "t", subject="s2", **small)


def test_subjects_have_the_face_cameras_of_their_sessions(tmp_path) -> None:
    small = {"cameras": 1, "pairs": 2, "hdris": 1, "lights": 16, **SIZE}
    assert plan_take(tmp_path / "t", subject="s1", **small).truth.rig.ids == ("c00",)
    assert plan_take(tmp_path / "t", subject="s2", **small).truth.rig.ids == ("c00", "f00", "f01", "f02")
    none = CameraSetup(face_cameras=0)
    assert plan_take(tmp_path / "t", subject="s2", camera=none, **small).truth.rig.ids == ("c00",)


def test_speed_is_what_the_cameras_of_the_take_see(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_speed, "MOMENTS", 2)  # enough, and quick
    small = {"cameras": 1, "pairs": 1, "hdris": 1, "lights": 16, "camera": CameraSetup(distance_m=1.5), **SIZE}
    free = plan_take(tmp_path / "t", **small).truth
    times = np.linspace(free.start_s, free.time_s(len(free.schedule.kind)), 3)[:-1].tolist()
    half = measure_speed_px(replace(free.body, speed=0.5), free.rig, times, free.fps)  # tried first: found at once
    paced = plan_take(tmp_path / "t", speed_px=half, **small).truth
    assert paced.body.speed == 0.5 and paced.speed_px == half


def test_body_cameras_stand_where_they_stood_before_there_were_others() -> None:
    rig, ring = placed(CameraSetup(face_cameras=2)), make_rig(2, seed=1, **SIZE)
    for camera, old in zip(rig.cameras, ring.cameras, strict=False):
        np.testing.assert_array_equal(camera.world_from_camera, old.world_from_camera)
    near = placed(CameraSetup(distance_m=1.6))
    for camera, old in zip(near.cameras, ring.cameras, strict=True):
        np.testing.assert_allclose(camera.centre[[0, 2]], old.centre[[0, 2]] / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0, "speed_px": 4.0}, "height 0 px: must be even"),  # measured before the cameras are placed
        ({"fps": 0.0}, "fps = 0, must be above 0"),
        ({"fps": float("nan")}, "fps = nan"),
        ({"hdri_gain": float("inf")}, "hdri_gain = inf"),
        ({"seed": -1}, "seed = -1"),
        ({"width": 48, "height": 80, "camera": CameraSetup(bits=10)}, "48x80 px: with 10 bits at least 64"),
    ],
)
def test_takes_that_cannot_be_are_refused(tmp_path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_take(tmp_path / "t", **{"cameras": 1, "pairs": 1, "hdris": 1, "lights": 16, **SIZE, **change})


@pytest.mark.parametrize(
    ("setup", "count", "size", "message"),
    [
        (
            CameraSetup(distance_m=0.1),
            2,
            {},
            r"camera c00 stands in the person: 0\.\d\d m from a joint, at least 0.4 m",
        ),
        (CameraSetup(), 0, {}, "cameras = 0, at least 1"),
        (CameraSetup(), 2, {"width": 91}, "width 91 px: must be even"),
        (CameraSetup(), 2, {"width": 100_000}, "width 100000 px: must be even, at least 16, at most 8192"),
        (CameraSetup(), 2, {"height": 8}, "height 8 px: must be even, at least 16"),
    ],
)
def test_rigs_that_cannot_be_are_refused(setup: CameraSetup, count: int, size: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        placed(setup, count, **size)


def test_the_first_session_had_another_ring_than_the_later_ones(tmp_path) -> None:
    small = {"cameras": 6, "pairs": 1, "hdris": 1, "lights": 16, "camera": CameraSetup(face_cameras=0), **SIZE}
    first, *later = (plan_take(tmp_path / "t", subject=name, **small).truth.rig.cameras for name in SUBJECTS)
    for rig in later:
        assert [camera.centre.tolist() for camera in rig] == [camera.centre.tolist() for camera in later[0]]
        for camera, old in zip(rig, first, strict=True):
            assert np.hypot(*camera.centre[[0, 2]]) < np.hypot(*old.centre[[0, 2]]) - 0.2
            assert camera.intrinsics[0, 0] < 0.95 * old.intrinsics[0, 0]
            assert abs(camera.distortion[0]) < 0.06 < abs(old.distortion[0]) + 0.001
    azimuths = [[np.degrees(np.arctan2(c.centre[0], c.centre[2])) for c in rig] for rig in (first, later[0])]
    assert np.ptp(azimuths[0]) > np.ptp(azimuths[1]) + 20
    levels = [sorted(round(float(camera.centre[1]), 1) for camera in rig) for rig in (first, later[0])]
    assert levels[0] != levels[1]


@pytest.mark.parametrize("subject", list(SUBJECTS))
def test_body_cameras_of_every_session_see_the_person_from_head_to_foot(subject: str, tmp_path) -> None:
    small = {"cameras": 6, "pairs": 1, "hdris": 1, "lights": 16, "camera": CameraSetup(face_cameras=0), **SIZE}
    truth = plan_take(tmp_path / "t", subject=subject, **small).truth
    vertices = truth.body.vertices(truth.start_s)
    for camera in truth.rig.cameras:
        rows = camera.project(vertices)[:, 1]
        assert rows.min() > 0 and rows.max() < 159
        assert np.ptp(rows) > 0.6 * 160
