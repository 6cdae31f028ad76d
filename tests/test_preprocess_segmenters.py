from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from preprocess_scene import HEIGHT, WIDTH, Scene, iou, make_scene, write_session
from safetensors.torch import load_file, save_file
from small_networks import LEFT_HAND, RIGHT_HAND, SIZE, save_color_finder, save_random
from torch.nn.functional import avg_pool2d, interpolate
from transformers import AutoModelForSemanticSegmentation, Sapiens2ForImageMatting, Sapiens2Model

from litdome.config import build_config
from litdome.errors import ConfigError, InputError, MissingPackageError, MissingWeightsError
from litdome.pipeline import run_stage
from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.segment import Segment, SegmentConfig
from litdome.preprocess.segmenters.imported import find_masks, read_mask
from litdome.preprocess.segmenters.mediapipe import Mediapipe
from litdome.preprocess.segmenters.protocol import from_confidences, region_of
from litdome.preprocess.segmenters.sapiens import MEAN, PART_NAMES, STD, Sapiens, load_sapiens, prepare_pictures
from litdome.store.session import Session

CODE = 1 / 255 / 0.224  # one code after the normalisation, at its largest


@pytest.fixture(scope="module")
def color_finder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_color_finder(tmp_path_factory.mktemp("finder"))


@pytest.fixture(scope="module")
def random_parts(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def random_matte(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random(tmp_path_factory.mktemp("matte"), matting=True)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(9)


def noise(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, height, width, 3), np.uint8)


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Of codes, shape (n, 3, y, x)."""
    return (pictures / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


# what all share


def test_parts_of_either_network_fall_into_regions() -> None:
    regions = {name: region_of(name) for name in PART_NAMES}
    assert len(PART_NAMES) == 29 and [name for name, region in regions.items() if region is None] == ["Background"]
    assert {name for name, region in regions.items() if region == "hands"} == {"Left_Hand", "Right_Hand"}
    assert {regions[name] for name in ("Face_Neck", "Upper_Lip", "Lower_Teeth", "Tongue", "Eyeglass")} == {"face"}
    assert {regions[name] for name in ("Upper_Clothing", "Left_Shoe", "Right_Sock", "Apparel")} == {"clothes"}
    assert {regions[name] for name in ("Torso", "Hair", "Left_Upper_Arm", "Right_Foot")} == {"body"}
    selfie = ("background", "hair", "body-skin", "face-skin", "clothes", "others (accessories)")
    assert [region_of(name) for name in selfie] == [None, "body", "body", "face", "clothes", "clothes"]


def test_coverage_is_all_that_is_not_background() -> None:
    confidences = np.array([0.25, 0.35, 0.4], np.float32)[:, None, None]
    coverage, labels = from_confidences(confidences, ("Hair", "background", "Torso"))
    assert coverage[0, 0] == round(0.65 * 255) and labels[0, 0] == 2


# Sapiens 2


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_preparation_shrinks_by_areas_as_torch_averages(channel: int) -> None:
    pictures = noise(2, 2 * SIZE[0], 2 * SIZE[1])
    wanted = normalised(avg_pool2d(torch.from_numpy(pictures.transpose(0, 3, 1, 2)).float(), 2)).numpy()
    made = prepare_pictures(pictures, SIZE)
    assert made.shape == (2, 3, *SIZE) and made.dtype == np.float32
    assert np.abs(made - wanted)[:, channel].max() < 0.51 * CODE  # the codes are rounded after shrinking
    assert np.abs(made[..., ::-1] - wanted)[:, channel].max() > 100 * CODE


def test_preparation_enlarges_by_cubics_as_torch_does() -> None:
    pictures = noise(1, SIZE[0] // 2, SIZE[1] // 2)
    enlarged = interpolate(torch.from_numpy(pictures.transpose(0, 3, 1, 2)).float(), SIZE, mode="bicubic")
    wanted = normalised(enlarged.clamp(0, 255)).numpy()
    assert np.abs(prepare_pictures(pictures, SIZE) - wanted).max() < 1.01 * CODE  # fixed-point weights and rounding


def test_a_saved_checkpoint_answers_as_the_network_does(random_parts: str) -> None:
    pictures = noise(2, 150, 200)
    network = AutoModelForSemanticSegmentation.from_pretrained(random_parts).eval()
    with torch.no_grad():
        logits = interpolate(
            network(torch.from_numpy(prepare_pictures(pictures, SIZE))).logits, (150, 200), mode="bilinear"
        )
    masks = load_sapiens([random_parts], dtype="fp32")(pictures)
    assert masks.parts is not None and masks.parts.dtype == masks.coverage.dtype == np.uint8
    np.testing.assert_array_equal(masks.parts, logits.argmax(1).numpy())
    background = logits.softmax(1)[:, 0].numpy()
    assert np.abs(masks.coverage / 255 - (1 - background)).max() < 0.51 / 255


def two_colors() -> np.ndarray:
    """Something red and something blue, shape (1, 256, 384, 3); a patch of the small network is 32 x 64 px of it."""
    picture = np.zeros((1, 256, 384, 3), np.uint8)
    picture[0, 64:128, 64:192, 0] = 255
    picture[0, 128:224, 256:320, 2] = 255
    return picture


def test_labels_lie_on_the_pixels_that_show_them(color_finder: str) -> None:
    picture = two_colors()
    masks = load_sapiens([color_finder], dtype="fp32")(picture)
    assert masks.parts is not None and set(np.unique(masks.parts)) == {0, LEFT_HAND, RIGHT_HAND}
    for label, channel in ((LEFT_HAND, 0), (RIGHT_HAND, 2)):
        shown = picture[0, ..., channel]
        found = np.where(masks.parts[0] == label, 255, 0).astype(np.uint8)
        assert iou(found, shown) > 0.75  # outlines are known to a quarter of a patch: 8 x 16 px
        assert iou(found, np.fliplr(shown)) < 0.2 and iou(found, np.flipud(shown)) < 0.6
    assert iou(masks.coverage[0], picture[0].max(axis=-1)) > 0.75


def test_the_batch_that_a_picture_comes_in_changes_nothing(random_parts: str, random_matte: str) -> None:
    pictures = noise(3, 120, 90)
    for weights in (random_parts, random_matte):
        sapiens = load_sapiens([weights], dtype="fp32")
        together, alone = sapiens(pictures), [sapiens(pictures[i : i + 1]) for i in range(3)]
        difference = together.coverage.astype(int) - np.concatenate([one.coverage for one in alone])
        assert np.abs(difference).max() <= 1  # sums in another order
        assert (
            together.coverage[0].std() > 0 and np.abs(together.coverage[0].astype(int) - together.coverage[1]).max() > 1
        )


def test_the_matting_network_draws_the_outline_and_the_other_the_parts(random_parts: str, random_matte: str) -> None:
    pictures = noise(1, 150, 200)
    parts, matte = (load_sapiens([weights], dtype="fp32") for weights in (random_parts, random_matte))
    both = load_sapiens([random_parts, random_matte], dtype="fp32")(pictures)
    network = Sapiens2ForImageMatting.from_pretrained(random_matte).eval()
    with torch.no_grad():
        alphas = network(torch.from_numpy(prepare_pictures(pictures, SIZE))).alphas
        wanted = interpolate(alphas, (150, 200), mode="bilinear")[:, 0].numpy()
    assert matte.part_names == () and matte(pictures).parts is None
    assert np.abs(both.coverage / 255 - wanted).max() < 0.51 / 255
    np.testing.assert_array_equal(both.parts, parts(pictures).parts)


def test_bf16_gives_nearly_the_masks_of_fp32(color_finder: str) -> None:
    exact, half = (load_sapiens([color_finder], dtype=dtype)(two_colors()).coverage[0] for dtype in ("fp32", "bf16"))
    assert iou(half, exact) > 0.98


def without_head(folder: Path, weights: str) -> str:
    """The checkpoint without its last weights, which transformers would make up."""
    shutil.copytree(weights, folder)
    state = load_file(folder / "model.safetensors")
    kept = {name: values for name, values in state.items() if "conv_seg" not in name}  # as the file names them
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def backbone(folder: Path) -> str:
    from small_networks import small_config

    Sapiens2Model(small_config(29)).save_pretrained(folder)
    return str(folder)


def test_weights_that_are_not_there_are_said_and_where_to_put_them(
    tmp_path: Path, random_parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    cut = without_head(tmp_path / "cut", random_parts)
    for name in ("", str(tmp_path / "empty"), "facebook/sapiens2-not-here", cut):
        with pytest.raises(MissingWeightsError) as raised:
            load_sapiens([name])
        assert raised.value.exit_code == 7 and name in raised.value.message
        assert raised.value.hint and "config.json" in raised.value.hint and "Sapiens2 License" in raised.value.hint
    assert "predictor" in raised.value.message


def test_other_checkpoints_are_refused(tmp_path: Path, random_parts: str) -> None:
    with pytest.raises(InputError, match="holds Sapiens2Model"):
        load_sapiens([backbone(tmp_path / "backbone")])
    with pytest.raises(InputError, match="two networks of one kind"):
        load_sapiens([random_parts, random_parts])
    with pytest.raises(InputError, match="named background"):
        load_sapiens([save_random(tmp_path / "five", labels=5)])
    with pytest.raises(ConfigError, match="device"):
        load_sapiens([random_parts], device="abacus")


def test_names_in_a_checkpoint_win(tmp_path: Path) -> None:
    names = ("background", "cat", "left_hand")
    folder = save_random(tmp_path / "named", labels=3, id2label=dict(enumerate(names)))
    assert load_sapiens([folder]).part_names == names


# MediaPipe


def colored() -> np.ndarray:
    """Blue, a red third on the left, a green quarter at the lower right; shape (1, 128, 192, 3)."""
    picture = np.zeros((1, 128, 192, 3), np.uint8)
    picture[..., 2] = 255
    picture[0, :, :64] = (255, 0, 0)
    picture[0, 64:, 128:] = (0, 255, 0)
    return picture


COLORS = ((0.0, 0.0, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def test_mediapipe_tells_parts_or_the_person(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="mediapipe is not installed: pip install 'litdome[face]'")
    from small_tflite import write_model

    parts = Mediapipe(write_model(tmp_path / "parts.tflite", ("background", "hair", "clothes"), COLORS))
    masks = parts(np.concatenate([colored(), colored()[:, :, ::-1]]))
    assert parts.part_names == ("background", "hair", "clothes") and masks.parts is not None
    assert (masks.parts[0, 8:56, [8, 100, 180]] == [[1], [0], [0]]).all()
    assert (masks.parts[0, 72:120, [8, 100, 180]] == [[1], [0], [2]]).all()
    assert (masks.parts[1, 72:120, [183, 91, 11]] == [[1], [0], [2]]).all()
    assert masks.coverage[0, 100, 20] == 255 and masks.coverage[0, 20, 150] == 0
    person = Mediapipe(write_model(tmp_path / "things.tflite", ("background", "car", "person"), COLORS))
    found = person(colored())
    assert person.part_names == () and found.parts is None
    assert found.coverage[0, 100, 20] == 0 and found.coverage[0, 100, 180] == 255


def test_mediapipe_refuses_what_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="mediapipe is not installed: pip install 'litdome[face]'")
    (tmp_path / "no.tflite").write_bytes(b"no model at all" * 100)
    with pytest.raises(InputError, match=r"no\.tflite"):
        Mediapipe(tmp_path / "no.tflite")
    with pytest.raises(MissingWeightsError, match=r"not-here\.tflite"):
        Mediapipe(tmp_path / "not-here.tflite")


def test_without_mediapipe_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(MissingPackageError) as raised:
        Mediapipe(tmp_path / "any.tflite")
    assert raised.value.hint == "pip install 'litdome[face]'"


# masks of other programs


def by_kind(folder: Path, kind: str, n: int, frame: int) -> Path:
    return folder / "c00" / kind / f"{n:06d}.png"


def by_rig_frame(folder: Path, kind: str, n: int, frame: int) -> Path:
    return folder / "c00" / f"mask_{frame:04d}.png"


def as_humanolat(folder: Path, kind: str, n: int, frame: int) -> Path:
    return folder / "segmentations" / "masks" / f"{frame:03d}" / "c00.png"


def write_masks(session: Session, masks: np.ndarray, name: Callable[[str, int, int], Path], *, skip: int = -1) -> None:
    """All rig frames' masks but ``skip``'s."""
    for kind in ("flat", "relit"):
        for n, frame in enumerate(session.frames(kind)):
            if frame != skip:
                path = name(kind, n, int(frame))
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), masks[frame])


@pytest.mark.parametrize("layout", [by_kind, by_rig_frame, as_humanolat])
def test_every_layout_brings_each_mask_to_its_picture(
    tmp_path: Path, scene: Scene, layout: Callable[..., Path]
) -> None:
    session = write_session(tmp_path / "s.zarr", scene, absent=(4,))
    write_masks(session, scene.masks, lambda *at: layout(tmp_path / "masks", *at), skip=3)
    summary, warnings = run(session, source="import", masks=str(tmp_path / "masks"))
    for kind in ("flat", "relit"):
        found = session.read(f"cameras/c00/{kind}/mask_raw")
        for n, frame in enumerate(session.frames(kind)):
            wanted = np.zeros_like(found[n]) if frame in (3, 4) else scene.masks[frame]
            np.testing.assert_array_equal(found[n], wanted)
    assert summary["source"] == "import" and not session.has("cameras/c00/flat/parts")
    assert len(warnings) == 1 and "c00: 1 of 4 relit pictures have no mask" in warnings[0]


def test_masks_are_grey_or_alpha_of_any_depth(tmp_path: Path, scene: Scene) -> None:
    mask = scene.masks[0]
    picture = np.dstack([scene.pictures[0], mask])
    stored = {"grey": mask, "deep": mask.astype(np.uint16) * 257, "alpha": picture, "same": np.dstack([mask] * 3)}
    for name, codes in stored.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), codes)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png", (WIDTH, HEIGHT)), mask)
    for dtype in (np.uint8, np.uint16):
        cv2.imwrite(str(tmp_path / "ones.png"), (mask // 255).astype(dtype))
        assert set(np.unique(read_mask(tmp_path / "ones.png", (WIDTH, HEIGHT)))) == {0, 255}
    cv2.imwrite(str(tmp_path / "low.png"), mask.astype(np.uint16))  # 8-bit codes in a file of 16 bits
    np.testing.assert_array_equal(read_mask(tmp_path / "low.png", (WIDTH, HEIGHT)), mask)
    cv2.imwrite(str(tmp_path / "colour.png"), scene.pictures[0])
    with pytest.raises(InputError, match=r"colour\.png: a colour picture"):
        read_mask(tmp_path / "colour.png", (WIDTH, HEIGHT))


def test_masks_of_another_size_are_refused_by_name_unless_declared(tmp_path: Path, scene: Scene) -> None:
    mask = scene.masks[0]
    cv2.imwrite(str(tmp_path / "big.png"), np.repeat(np.repeat(mask, 2, 0), 2, 1))
    with pytest.raises(InputError, match=r"big\.png: 576x384, .* 288x192") as raised:
        read_mask(tmp_path / "big.png", (WIDTH, HEIGHT))
    assert raised.value.hint and "segment.masks_scale=2" in raised.value.hint
    np.testing.assert_array_equal(read_mask(tmp_path / "big.png", (WIDTH, HEIGHT), scale=2), mask)
    with pytest.raises(InputError):
        read_mask(tmp_path / "big.png", (WIDTH, HEIGHT), scale=1.5)


def test_a_camera_without_masks_is_named(tmp_path: Path, scene: Scene) -> None:
    session = write_session(tmp_path / "s.zarr", scene)
    (tmp_path / "masks" / "c01").mkdir(parents=True)
    with pytest.raises(InputError, match="no masks of camera c00"):
        find_masks(session, tmp_path / "masks")


# the stage


def run(session: Session, **settings: object) -> tuple[dict[str, object], tuple[str, ...]]:
    """Flow and segment as the command runs them; the summary and the warnings."""
    run_stage(session, Flow(), FlowConfig(), inputs={"ingest": "x"})
    config = build_config(SegmentConfig, "segment", {"segment": settings})
    record = run_stage(session, Segment(), config, inputs={"flow": "x", "settings": json.dumps(config.recorded())})
    assert record.finished
    return dict(record.summary), record.warnings


def test_the_stage_stores_what_the_network_says(tmp_path: Path, scene: Scene, color_finder: str) -> None:
    session = write_session(tmp_path / "s.zarr", scene, background=False, absent=(4,))
    summary, _ = run(session, source="sapiens", weights=color_finder, dtype="fp32", batch=2, device="cpu")
    sapiens: Sapiens = load_sapiens([color_finder], dtype="fp32")
    for kind in ("flat", "relit"):
        coverage, parts = (session.read(f"cameras/c00/{kind}/{name}") for name in ("mask_raw", "parts"))
        for n, frame in enumerate(session.frames(kind)):
            wanted = sapiens(session.read_frame("c00", kind, n)[None]) if frame != 4 else None
            np.testing.assert_array_equal(parts[n], 0 if wanted is None else wanted.parts[0])
            assert np.abs(coverage[n].astype(int) - (0 if wanted is None else wanted.coverage[0])).max() <= 1
        attrs = session.array(f"cameras/c00/{kind}/parts").attrs
        assert tuple(attrs["names"]) == PART_NAMES
        assert attrs["regions"][LEFT_HAND] == "hands" and attrs["regions"][0] == ""
    assert session.read("cameras/c00/flat/parts").any()
    assert summary["device"] == "cpu" and summary["weights"] == color_finder
    assert session.array("cameras/c00/background").attrs["source"] == "median"  # the plate is made all the same
    run(session, source="plate")
    assert (
        not session.has("cameras/c00/flat/parts")
        and iou(session.read("cameras/c00/flat/mask_raw")[0], scene.masks[0]) > 0.9
    )


def test_a_source_that_cannot_be_read_leaves_the_last_run_finished(tmp_path: Path, scene: Scene) -> None:
    session = write_session(tmp_path / "s.zarr", scene)
    run(session, source="plate")
    before = session.read("cameras/c00/flat/mask_raw")
    (tmp_path / "other" / "c07").mkdir(parents=True)
    for settings in (
        {"source": "import"},
        {"source": "import", "masks": str(tmp_path / "none")},
        {"source": "import", "masks": str(tmp_path / "other")},
        {"source": "sapiens"},
        {"source": "mediapipe"},
    ):
        with pytest.raises((InputError, MissingWeightsError, MissingPackageError)):
            run(session, **settings)
        assert session.record("segment").finished and session.done("segment").all()
    np.testing.assert_array_equal(session.read("cameras/c00/flat/mask_raw"), before)


def test_records_hold_what_shapes_the_masks() -> None:
    plate = SegmentConfig(weights="unused", batch=3).recorded()
    earlier = {"long_side_px", "threshold", "plate_frames", "max_unsure_permille", "moving_permille"}
    assert set(plate) == earlier  # so that runs of earlier versions are not taken for old ones
    networks = [
        SegmentConfig(source="sapiens", weights=w, batch=b).recorded() for w, b in (("a", 1), ("a", 2), ("b", 1))
    ]
    assert networks[0] == networks[1] != networks[2]
