from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from calibrated_rig import (
    NOISE_PX,
    SIZE,
    TIMES,
    ring,
    write_colors,
    write_measured,
    write_poses,
    write_record,
    write_rig,
)
from test_report_page import Page
from test_report_status import make_session

from litdome.geometry import look_at, rotation_about_y
from litdome.report.calibration_charts import (
    LONG_SIDE,
    LONGEST,
    arrow_factor,
    coverage,
    empty_thirds,
    histogram_reach,
    quiver,
    residual_histogram,
    spread_out,
)
from litdome.report.calibration_tables import Cell, lens_table, place_table, turn_degrees, with_std
from litdome.report.calibration_words import calibration_found, calibration_headline, calibration_troubles
from litdome.report.color_patches import GAP_PX, STRIPE_PX, color_cards, patch_picture
from litdome.report.evidence import gather
from litdome.report.frusta import HEIGHT, WIDTH, View, make_scene, scene_svg, shown_labels
from litdome.report.page import write_report
from litdome.report.verdict import judge_take
from litdome.store.provenance import StageRecord

GOOD = {
    "source": "boards",
    "cameras": ["c01", "c02", "c04"],
    "rms_px": [0.3, 0.3, 0.3],
    "held_out_rms_px": 0.33,
    "pair_distance_mm": 0.09,
    "views": {"c01": 20, "c02": 20, "c04": 19},
    "views_left_out": [["c04", 8]],
    "freed": {"c01": ["f"], "c02": ["f"], "c04": ["f"]},
    "weak": {"c02": ["k2"], "c01": []},
}


def test_the_headline_says_what_a_technician_wants_to_know() -> None:
    words = "3 cameras, 0.30 px (held-out 0.33 px), board pair distances 0.09 mm"
    assert calibration_headline(GOOD) == f"{words}; c04: 1 board view left out; weakly seen: k2 (c02)"
    assert calibration_headline({**GOOD, "weak": {}, "views_left_out": []}) == words
    unmeasured = {**GOOD, "held_out_rms_px": np.nan, "pair_distance_mm": None, "weak": {}, "views_left_out": []}
    assert calibration_headline(unmeasured) == "3 cameras, 0.30 px"
    many = {**GOOD, "views_left_out": [[f"c{n}", 1] for n in range(7)], "weak": {}}
    assert calibration_headline(many).endswith("c3: 1 board view left out; and 3 more")


def test_weakly_seen_parameters_are_told_together_and_a_lens_that_was_given_apart() -> None:
    weak = {"c01": ["p1", "p2"], "c02": ["p1", "p2"], "c04": ["p1", "p2"]}
    assert calibration_headline({**GOOD, "weak": weak}).endswith("weakly seen: p1 p2 (all cameras)")
    given = {**GOOD, "weak": {**weak, "c04": ["f", "k1"]}, "freed": {"c01": ["f"], "c02": ["f"], "c04": []}}
    words = "lens not refined with the poses (c04); weakly seen: p1 p2 (c01, c02)"
    assert calibration_headline(given).endswith(words) and list(calibration_troubles(given)) == []


def test_an_import_claims_no_error() -> None:
    found = calibration_headline({"cameras": ["a"], "source": "import rig.qca.txt"})
    assert found == "1 camera, import rig.qca.txt; no board was measured, so no error is known"


@pytest.mark.parametrize(
    ("change", "camera", "words"),
    [
        ({"rms_px": [0.3, 1.4, 0.3], "held_out_rms_px": 0.8}, "c02", "c02 is off by 1.40 px, the others by 0.30 px"),
        ({"held_out_rms_px": 0.6}, None, "held-out views are off by 0.60 px, the others by 0.30 px"),
        ({"views_left_out": [["c04", n] for n in range(7)]}, "c04", "c04: 7 of 26 board views contradict the others"),
        ({"views": {"c01": 20, "c02": 1, "c04": 19}}, "c02", "c02: its place rests on 1 board view"),
        ({"focal_share": {"c01": 0.002, "c02": 0.044}}, "c02", "c02: its focal length is known to ± 4.4 % only"),
    ],
)
def test_what_is_wrong_with_a_calibration_is_named(change: dict[str, Any], camera: str | None, words: str) -> None:
    assert list(calibration_troubles({**GOOD, **change})) == [("warn", words, camera)]
    assert list(calibration_troubles(GOOD)) == []


def test_the_verdict_on_a_take_has_a_line_about_its_calibration(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take.zarr")
    before = judge_take(gather(session))
    assert "calibration" not in {found.topic for found in before.findings} | set(before.unmeasured)
    write_record(session, GOOD)
    lines = {found.topic: found for found in judge_take(gather(session)).findings}
    assert (lines["calibration"].severity, lines["calibration"].text) == ("ok", calibration_headline(GOOD))
    write_record(session, {**GOOD, "held_out_rms_px": 0.9})
    lines = {found.topic: found for found in judge_take(gather(session)).findings}
    assert lines["calibration"].severity == "warn" and "are off by 0.90 px" in lines["calibration"].text


def test_a_focal_length_that_is_hardly_known_is_named(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(3))
    write_measured(session)
    assert list(calibration_troubles(calibration_found(session))) == []
    std = session.read("rig/intrinsics_std")
    std[1, :2] = 24.02
    session.write_small("rig/intrinsics_std", std, ("camera", "parameter"))
    words = "c01: its focal length is known to ± 2.0 % only"
    assert list(calibration_troubles(calibration_found(session))) == [("warn", words, "c01")]
    assert judge_take(gather(session)).headline == f"Look: {words}."


def test_numbers_have_the_digits_that_their_deviation_leaves() -> None:
    assert with_std(1834.2345, 0.42) == Cell("1834.23", "± 0.42")
    assert with_std(-0.0912345, 0.00081) == Cell("-0.09123", "± 0.00081")
    assert with_std(1834.2345, 25.3) == Cell("1834", "± 25")
    assert with_std(0.25, np.nan) == Cell("0.25", "–")
    assert with_std(0.25, 0.0) == Cell("0.25", "held")


def test_the_lens_table_marks_what_was_refined_and_what_is_weak() -> None:
    pinhole, fisheye = ring(2)
    fisheye = replace(fisheye, model="fisheye4", distortion=np.array([0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0]))
    std = np.full((2, 12), 0.01)
    columns, (first, second) = lens_table(_rig(pinhole, fisheye), std, {"c00": ["f", "k1"]}, {"c00": ["k1"]})
    assert columns == ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4")
    marks = {name: cell.css for name, cell in zip(columns, first.cells, strict=True) if cell is not None}
    assert {name for name, css in marks.items() if css == "refined"} == {"fx", "fy"} and marks["k1"] == "weak"
    values = {name: cell and cell.value for name, cell in zip(columns, second.cells, strict=True)}
    assert (values["k3"], values["k4"], values["p1"]) == ("0.300", "0.400", None)
    assert first.cells[-1] is not None and first.cells[-1].value == "0.000"


def _rig(*cameras: Any) -> Any:
    from litdome.geometry import Rig

    return Rig(tuple(cameras))


def test_directions_are_told_as_the_house_turns() -> None:
    camera = replace(ring(1)[0], world_from_camera=look_at((0, 0, 0), (0, 0, 5)))
    assert turn_degrees(camera) == pytest.approx((0, 0, 0))
    towards_x = camera.world_from_camera.copy()
    towards_x[:3, :3] = rotation_about_y(30) @ towards_x[:3, :3]
    assert turn_degrees(replace(camera, world_from_camera=towards_x)) == pytest.approx((30, 0, 0))
    above = replace(camera, world_from_camera=look_at((0, 0, 0), (0, 1, 1)))
    assert turn_degrees(above) == pytest.approx((0, 45, 0))
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    rolled = camera.world_from_camera.copy()  # +y of the picture is down: a turn from +x to -y lifts the right side
    rolled[:3, :3] = rolled[:3, :3] @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    assert turn_degrees(replace(camera, world_from_camera=rolled)) == pytest.approx((0, 0, 10))


def test_places_say_how_well_they_are_known() -> None:
    std = np.array([[0] * 6, [3e-4, 0, 4e-4, 0.003, 0.004, 0]], float)
    first, second = place_table(_rig(*ring(2)), std, ["12 used", "–"], np.array([0.25, np.nan]))
    assert (first.place, first.turn.std) == (Cell("0.000, 1.000, 3.000", "held"), "held")
    assert (second.place.std, second.turn.std, second.rms) == ("± 5 mm", "± 0.029°", "–")
    assert first.neighbour == "c01, 6.041 m"


def arrows(svg: str, css: str) -> np.ndarray[Any, Any]:
    """Base and tip of the arrows of a class, shape (arrow, 2, 2), in the drawing."""
    path = re.search(rf'<path d="([^"]*)" class="{css}"', svg)
    rows = re.findall(r"M(\S+) (\S+)l(\S+) (\S+) (\S+) (\S+)z", path[1] if path else "")
    found = []
    for x, y, a, b, c, d in np.array(rows, float).reshape(-1, 6):
        left, tip, right = np.array([x, y]), np.array([x + a, y + b]), np.array([x + a + c, y + b + d])
        found.append([(left + right) / 2, tip])
    return np.array(found)


def test_arrows_start_at_the_corner_and_end_where_the_calibration_puts_it() -> None:
    pixels, residuals = np.array([[99.5, 199.5], [639.5, 359.5], [10, 10]]), np.array([[0.5, -0.25], [0, 1.0], [50, 0]])
    svg = quiver(SIZE, pixels, residuals, np.array([True, True, False]), factor=50, what="")
    scale = LONG_SIDE / SIZE[0]
    starts = (pixels + 0.5) * scale
    tips = starts + residuals * 50 * scale
    assert arrows(svg, "arrow") == pytest.approx(np.stack([starts, tips], axis=1)[:2], abs=0.11)  # px: one decimal
    (cut,) = arrows(svg, "left-out")
    assert cut[1] - cut[0] == pytest.approx([LONGEST * LONG_SIDE, 0], abs=0.11)


def test_arrows_are_thinned_evenly_over_the_picture() -> None:
    crowd = np.random.default_rng(0).uniform((0, 0), (80, 45), (5000, 2))
    alone = np.array([[1200.0, 700.0], [700.0, 400.0]])
    pixels = np.concatenate([crowd, alone])
    rows = spread_out(pixels, SIZE, 40)
    assert len(rows) == 40 and len(set(rows.tolist())) == 40 and set(rows.tolist()) >= {5000, 5001}
    assert spread_out(alone, SIZE, 40).tolist() == [0, 1]


def test_arrows_are_enlarged_by_a_round_factor() -> None:
    lengths = np.full(100, 0.25)
    assert arrow_factor(lengths, 1280) == 200  # 0.05 x 1280 / 0.25 = 256
    assert arrow_factor(lengths * 1000, 1280) == 1
    assert histogram_reach(np.linspace(-0.5, 0.5, 100)) == 0.5 and histogram_reach(np.full(9, 0.6)) == 1.0


def test_the_histogram_counts_every_corner() -> None:
    residuals = np.array([[0.0, 0.0]] * 3 + [[5.0, 0.0]])
    svg = residual_histogram(residuals, reach=1.0, what="")
    bars, outline = (re.search(rf'd="M[^V]*([^"]*)" class="{css}"', svg) for css in ("bars", "outline"))
    assert bars and outline
    heights = [[110 - float(y) for y in re.findall(r"V([\d.]+)h", found[1])] for found in (bars, outline)]
    shares = [np.array(found) / 92 * 4 for found in heights]  # dy has all four in one bin: that is the top
    assert [round(share.sum()) for share in shares] == [4, 4]
    assert shares[0][20] == pytest.approx(3) and shares[0][-1] == pytest.approx(1)  # beyond the reach: at the end
    assert "dx ± 2.17" in svg and "dy ± 0.00" in svg


def test_coverage_names_the_thirds_that_no_corner_fell_into() -> None:
    grid = np.array(
        [[x, y] for x in (100, 600, 1200) for y in (50, 350, 700) if (x, y) not in ((1200, 50), (600, 700))]
    )
    assert empty_thirds(SIZE, grid) == ("upper right", "lower middle")
    svg = coverage(SIZE, grid, what="")
    assert svg.count("url(#empty)") == 2
    encoded = re.search(r'href="data:image/png;base64,([^"]+)"', svg)
    assert encoded is not None
    cells = cv2.imdecode(np.frombuffer(base64.b64decode(encoded[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert cells.shape == (9, 16, 4) and int((cells[..., 3] > 0).sum()) == 7
    assert cells[0, 1, 3] and not cells[0, 15, 3]
    assert "url(#empty)" not in coverage(SIZE, np.concatenate([grid, [[1200, 50], [600, 700]]]), what="")


def test_space_is_drawn_right_handed_with_y_up() -> None:
    view = View((0.0, 1.0, 0.0), 2.0, yaw=0.0, pitch=0.0)
    middle, right, up, near = view.project(np.array([[0, 1, 0], [1, 1, 0], [0, 2, 0], [0, 1, 1]], float))
    assert middle[:2] == pytest.approx([WIDTH / 2, HEIGHT / 2])
    assert right[0] > middle[0] and right[1] == middle[1]  # a mirrored view has +x to the left
    assert up[1] < middle[1] and near[2] == middle[2] - 1
    beside = replace(view, yaw=np.pi / 2).project(np.array([[0.0, 1, -1], [1, 1, 0]]))
    assert beside[0, 0] > WIDTH / 2 and beside[1, 2] < middle[2]  # from +x, -z is to the right and +x is near
    over = replace(view, pitch=np.pi / 2).project(np.array([[1.0, 1, 0], [0, 1, -1]]))
    assert over[0, 0] > WIDTH / 2 and over[1, 1] < HEIGHT / 2  # from above, +x right and -z at the top


def test_a_scene_lies_in_its_picture_and_labels_do_not_cover_each_other() -> None:
    cameras = ring(24)
    scene = make_scene(cameras, [], np.zeros((0, 3)), [("", (), "")] * 24)
    drawn = np.concatenate([scene.view.project(line) for camera in scene.cameras for line in camera.lines])
    assert (drawn[:, :2] >= 0).all() and (drawn[:, 0] <= WIDTH).all() and (drawn[:, 1] <= HEIGHT).all()
    assert np.ptp(drawn[:, 0]) > 0.85 * WIDTH or np.ptp(drawn[:, 1]) > 0.75 * HEIGHT
    places = np.array([[100.0, 100, 3], [110, 105, 2], [400, 100, 9]])
    assert shown_labels(places, ["c00", "c01", "c02"]) == [False, True, True]  # the nearer one of the two
    assert 'class="off"' not in scene_svg(scene, "")
    crowd = make_scene(ring(80), [], np.zeros((0, 3)), [("", (), "")] * 80)
    svg = scene_svg(crowd, "")
    assert svg.count("<g ") == 80 and 0 < svg.count('class="off"') < 80


def test_a_frustum_opens_where_its_camera_looks_and_its_tick_is_up() -> None:
    scene = make_scene(ring(4), [], np.zeros((0, 3)), [("", (), "")] * 4)
    apex, *base = scene.cameras[0].lines[0][[0, 1, 2, 4, 5]]
    tick = scene.cameras[0].lines[2][2]
    assert apex.tolist() == [0.0, 1.0, 3.0] and all(corner[2] < 3 for corner in base)
    upper_left, upper_right, lower_right, lower_left = base
    assert upper_left[0] < upper_right[0] and lower_left[0] < lower_right[0]  # seen along -z, +x is right
    assert upper_left[1] > lower_left[1] and tick[1] > upper_left[1]


def test_a_rig_without_a_take_has_a_page(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(4))
    write_measured(session)
    record = session.record("calibrate")
    assert record is not None
    session.write_record(replace(record, warnings=("corners of one view move together",)))
    write_colors(session)
    page = Page(write_report(tmp_path / "rig.zarr"))
    assert "gives its cameras to a take" in page.text and "Where it stands" not in page.text
    assert (
        "4 cameras, 0.29 px (held-out 0.30 px), board" in page.text
        and "c03: 1 board view left out; weakly seen: k2 (c01)." in page.text
    )
    assert "corners of one view move together" in page.text and "held-out views" in page.text
    assert "up and floor from the board on the floor" in page.text and "11 used, 1 left out (55)" in page.text
    assert (
        "CIEDE2000 8.2 before, 0.8 after" in page.text
        and page.text.count("no chart found in c01.png: its colour is left") == 1
    )
    labels = [str(svg.get("aria-label")) for svg in page.named("svg") if svg.get("aria-label")]
    assert len(labels) == 1 + 3 * 4 and "Residual arrows, camera c00: 0.2" in labels[1]
    assert not page.named("link") and not re.search(r"https?:|url\((?!#)", page.html)
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page.html, re.S)[1])  # type: ignore[index]
    assert [camera["id"] for camera in scene["cameras"]] == ["c00", "c01", "c02", "c03"]
    assert scene["cameras"][3]["boards"] == list(range(11)) and len(scene["lines"]["boards"]) == 12
    board = np.array(scene["lines"]["boards"][0])
    assert np.linalg.norm(np.diff(board, axis=0), axis=1) == pytest.approx([0.42, 0.3, 0.42, 0.3], abs=2e-4)  # m


def test_residuals_on_the_page_are_those_that_were_stored(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(2))
    write_measured(session, views=200)
    page = Page(write_report(tmp_path / "rig.zarr"))
    spread = [float(value) for value in re.findall(r"d[xy] ± ([\d.]+)", page.html)]
    assert len(spread) == 4 and spread == pytest.approx([NOISE_PX] * 4, abs=0.011)  # px: shown to 0.01


def test_names_of_cameras_cannot_break_the_page(tmp_path: Path) -> None:
    cameras = [replace(camera, id=f'</script><b a="{n}">&') for n, camera in enumerate(ring(2))]
    write_measured(write_rig(tmp_path / "rig.zarr", cameras))
    page = Page(write_report(tmp_path / "rig.zarr"))
    assert not page.named("b") and len(page.named("script")) == 2
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page.html, re.S)[1])  # type: ignore[index]
    assert scene["cameras"][1]["id"] == cameras[1].id


def test_an_import_has_places_and_no_residuals(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(3))
    write_record(session, {"source": "import a.qca.txt", "cameras": list(session.cameras), "warnings": []})
    session.write_small("calibration/corner_px", np.zeros((0, 2), np.float32), ("corner", "2"), attrs={"sizes": []})
    page = Page(write_report(tmp_path / "rig.zarr"))
    assert "import a.qca.txt; no board was measured, so no error is known." in page.text
    assert "it holds no board corners" in page.text and "Residuals and coverage" not in page.text
    assert "Where the cameras are" in page.text and "0.000, 1.000, 3.000 –" in page.text


def test_a_calibration_from_before_corners_were_stored_says_what_to_type(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(3))
    write_record(session, {"source": "boards", "cameras": list(session.cameras), "rms_px": [0.2, 0.2, 0.2]})
    page = Page(write_report(tmp_path / "rig.zarr"))
    assert "3 cameras, 0.20 px." in page.text
    assert f"residuals and coverage are not known. To measure: litdome calibrate {session.url}" in page.text


def test_a_kept_take_of_an_earlier_version_shows_its_cameras(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).with_name("stores") / "walk-1.0" / "take.zarr", tmp_path / "take.zarr")
    page = Page(write_report(tmp_path / "take.zarr"))
    assert "it holds no board corners" in page.text and "Where the cameras are" in page.text


def test_a_take_that_is_not_calibrated_says_what_to_type(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take.zarr")
    page = Page(write_report(tmp_path / "take.zarr"))
    assert f"Not calibrated yet. No lenses and no poses yet. To measure: litdome calibrate {session.url}" in page.text
    assert not page.named("script")


def test_a_take_shows_its_calibration_below_its_pictures(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take.zarr")
    write_poses(session, [replace(camera, width=48, height=64) for camera in ring(2)])
    write_measured(session)
    page = Page(write_report(tmp_path / "take.zarr"))
    assert page.text.index("Cameras at a glance") < page.text.index("In space") < page.text.index("Lenses")


def test_lights_are_shown_as_the_leds_gave_them(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take.zarr")
    without = Page(write_report(tmp_path / "take.zarr"))
    assert "as the LEDs gave it" not in without.text
    write_poses(session, [replace(camera, width=48, height=64) for camera in ring(2)])
    session.write_small("lights/directions", np.eye(3), ("light", "axis"))
    session.write_small("lights/valid", np.array([True, False, True]), ("light",))
    session.write_small("hdris_effective/park", np.full((8, 16, 3), 0.5, np.float32), ("v", "u", "channel"))
    summary = {"entries": ["park", "street"], "percent": {"p95": [0.62, None]}}
    session.write_record(StageRecord("lights", 1, "f", {}, {"leds_file": "leds.json"}, *TIMES, summary=summary))
    page = Page(write_report(tmp_path / "take.zarr"))
    assert "LEDs within 0.62 %" in page.text and page.text.count("LEDs within") == 1
    alts = [picture["alt"] for picture in page.named("img")]
    assert "light park as the LEDs gave it" in alts and "light street as the LEDs gave it" not in alts
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page.html, re.S)[1])  # type: ignore[index]
    assert len(scene["lines"]["lights"]) == 2  # of three: one is dead


def test_a_large_rig_stays_a_small_page(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(40))
    write_measured(session, views=60)
    path = write_report(tmp_path / "rig.zarr")
    assert path.stat().st_size < 2_000_000
    assert "39 more cameras" not in Page(path).text and len(Page(path).named("article")) == 40


def test_colour_that_was_matched_without_a_chart_shows_no_patches(tmp_path: Path) -> None:
    session = write_rig(tmp_path / "rig.zarr", ring(2))
    nothing = np.full((2, 24, 3), np.nan, np.float32)
    attrs = {"found": [True, False], "delta_e_before": [None] * 2, "delta_e_after": [None] * 2, "source": "the person"}
    attrs["patches"] = ["gains from 4,000 points", "sees nobody"]
    session.write_small("color/reference", nothing[0], ("patch", "channel"))
    for name in ("before", "after"):
        session.write_small(f"color/{name}", nothing, ("camera", "patch", "channel"), attrs=attrs)
    cards, source = color_cards(session)
    assert [(card.words, card.uri) for card in cards] == [
        ("gains from 4,000 points", ""),
        ("sees nobody: its colour is left as it is", ""),
    ]
    assert source == "the person"


def test_patches_are_shown_before_as_they_should_be_and_after() -> None:
    before, reference, after = (np.full((8, 3), value) for value in (0.0, 0.5, 1.0))
    before[7] = np.nan
    picture = patch_picture(before, reference, after)
    side = 3 * STRIPE_PX
    assert picture.shape == (2 * side + GAP_PX, 6 * side + 5 * GAP_PX, 4)
    assert picture[side // 2, STRIPE_PX // 2 :: STRIPE_PX][:3].tolist() == [
        [0, 0, 0, 255],
        [128] * 3 + [255],
        [255] * 4,
    ]
    below = picture[side + GAP_PX, side + GAP_PX :]
    assert below[0].tolist() == [0, 0, 0, 0] and below[STRIPE_PX].tolist() == [128, 128, 128, 255]
    assert picture[side, 0, 3] == 0  # nothing between patches
