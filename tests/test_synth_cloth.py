"""Swinging cloth: lags, overshoots, settles, stays outside the skin, and is a function of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from litdome.synth import cloth
from litdome.synth.actions import PerformedAction, acted_motion
from litdome.synth.body import PART_NAMES, Body, make_body
from litdome.synth.cloth import DRAG_PER_S, PULL_HZ, SKIN_GAP_M, Cloth, Fabric, Hang, hung, resting
from litdome.synth.render import Mesh, Scene, cast_surface
from litdome.synth.rig import make_rig
from litdome.synth.subjects import SUBJECTS
from litdome.template.model import FloatArray, load_template
from litdome.template.skinning import skin, vertex_normals

SPRING = (2 * np.pi * 2.0) ** 2


@pytest.fixture(scope="module")
def loose() -> Body:
    return make_body("s4")


@pytest.fixture(scope="module")
def jumping(loose: Body) -> Body:
    return replace(loose, motion=acted_motion(loose.template, [PerformedAction(0, 60, "jump")], 0))


DOWN = np.array([0.0, -1.0, 0.0])


def one_triangle() -> Fabric:
    """Three corners on springs of 2 Hz without neighbours."""
    return Fabric(np.arange(3, dtype=np.int32), np.full((3, 1), SPRING), csr_array((3, 3)))


def moved(
    direction: tuple[float, float, float], metres: float, *, room_m: float = 1.0, turned: FloatArray = DOWN
) -> Hang:
    """A triangle in the z plane somewhere, with skin behind it that faces +z and goes along."""
    at = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]) + np.array(direction) * metres
    return Hang(at, np.tile(turned, (3, 1)), at - [0, 0, room_m], np.tile([0.0, 0.0, 1.0], (3, 1)))


def test_cloth_lags_behind_steady_motion_by_drag_over_stiffness() -> None:
    hanging = Cloth(one_triangle(), lambda time_s: moved((1, 0, 0), 0.5 * time_s))
    expected = -DRAG_PER_S * 0.5 / (SPRING + (2 * np.pi * PULL_HZ) ** 2)
    assert np.allclose(hanging.lag(3.9), [[expected, 0, 0]] * 3, atol=1e-5)


def test_cloth_overshoots_when_the_body_stops_and_settles() -> None:
    hanging = Cloth(one_triangle(), lambda time_s: moved((1, 0, 0), min(time_s, 1.0)))
    after = np.array([hanging.lag(time_s)[0, 0] for time_s in np.arange(1.0, 3.5, 0.02)])
    assert after.max() > 0.005
    assert np.abs(after[-20:]).max() < 1e-3


def test_cloth_is_stopped_by_the_skin_and_not_in_free_air() -> None:
    def thrown(room_m: float) -> Cloth:
        return Cloth(one_triangle(), lambda t: moved((0, 0, 1), 0.2 * np.sin(2 * np.pi * 1.5 * t), room_m=room_m))

    near, far = thrown(0.01), thrown(1.0)
    times = np.arange(1.0, 3.0, 0.04)  # steps of the simulation, where the skin is looked at
    deepest = [min(hanging.lag(time_s)[:, 2].min() for time_s in times) for hanging in (near, far)]
    assert deepest[0] > -(0.01 - SKIN_GAP_M) - 1e-6
    assert deepest[1] < -0.015


def test_cloth_falls_where_the_body_turns_away_from_rest() -> None:
    lying = moved((1, 0, 0), 0.0, turned=np.array([1.0, 0.0, 0.0]))
    fallen = np.array([-9.81, -9.81, 0.0]) / (SPRING + (2 * np.pi * PULL_HZ) ** 2)
    assert np.allclose(resting(one_triangle(), lying), [fallen] * 3, atol=1e-4)
    assert np.allclose(Cloth(one_triangle(), lambda _: lying).lag(2.0), [fallen] * 3, atol=1e-3)
    assert not resting(one_triangle(), moved((1, 0, 0), 0.0)).any()  # as at rest: gravity is in the shape already
    on_its_back = moved((1, 0, 0), 0.0, room_m=0.006, turned=np.array([0.0, -1.0, 1.0]))
    assert resting(one_triangle(), on_its_back)[:, 2].min() == pytest.approx(SKIN_GAP_M - 0.006)


def swinging(time_s: float) -> Hang:
    return moved((1, 0.3, 0), 0.1 * np.sin(9 * time_s))


def test_lag_is_the_same_whatever_was_asked_before() -> None:
    used = Cloth(one_triangle(), swinging)
    for time_s in (33.0, 9.0, 1.3, 4.1, -2.0):
        used.lag(time_s)
    for time_s in (4.1, 2.02, -2.0):
        assert np.array_equal(Cloth(one_triangle(), swinging).lag(time_s), used.lag(time_s))


def test_pieces_fade_into_each_other_without_a_jump() -> None:
    hanging = Cloth(one_triangle(), swinging)
    fastest = max(np.abs(hanging.lag(time_s + 1e-3) - hanging.lag(time_s)).max() for time_s in np.arange(1, 3, 0.01))
    for time_s in np.arange(3.99, 4.26, 0.002):
        assert np.abs(hanging.lag(time_s + 1e-3) - hanging.lag(time_s)).max() < 1.5 * fastest


def test_tight_clothes_only_follow_the_skin_and_loose_ones_do_not(jumping: Body) -> None:
    tight = make_body("s1")
    assert tight.fabric is None and np.array_equal(tight.vertices(2.0), tight.skinned(2.0))
    lag = np.linalg.norm(jumping.vertices(2.5) - jumping.skinned(2.5), axis=1)
    assert np.percentile(lag[lag > 0], 90) > 0.015
    assert lag[jumping.template.region("hand_left", "hand_right", "mouth", "eye_left", "foot_left")].max() == 0


def test_somebody_who_stands_still_wears_still_clothes(loose: Body) -> None:
    still = replace(loose, speed=0.0)
    assert np.array_equal(still.vertices(1.0), still.vertices(3.3))
    assert np.abs(still.vertices(1.0) - still.skinned(1.0)).max() < 0.12


def doing(body: Body, name: str) -> Body:
    return replace(body, motion=acted_motion(body.template, [PerformedAction(0, 60, name)], 0))


def seen_through(body: Body, time_s: float) -> float:
    """Share of the pixels that show clothes where a camera would see the bare body before them, by over 3 mm."""
    faces, vertices = body.template.faces, body.vertices(time_s)
    bare = skin(body.template, body.pose(time_s), body.expression(time_s))
    through, clothes = 0, 0
    for camera in make_rig(3, width=90, height=160).cameras:
        dressed, naked = (
            cast_surface(
                Scene((Mesh(at, faces, vertex_normals(at, faces), np.ones((len(at), 3))),)), camera, antialias=False
            )
            for at in (vertices, bare)
        )
        covered = dressed.picture(body.labels[dressed.triangle], -1) == PART_NAMES.index("clothes")
        behind = dressed.picture(dressed.depth) - naked.picture(naked.depth, np.inf) > 0.003
        through, clothes = through + int((covered & behind).sum()), clothes + int(covered.sum())
    return through / clothes


@pytest.mark.parametrize("action", ["jump", "knee lifts", "throw"])
def test_the_body_is_not_seen_through_loose_clothes(loose: Body, action: str) -> None:
    body = doing(loose, action)
    assert max(seen_through(body, time_s) for time_s in (1.2, 1.76)) < 0.002


def test_clothes_that_nothing_pushes_out_would_be_seen_through(loose: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloth, "SKIN_GAP_M", -1.0)
    assert max(seen_through(doing(loose, "throw"), time_s) for time_s in (1.2, 1.76)) > 0.004


@pytest.mark.parametrize("subject", ["s3", "s4"])
def test_the_hem_hangs_free_below_where_the_shirt_ends_and_off_the_legs(subject: str) -> None:
    body, outfit = make_body(subject, speed=0.0), SUBJECTS[subject].outfit
    rest = load_template().vertices
    shirt = body.offsets[:, 1] < -0.4 * outfit.drop_m
    hem = shirt & (np.abs(rest[:, 0]) < 0.22) & (rest[:, 1] < outfit.hem_m + 0.05)
    below = (rest[:, 1] < outfit.hem_m) & (rest[:, 1] > outfit.hem_m - 0.15)
    assert hem.sum() > 20
    hanging, legs = (body.template.vertices[some] + body.offsets[some] for some in (hem, below))
    assert hanging[:, 1].min() < legs[:, 1].max() - 0.02  # over the trousers, not sewn to where they begin
    assert np.percentile(cKDTree(legs).query(hanging)[0], 10) > 0.008
    tight = make_body("s1")
    assert tight.offsets[:, 1].min() > -0.01


def test_legs_do_not_carry_the_hem(loose: Body) -> None:
    worn = hung(loose.template, SUBJECTS["s4"].outfit)
    moved_weights = (worn.weight_bones != loose.template.weight_bones).any(axis=1)
    y = load_template().vertices[:, 1]
    assert moved_weights.sum() > 50 and y[moved_weights].min() > SUBJECTS["s4"].outfit.hem_m - 0.02
    names = np.array(worn.bones)[worn.weight_bones[moved_weights]]
    assert not np.char.startswith(names, "upperleg").any()


def test_a_raised_sleeve_sags_below_the_arm(loose: Body) -> None:
    raised = doing(loose, "arms up and down")
    time_s = 1.0 / 0.44  # arms are up
    assert raised.fabric is not None
    lag = raised.vertices(time_s) - raised.skinned(time_s)
    rest = load_template().vertices
    sleeve = np.zeros(len(lag), bool)
    sleeve[raised.fabric.vertices] = True
    sleeve &= np.abs(rest[:, 0]) > 0.3
    assert np.percentile(lag[sleeve, 1], 20) < -0.02
