"""Folds of the forehead: there with raised brows, seen in slanting light, and gone without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from litdome.geometry import Camera, look_at
from litdome.synth.actions import PerformedAction, acted_motion
from litdome.synth.body import Body, make_body
from litdome.synth.face import EXPRESSIONS
from litdome.synth.forehead import FOLD_HEIGHT_M, make_forehead
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Scene, cast_surface
from litdome.synth.shading import light_vertices, shade_vertices
from litdome.template.model import FloatArray


@pytest.fixture(scope="module")
def person() -> Body:
    return make_body("s1")


def showing(person: Body, expression: str) -> Body:
    return replace(person, motion=acted_motion(person.template, [PerformedAction(-10, 10, "rest", expression)], 1))


def folds(person: Body, expression: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of the fine surface: where it lies at rest, how far it stands off the coarse one, degrees it is tilted by."""
    mesh, fine = showing(person, expression).mesh(0.0), make_forehead()
    first = len(person.template.uv)
    coarse = np.einsum("pk,pkc->pc", fine.weights, mesh.vertices[fine.corners])
    smooth = np.einsum("pk,pkc->pc", fine.weights, mesh.normals[fine.corners])
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    tilt = np.degrees(np.arccos(np.clip((mesh.normals[first:] * smooth).sum(axis=1), -1, 1)))
    rest = np.einsum("pk,pkc->pc", fine.weights, person.template.vertices[person.template.uv_vertices][fine.corners])
    return rest, ((mesh.vertices[first:] - coarse) * smooth).sum(axis=1), tilt


def test_every_point_lies_in_the_face_that_carries_it(person: Body) -> None:
    fine = make_forehead()
    assert fine.weights.min() > -1e-9 and np.allclose(fine.weights.sum(axis=1), 1)
    rest, _, _ = folds(person, "neutral")
    assert (rest[:, 2] > 0.06).all() and np.abs(rest[:, 0]).max() < 0.051
    corners = rest[fine.faces]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_without_raised_brows_the_forehead_is_the_template_s(person: Body) -> None:
    for expression in ("neutral", "anger", "laugh"):
        _, height, tilt = folds(person, expression)
        assert np.abs(height).max() < 1e-12 and tilt.max() < 1e-3


def test_raised_brows_fold_it_and_leave_its_rim(person: Body) -> None:
    rest, height, tilt = folds(person, "brows up")
    assert 0.6 * FOLD_HEIGHT_M < height.max() <= FOLD_HEIGHT_M + 1e-9 and height.min() > -1e-9
    assert np.percentile(tilt, 80) > 8
    rim = (rest[:, 1] < rest[:, 1].min() + 1e-4) | (np.abs(rest[:, 0]) > 0.0499)
    assert np.abs(height[rim]).max() < 1e-9


def test_one_raised_brow_folds_its_side(person: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPRESSIONS, "one brow", {"browOuterUpLeft": 1.0})
    rest, height, _ = folds(person, "one brow")
    assert height[rest[:, 0] > 0.005].max() > 0.0003 and height[rest[:, 0] < -0.005].max() == 0


def test_light_from_above_shows_the_folds_without_drawn_lines(person: Body) -> None:
    def contrast(expression: str) -> float:
        body = showing(person, expression)
        eyes = body.joints(0.0)[[body.template.bone("eye.L"), body.template.bone("eye.R")]].mean(axis=0)
        at = eyes + np.array([0.0, 0.048, 0.1])
        intrinsics = np.array([[1500.0, 0, 2], [0, 1500, 15], [0, 0, 1]])
        camera = Camera("c", 5, 31, intrinsics, np.zeros(8), look_at(at + np.array([0.0, 0.0, 1.0]), at))
        scene = Scene((replace(body.mesh(0.0), creases=None),))
        above = np.array([[0.0, 0.9, 0.436]], np.float32)
        lights = DirectionalLights(above, np.ones((1, 3), np.float32), 0.1)
        surface = cast_surface(scene, camera, antialias=False)
        shown = shade_vertices(scene, surface, light_vertices(scene, (lights,)), camera.centre)[0]
        rows = surface.picture(shown)[:, 2, 1]
        return float(np.abs(np.diff(rows)).mean() / rows.mean())

    assert contrast("brows up") > 3 * contrast("neutral")
