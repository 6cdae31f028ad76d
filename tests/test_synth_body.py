"""The simulated person: stands, moves and dresses as it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from litdome.errors import UsageError
from litdome.geometry import Camera, look_at
from litdome.synth.body import PART_NAMES, SUBJECTS, Body, make_body
from litdome.synth.render import Scene, cast_surface
from litdome.template.skinning import skin, vertex_normals

TIMES = np.arange(0.0, 12.0, 0.75)


@pytest.fixture(scope="module")
def plain() -> Body:
    return make_body("s1")


@pytest.fixture(scope="module")
def loose() -> Body:
    return make_body("s4")


def front_camera(height_m: float) -> Camera:
    intrinsics = np.array([[60.0, 0, 20], [0, 60, 20], [0, 0, 1]])
    return Camera("front", 41, 41, intrinsics, np.zeros(8), look_at((0, height_m, 3), (0, height_m, 0)))


def hand_speed(body: Body, step_s: float = 0.04) -> float:
    hands = [body.template.bone(f"finger3-1.{side}") for side in "LR"]
    path = np.stack([body.joints(k * step_s)[hands] for k in range(150)])
    return float(np.linalg.norm(np.diff(path, axis=0), axis=2).mean() / step_s)


def test_person_stands_on_the_ground_at_the_origin_at_all_times(plain: Body) -> None:
    for time_s in TIMES:
        vertices = plain.vertices(time_s)
        assert -0.004 < vertices[:, 1].min() < 0.001  # the smooth minimum's 2.4 mm, and a rolling foot
        joints = plain.joints(time_s)
        assert np.abs(joints[0, [0, 2]]).max() < 0.05
        assert 1.5 < joints[plain.template.bone("eye.L"), 1] < 1.65


def test_hands_move_at_the_speed_that_is_asked_for(plain: Body) -> None:
    fast = replace(plain, speed=2.0)
    assert 0.5 < hand_speed(plain) < 1.0
    assert hand_speed(fast, step_s=0.02) == pytest.approx(2 * hand_speed(plain), rel=1e-9)
    still = make_body("s1", speed=0.0)
    assert np.array_equal(still.vertices(0.0), still.vertices(7.7))


def test_motion_is_smooth(plain: Body) -> None:
    step = [plain.vertices(time_s + 1e-3) - plain.vertices(time_s) for time_s in TIMES[:6]]
    assert np.abs(step).max() < 4e-3  # 4 m/s: no jump between neighbouring instants


def test_hands_stay_outside_the_torso(loose: Body) -> None:
    template = loose.template
    trunk = np.array([name.startswith(("spine", "root", "pelvis")) for name in template.bones])
    torso = np.flatnonzero(trunk[template.weight_bones[:, 0]])
    hands = np.flatnonzero(template.region("hand_left", "hand_right"))[::5]
    for time_s in TIMES:
        vertices = skin(template, loose.pose(time_s))  # a hand may well be under a loose hem
        normals = vertex_normals(vertices, template.faces)[torso]
        nearest = cKDTree(vertices[torso]).query(vertices[hands])[1]
        outside = ((vertices[hands] - vertices[torso][nearest]) * normals[nearest]).sum(axis=1)
        assert outside.min() > 0.01


def test_left_hand_is_on_the_right_of_a_picture_from_the_front(plain: Body) -> None:
    camera = front_camera(1.0)
    for time_s in TIMES:
        hands = plain.joints(time_s)[[plain.template.bone("wrist.L"), plain.template.bone("wrist.R")]]
        left, right = camera.project(hands)[:, 0]
        assert left > right


def test_mesh_is_the_posed_template_cut_along_its_seams(plain: Body) -> None:
    mesh, vertices = plain.mesh(1.3), plain.vertices(1.3)
    count = len(plain.template.faces)
    assert np.array_equal(mesh.vertices[mesh.faces[:count]], vertices[plain.template.faces])
    assert len(mesh.faces) == len(plain.mesh_labels) > count  # then come the forehead's folds
    assert {PART_NAMES[part] for part in plain.mesh_labels[count:]} == {"face"}
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)
    assert mesh.uv is not None and len(mesh.uv) == len(mesh.vertices)


def test_eyeballs_ride_on_the_true_joints(plain: Body) -> None:
    template = plain.template
    for eye in ("left", "right"):
        ball, bone = template.region(f"eye_{eye}"), template.bone(f"eye.{eye[0].upper()}")
        rest = np.linalg.norm(template.vertices[ball] - template.joints[bone], axis=1)
        posed = np.linalg.norm(plain.vertices(2.1)[ball] - plain.joints(2.1)[bone], axis=1)
        assert np.abs(posed - rest).max() < 1e-6  # f4 vertices


def test_camera_sees_the_shirt_on_the_chest_and_skin_on_the_hand(plain: Body) -> None:
    scene, outfit = Scene((plain.mesh(0.0),)), SUBJECTS["s1"].outfit
    for bone, expected in (("spine01", outfit.shirt), ("upperleg02.L", outfit.trousers), ("finger3-1.R", outfit.skin)):
        point = plain.joints(0.0)[plain.template.bone(bone)]
        pose = look_at(point + np.array([0.0, 0.0, 2.0]), point)
        camera = Camera("c", 3, 3, np.array([[4000.0, 0, 1], [0, 4000, 1], [0, 0, 1]]), np.zeros(8), pose)
        surface = cast_surface(scene, camera)
        assert len(surface.pixels) == 9
        assert np.allclose(surface.albedo, expected, rtol=0.08)  # skin is mottled by 6 %


def test_plain_shirt_has_one_colour_and_a_checked_one_has_several(plain: Body, loose: Body) -> None:
    def colours(body: Body) -> int:
        camera = front_camera(1.2)
        surface = cast_surface(Scene((body.mesh(0.0),)), camera, antialias=False)
        torso = (np.abs(surface.position[:, 0]) < 0.1) & (np.abs(surface.position[:, 1] - 1.2) < 0.12)
        assert torso.sum() > 10
        return len(np.unique(surface.albedo[torso].round(2), axis=0))

    assert colours(plain) == 1
    assert colours(loose) > 2


def test_loose_shirt_stands_off_the_chest_and_never_covers_the_face(plain: Body, loose: Body) -> None:
    at_rest = plain.template.vertices
    chest = (np.abs(at_rest[:, 0]) < 0.1) & (np.abs(at_rest[:, 1] - 1.2) < 0.1)
    depth_plain, depth_loose = (np.linalg.norm(body.offsets[chest], axis=1).mean() for body in (plain, loose))
    assert depth_plain < 0.004 and depth_loose > 0.02
    face = plain.template.region("mouth", "eye_left", "eye_right")
    assert np.abs(loose.offsets[face]).max() < 1e-9


def test_expression_stays_in_range_blinks_and_talks(plain: Body) -> None:
    codes = np.stack([plain.expression(time_s) for time_s in np.arange(0, 12, 0.04)])
    names = plain.template.expressions
    blink, jaw = codes[:, names.index("eyeBlinkLeft")], codes[:, names.index("jawOpen")]
    assert codes.min() >= 0 and codes.max() <= 1
    assert blink.max() > 0.9 and np.median(blink) < 0.05
    assert np.ptp(jaw) > 0.3


def test_subjects_differ_and_each_is_the_same_every_time(plain: Body, loose: Body) -> None:
    again = make_body("s1")
    assert again.texture.tobytes() == plain.texture.tobytes()
    assert again.mesh(3.3).vertices.tobytes() == plain.mesh(3.3).vertices.tobytes()
    assert np.abs(loose.vertices(1.0) - plain.vertices(1.0)).max() > 0.1
    assert np.abs(loose.texture - plain.texture).mean() > 0.05
    assert np.isfinite(plain.texture).all() and plain.texture.min() >= 0 and plain.texture.max() <= 1


def test_unknown_subject_is_named_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"s9.*s1, s2, s3, s4"):
        make_body("s9")


def test_labels_name_the_part_that_each_face_belongs_to(plain: Body, loose: Body) -> None:
    centres = plain.template.vertices[plain.template.faces].mean(axis=1)
    names = np.array(PART_NAMES)[plain.labels]
    assert set(names) == set(PART_NAMES) and len(names) == len(plain.template.faces)
    assert (names[np.abs(centres[:, 0]) > 0.5] == "hands").all()
    assert (centres[names == "face", 1] > 1.45).all() and (centres[names == "hair", 1] > 1.45).all()
    assert (names == "eyes").sum() == 280
    longer_sleeves = np.array(PART_NAMES)[loose.labels]
    assert (longer_sleeves == "clothes").sum() > (names == "clothes").sum()
