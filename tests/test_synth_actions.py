"""The simulated person does what it is told, without falling through the floor or into itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from litdome.capture.actions import read_actions, read_repertoire
from litdome.errors import InputError
from litdome.synth.actions import (
    LONG_TAKE_S,
    ActedMotion,
    PerformedAction,
    acted_motion,
    draw_performance,
    read_performance,
    write_performance,
)
from litdome.synth.body import Body, make_body
from litdome.synth.face import EXPRESSIONS
from litdome.synth.light_setup import LightSetup
from litdome.synth.motion import ARM, Axis, FreeMotion, bone_turn
from litdome.synth.moves import ACTIONS
from litdome.synth.recording import plan_take
from litdome.template.model import FloatArray, IntArray, load_template
from litdome.template.skinning import Pose

CLOSE = ("hands on hips", "cross arms", "hands behind back", "reach across", "phone", "hair", "put on a coat")


@pytest.fixture(scope="module")
def person() -> Body:
    return make_body("s1")


def doing(person: Body, *names: str, seconds: float = 10.0) -> Body:
    actions = [PerformedAction(k * seconds, (k + 1) * seconds, name) for k, name in enumerate(names)]
    return replace(person, motion=acted_motion(person.template, actions, 0))


def winding(points: FloatArray, vertices: FloatArray, faces: IntArray) -> FloatArray:
    """How often a surface goes round points, shape (n,): 1 inside, 0 outside."""
    a, b, c = (vertices[faces[:, k]][None] - points[:, None] for k in range(3))
    length = [np.linalg.norm(corner, axis=2) for corner in (a, b, c)]
    top = (a * np.cross(b, c)).sum(axis=2)
    bottom = length[0] * length[1] * length[2] + (a * b).sum(axis=2) * length[2]
    bottom += (b * c).sum(axis=2) * length[0] + (a * c).sum(axis=2) * length[1]
    return np.asarray(2 * np.arctan2(top, bottom).sum(axis=1) / (4 * np.pi))


def share_of_hands_inside(body: Body, time_s: float) -> float:
    template, vertices = body.template, body.skinned(time_s)
    trunk = np.array([name.startswith(("spine", "root", "pelvis", "neck", "head")) for name in template.bones])
    faces = template.faces[np.isin(template.face_regions, [0, 1])]
    faces = faces[trunk[template.weight_bones[faces, 0]].all(axis=1)]
    hands = np.flatnonzero(template.region("hand_left", "hand_right"))[::120]
    return float((winding(vertices[hands], vertices, faces) > 0.5).mean())


def test_everything_that_a_plan_asks_for_is_known() -> None:
    repertoire = read_repertoire()
    assert repertoire.rest is not None
    assert {act.name for act in (*repertoire.actions, repertoire.rest)} == set(ACTIONS)
    assert {act.name for act in repertoire.expressions} == set(EXPRESSIONS)


def test_soles_meet_the_floor_in_all_actions_but_jumps(person: Body) -> None:
    for name in ACTIONS:
        heights = [doing(person, name).skinned(time_s)[:, 1].min() for time_s in (2.3, 4.1)]
        assert min(heights) > -0.025, name  # toes of a bent foot
        assert max(heights) < (0.2 if "jump" in name or "jog" in name else 0.005), name


@pytest.mark.parametrize("name", CLOSE)
def test_hands_stay_outside_the_trunk_where_actions_bring_them_close(person: Body, name: str) -> None:
    assert max(share_of_hands_inside(doing(person, name), time_s) for time_s in (2.3, 3.7)) < 0.1


def test_hands_pressed_into_the_trunk_would_be_seen(person: Body) -> None:
    squeezed = np.zeros((len(person.template.bones), 3))
    turns: tuple[tuple[tuple[str, ...], Axis, float], ...] = (
        (ARM, (0.0, 0.0, 1.0), -15), (("lowerarm01",), "bend", 55), (("upperarm02",), "along", 95),
    )  # fmt: skip
    for bones, axis, degrees in turns:
        for side in (".L", ".R"):
            squeezed += np.radians(degrees) * bone_turn(person.template, bones, axis, side)
    assert share_of_hands_inside(replace(person, motion=Stands(squeezed)), 0.0) > 0.3


@dataclass(frozen=True, eq=False)
class Stands:
    """One pose for ever."""

    rotations: FloatArray

    def pose(self, time_s: float, speed: float) -> Pose:
        return Pose(self.rotations, np.zeros(3))

    def expression(self, time_s: float, speed: float) -> FloatArray:
        return np.zeros(52)


def test_one_action_blends_into_the_next(person: Body) -> None:
    body = doing(person, "squat", "arms up and down", seconds=2.0)
    steps = [np.abs(body.joints(time_s + 1e-3) - body.joints(time_s)).max() for time_s in np.arange(1.8, 2.9, 0.05)]
    assert max(steps) < 5e-3  # 5 m/s: nothing jumps
    lifted = body.joints(4.0)[body.template.bone("wrist.L"), 1] - body.joints(2.0)[body.template.bone("wrist.L"), 1]
    assert abs(lifted) > 0.1


def test_speed_makes_the_same_action_faster_and_keeps_its_time(person: Body) -> None:
    body = doing(person, "march")
    fast = replace(body, speed=2.0)
    assert np.abs(fast.joints(2.0) - body.joints(4.0)).max() < 1e-9
    after = replace(fast, speed=2.0).motion.pose(11.0, 2.0)  # over at ten seconds, fast or not
    assert np.abs(after.rotations - doing(person, "rest").motion.pose(22.0, 1.0).rotations).max() < 1e-9


def test_a_face_is_made_as_asked_and_drawn_where_not(person: Body) -> None:
    template = load_template()
    smile = template.expressions.index("mouthSmileLeft")
    asked = acted_motion(template, [PerformedAction(0, 10, "rest", "smile")], 0)
    assert asked.expression(5.0, 1.0)[smile] > 0.5
    drawn = {acted_motion(template, [PerformedAction(0, 10, "rest")], seed).actions[0].expression for seed in range(9)}
    assert len(drawn) > 3 and drawn <= set(EXPRESSIONS)


def test_what_was_done_is_written_as_a_plan_writes_it(tmp_path: Path) -> None:
    actions = (PerformedAction(0, 2, "bow", "smile"), PerformedAction(2, 6, "march"), PerformedAction(6, 9, "rest"))
    write_performance(tmp_path / "actions.csv", actions, 25.0, 100)
    rows = read_actions(tmp_path / "actions.csv")
    assert [(row.start_frame, row.end_frame, row.name, row.expression) for row in rows] == [
        (0, 50, "bow", "smile"), (50, 100, "march", ""),
    ]  # fmt: skip
    assert read_performance(tmp_path / "actions.csv", 25.0)[1] == PerformedAction(2, 4, "march")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start_frame,end_frame\n0,5\n", "no column action"),
        ("start_frame,end_frame,action\n", "no actions"),
        ("start_frame,end_frame,action\n0,5,marsh\n", "row 1: unknown action 'marsh'"),
        ("start_frame,end_frame,action,expression\n0,5,bow,grin\n", "unknown expression 'grin'"),
        ("start_frame,end_frame,action\n0,5,bow\n4,9,march\n", "row 2: frames 4 to 9"),
        ("start_frame,end_frame,action\n5,5,bow\n", "row 1: frames 5 to 5"),
        ("start_frame,end_frame,action\n-1,5,bow\n", "start_frame is '-1'"),
        ("start_frame,end_frame,action\n1\n", "end_frame is None"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "actions.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_performance(file, 25.0)


def test_an_unknown_action_comes_with_the_choices(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("start_frame,end_frame,action\n0,5,marsh\n")
    with pytest.raises(InputError) as caught:
        read_performance(tmp_path / "a.csv", 25.0)
    assert "march" in str(caught.value.hint) and "arms up and down" in str(caught.value.hint)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        read_performance(tmp_path / "none.csv", 25.0)


def test_drawn_actions_fill_a_take_and_come_once_before_they_come_again() -> None:
    drawn = draw_performance(400.0, seed=3)
    assert drawn == draw_performance(400.0, seed=3) != draw_performance(400.0, seed=4)
    assert drawn[0].start_s == 0 and drawn[-1].start_s < 400.0 <= drawn[-1].end_s
    assert all(a.end_s == b.start_s and 4 <= a.end_s - a.start_s <= 8 for a, b in pairwise(drawn))
    assert {action.name for action in drawn[: len(ACTIONS)]} == set(ACTIONS)
    assert draw_performance(LONG_TAKE_S - 0.01, seed=3) == ()
    expressions = {action.expression for action in acted_motion(load_template(), drawn, 3).actions}
    assert len(expressions) > 10


def test_a_long_take_is_a_list_of_actions_and_a_short_or_paced_one_wanders() -> None:
    small = {"cameras": 1, "hdris": 1, "lights": 16, "width": 48, "height": 80, "seed": 2, "fps": 5.0}
    body = plan_take(Path("t"), pairs=20, **small).truth.body
    assert isinstance(body.motion, ActedMotion) and body.motion.actions[0].expression in EXPRESSIONS
    for change in ({"pairs": 19}, {"pairs": 20, "speed_px": 0.0}):
        assert isinstance(plan_take(Path("t"), **{**small, **change}).truth.body.motion, FreeMotion)
    olat = plan_take(Path("t"), light=LightSetup(leds=64, take="olat"), **small).truth
    assert len(olat.schedule.kind) > 5 * LONG_TAKE_S and isinstance(olat.body.motion, FreeMotion)
