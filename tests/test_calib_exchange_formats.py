"""Each format as the other program writes it: pixels by that program's own formula, written out here in numpy."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from litdome.calib.exchange import read_calibration, write_calibration
from litdome.errors import CalibrationError
from litdome.geometry import WORLD_FROM_Z_UP, Camera, Rig

Array = np.ndarray
WIDTH, HEIGHT = 1280, 720
FX, FY, CX, CY = 1010.5, 1003.25, 652.75, 349.5  # in the program's own pixel convention
K1, K2, P1, P2, K3 = -0.21, 0.06, 0.0011, -0.0023, 0.011  # in OpenCV's meaning
# a camera 3 m from the origin that looks at it; camera from world, no axis spared
R = Rotation.from_euler("xyz", [0.31, -0.22, 0.17]).as_matrix()
T = np.array([0.12, -0.23, 3.1])
CENTRE = -R.T @ T
RNG = np.random.default_rng(4)
WORLD = RNG.uniform(-0.7, 0.7, (200, 3))  # in the program's own world


def seen_from(points: Array) -> tuple[Array, Array]:
    x, y, z = (points @ R.T + T).T
    return x / z, y / z


def brown(x: Array, y: Array, k: tuple[float, ...], p: tuple[float, float]) -> tuple[Array, Array]:
    """Brown's model as OpenCV documents it: k1 k2 k3 over k4 k5 k6, tangential p1 p2."""
    r2 = x * x + y * y
    k1, k2, k3, k4, k5, k6 = (*k, 0, 0, 0, 0, 0, 0)[:6]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p[0] * x * y + p[1] * (r2 + 2 * x * x),
        y * radial + p[0] * (r2 + 2 * y * y) + 2 * p[1] * x * y,
    )


def equidistant(x: Array, y: Array, k: tuple[float, ...]) -> tuple[Array, Array]:
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bent = theta * (1 + sum(c * theta ** (2 * n) for n, c in enumerate(k, start=1)))
    return x * bent / r, y * bent / r


def pixels(xy: tuple[Array, Array], *, corner: bool) -> Array:
    """Pixels with centres at integers; ``corner``: the program's own first centre lies at (0.5, 0.5)."""
    shift = 0.5 if corner else 0.0
    return np.column_stack([FX * xy[0] + CX - shift, FY * xy[1] + CY - shift])


def check(camera: Camera, expected: Array, world: Array = WORLD) -> None:
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert np.ptp(expected, axis=0).min() > 300  # points all over the picture
    np.testing.assert_allclose(camera.project(world), expected, atol=1e-6)


def y_up(points: Array) -> Array:
    return points @ WORLD_FROM_Z_UP.T


OPENCV_INTRI = f"""%YAML:1.0
---
names:
  - "01"
  - "cam b"
K_01: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [{FX}, 0., {CX}, 0.000000, {FY}, {CY}, 0.000000, 0.000000, 1.]
dist_01: !!opencv-matrix
  rows: 1
  cols: 5
  dt: d
  data: [{K1}, {K2}, {P1}, {P2},
      {K3}]
H_01: {HEIGHT}
W_01: {WIDTH}
K_cam b: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320., 0., 500., 240., 0., 0., 1. ]
D_cam b: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 0., 0., 0., 0., 0. ]
"""


def opencv_extri(rotation: str) -> str:
    data = ", ".join(f"{v:.12f}" for v in T)
    given = Rotation.from_matrix(R).as_rotvec() if rotation == "R" else R.ravel()
    rows, columns = (3, 1) if rotation == "R" else (3, 3)
    matrix = ", ".join(f"{v:.12f}" for v in given)
    blocks = "".join(
        f"{rotation}_{name}: !!opencv-matrix\n  rows: {rows}\n  cols: {columns}\n  dt: d\n  data: [{matrix}]\n"
        f"T_{name}: !!opencv-matrix\n  rows: 3\n  cols: 1\n  dt: d\n  data: [{data}]\n"
        for name in ("01", "cam b")
    )
    return f'%YAML:1.0\r\n---\r\nnames:\r\n  - "01"\r\n  - "cam b"\r\n{blocks}'


@pytest.mark.parametrize("rotation", ["R", "Rot"])
@pytest.mark.parametrize("given", ["", "intri.yml", "extri.yml"])
def test_easymocap(tmp_path: Path, rotation: str, given: str) -> None:
    (tmp_path / "intri.yml").write_text(OPENCV_INTRI)
    (tmp_path / "extri.yml").write_text(opencv_extri(rotation))
    rig = read_calibration(tmp_path / given, sizes={"cam b": (640, 480)})
    assert rig.ids == ("01", "cam b") and (rig["cam b"].width, rig["cam b"].height) == (640, 480)
    # EasyMocap: R X + T in OpenCV's camera, its world z-up (the maintainer's words in its issue 133)
    check(rig["01"], pixels(brown(*seen_from(WORLD), (K1, K2, K3), (P1, P2)), corner=False), y_up(WORLD))


def test_easymocap_without_sizes_or_poses(tmp_path: Path) -> None:
    (tmp_path / "intri.yml").write_text(OPENCV_INTRI)
    with pytest.raises(CalibrationError, match=r"no poses in it, only the lenses of 01, cam b"):
        read_calibration(tmp_path, sizes={"cam b": (640, 480)})
    with pytest.raises(CalibrationError, match=r"camera cam b: the file does not say how large its pictures are"):
        read_calibration(tmp_path, need_poses=False)
    (tmp_path / "intri.yml").write_text(OPENCV_INTRI.replace(f"H_01: {HEIGHT}\nW_01: {WIDTH}\n", ""))
    of_session = read_calibration(tmp_path, sizes={"Cam B": (640, 480)}, need_poses=False)
    assert of_session.ids == ("cam b",)  # the session has not filmed with 01: nobody knows its size, nobody asks
    with pytest.raises(CalibrationError, match=r"camera 01: the file does not say how large"):
        read_calibration(tmp_path, sizes={"c9": (640, 480)}, need_poses=False)
    (tmp_path / "intri.yml").write_text(OPENCV_INTRI)
    rig = read_calibration(tmp_path, sizes={"CAM B": (640, 480)}, need_poses=False)
    assert rig["01"].intrinsics[0, 0] == FX and np.array_equal(rig["01"].world_from_camera, np.eye(4))


COLMAP_LENSES: dict[str, tuple[tuple[float, ...], Callable[[Array, Array], tuple[Array, Array]]]] = {
    "SIMPLE_PINHOLE": ((FX, CX, CY), lambda x, y: (x, y * FX / FY)),
    "PINHOLE": ((FX, FY, CX, CY), lambda x, y: (x, y)),
    "SIMPLE_RADIAL": ((FX, CX, CY, K1), lambda x, y: one_focal(brown(x, y, (K1,), (0, 0)))),
    "RADIAL": ((FX, CX, CY, K1, K2), lambda x, y: one_focal(brown(x, y, (K1, K2), (0, 0)))),
    "OPENCV": ((FX, FY, CX, CY, K1, K2, P1, P2), lambda x, y: brown(x, y, (K1, K2), (P1, P2))),
    "FULL_OPENCV": (
        (FX, FY, CX, CY, K1, K2, P1, P2, K3, 0.02, -0.03, 0.004),
        lambda x, y: brown(x, y, (K1, K2, K3, 0.02, -0.03, 0.004), (P1, P2)),
    ),
    "OPENCV_FISHEYE": ((FX, FY, CX, CY, 0.03, -0.01, 0.002, -0.001), lambda x, y: bent_by(x, y)),
    "RADIAL_FISHEYE": ((FX, CX, CY, 0.03, -0.01), lambda x, y: one_focal(equidistant(x, y, (0.03, -0.01)))),
    "SIMPLE_RADIAL_FISHEYE": ((FX, CX, CY, 0.03), lambda x, y: one_focal(equidistant(x, y, (0.03,)))),
}
COLMAP_NUMBERS = dict(
    zip(
        ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"),
        range(7),
        strict=True,
    )
) | {"SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9}


def one_focal(xy: tuple[Array, Array]) -> tuple[Array, Array]:
    return xy[0], xy[1] * FX / FY


def bent_by(x: Array, y: Array) -> tuple[Array, Array]:
    return equidistant(x, y, (0.03, -0.01, 0.002, -0.001))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", COLMAP_LENSES)
def test_colmap(tmp_path: Path, model: str, binary: bool) -> None:
    parameters, bend = COLMAP_LENSES[model]
    x, y, z, w = Rotation.from_matrix(R).as_quat().tolist()
    if binary:
        (tmp_path / "cameras.bin").write_bytes(
            struct.pack("<QiiQQ", 1, 7, COLMAP_NUMBERS[model], WIDTH, HEIGHT)
            + struct.pack(f"<{len(parameters)}d", *parameters)
        )
        points = struct.pack("<Q", 2) + struct.pack("<ddq", 1.5, 2.5, 7) + struct.pack("<ddq", 3.5, 4.5, -1)
        first = struct.pack("<i7di", 1, w, x, y, z, *T, 7) + b"cam01/frame_00001.jpg\0" + points
        again = struct.pack("<i7di", 4, w, x, y, z, *(T + 1), 7) + b"cam01/frame_00002.jpg\0" + struct.pack("<Q", 0)
        (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 2) + first + again)
    else:
        (tmp_path / "cameras.txt").write_text(
            "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
            f"# Number of cameras: 1\n7 {model} {WIDTH} {HEIGHT} {' '.join(map(repr, parameters))}\n"
        )
        pose = f"{w!r} {x!r} {y!r} {z!r}"
        (tmp_path / "images.txt").write_text(
            "# Image list with two lines of data per image:\n"
            f"1 {pose} {T[0]} {T[1]} {T[2]} 7 cam01/frame_00001.jpg\n2362.39 248.498 58396 1784.7 268.254 59027\n"
            f"4 {pose} {T[0]} {T[1]} 9.0 7 cam01/frame_00002.jpg\n\n"
        )
    camera = read_calibration(tmp_path)["cam01"]  # of two pictures of one camera the first counts
    check(camera, pixels(bend(*seen_from(WORLD)), corner=True))


def metashape(calibration: str, kind: str = "frame", inner: str = "") -> str:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = R.T, CENTRE
    chunk_pose = np.linalg.inv(METASHAPE_WORLD) @ pose
    chunk_pose[:3, :3] *= METASHAPE_SCALE  # a similarity's inverse shrinks axes, which a pose must not
    text = " ".join(f"{v:.17e}" for v in chunk_pose.ravel())
    rotation = METASHAPE_WORLD[:3, :3] / METASHAPE_SCALE
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<document version="2.0.0">
  <chunk label="Chunk 1" enabled="true">
    <sensors next_id="1">
      <sensor id="0" label="unknown" type="{kind}">
        <resolution width="{WIDTH}" height="{HEIGHT}"/>
        <property name="layer_index" value="0"/>
        <bands><band label="Red"/></bands>
        <calibration type="{kind}" class="adjusted">
          <resolution width="{WIDTH}" height="{HEIGHT}"/>
          <f>{FY}</f>
          <cx>{CX - WIDTH / 2}</cx>
          <cy>{CY - HEIGHT / 2}</cy>
          <b1>{FX - FY}</b1>
          {calibration}
        </calibration>
        <covariance><params>f cx cy b1 k1 k2 k3 p1 p2</params><coeffs>1 0 0</coeffs></covariance>
      </sensor>
    </sensors>
    <components next_id="1" active_id="0">
      <component id="0" label="Component 1">
        <transform>
          <rotation locked="false">{" ".join(f"{v:.17e}" for v in rotation.ravel())}</rotation>
          <translation locked="false">{" ".join(f"{v:.17e}" for v in METASHAPE_WORLD[:3, 3])}</translation>
          <scale locked="false">{METASHAPE_SCALE!r}</scale>
        </transform>
        <partition><camera_ids>0 1</camera_ids></partition>
      </component>
    </components>
    <cameras next_id="2" next_group_id="0">
      <camera id="0" sensor_id="0" component_id="0" label="Cam01.png">
        <transform>{text}</transform>
        <rotation_covariance>1e-8 0 0 0 1e-8 0 0 0 1e-8</rotation_covariance>
        <orientation>1</orientation>
      </camera>
      <camera id="1" sensor_id="0" label="Cam02.png"><orientation>1</orientation></camera>
      {inner}
    </cameras>
    <reference>LOCAL_CS["Local Coordinates (m)",LOCAL_DATUM["Local Datum",0],UNIT["metre",1]]</reference>
  </chunk>
</document>"""


METASHAPE_SCALE = 0.37
METASHAPE_WORLD = np.eye(4)
METASHAPE_WORLD[:3, :3] = METASHAPE_SCALE * Rotation.from_euler("zyx", [1.1, 0.4, -0.6]).as_matrix()
METASHAPE_WORLD[:3, 3] = (0.4, -1.2, 0.3)


def metashape_pixels(x: Array, y: Array, k: tuple[float, ...], p1: float, p2: float) -> Array:
    """The manual: u = w/2 + cx + x' f + x' b1, v = h/2 + cy + y' f, first pixel's centre at (0.5, 0.5)."""
    r2 = x * x + y * y
    radial = 1 + sum(c * r2**n for n, c in enumerate(k, start=1))
    bent_x = x * radial + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y
    bent_y = y * radial + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y
    u = WIDTH / 2 + (CX - WIDTH / 2) + bent_x * FY + bent_x * (FX - FY)
    v = HEIGHT / 2 + (CY - HEIGHT / 2) + bent_y * FY
    return np.column_stack([u, v]) - 0.5


def test_metashape(tmp_path: Path) -> None:
    values = f"<k1>{K1}</k1><k2>{K2}</k2><k3>{K3}</k3><p1>0.0031</p1><p2>-0.0012</p2>"
    (tmp_path / "cameras.xml").write_text(metashape(values))
    rig = read_calibration(tmp_path / "cameras.xml")
    assert rig.ids == ("Cam01",)  # Cam02 was not aligned
    check(rig["Cam01"], metashape_pixels(*seen_from(WORLD), (K1, K2, K3), 0.0031, -0.0012))
    assert read_calibration(tmp_path / "cameras.xml", need_poses=False).ids == ("Cam01", "Cam02")


def test_metashape_fisheye(tmp_path: Path) -> None:
    values = "<k1>0.03</k1><k2>-0.01</k2><k3>0.002</k3><k4>-0.001</k4>"
    (tmp_path / "cameras.xml").write_text(metashape(values, "fisheye"))
    x, y = seen_from(WORLD)
    flat = np.arctan(np.hypot(x, y)) / np.hypot(x, y)
    expected = metashape_pixels(x * flat, y * flat, (0.03, -0.01, 0.002, -0.001), 0, 0)
    check(read_calibration(tmp_path / "cameras.xml")["Cam01"], expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (metashape("<k4>0.1</k4>"), r"camera Cam01.png: k4 = 0.1 of a frame lens cannot be held"),
        (metashape("<p1>0.1</p1>", "fisheye"), r"p1 = 0.1 of a fisheye lens cannot be held"),
        (metashape("<b2>3.5</b2>"), r"camera Cam01: skew moves pixels by up to 1.26 px > 0.01 px"),
        (metashape("", "spherical"), r"a lens of type spherical is not supported"),
        (metashape("", inner='<camera id="2" sensor_id="9" label="Cam03"/>'), r"camera Cam03: it has no sensor 9"),
        (metashape("").replace("0.37", "-1"), r"<transform>: a scale of -1"),
        (metashape("").replace("0.37", "nan"), r"<transform>: a scale of nan"),
    ],
)
def test_what_metashape_has_and_litdome_cannot_hold_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "cameras.xml").write_text(text)
    with pytest.raises(CalibrationError, match=says):
        read_calibration(tmp_path / "cameras.xml")


def anipose(unit: float) -> str:
    vector = Rotation.from_matrix(R).as_rotvec().tolist()
    left, right = (T * unit).tolist(), ((np.array([0.2, 0, 0]) + T) * unit).tolist()
    return f"""[cam_0]
name = "left"
size = [ {WIDTH}, {HEIGHT},]
matrix = [ [ {FX}, 0.0, {CX},], [ 0.0, {FY}, {CY},], [ 0.0, 0.0, 1.0,],]
distortions = [ {K1}, {K2}, {P1}, {P2}, {K3},]
rotation = [ {vector[0]}, {vector[1]}, {vector[2]},]
translation = [ {left[0]}, {left[1]}, {left[2]},]

[cam_1]
name = "right"
size = [ {WIDTH}, {HEIGHT},]
matrix = [ [ {FX}, 0.0, {CX},], [ 0.0, {FY}, {CY},], [ 0.0, 0.0, 1.0,],]
distortions = [ 0.03, -0.01, 0.002, -0.001,]
rotation = [ {vector[0]}, {vector[1]}, {vector[2]},]
translation = [ {right[0]}, {right[1]}, {right[2]},]
fisheye = true

[metadata]
adjusted = true
error = 0.31
"""


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_aniposelib_in_metres_or_millimetres(tmp_path: Path, unit: float) -> None:
    (tmp_path / "calibration.toml").write_text(anipose(unit))
    rig = read_calibration(tmp_path / "calibration.toml")
    assert rig.ids == ("left", "right")
    check(rig["left"], pixels(brown(*seen_from(WORLD), (K1, K2, K3), (P1, P2)), corner=False))
    right = WORLD + R.T @ [0.2, 0, 0]
    check(rig["right"], pixels(equidistant(*seen_from(right), (0.03, -0.01, 0.002, -0.001)), corner=False))


def caliscope(rotation: Array, section: str, number_key: str) -> str:
    return f"""CreationDate = 2023-03-31T09:56:43

[{section}3]
{number_key} = 3
rotation_count = 1
error = 0.541
exposure = -8
ignore = false
size = [{WIDTH}, {HEIGHT}]
matrix = [[{FX}, 0.0, {CX}], [0.0, {FY}, {CY}], [0.0, 0.0, 1.0]]
distortions = [{K1}, {K2}, {P1}, {P2}, {K3}]
translation = {T.tolist()}
rotation = {rotation.tolist()}

[{section}4]
{number_key} = 4
rotation_count = 0
ignore = true
size = [1280, 720]

[charuco]
columns = 4
"""


@pytest.mark.parametrize("as_vector", [False, True])
@pytest.mark.parametrize(("section", "key"), [("cameras.", "cam_id"), ("cameras.", "port"), ("cam_", "cam_id")])
def test_caliscope_of_all_ages(tmp_path: Path, as_vector: bool, section: str, key: str) -> None:
    rotation = Rotation.from_matrix(R).as_rotvec() if as_vector else R
    (tmp_path / "any.toml").write_text(caliscope(rotation, section, key))
    rig = read_calibration(tmp_path / "any.toml")
    assert rig.ids == ("cam_3",)
    check(rig["cam_3"], pixels(brown(*seen_from(WORLD), (K1, K2, K3), (P1, P2)), corner=False), y_up(WORLD))


def test_actorshq(tmp_path: Path) -> None:
    vector = Rotation.from_matrix(R.T).as_rotvec()
    row = ["Cam001", WIDTH, HEIGHT, *vector, *CENTRE, FX / WIDTH, FY / HEIGHT, CX / WIDTH, CY / HEIGHT]
    (tmp_path / "calibration.csv").write_text(
        "name,w,h,rx,ry,rz,tx,ty,tz,fx,fy,px,py\r\n" + ",".join(map(str, row)) + "\r\n"
    )
    check(read_calibration(tmp_path / "calibration.csv")["Cam001"], pixels(seen_from(WORLD), corner=True))


def captury(*, fields: bool) -> str:
    """The layout that Metashape is exported to at the stage that filmed HumanOLAT."""
    sensor_x, sensor_y = 10.0, 10.0 * HEIGHT / WIDTH
    relative = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, WIDTH]]) / WIDTH
    if fields:
        lens = [
            f"\t\tsensorSize\t\t {sensor_x!r}\t {sensor_y!r}\t# in mm",
            f"\t\tfocalLength\t\t {sensor_x * FX / WIDTH!r}\t \t    # in mm",
            f"\t\tpixelAspect\t\t {FY / FX!r}\t    # y / x",
            f"\t\tcenterOffset\t {sensor_x * (CX - WIDTH / 2) / WIDTH!r}\t {sensor_y * (CY - HEIGHT / 2) / HEIGHT!r}",
            f"\t\torigin\t\t {' '.join(repr(float(v)) for v in CENTRE * 1000)}",
            f"\t\tup\t\t {' '.join(repr(float(v)) for v in -R[1])}",
            f"\t\tright\t\t {' '.join(repr(float(v)) for v in R[0])}",
        ]
        matrix = np.column_stack([R, T * 1000])  # a comment beside the fields is not believed: world to camera here
    else:
        lens = []
        matrix = np.column_stack([R.T, CENTRE * 1000])
    rows = ["#\t\t " + "\t  ".join(repr(float(v)) for v in row) for row in matrix]
    columns = ["#\t\t " + "\t  ".join(repr(float(v)) for v in row) for row in relative]
    lines = [
        "tc camera calibration v0.3",
        "camera\t0\tCam01",
        "\tcolorCorrection",
        "\t\tred   0 1 2 3 4 5",
        "\tframe\t0",
        *lens,
        "\t\tdistortionModel\tOpenCV",
        f"\t\tdistortion\t\t {K1}\t  {K2}\t  {P1}\t  {P2}\t  {K3}\t",
        "#    extrinsics",
        *rows,
        "#    intrinsics",
        *columns,
        "\t\torientation\t\t3",
        "\t\ttime\t\t\t0 # unix timestamp",
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("fields", [True, False])
def test_humanolat(tmp_path: Path, fields: bool) -> None:
    (tmp_path / "cameras.calib").write_text(captury(fields=fields))
    rig = read_calibration(tmp_path / "cameras.calib", sizes={"cam01": (WIDTH, HEIGHT)})
    check(rig["Cam01"], pixels(brown(*seen_from(WORLD), (K1, K2, K3), (P1, P2)), corner=True))
    half = read_calibration(tmp_path / "cameras.calib", sizes={"Cam01": (WIDTH // 2, HEIGHT // 2)})["Cam01"]
    np.testing.assert_allclose(half.intrinsics, rig["Cam01"].scaled(WIDTH // 2, HEIGHT // 2).intrinsics, atol=1e-9)


def test_humanolat_pictures_of_another_shape_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cameras.calib").write_text(captury(fields=True))
    with pytest.raises(CalibrationError, match=r"camera Cam01: its sensor is 0.5625 as high as wide, its pictures are"):
        read_calibration(tmp_path / "cameras.calib", sizes={"Cam01": (675, 1280)})
    (tmp_path / "cameras.calib").write_text(captury(fields=True).replace("time", "frame 1\n\t\ttime"))
    with pytest.raises(CalibrationError, match=r"camera Cam01: 2 frames: it moves"):
        read_calibration(tmp_path / "cameras.calib", sizes={"Cam01": (WIDTH, HEIGHT)})


def krt(**changes: object) -> str:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = R, T * 1000
    k = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1]])
    entry = {
        "cameraId": 400002,
        "K": k.T.tolist(),
        "T": pose.T.tolist(),
        "distortion": [K1, K2, P1, P2],
        "width": WIDTH,
        "height": HEIGHT,
        **changes,
    }
    return json.dumps({"KRT": [{key: value for key, value in entry.items() if value is not None}]})


@pytest.mark.parametrize("rows", [3, 4])
def test_goliath(tmp_path: Path, rows: int) -> None:
    given = np.array(json.loads(krt())["KRT"][0]["T"])[:, :rows].tolist()
    (tmp_path / "camera_calibration.json").write_text(krt(T=given))
    camera = read_calibration(tmp_path / "camera_calibration.json")["400002"]
    check(camera, pixels(brown(*seen_from(WORLD), (K1, K2), (P1, P2)), corner=False))
    (tmp_path / "camera_calibration.json").write_text(krt(width=None, height=None))
    again = read_calibration(tmp_path / "camera_calibration.json", sizes={"400002": (WIDTH, HEIGHT)})["400002"]
    np.testing.assert_array_equal(again.intrinsics, camera.intrinsics)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"K": [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]}, r"camera 400002: its camera matrix is no K \(transposed\?\)"),
        ({"T": np.column_stack([R, T]).tolist()}, r"camera 400002: T is not transposed \[R \| t\]"),
        ({"T": None}, r"camera 400002: it has no T"),
        ({"model": "fisheye"}, r"camera 400002: model fisheye is not supported"),
        ({"distortion": [1, 2]}, r"camera 400002: 2 distortion values"),
    ],
)
def test_goliath_matrices_that_are_not_as_goliath_writes_them(tmp_path: Path, changes: dict, says: str) -> None:
    (tmp_path / "krt.json").write_text(krt(**changes))
    with pytest.raises(CalibrationError, match=says):
        read_calibration(tmp_path / "krt.json")


def test_nerfstudio(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = R.T @ np.diag([1, -1, -1]), CENTRE  # camera to world, OpenGL axes, world z-up
    lens = {"fl_x": FX, "fl_y": FY, "cx": CX, "cy": CY, "w": WIDTH, "h": HEIGHT}
    lens |= {"k1": K1, "k2": K2, "p1": P1, "p2": P2, "camera_model": "OPENCV"}
    frames = [{"file_path": "images/c05.png", "transform_matrix": matrix.tolist()}]
    (tmp_path / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    camera = read_calibration(tmp_path / "transforms.json")["c05"]
    check(camera, pixels(brown(*seen_from(WORLD), (K1, K2), (P1, P2)), corner=True), y_up(WORLD))


def test_the_formulas_here_tell_conventions_apart(tmp_path: Path) -> None:
    """The negative control: half a pixel, swapped tangential terms and a world that is not turned all show."""
    camera_pixels = pixels(brown(*seen_from(WORLD), (K1, K2), (P1, P2)), corner=False)
    (tmp_path / "krt.json").write_text(krt())
    camera = read_calibration(tmp_path / "krt.json")["400002"]
    for wrong, world in (
        (camera_pixels - 0.5, WORLD),
        (pixels(brown(*seen_from(WORLD), (K1, K2), (P2, P1)), corner=False), WORLD),
        (camera_pixels, y_up(WORLD)),
    ):
        with pytest.raises(AssertionError):
            check(camera, wrong, world)


def test_opencv_itself_reads_what_is_written_and_writes_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "intri.yml").write_text(OPENCV_INTRI)
    (tmp_path / "extri.yml").write_text(opencv_extri("R"))
    rig = read_calibration(tmp_path, sizes={"cam b": (640, 480)})
    plain = Rig((replace(rig["01"], id="01"), replace(rig["01"], id="cam_b")))
    write_calibration(tmp_path / "ours", plain, "opencv")
    for file, keys in (("intri.yml", ("K", "dist")), ("extri.yml", ("R", "Rot", "T"))):
        ours = cv2.FileStorage(str(tmp_path / "ours" / file), cv2.FILE_STORAGE_READ)
        (tmp_path / "theirs").mkdir(exist_ok=True)
        theirs = cv2.FileStorage(str(tmp_path / "theirs" / file), cv2.FILE_STORAGE_WRITE)
        theirs.startWriteStruct("names", cv2.FileNode_SEQ)
        for n in range(2):
            theirs.write("", ours.getNode("names").at(n).string())
        theirs.endWriteStruct()
        for key in (f"{key}_{id}" for id in ("01", "cam_b") for key in keys):
            theirs.write(key, ours.getNode(key).mat())
        for key in ("W_01", "H_01", "W_cam_b", "H_cam_b") if file == "intri.yml" else ():
            theirs.write(key, ours.getNode(key).real())
        theirs.release()
    again = read_calibration(tmp_path / "theirs")
    for one, other in zip(plain.cameras, again.cameras, strict=True):
        np.testing.assert_allclose(other.project(y_up(WORLD)), one.project(y_up(WORLD)), atol=1e-9)
