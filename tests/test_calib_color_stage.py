"""The colour stage: what is written, what a corrected read gives, and that nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from color_scene import SCENE_SEED, ColorScene, make_scene

from litdome.calib.color.stage import Color, ColorConfig
from litdome.cli import cli, run
from litdome.color import COLORCHECKER_24, delta_e_2000, falloff_at, linear_from_srgb
from litdome.errors import CalibrationError, UsageError
from litdome.pipeline import run_stage
from litdome.store.session import Session
from litdome.synth.sensors import expose
from litdome.synth.truth import write_png


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> ColorScene:
    """A scene with its colours calibrated; tests do not change it."""
    scene = make_scene(tmp_path_factory.mktemp("scene"))
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    return scene


def test_colour_of_known_sensors_is_recovered(corrected: ColorScene) -> None:
    for id, sensor in zip(corrected.rig.ids, corrected.sensors, strict=True):
        found = corrected.session.color_correction(id)
        # patches are known to about 0.001 of full scale (8 bits, averaged)
        np.testing.assert_allclose(found.affine[:, :3], np.linalg.inv(sensor.matrix), atol=0.01)
        np.testing.assert_allclose(found.black_level, sensor.black_level, atol=0.001)
        r2 = np.linspace(0, 1, 10)
        shares = [falloff_at(r2, c) for c in (found.vignetting[:3], sensor.falloff)]
        np.testing.assert_allclose(*shares, atol=0.01)


def test_corrected_pictures_are_what_a_perfect_camera_sees(corrected: ColorScene) -> None:
    for id in corrected.rig.ids:
        light = corrected.session.read_rgb(id, "flat", 0, dtype="float32", linear=True, corrected=True)
        as_shot = corrected.session.read_rgb(id, "flat", 0, dtype="float32", linear=True)
        truth = corrected.charts[id]
        lit = truth.min(axis=2) > 0.03  # noise of darker pixels is more than a colour difference
        after, before = (float(np.median(delta_e_2000(seen[lit], truth[lit]))) for seen in (light, as_shot))
        assert after < 1.0 < before  # 1 is just visible; single pixels have about 0.7 of noise
        display = corrected.session.read_rgb(id, "flat", 0, corrected=True)
        assert np.median(np.abs(linear_from_srgb(display / 255.0) - truth)) < 0.005


def test_corrected_read_of_a_region_is_the_region_of_a_corrected_read(corrected: ColorScene) -> None:
    whole = corrected.session.read_rgb("c01", "flat", 0, corrected=True)
    part = corrected.session.read_rgb("c01", "flat", 0, region=(21, 30, 121, 207), corrected=True)
    np.testing.assert_array_equal(part, whole[30:207, 21:121])  # the fall-off is that of the whole picture


def test_record_and_arrays_say_what_was_reached(corrected: ColorScene) -> None:
    record = corrected.session.record("color")
    assert record is not None and record.summary["found"] == [True] * 3
    assert max(record.summary["delta_e_after"]) < 0.5 < 2 < min(record.summary["delta_e_before"])
    assert record.summary["black_level"].startswith("no dark frames") and record.warnings == ()
    after, reference = corrected.session.read("color/after"), corrected.session.read("color/reference")
    assert after.shape == (3, 24, 3) and reference.shape == (24, 3)
    known = np.isfinite(after).all(axis=2)
    assert known.sum(axis=1).min() >= 20
    assert np.abs(after - reference)[known].max() < 0.02
    attrs = corrected.session.array("color/after").attrs
    assert attrs["delta_e_after"] == record.summary["delta_e_after"]


def test_dark_frames_give_the_black_level(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, cameras=1, dark=True)
    record = run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    found = scene.session.color_correction("c00")
    # below 0 the sensor clips its noise: a mean is raised by at most 0.4 of its deviation, 0.0003
    np.testing.assert_allclose(found.black_level, scene.sensors[0].black_level, atol=2e-4)
    assert record.summary["black_level"] == "dark frames of c00"


def test_camera_whose_chart_is_not_found_keeps_no_colour(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    blank = np.full_like(scene.charts["c01"], 0.3)
    write_png(scene.folder / "c01.png", expose(blank, np.random.default_rng(0)))
    record = run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    assert record.summary["found"] == [True, False, True]
    assert "camera c01: no chart found" in record.warnings[0]
    assert np.isnan(scene.session.read("rig/color_affine")[1]).all()
    assert np.isnan(scene.session.read("color/after")[1]).all()
    scene.session.read_rgb("c00", "flat", 0, corrected=True)
    with pytest.raises(CalibrationError, match="camera c01 has no colour calibration"):
        scene.session.read_rgb("c01", "flat", 0, corrected=True)


def test_corners_by_hand_find_what_was_not_found(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, cameras=2)
    hidden = scene.charts["c01"].copy()  # only every second patch is left: no lattice
    for x, y in scene.corners["c01"].round().astype(int):
        hidden[y - 8 : y + 9, x - 8 : x + 9] = 0.2
    camera = replace(scene.sensors[1])
    write_png(scene.folder / "c01.png", expose(hidden[:, ::-1], np.random.default_rng(0), camera))
    with pytest.raises(CalibrationError, match="mirror"):
        run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    write_png(scene.folder / "c01.png", expose(hidden, np.random.default_rng(0), camera))
    corners = tmp_path / "corners.toml"
    corners.write_text(f"c01 = {scene.corners['c01'].round(1).tolist()}\n")
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder), corners_file=str(corners)))
    found = scene.session.color_correction("c01")
    np.testing.assert_allclose(found.affine[:, :3], np.linalg.inv(scene.sensors[1].matrix), atol=0.02)
    assert np.isnan(scene.session.read("color/after")[1, [0, 5, 18, 23]]).all()  # the grey squares are left out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("c00 = [[1, 2], [3, 4]]", "four points"),
        ("c00 = 3", "four points"),
        ("c00 [[", "corners.toml"),
        ("c00 = [[20, 20], [900, 20], [900, 90], [20, 90]]", "outside"),
        ("c00 = [[120, 20], [20, 20], [20, 90], [120, 90]]", "clockwise"),
        ("c09 = [[20, 20], [90, 20], [90, 90], [20, 90]]", "no camera c09"),
    ],
)
def test_bad_corners_are_one_clear_error(corrected: ColorScene, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "corners.toml"
    file.write_text(text)
    with pytest.raises(CalibrationError, match=words):
        Color().run(
            corrected.session,
            ColorConfig(charts_dir=str(corrected.folder), corners_file=str(file)),
            Color().prepare(corrected.session, ColorConfig())[0],
        )


def test_a_failed_run_leaves_the_old_calibration(corrected: ColorScene, tmp_path: Path) -> None:
    before, record = corrected.session.read("rig/color_affine"), corrected.session.record("color")
    with pytest.raises(CalibrationError, match="no camera's colour was found"):
        run_stage(corrected.session, Color(), ColorConfig(charts_dir=str(tmp_path)))
    np.testing.assert_array_equal(corrected.session.read("rig/color_affine"), before)
    assert corrected.session.record("color") == record


def test_reference_camera_keeps_its_colours(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, cameras=2)
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder), reference="c00"))
    first, second = (scene.session.color_correction(id) for id in scene.rig.ids)
    np.testing.assert_allclose(first.matrix, np.eye(3, 4), atol=1e-6)
    between = scene.sensors[0].matrix @ np.linalg.inv(scene.sensors[1].matrix)
    np.testing.assert_allclose(second.affine[:, :3], between, atol=0.01)


def test_another_session_lends_its_colours_at_this_light(corrected: ColorScene, tmp_path: Path) -> None:
    lender, borrower = make_scene(tmp_path / "a", cameras=2), make_scene(tmp_path / "b", cameras=2)
    run_stage(lender.session, Color(), ColorConfig(charts_dir=str(lender.folder)))
    for scene, level in ((lender, 1.0), (borrower, 0.8)):
        for k, id in enumerate(scene.rig.ids):
            light = np.full_like(scene.charts[id], 0.3 * level)
            plate = expose(light, np.random.default_rng([SCENE_SEED, k]))
            scene.session.write_small(f"cameras/{id}/background", plate, ("y", "x", "channel"))
    record = run_stage(borrower.session, Color(), ColorConfig(like=lender.session.url))
    assert record.summary["light_gain"] == pytest.approx(1.25, rel=0.01)  # a code at 0.3 is 0.6 % of it
    own, lent = (scene.session.color_correction("c01") for scene in (lender, borrower))
    np.testing.assert_allclose(lent.matrix, own.matrix * record.summary["light_gain"])
    assert (
        borrower.session.array("color/after").attrs["delta_e_after"]
        == lender.session.array("color/after").attrs["delta_e_after"]
    )


def test_cameras_that_disagree_about_the_light_are_refused(tmp_path: Path) -> None:
    lender, borrower = make_scene(tmp_path / "a"), make_scene(tmp_path / "b")
    run_stage(lender.session, Color(), ColorConfig(charts_dir=str(lender.folder)))
    for scene, levels in ((lender, (1, 1, 1)), (borrower, (1, 1, 0.6))):
        for id, level in zip(scene.rig.ids, levels, strict=True):
            plate = expose(np.full_like(scene.charts[id], 0.3 * level), np.random.default_rng(1))
            scene.session.write_small(f"cameras/{id}/background", plate, ("y", "x", "channel"))
    with pytest.raises(CalibrationError, match="camera c02: light changed by 1"):
        run_stage(borrower.session, Color(), ColorConfig(like=lender.session.url))
    assert not borrower.session.has("rig/color_affine")


def test_charts_of_many_cameras_that_are_missing_are_told_shortly(corrected: ColorScene, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nowhere: no such folder"):
        run_stage(corrected.session, Color(), ColorConfig(charts_dir=str(tmp_path / "nowhere")))
    scene = make_scene(tmp_path / "scene", cameras=4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CalibrationError, match="; and 1 more") as caught:
        run_stage(scene.session, Color(), ColorConfig(charts_dir=str(tmp_path / "empty")))
    assert "c02" in caught.value.message and "c03" not in caught.value.message


def test_a_session_cannot_lend_its_colours_to_itself(corrected: ColorScene) -> None:
    with pytest.raises(CalibrationError, match="the session itself"):
        run_stage(corrected.session, Color(), ColorConfig(like=corrected.session.url))


def test_person_needs_a_calibrated_take_with_masks(corrected: ColorScene) -> None:
    with pytest.raises(UsageError, match="color needs calibrate"):
        run_stage(corrected.session, Color(), ColorConfig(source="person"))


def test_command_prints_the_table_and_exits_6_without_charts(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, cameras=1)
    said = CliRunner().invoke(cli, ["color", scene.session.url, "--charts", str(scene.folder)], obj={"typed": "x"})
    assert said.exit_code == 0 and "dE2000 before" in said.output and "c00" in said.output
    assert run(["color", scene.session.url, "--charts", str(tmp_path / "none")]) == 6
    assert run(["color", scene.session.url, "--like", "x.zarr", "--person"]) == 2


def test_uncorrected_session_says_how_to_correct_it(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, cameras=1)
    with pytest.raises(CalibrationError, match="no colour calibration") as caught:
        Session.open(scene.session.url).read_rgb("c00", "flat", 0, corrected=True)
    assert "litdome color" in str(caught.value.hint)


def test_reference_patches_are_display_referred(corrected: ColorScene) -> None:
    white = corrected.session.read("color/reference")[18]
    assert linear_from_srgb(white.astype(np.float64)) == pytest.approx(COLORCHECKER_24[18], abs=1e-4)
