"""Faces: names, creases that come and go, eyes that tracking does not see."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.geometry import Camera, look_at
from litdome.synth.actions import PerformedAction
from litdome.synth.body import Body, make_body
from litdome.synth.face import CREASE_NAMES, EXPRESSIONS, GAZE_DEG, codes_of, gaze_at, make_creases
from litdome.synth.render import Scene, cast_surface
from litdome.template.model import load_template


@pytest.fixture(scope="module")
def plain() -> Body:
    return make_body("s1")


def test_every_expression_moves_a_face_its_own_way() -> None:
    template = load_template()
    codes = {name: codes_of(template, values) for name, values in EXPRESSIONS.items()}
    assert all(code.min() >= 0 and code.max() <= 1 for code in codes.values())
    assert len({code.tobytes() for code in codes.values()}) == len(codes) - 1  # neutral and looking around
    assert np.flatnonzero(codes["contempt"]).size == 3
    with pytest.raises(ValueError, match="not in tuple"):
        codes_of(template, {"mouthGrin": 1.0})


def test_eyes_rest_and_jump_within_reach() -> None:
    looks = np.stack([gaze_at(time_s, 3) for time_s in np.arange(-5, 20, 0.02)])
    assert (np.abs(looks) <= np.radians(GAZE_DEG)).all() and np.ptp(looks[:, 0]) > np.radians(20)
    steps = np.linalg.norm(np.diff(looks, axis=0), axis=1)
    assert (steps == 0).mean() > 0.8 and steps.max() > np.radians(3)


def test_gaze_turns_the_eyeballs_and_stays_out_of_the_pose(plain: Body) -> None:
    bones = [plain.template.bone("eye.L"), plain.template.bone("eye.R")]
    time_s = next(t for t in np.arange(0, 20, 0.1) if plain.gaze(t)[0] > np.radians(12))
    assert not plain.pose(time_s).rotations[bones].any()
    ball = plain.template.region("eye_left")
    front = np.flatnonzero(ball)[plain.template.vertices[ball][:, 2].argmax()]
    straight = next(t for t in np.arange(0, 40, 0.1) if plain.gaze(t)[0] < np.radians(-12))
    left, right = (
        (plain.vertices(t)[front] - plain.joints(t)[bones[0]]) @ _head_left(plain, t) for t in (time_s, straight)
    )
    assert left > 0.002 and right < -0.002  # of a radius of 14 mm


def test_expression_codes_do_not_tell_where_the_eyes_look(plain: Body) -> None:
    looks = [k for k, name in enumerate(plain.template.expressions) if name.startswith("eyeLook")]
    assert len(looks) == 8
    acted = make_body("s1", actions=[PerformedAction(0, 5, "talk", "look around"), PerformedAction(5, 9, "bow")])
    for body in (plain, acted):
        assert np.ptp([body.gaze(time_s)[0] for time_s in np.arange(0, 9, 0.5)]) > np.radians(10)
        assert not np.stack([body.expression(time_s) for time_s in np.arange(0, 9, 0.5)])[:, looks].any()


def _head_left(body: Body, time_s: float) -> np.ndarray:
    across = body.joints(time_s)[body.template.bone("eye.L")] - body.joints(time_s)[body.template.bone("eye.R")]
    return np.asarray(across / np.linalg.norm(across))


def test_creases_come_with_their_expressions_only() -> None:
    template, creases = load_template(), make_creases(256)
    for expression, crease in (("brows up", "brows up"), ("anger", "brows down"), ("laugh", "smile")):
        strength = creases.strength(codes_of(template, EXPRESSIONS[expression]))
        left, right = (strength[CREASE_NAMES.index(f"{crease} {side}")] for side in ("left", "right"))
        assert left == right > 0.5
    assert not creases.strength(codes_of(template, EXPRESSIONS["neutral"])).any()
    assert creases.strength(np.ones(52)).max() <= 1


def test_a_smile_of_one_side_creases_that_cheek_only() -> None:
    template, creases = load_template(), make_creases(256)
    across = template.vertices[:, 0]
    for side, other, here in (("Left", "Right", across > 0), ("Right", "Left", across < 0)):
        strength = creases.strength(codes_of(template, {f"mouthSmile{side}": 1.0}))
        assert strength[CREASE_NAMES.index(f"smile {side.lower()}")] == pytest.approx(0.9)
        assert strength[CREASE_NAMES.index(f"smile {other.lower()}")] == 0
        folded = creases.depth @ strength
        assert folded[here].max() > 0.0008 and folded[~here].max() < 1e-5  # what reaches over the midline
    darker = creases.picture @ creases.strength(codes_of(template, {"mouthSmileLeft": 1.0}))
    both = creases.picture @ creases.strength(codes_of(template, {"mouthSmile": 1.0}))
    assert darker.sum() == pytest.approx(both.sum() / 2, rel=0.02)


def test_raised_brows_are_seen_as_lines_across_the_forehead() -> None:
    def forehead(expression: str) -> np.ndarray:
        body = make_body("s1", actions=[PerformedAction(-10, 10, "rest", expression)], seed=1)
        eyes = body.joints(0.0)[[body.template.bone("eye.L"), body.template.bone("eye.R")]].mean(axis=0)
        at = eyes + np.array([0.0, 0.055, 0.0])
        pose = look_at(at + np.array([0.0, 0.0, 1.0]), at)
        intrinsics = np.array([[1500.0, 0, 2], [0, 1500, 30], [0, 0, 1]])
        camera = Camera("c", 5, 61, intrinsics, np.zeros(8), pose)
        surface = cast_surface(Scene((body.mesh(0.0),)), camera, antialias=False)
        return np.asarray(surface.picture(surface.albedo)[:, 2, 1])

    neutral, raised = forehead("neutral"), forehead("brows up")
    skin = neutral > 0.2  # not the hair above
    assert (raised / neutral)[skin].min() < 0.85
    assert np.percentile((raised / neutral)[skin], 75) > 0.95  # between the lines nothing changes


def test_a_smile_folds_the_skin_beside_the_mouth(plain: Body) -> None:
    depth = plain.creases.depth[:, [CREASE_NAMES.index(f"smile {side}") for side in ("left", "right")]].max(axis=1)
    at = plain.template.vertices[depth > 0.0005]
    assert 0.0008 < depth.max() < 0.002
    assert (np.abs(np.abs(at[:, 0]) - 0.028) < 0.017).all() and (np.abs(at[:, 1] - 1.536) < 0.026).all()
