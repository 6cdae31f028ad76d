"""Other shapes of the template: still one body with its skeleton inside."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.synth.physique import reshape
from litdome.synth.subjects import SUBJECTS, Bump, Physique
from litdome.template.model import Template, load_template


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template()


def girth(template: Template, bone: str) -> float:
    """Median distance of a bone's own vertices from the line through it."""
    at = template.bone(bone)
    own = (template.weight_bones[:, 0] == at) & (template.weights[:, 0] > 0.7)
    child = int(np.flatnonzero(template.parents == at)[0])
    axis = template.joints[child] - template.joints[at]
    axis = axis / np.linalg.norm(axis)
    arms = template.vertices[own] - template.joints[at]
    return float(np.median(np.linalg.norm(arms - (arms @ axis)[:, None] * axis, axis=1)))


def length(template: Template, start: str, end: str) -> float:
    return float(np.linalg.norm(template.joints[template.bone(end)] - template.joints[template.bone(start)]))


def test_the_template_itself_comes_back_unchanged(template: Template) -> None:
    assert reshape(template, Physique()) is template


def test_height_scales_everything(template: Template) -> None:
    tall = reshape(template, Physique(height=1.1))
    assert np.allclose(tall.vertices, 1.1 * template.vertices, atol=1e-6)
    assert np.allclose(tall.joints, 1.1 * template.joints, atol=3e-4)  # the soles' lowest point stays where it is


def test_longer_legs_raise_the_hips_and_keep_the_feet_on_the_floor(template: Template) -> None:
    long = reshape(template, Physique(leg_length=1.1))
    assert long.vertices[:, 1].min() == pytest.approx(template.vertices[:, 1].min(), abs=1e-6)
    assert length(long, "upperleg02.L", "lowerleg01.L") == pytest.approx(
        1.1 * length(template, "upperleg02.L", "lowerleg01.L")
    )
    assert 0.05 < long.joints[0, 1] - template.joints[0, 1] < 0.1


def test_thicker_arms_are_thicker_around_the_same_bones(template: Template) -> None:
    thick = reshape(template, Physique(arms=1.2))
    assert girth(thick, "lowerarm01.L") / girth(template, "lowerarm01.L") == pytest.approx(1.2, abs=0.04)
    assert girth(thick, "lowerleg01.L") == pytest.approx(girth(template, "lowerleg01.L"), rel=1e-3)
    assert length(thick, "lowerarm01.L", "wrist.L") == pytest.approx(length(template, "lowerarm01.L", "wrist.L"))


def test_broader_shoulders_carry_the_arms_along(template: Template) -> None:
    broad = reshape(template, Physique(shoulders=1.2))
    moved = broad.joints - template.joints
    assert moved[template.bone("wrist.L"), 0] == pytest.approx(moved[template.bone("upperarm01.L"), 0], abs=1e-9)
    assert 0.02 < moved[template.bone("wrist.L"), 0] < 0.05


def test_a_bump_changes_the_face_on_both_sides_and_nothing_else(template: Template) -> None:
    cheeks = reshape(template, Physique(face=(Bump((0.045, 1.54, 0.1), 0.02, (0.006, 0.0, 0.0)),)))
    moved = cheeks.vertices - template.vertices
    assert moved[:, 0].max() > 0.004 and moved[:, 0].min() < -0.004
    assert np.abs(moved[template.vertices[:, 1] < 1.4]).max() < 1e-6
    assert np.abs(moved[np.abs(template.vertices[:, 0]) < 1e-6, 0]).max() < 1e-15


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_every_subject_is_a_person_with_eyes_in_their_sockets(template: Template, name: str) -> None:
    person = reshape(template, SUBJECTS[name].physique)
    assert 1.5 < np.ptp(person.vertices[:, 1]) < 1.9
    for side, region in (("L", "eye_left"), ("R", "eye_right")):
        ball = person.vertices[person.region(region)] - person.joints[person.bone(f"eye.{side}")]
        radius = np.linalg.norm(ball, axis=1)
        assert radius.min() > 0.01 and radius.max() < 0.019
    edges = person.faces[:, [0, 1]]
    stretch = np.linalg.norm(np.diff(person.vertices[edges], axis=1)[:, 0], axis=1)
    stretch /= np.linalg.norm(np.diff(template.vertices[edges], axis=1)[:, 0], axis=1)
    assert np.percentile(stretch, 0.1) > 0.4 and np.percentile(stretch, 99.9) < 2


def test_subjects_have_shapes_of_their_own(template: Template) -> None:
    shapes = [reshape(template, who.physique).vertices for who in SUBJECTS.values()]
    for k in range(len(shapes)):
        for other in shapes[:k]:
            assert np.linalg.norm(shapes[k] - other, axis=1).mean() > 0.01
