"""Swinging cloth: lags, overshoots, settles, stays outside the skin, and is a function of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from litdome.synth.actions import PerformedAction, acted_motion
from litdome.synth.body import Body, make_body
from litdome.synth.cloth import DRAG_PER_S, PULL_HZ, SKIN_GAP_M, Cloth, Fabric
from litdome.template.model import FloatArray
from litdome.template.skinning import skin, vertex_normals

SPRING = (2 * np.pi * 2.0) ** 2


@pytest.fixture(scope="module")
def loose() -> Body:
    return make_body("s4")


@pytest.fixture(scope="module")
def jumping(loose: Body) -> Body:
    return replace(loose, motion=acted_motion(loose.template, [PerformedAction(0, 60, "jump")], 0))


def one_triangle(room_m: float = 1.0) -> Fabric:
    """A triangle in the z plane, facing +z, its corners on springs of 2 Hz without neighbours."""
    return Fabric(
        vertices=np.arange(3, dtype=np.int32),
        faces=np.array([[0, 1, 2]], np.int32),
        spring=np.full((3, 1), SPRING),
        room_m=np.full((3, 1), room_m),
        mean_of_neighbours=csr_array((3, 3)),
    )


def moved(direction: tuple[float, float, float], metres: float) -> FloatArray:
    return np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]) + np.array(direction) * metres


def test_cloth_lags_behind_steady_motion_by_drag_over_stiffness() -> None:
    cloth = Cloth(one_triangle(), lambda time_s: moved((1, 0, 0), 0.5 * time_s))
    expected = -DRAG_PER_S * 0.5 / (SPRING + (2 * np.pi * PULL_HZ) ** 2)
    assert np.allclose(cloth.lag(3.9), [[expected, 0, 0]] * 3, atol=1e-5)


def test_cloth_overshoots_when_the_body_stops_and_settles() -> None:
    cloth = Cloth(one_triangle(), lambda time_s: moved((1, 0, 0), min(time_s, 1.0)))
    after = np.array([cloth.lag(time_s)[0, 0] for time_s in np.arange(1.0, 3.5, 0.02)])
    assert after.max() > 0.005
    assert np.abs(after[-20:]).max() < 1e-3


def test_cloth_is_stopped_by_the_skin_and_not_in_free_air() -> None:
    def thrown(time_s: float) -> FloatArray:
        return moved((0, 0, 1), 0.2 * np.sin(2 * np.pi * 1.5 * time_s))

    near, far = (Cloth(one_triangle(room_m), thrown) for room_m in (0.01, 1.0))
    times = np.arange(1.0, 3.0, 0.04)  # steps of the simulation, where the skin is looked at
    deepest = [min(cloth.lag(time_s)[:, 2].min() for time_s in times) for cloth in (near, far)]
    assert deepest[0] > -(0.01 - SKIN_GAP_M) - 1e-6
    assert deepest[1] < -0.015


def swinging(time_s: float) -> FloatArray:
    return moved((1, 0.3, 0), 0.1 * np.sin(9 * time_s))


def test_lag_is_the_same_whatever_was_asked_before() -> None:
    used = Cloth(one_triangle(), swinging)
    for time_s in (33.0, 9.0, 1.3, 4.1, -2.0):
        used.lag(time_s)
    for time_s in (4.1, 2.02, -2.0):
        assert np.array_equal(Cloth(one_triangle(), swinging).lag(time_s), used.lag(time_s))


def test_pieces_fade_into_each_other_without_a_jump() -> None:
    cloth = Cloth(one_triangle(), swinging)
    fastest = max(np.abs(cloth.lag(time_s + 1e-3) - cloth.lag(time_s)).max() for time_s in np.arange(1, 3, 0.01))
    for time_s in np.arange(3.99, 4.26, 0.002):
        assert np.abs(cloth.lag(time_s + 1e-3) - cloth.lag(time_s)).max() < 1.5 * fastest


def test_tight_clothes_only_follow_the_skin_and_loose_ones_do_not(jumping: Body) -> None:
    tight = make_body("s1")
    assert tight.fabric is None and np.array_equal(tight.vertices(2.0), tight.skinned(2.0))
    lag = np.linalg.norm(jumping.vertices(2.5) - jumping.skinned(2.5), axis=1)
    assert np.percentile(lag[lag > 0], 90) > 0.015
    assert lag[jumping.template.region("hand_left", "hand_right", "mouth", "eye_left", "foot_left")].max() == 0


def test_somebody_who_stands_still_wears_still_clothes(loose: Body) -> None:
    still = replace(loose, speed=0.0)
    assert np.array_equal(still.vertices(1.0), still.vertices(3.3))
    assert np.abs(still.vertices(1.0) - still.skinned(1.0)).max() == 0


def test_a_jumping_shirt_stays_over_the_skin(jumping: Body) -> None:
    assert jumping.fabric is not None
    template, some = jumping.template, jumping.fabric.vertices
    for time_s in (2.24, 2.52, 2.8):
        skin_there = skin(template, jumping.pose(time_s), jumping.expression(time_s))
        out = vertex_normals(skin_there, template.faces)[some]
        over = ((jumping.vertices(time_s) - skin_there)[some] * out).sum(axis=1)
        assert np.percentile(over, 1) > -0.005  # normals of cloth and skin differ in folds
