"""Speed in the picture: measured as it is, and met when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from litdome.errors import UsageError
from litdome.geometry import Camera, Rig, look_at
from litdome.synth.actions import PerformedAction
from litdome.synth.body import Body, make_body
from litdome.synth.picture_speed import at_speed_px, measure_speed_px
from litdome.synth.rig import make_rig
from litdome.template.model import FloatArray, load_template
from litdome.template.skinning import Pose


@dataclass(frozen=True)
class Glides:
    """Sideways at so many metres a second."""

    metres_per_s: float

    def pose(self, time_s: float, speed: float) -> Pose:
        bones = len(load_template().bones)
        return Pose(np.zeros((bones, 3)), np.array([self.metres_per_s * speed * time_s, 0.0, 0.0]))

    def expression(self, time_s: float, speed: float) -> FloatArray:
        return np.zeros(52)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return make_rig(1, width=90, height=160)


@pytest.fixture(scope="module")
def plain() -> Body:
    return make_body("s1")


def test_gliding_past_a_camera_moves_by_focal_length_over_distance(plain: Body) -> None:
    intrinsics = np.array([[200.0, 0, 44.5], [0, 200, 79.5], [0, 0, 1]])
    camera = Camera("c", 90, 160, intrinsics, np.zeros(8), look_at((0, 0.9, 10), (0, 0.9, 0)))
    gliding = replace(plain, motion=Glides(0.5))
    found = measure_speed_px(gliding, Rig((camera,)), [0.0], 25.0)
    expected = 0.5 / 25 * 200 / 10 * 1080 / 160
    assert found == pytest.approx(expected, rel=0.03)  # the front is up to 0.3 m nearer
    face = replace(camera, id="f", role="face", intrinsics=intrinsics * [[9], [9], [1]])
    assert measure_speed_px(gliding, Rig((camera, face)), [0.0], 25.0) == found


@pytest.mark.parametrize("speed_px", [6.0])
def test_the_speed_that_is_asked_for_comes_out(plain: Body, rig: Rig, speed_px: float) -> None:
    body, found = at_speed_px(plain, rig, (5.0, 6.0), 25.0, speed_px)
    assert found == pytest.approx(speed_px, rel=0.1)
    elsewhere = np.arange(5.0, 6.0, 0.08).tolist()  # not the moments that were aimed with
    assert measure_speed_px(body, rig, elsewhere, 25.0) == pytest.approx(speed_px, rel=0.25)


def test_speed_0_stands_still(plain: Body, rig: Rig) -> None:
    body, found = at_speed_px(plain, rig, (5.0, 6.0), 25.0, 0.0)
    assert found == 0 and np.array_equal(body.vertices(5.0), body.vertices(5.9))


def test_actions_that_follow_each_other_cannot_stand_still(rig: Rig) -> None:
    actions = [PerformedAction(0, 0.5, "rest"), PerformedAction(0.5, 2, "squat")]
    with pytest.raises(UsageError, match=r"speed 0 px a frame cannot be had of what is done: \d") as caught:
        at_speed_px(make_body("s1", actions=actions), rig, (0.0, 1.5), 25.0, 0.0)
    said = float(str(caught.value.hint).split()[1].rstrip(","))  # --speed-px that
    _, found = at_speed_px(make_body("s1", actions=actions), rig, (0.0, 1.5), 25.0, said)
    assert found == pytest.approx(said, rel=0.1)


@pytest.mark.parametrize("speed_px", [-1.0, 41.0, float("nan")])
def test_a_speed_that_cannot_be_is_refused(plain: Body, rig: Rig, speed_px: float) -> None:
    with pytest.raises(UsageError, match=r"must be within 0\.\.40"):
        at_speed_px(plain, rig, (5.0, 6.0), 25.0, speed_px)
