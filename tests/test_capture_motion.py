from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_report_verdict import good_take

from litdome.capture.motion import (
    MotionWatch,
    measure_motion,
    sampled_flats,
    summarise_motion,
    worst_alpha,
)
from litdome.lighting import LightingSchedule
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_hdr
from litdome.media.planes import PictureCodes
from litdome.media.video import VideoProbe
from litdome.pairs import make_pairs
from litdome.pipeline import ingest_recording
from litdome.report.evidence import gather
from litdome.report.verdict import Verdict, judge_take, verdict
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

FPS = 25.0


def schedule(frames: int, interleave: int) -> LightingSchedule:
    """One flat frame and ``interleave`` relit ones in turn, one HDRI."""
    kind = np.where(np.arange(frames) % (interleave + 1), 2, 1).astype(np.uint8)
    return LightingSchedule(kind, np.where(kind == 2, 0, -1).astype(np.int32), ())


def textured(height: int = 160, width: int = 240) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height, width), np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


@pytest.mark.parametrize(("interleave", "apart"), [(1, 12), (20, 21)])
def test_flat_frames_are_sampled_twice_a_second_or_all_where_they_are_rarer(interleave: int, apart: int) -> None:
    sampled = sampled_flats(schedule(500, interleave), FPS)
    assert {b - a for a, b in sampled} == {interleave + 1}
    starts = [a for a, _ in sampled]
    assert set(np.diff(starts)) == {apart} and starts[0] == 0
    assert sampled_flats(schedule(1, 1), FPS) == ()


@pytest.mark.parametrize("shift_px", [0, 2, 6])
def test_what_moves_is_measured_and_what_stands_is_not(shift_px: int) -> None:
    before = textured()
    after = before.copy()
    after[40:120, 60:160] = before[40:120, 60 - shift_px : 160 - shift_px]
    mean, p95 = measure_motion(before, after, 3.0)
    assert p95 == pytest.approx(3 * shift_px, abs=0.4 * 3)  # px: a flow's error, three px of the picture each
    assert 0.8 * 3 * shift_px <= mean <= p95  # the flow is smooth: around what moves it falls off to nothing


def test_noise_alone_is_no_motion() -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(textured() + rng.normal(0, 1.5, (160, 240)), 0, 255).astype(np.uint8) for _ in range(2)]
    assert measure_motion(noisy[0], noisy[1], 1.0) == (0.0, 0.0)


def probe(bits: int) -> VideoProbe:
    return VideoProbe(240, 160, None, FPS, "gray", "420", "bt709", "full", "srgb", bits, "uint8")


def test_codes_of_ten_bits_and_large_pictures_give_the_same_motion() -> None:
    first = cv2.resize(textured(), (960, 640), interpolation=cv2.INTER_CUBIC)
    pictures = [first, np.roll(first, 12, axis=1)]
    found = []
    for bits, dtype in ((8, np.uint8), (10, np.uint16)):
        watch = MotionWatch(((0, 2),), probe(bits))
        for frame, picture in zip((0, 2), pictures, strict=True):
            motion = watch.see(frame, PictureCodes(luma=picture.astype(dtype) << (bits - 8)))
        assert motion is not None and motion.mean_px == pytest.approx(12, abs=0.6)  # px of the large picture
        found.append(motion)
    assert found[0].p95_px == pytest.approx(found[1].p95_px, rel=0.01)  # the range's top differs by a quarter code


def test_a_lost_flat_frame_is_no_step_and_costs_no_other() -> None:
    sampled = ((0, 2), (4, 6), (8, 10))
    codes = PictureCodes(luma=textured())
    watch = MotionWatch(sampled, probe(8))
    found = [watch.see(frame, codes) for frame in range(11) if frame != 6]
    assert [motion.frame for motion in found if motion is not None] == [0, 8]


def test_the_step_to_the_last_relit_frame_counts() -> None:
    pairs = make_pairs(schedule(9, 3), np.arange(9, dtype=np.int64) * 40_000_000)
    alpha = worst_alpha(pairs, 9)
    assert alpha[[0, 4]].tolist() == [0.75, 0.75]
    assert np.isnan(np.delete(alpha, [0, 4])).all()


def card(frame: int) -> np.ndarray:
    """A textured card before a grey wall, from side to side at 1 px a frame and, from frame 64 on, at 6."""
    way = frame if frame < 64 else 64 + 6 * (frame - 64)
    left = 20 + abs((way + 90) % 180 - 90)
    picture = np.full((160, 240, 3), 110, np.uint8)
    picture[30:130, left : left + 100] = textured()[30:130, 60:160, None]
    return picture if frame % 2 == 0 else (picture * 0.6).astype(np.uint8)


def filmed(folder: Path, *, frames: int = 128) -> Path:
    """A take of the card; actions.csv says where it is fast."""
    for id in ("c00", "c01"):
        with VideoWriter(folder / f"cameras/{id}.mp4", fps=FPS, crf=10) as video:
            for frame in range(frames):
                video.write(card(frame)[:, :: -1 if id == "c01" else 1].copy())
    lights = [f"{frame},{'hdri,sky' if frame % 2 else 'flat,'}" for frame in range(frames)]
    (folder / "lights.csv").write_text("\n".join(["frame,kind,hdri", *lights]))
    (folder / "hdris").mkdir()
    write_hdr(folder / "hdris/sky.exr", np.full((32, 64, 3), 0.5, np.float32))
    (folder / "actions.csv").write_text(
        f"number,start_frame,end_frame,action,expression\n1,0,64,turn,smile\n2,64,{frames + 30},jump,\n"
    )
    return folder


def test_the_action_that_was_too_fast_is_named_and_only_that(tmp_path: Path) -> None:
    url = str(tmp_path / "take.zarr")
    (tmp_path / "litdome.toml").write_text("[align]\nmax_shift_px = 20\n")  # at 1080 rows: 3 px of these
    record = ingest_recording(filmed(tmp_path / "take"), url, {})
    session = Session.open(url, writable=True)
    assert session.read("schedule/action").tolist() == [1] * 64 + [2] * 64
    assert session.array("schedule/action").attrs["names"] == ["turn", "jump"]
    assert session.array("schedule/action").attrs["expressions"] == ["smile", ""]
    assert "actions.csv goes on to frame 158, the take ends at 128" in record.warnings
    for id in session.cameras:
        moved = summarise_motion(session, FPS)["cameras"][id]
        assert moved["p95_px"] == pytest.approx([1.0, 6.0], abs=0.4)  # px: a flow's error
        assert moved["shift_px"][0] < 1.4 < 4 < moved["shift_px"][1]
    texts = [finding.text for finding in verdict(session).findings if finding.topic == "motion"]
    assert len(texts) == 1 and texts[0].startswith("too fast: c0")
    assert texts[0].endswith("px by estimate (1 more camera, too); repeat action 2 (jump), frames 64-127")
    (tmp_path / "litdome.toml").write_text("[align]\nmax_shift_px = 54.0\n")
    assert gather(session).max_shift_px == {"c00": 8.0, "c01": 8.0}
    assert [f.text for f in verdict(session).findings if f.topic == "motion"] == ["slow enough to align"]
    session.write_record(StageRecord("align", 1, "x", {}, {"max_shift_px": 60.75}, started="x"))
    assert gather(session).max_shift_px == {"c00": 9.0, "c01": 9.0}  # once align was told another limit, that holds
    assert [f.text for f in verdict(session).findings if f.topic == "motion"] == ["slow enough to align"]


@pytest.mark.parametrize(("slow", "said"), [(0.8, []), (0.7, ["too fast: c01 p95 12 px; repeat action 2 (jump)"])])
def test_once_align_has_measured_the_person_its_measure_counts(tmp_path: Path, slow: float, said: list[str]) -> None:
    url = str(tmp_path / "take.zarr")
    ingest_recording(filmed(tmp_path / "take"), url, {})
    session = Session.open(url, writable=True)
    pairs = len(session.pairs)
    of_jump = np.flatnonzero(session.pairs.flat_frame >= 64)
    shift = np.ones((2, pairs), np.float32)
    shift[1, of_jump[round(slow * len(of_jump)) :]] = 6.0
    shift[:, 0] = np.nan  # absent
    session.write_small("quality/shift_px", shift, ("camera", "pair"), unit="px")
    session.write_small("quality/shift_p95_px", 2 * shift, ("camera", "pair"), unit="px")
    session.write_record(StageRecord("align", 1, "x", {}, {"max_shift_px": 27.0}, started="x", finished="y"))
    told = [f.text.partition(", frames")[0] for f in verdict(session).findings if f.topic == "motion"]
    assert told == (said or ["slow enough to align"])


def judged(shift: list[float | None], parts: list[dict[str, object]]) -> Verdict:
    cameras = {
        id: {"shift_px": [s and s * part for s in shift], "p95_px": [s and 2 * s * part for s in shift]}
        for id, part in (("c00", 0.5), ("c03", 1.0))
    }
    evidence = good_take()
    summary = {**evidence.summary, "motion": {"parts": parts, "cameras": cameras}}
    return judge_take(replace(evidence, summary=summary, max_shift_px={"c00": 4.0, "c03": 4.0}))


def part(number: int, name: str) -> dict[str, object]:
    return {"number": number, "name": name, "start": 60 * number, "stop": 60 * number + 60}


def test_what_to_repeat_is_said_in_one_line() -> None:
    found = judged([1.0, 4.5, None], [part(11, "turn"), part(12, "jump"), part(13, "rest")]).troubles
    assert [finding.text for finding in found] == [
        "too fast: c03 p95 9 px by estimate; repeat action 12 (jump), frames 720-779"
    ]
    assert found[0].camera == "c03" and found[0].severity == "warn"
    assert judged([4.0], [part(1, "turn")]).troubles == ()
    (both,) = judged([9.0], [part(1, "turn")]).troubles
    assert (
        both.text == "too fast: c03 p95 18 px by estimate (1 more camera, too); repeat action 1 (turn), frames 60-119"
    )


def test_without_actions_the_time_is_said_and_many_are_one_line() -> None:
    (found,) = judged([5.0], [part(0, "")]).troubles
    assert found.text == "too fast: c03 p95 10 px by estimate; repeat from 00:00:00.000, frames 0-59"
    (found,) = judged([5.0, 6, 7, 5], [part(n, "jump") for n in (3, 4, 5, 6)]).troubles
    assert found.text == (
        "too fast: c03 p95 14 px at worst by estimate; repeat actions 3 (jump), 4 (jump), 5 (jump), 6 (jump)"
    )
