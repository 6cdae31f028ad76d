"""The body template: what the file holds, and that posing it obeys geometry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from litdome.errors import ConfigError
from litdome.template.model import Template, load_template
from litdome.template.skinning import (
    Pose,
    SkinningMethod,
    express,
    posed_joints,
    quaternions_from_axis_angle,
    rest_pose,
    skin,
    vertex_normals,
)
from litdome.template.uv import rasterise_uv

METHODS: tuple[SkinningMethod, ...] = ("dqs", "lbs")
ROUNDING_M = 1e-12  # float64 on metres


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template()


def bend(template: Template, **degrees: tuple[float, float, float]) -> Pose:
    """A pose with the named bones turned; ``lowerarm01_L`` is the bone ``lowerarm01.L``."""
    pose = rest_pose(template)
    for name, angles in degrees.items():
        pose.rotations[template.bone(name.replace("_", "."))] = np.radians(angles)
    return pose


def volume(vertices: npt.NDArray[np.float64], template: Template) -> float:
    corners = vertices[template.faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def test_person_stands_on_the_ground_upright_and_faces_plus_z_with_its_left_at_plus_x(template: Template) -> None:
    joint = dict(zip(template.bones, template.joints, strict=True))
    assert template.vertices[:, 1].min() == 0
    assert 1.65 < np.ptp(template.vertices[:, 1]) < 1.75
    assert joint["eye.L"][2] > joint["head"][2] and joint["toe1-1.L"][2] > joint["foot.L"][2]
    assert joint["wrist.L"][0] > 0.3 and joint["wrist.R"][0] < -0.3


def test_skin_weights_sum_to_one_in_falling_order_and_point_at_bones(template: Template) -> None:
    assert np.allclose(template.weights.sum(axis=1), 1, atol=1e-12)
    assert (np.diff(template.weights, axis=1) <= 0).all() and template.weights.min() >= 0
    assert template.weight_bones.max() < len(template.bones)
    assert (template.parents[1:] < np.arange(1, len(template.bones))).all() and template.parents[0] == -1


def test_surface_is_closed_outward_and_one_vertex_owns_each_uv(template: Template) -> None:
    edges = template.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert {tuple(e) for e in edges.tolist()} == {tuple(e) for e in edges[:, ::-1].tolist()}
    assert (
        volume(template.vertices.astype(np.float64), template) > 0.03
    )  # a person is 0.05..0.09 m3; negative: inside out
    assert np.array_equal(template.uv_vertices[template.face_uv], template.faces)
    head_top = int(template.vertices[:, 1].argmax())
    assert vertex_normals(template.vertices, template.faces)[head_top, 1] > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_identity_pose_gives_the_rest_vertices_exactly(template: Template, method: SkinningMethod) -> None:
    assert np.array_equal(skin(template, rest_pose(template), np.zeros(52), method=method), template.vertices)


@pytest.mark.parametrize("method", METHODS)
def test_root_motion_moves_the_posed_body_rigidly(template: Template, method: SkinningMethod) -> None:
    pose = bend(template, upperarm01_L=(10, 20, 40), lowerleg01_R=(50, 0, 0))
    before = skin(template, pose, method=method)
    turned = Pose(pose.rotations.copy(), np.array([0.3, -0.2, 1.1]))
    turned.rotations[0] = [0, np.pi / 2, 0]  # +z goes to +x
    rotation = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    root = template.joints[0]
    expected = (before - root) @ rotation.T + root + turned.translation
    assert np.abs(skin(template, turned, method=method) - expected).max() < ROUNDING_M


@pytest.mark.parametrize("method", METHODS)
def test_vertices_that_follow_one_bone_keep_their_distance_to_its_joint(
    template: Template, method: SkinningMethod
) -> None:
    pose = bend(template, shoulder01_L=(0, 30, 40), lowerarm01_L=(-30, 10, 60), head=(20, 30, 0))
    head = template.bone("head")
    alone = (template.weights[:, 0] > 1 - 1e-9) & (template.weight_bones[:, 0] == head)
    assert alone.sum() > 500
    before = np.linalg.norm(template.vertices[alone] - template.joints[head], axis=1)
    after = np.linalg.norm(skin(template, pose, method=method)[alone] - posed_joints(template, pose)[head], axis=1)
    assert np.abs(after - before).max() < 1e-9


def test_bone_lengths_stay_and_the_left_arm_rises_when_turned_about_plus_z(template: Template) -> None:
    pose = bend(template, upperarm01_L=(0, 0, 50), lowerarm01_L=(0, -40, 0))
    joints, wrist = posed_joints(template, pose), template.bone("wrist.L")
    children = np.arange(1, len(template.bones))
    parents = template.parents[children]
    rest = np.linalg.norm(template.joints[children] - template.joints[parents], axis=1)
    assert np.abs(np.linalg.norm(joints[children] - joints[parents], axis=1) - rest).max() < ROUNDING_M
    assert joints[wrist, 1] > template.joints[wrist, 1] + 0.2


def test_dual_quaternions_keep_the_volume_of_a_twisted_neck_where_linear_blending_loses_it(template: Template) -> None:
    pose = bend(template, neck01=(0, 150, 0))
    rest = volume(template.vertices.astype(np.float64), template)
    dqs = volume(skin(template, pose, method="dqs"), template)
    lbs = volume(skin(template, pose, method="lbs"), template)
    assert abs(dqs / rest - 1) < 0.005
    assert lbs < dqs - 2e-4  # m3, candy wrapper


def test_both_skinnings_agree_for_small_bends(template: Template) -> None:
    pose = bend(template, lowerarm01_L=(0, -3, 0), upperleg01_R=(-3, 0, 0))
    apart = skin(template, pose, method="dqs") - skin(template, pose, method="lbs")
    assert 0 < np.abs(apart).max() < 5e-4  # m: second order in the angle


def test_jaw_open_moves_the_head_and_its_throat_only_and_lowers_the_chin(template: Template) -> None:
    codes = np.zeros(52)
    codes[template.expressions.index("jawOpen")] = 1
    moved = express(template, codes) - template.vertices
    touched = np.abs(moved).max(axis=1) > 0
    assert touched.sum() > 500
    collar = template.joints[template.bone("neck01"), 1] - 0.03
    assert template.vertices[touched, 1].min() > collar
    assert (template.weight_bones[touched, 0] == template.bone("head")).mean() > 0.95
    assert moved[:, 1].min() < -0.01


def test_expressions_add_linearly(template: Template) -> None:
    smile, blink = np.zeros((2, 52))
    smile[template.expressions.index("mouthSmileLeft")] = 0.7
    blink[template.expressions.index("eyeBlinkLeft")] = 0.4
    both = express(template, smile + blink) - template.vertices
    apart = express(template, smile) + express(template, blink) - 2.0 * template.vertices
    assert np.abs(both - apart).max() < ROUNDING_M


def test_left_eye_closes_on_the_left(template: Template) -> None:
    codes = np.zeros(52)
    codes[template.expressions.index("eyeBlinkLeft")] = 1
    moved = np.linalg.norm(express(template, codes) - template.vertices, axis=1)
    left, right = moved[template.vertices[:, 0] > 0.005].max(), moved[template.vertices[:, 0] < -0.005].max()
    assert left > 0.01 and right < 0.6 * left  # the other brow comes along a little


def test_wrong_shapes_are_named(template: Template) -> None:
    with pytest.raises(ConfigError, match=r"\(3, 3\).*\(104, 3\)"):
        skin(template, Pose(np.zeros((3, 3)), np.zeros(3)))
    with pytest.raises(ConfigError, match=r"\(10,\).*\(52,\)"):
        skin(template, rest_pose(template), np.zeros(10))


def test_half_turn_quaternion_is_pure_imaginary() -> None:
    assert np.allclose(quaternions_from_axis_angle(np.array([[0, np.pi, 0]])), [[0, 0, 1, 0]], atol=1e-15)


def test_uv_map_puts_each_vertex_under_its_own_texel(template: Template) -> None:
    size = 256
    uv_map = rasterise_uv(template, size)
    uv = np.einsum("nk,nkc->nc", uv_map.barycentric, template.uv[template.face_uv[uv_map.face]])
    centres = (np.column_stack([uv_map.texels % size, uv_map.texels // size]) + 0.5) / size
    assert np.abs(uv - centres).max() < 1e-9
    assert 0.6 < len(uv_map.texels) / size**2 < 0.65  # a published layout: 62.6 % used
    texture = uv_map.picture(uv_map.interpolate(template.vertices, template.faces))
    assert texture.min() >= template.vertices.min() and np.abs(texture).sum(axis=2).min() > 0  # gaps are filled
