"""The truth of every picture: exact against OpenCV and formulas, byte-identical, and read back as written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import InputError, UsageError
from litdome.geometry import Camera, look_at
from litdome.synth import make_recording
from litdome.synth.body import PART_NAMES
from litdome.synth.ground_truth import BRIGHTEST, FrameTruth, GroundTruth, describe_frame, read_truth, surface_flow
from litdome.synth.render import Mesh, Scene, cast_surface
from litdome.synth.spool import Spool, write_npz

SMALL = {"cameras": 2, "pairs": 1, "width": 90, "height": 160, "hdris": 1, "lights": 32, "boards": False, "seed": 4}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> GroundTruth:
    folder = tmp_path_factory.mktemp("truth") / "take"
    make_recording(folder, truth="full", **SMALL)  # type: ignore[arg-type]
    return read_truth(folder)


@pytest.fixture(scope="module")
def flat(truth: GroundTruth) -> FrameTruth:
    return truth.frame("c00", 0)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def seen(truth: FrameTruth) -> np.ndarray:
    return np.isfinite(truth.depth)


def points_of(truth: FrameTruth, camera: Camera) -> np.ndarray:
    """World points of the depth, shape (n, 3), by OpenCV's lens."""
    y, x = np.nonzero(seen(truth))
    at = np.stack([x, y], axis=1).astype(np.float64)[:, None]
    straight = cv2.undistortPoints(at, camera.intrinsics, camera.distortion)[:, 0]
    in_camera = np.column_stack([straight, np.ones(len(straight))]) * truth.depth[y, x][:, None]
    return np.asarray(in_camera @ camera.world_from_camera[:3, :3].T + camera.world_from_camera[:3, 3])


def test_the_same_seed_gives_the_same_bytes_of_truth(truth: GroundTruth, tmp_path: Path) -> None:
    make_recording(tmp_path / "again", truth="full", workers=1, **SMALL)  # type: ignore[arg-type]
    first = hashes(truth.folder)
    assert hashes(tmp_path / "again/truth") == first
    assert len({value for name, value in first.items() if name.startswith("frames/")}) == 6  # hashes tell them apart


def test_full_truth_adds_files_and_changes_none(truth: GroundTruth, tmp_path: Path) -> None:
    make_recording(tmp_path / "minimal", **SMALL)  # type: ignore[arg-type]
    full, minimal = hashes(truth.folder), hashes(tmp_path / "minimal/truth")
    assert {name: full[name] for name in minimal} == minimal
    added = {f"frames/{camera}/{frame:06d}.npz" for camera in ("c00", "c01") for frame in range(3)}
    assert set(full) - set(minimal) == added
    with pytest.raises(InputError, match=r"frames/c00/000000\.npz") as refused:
        read_truth(tmp_path / "minimal").frame("c00", 0)
    assert refused.value.hint == "litdome synth --truth full"


def test_an_unknown_truth_is_named_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'all' is not one of minimal, full"):
        make_recording(tmp_path / "x", truth="all", **SMALL)  # type: ignore[arg-type]


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rig\.json"):
        read_truth(tmp_path)


def test_depth_puts_every_pixel_onto_the_surface(truth: GroundTruth, flat: FrameTruth) -> None:
    body, camera = truth.body(), truth.rig["c00"]
    vertices, faces = body["vertices"][0].astype(np.float64), body["faces"]
    inner = (truth.masks("c00")[0] == 255)[seen(flat)]  # on the outline it is a corner of the pixel that is seen
    points = points_of(flat, camera)[inner]
    assert len(points) > 1000
    # distance to the nearest triangle's plane among those around the nearest vertices
    corners = vertices[faces]
    middle, size = corners.mean(axis=1), np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=2).max()
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for point in points[:: len(points) // 50]:
        near = np.linalg.norm(middle - point, axis=1) < size
        assert np.abs(((point - middle[near]) * normal[near]).sum(axis=1)).min() < 2e-5  # m


def test_normals_face_the_camera_and_agree_with_the_depth(truth: GroundTruth, flat: FrameTruth) -> None:
    inside = cv2.erode(seen(flat).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    normal = flat.normal[inside].astype(np.float64)
    assert np.abs(np.linalg.norm(normal, axis=1) - 1).max() < 2e-3  # half precision
    points = np.zeros((*inside.shape, 3))
    points[seen(flat)] = points_of(flat, truth.rig["c00"])
    across, down = np.gradient(points, axis=1)[inside], np.gradient(points, axis=0)[inside]
    out = np.cross(down, across) @ truth.rig["c00"].world_from_camera[:3, :3]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    assert (normal[:, 2] < 0).mean() > 0.99  # z is forward
    assert np.median((out * normal).sum(axis=1)) > 0.95
    assert np.median((out * normal * [1, -1, 1]).sum(axis=1)) < 0.95  # with y up it would not


def test_albedo_and_irradiance_make_the_radiance(truth: GroundTruth, flat: FrameTruth) -> None:
    inside = truth.masks("c00")[0] == 255
    lambert = flat.albedo[inside].astype(np.float64) * flat.irradiance[inside] / np.pi
    highlight = flat.radiance[inside] - lambert
    assert highlight.min() > -2e-3  # half precision of a sum below 1
    assert 0.001 < np.median(highlight) < 0.06  # normal reflectance .04 in light of 1
    assert 0.9 < np.quantile(flat.irradiance[inside] / np.pi, 0.95) < 1.02


def test_radiance_is_the_picture_without_noise_and_8_bits(truth: GroundTruth) -> None:
    relit = truth.frame("c01", 1)
    twin = cv2.imread(str(truth.folder / "flat_at_relit/c01/000001.png"))[..., ::-1]
    assert np.abs(linear_from_srgb(twin / 255.0) - relit.radiance)[seen(relit)].mean() > 0.02  # another light
    flat = truth.frame("c01", 0)
    albedo = linear_from_srgb(cv2.imread(str(truth.folder / "albedo/c01/000000.png"))[..., ::-1] / 255.0)
    np.testing.assert_allclose(flat.albedo[seen(flat)], albedo[seen(flat)], atol=0.006)  # one code at most


def test_parts_are_named_and_lie_where_they_belong(truth: GroundTruth, flat: FrameTruth) -> None:
    assert truth.part_names == PART_NAMES
    assert ((flat.parts > 0) == seen(flat)).all()
    rows = {name: np.nonzero(flat.parts == 1 + k)[0] for k, name in enumerate(PART_NAMES)}
    assert rows["hair"].mean() < rows["clothes"].mean()  # row 0 is the top
    assert len(rows["clothes"]) > 0.3 * seen(flat).sum()


def test_flow_to_the_next_frame_is_the_motion_to_the_relit_picture(truth: GroundTruth, flat: FrameTruth) -> None:
    to_relit, _ = truth.motion("c00")
    hidden = seen(flat) & ~flat.flow_visible
    expected = np.where(hidden, np.nan, flat.flow_next)
    np.testing.assert_array_equal(to_relit[0], expected)
    assert np.isfinite(flat.flow_next[:, seen(flat)]).all()  # known of what gets hidden too
    last = truth.frame("c00", 2)
    assert not last.flow_visible.any() and np.isnan(last.flow_next).all()


def test_flow_of_a_known_shift_and_projection_equal_projectpoints() -> None:
    """A plane moves by a known vector before a distorting lens; OpenCV says where its points go."""
    lens = np.array([-0.12, 0.05, 1e-3, -1e-3, 0, 0, 0, 0])
    intrinsics = np.array([[90.0, 0, 39.5], [0, 90.0, 29.5], [0, 0, 1]])
    camera = Camera("c00", 80, 60, intrinsics, lens, look_at((0.3, 0.2, 4), (0, 0, 0)))
    corners = np.array([[-1.0, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    wall = Mesh(corners, np.array([[0, 3, 2], [0, 2, 1]]), np.tile([0.0, 0, 1], (4, 1)), np.ones((4, 3)))
    shift = np.array([0.125, -0.0625, 0.25])  # exact in single precision
    surface = cast_surface(Scene((wall,)), camera)
    flow, visible = surface_flow(surface, camera, Scene((replace(wall, vertices=corners + shift),)))
    pose = np.linalg.inv(camera.world_from_camera)
    turn, _ = cv2.Rodrigues(pose[:3, :3])
    before, after = (
        cv2.projectPoints(points, turn, pose[:3, 3], intrinsics, lens)[0][:, 0]
        for points in (surface.position.astype(np.float64), surface.position + shift)
    )
    assert visible.mean() > 0.9
    inside = surface.coverage == 1
    assert np.abs(flow - (after - before))[inside].max() < 2e-4  # px; points in single precision, 1e-7 of 4 m
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    told, _ = cv2.projectPoints(points, turn, pose[:3, 3], intrinsics, lens)
    assert np.abs(camera.project(points) - told[:, 0]).max() < 1e-6
    straight, _ = cv2.projectPoints(points, turn, pose[:3, 3], intrinsics, np.zeros(8))
    assert np.abs(camera.project(points) - straight[:, 0]).max() > 0.1  # the lens does bend


def test_light_beyond_half_precision_stays_finite() -> None:
    camera = Camera("c00", 4, 2, np.diag([3.0, 3.0, 1.0]), np.zeros(8), look_at((0, 0, 4), (0, 0, 0)))
    corners = np.array([[-1.0, 1, 0], [1, 1, 0], [0, -1, 0]])
    wall = Mesh(corners, np.array([[0, 2, 1]]), np.tile([0.0, 0, 1], (3, 1)), np.ones((3, 3)))
    surface = cast_surface(Scene((wall,)), camera)
    light = np.array([0.5, 6e4, 2e5], np.float32)
    told = describe_frame(
        surface,
        camera,
        irradiance=np.zeros((len(surface.pixels), 3), np.float32),
        radiance=np.broadcast_to(light, (2, 4, 3)),
        labels=np.zeros(1, np.int32),
        later=None,
    )
    np.testing.assert_array_equal(told.radiance[0, 0], [0.5, 6e4, BRIGHTEST])


def test_what_gets_hidden_is_told() -> None:
    """A small plate slides before a wall: the wall behind its new place is hidden then, and only that."""
    camera = Camera(
        "c00",
        80,
        60,
        np.array([[90.0, 0, 39.5], [0, 90.0, 29.5], [0, 0, 1]]),
        np.zeros(8),
        look_at((0, 0, 4), (0, 0, 0)),
    )
    corners = np.array([[-1.0, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    faces, facing = np.array([[0, 3, 2], [0, 2, 1]]), np.tile([0.0, 0, 1], (4, 1))
    wall = Mesh(corners, faces, facing, np.ones((4, 3)))
    plate = Mesh(corners * 0.25 + [-0.5, 0, 0.5], faces, facing, np.ones((4, 3)))
    surface = cast_surface(Scene((wall, plate)), camera)
    _, visible = surface_flow(
        surface, camera, Scene((wall, replace(plate, vertices=plate.vertices + np.array([1.0, 0, 0]))))
    )
    picture = surface.picture(~visible & (surface.object == 0))
    y, x = np.nonzero(picture)
    scale = 90 / 3.5  # px per m at the plate
    assert abs(x.mean() - (39.5 + 0.5 * scale)) < 1 and abs(y.mean() - 29.5) < 1
    assert abs(picture.sum() - (0.5 * scale) ** 2) < 30  # px; the outline
    assert visible[surface.object == 1].all()


def test_a_spooled_array_is_what_was_put_in(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 3, (7, 40, 30, 2)).astype(np.float16)
    spool, plain = Spool(tmp_path), np.arange(5)
    for frame in frames:
        spool.append(frame)
    with pytest.raises(ValueError, match=r"frame 7: \(3,\)"):
        spool.append(np.zeros(3, np.float16))
    write_npz(tmp_path / "deep/down.npz", {"frames": spool, "plain": plain})
    with np.load(tmp_path / "deep/down.npz") as file:
        np.testing.assert_array_equal(file["frames"], frames)
        np.testing.assert_array_equal(file["plain"], plain)
        assert file["frames"].dtype == np.float16
