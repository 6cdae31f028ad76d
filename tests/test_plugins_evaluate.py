"""Scores of renderers whose faults are known, on samples that are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from sphere_relighting import FLAT as BALL_FLAT
from sphere_relighting import MASK, NORMALS
from torch import Tensor

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.train_plugins.clips import FRONT_VIEW
from litdome.train_plugins.evaluate import (
    FLAT,
    RATIO,
    Example,
    around,
    check_physics,
    evaluate,
    mean_score,
    measure,
    predicted_ratio,
)
from litdome.train_plugins.protocol import Rendered

HEIGHT, WIDTH = 48, 64
POSE = np.array([[0.8, 0, -0.6, 2.0], [0, -1, 0, 1.0], [-0.6, 0, -0.8, 2.0], [0, 0, 0, 1]])
TINT = np.array([1.0, 0.7, 0.5])


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))


def array(pictures: Tensor) -> np.ndarray:
    return pictures[0].permute(1, 2, 0).numpy().astype(np.float64)


def sample(seed: int) -> dict[str, Tensor]:
    """A flat picture, and its relit one: tinted by light from everywhere, 2 px further right."""
    waves = np.random.default_rng(seed).normal(size=(HEIGHT // 4, WIDTH // 4 + 1, 3))
    wide = np.kron(waves, np.ones((4, 4, 1)))
    wide = np.clip(0.5 + 0.15 * wide, 0.1, 0.9)
    flat, moved = wide[:, 2 : WIDTH + 2], wide[:, :WIDTH]
    hdr = np.ones((16, 32, 3), np.float32) * TINT
    light = project_hdri(hdr, POSE, HEIGHT, WIDTH)
    mask = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    mask[..., 6:-6, 10:-10] = 1
    return {
        "flat": tensor(flat),
        "relit": tensor(srgb_from_linear(linear_from_srgb(moved) * TINT)),
        "mask": torch.from_numpy(mask),
        "weight": torch.ones(1, 1, HEIGHT, WIDTH),
        "env_ldr": tensor(tone_map_ldr(light) * 2 - 1),
        "env_log": tensor(tone_map_log(light) * 2 - 1),
        "env_direction": tensor(view_directions(HEIGHT, WIDTH)),
        "world_from_camera": torch.from_numpy(POSE[None].astype(np.float32)),
    }


class Samples:
    """A dataset of made samples, all in one split."""

    keys, fingerprint = tuple(sample(0)), "made"

    def __init__(self, count: int) -> None:
        self._samples = [sample(seed) for seed in range(count)]

    def split(self, name: str) -> Samples:
        return self

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        return [item for item in self._samples if length == stride == 1]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._samples[index]


class ByRatio:
    """Physically linear: the flat picture times the colour of the light, with noise where asked for."""

    reads = ("flat", "env_log", "env_direction")

    def __init__(self, noise: float = 0.0, exposure: bool = False) -> None:
        self._noise, self._exposure = noise, exposure

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        ratio = predicted_ratio((array(inputs["env_log"]) + 1) / 2, array(inputs["env_direction"]))
        ratio = ratio / ratio.mean() * 0.5 if self._exposure else ratio
        picture = srgb_from_linear(linear_from_srgb(array(inputs["flat"])) * ratio)
        noise = np.random.default_rng(seed).normal(0, self._noise, picture.shape) if self._noise else 0
        return Rendered(tensor(np.clip(picture + noise, 0, 1)), None)


class Truth:
    """A bound: gives back what it should show."""

    reads = ("relit",)

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        return Rendered(inputs["relit"], None)


def test_a_picture_that_lags_is_told_from_one_that_is_wrong() -> None:
    table, _ = evaluate(Samples(2), ["test"], {"ratio": ByRatio()})
    lagging = table["test"]["ratio"]
    assert lagging.n == 2 and lagging.shift_px == pytest.approx(2, abs=0.35)
    assert lagging.registered_psnr is not None and lagging.registered_psnr > lagging.psnr + 3
    assert lagging.color_bias is not None and lagging.color_bias < 1.5
    assert lagging.lpips is None and lagging.cross_psnr is None and lagging.superposition_error is None


def test_the_flat_picture_is_of_another_light_and_not_registered() -> None:
    table, _ = evaluate(Samples(1), ["test"], {})
    assert set(table["test"]) == {FLAT, RATIO}
    flat = table["test"][FLAT]
    assert flat.shift_px is None and flat.registered_psnr is None
    assert flat.color_bias is not None and flat.color_bias > 5  # negative control


def test_regions_are_scored_alone_where_the_dataset_tells_them_apart() -> None:
    data = Samples(2)
    for n, item in enumerate(data._samples):
        face = torch.zeros_like(item["mask"])
        face[..., : HEIGHT // 2, :] = 1 - n  # the second sample shows no face
        item["mask_face"] = face * item["mask"]
        item["mask_hands"] = item["mask"] - item["mask_face"]
        item["relit"] = item["flat"].clone()
        item["relit"][..., : HEIGHT // 2, :] += 0.1 * item["mask_face"][..., : HEIGHT // 2, :]
    table, _ = evaluate(data, ["test"], {"truth": Truth()})
    regions = table["test"][FLAT].regions
    assert regions is not None and regions["face"].n == 1 and regions["hands"].n == 2
    assert regions["face"].psnr == pytest.approx(20, abs=0.5)
    assert regions["hands"].psnr > 40
    assert evaluate(Samples(1), ["test"], {})[0]["test"][FLAT].regions is None


def test_seeds_are_compared_where_there_is_noise() -> None:
    renderers = {"noisy": ByRatio(noise=0.02), "steady": ByRatio()}
    row = evaluate(Samples(2), ["test"], renderers, seeds=3)[0]["test"]
    assert row["noisy"].cross_psnr == pytest.approx(-10 * np.log10(2 * 0.02**2), abs=0.3)
    assert row["steady"].cross_psnr is None and row[RATIO].cross_psnr is None


def test_physics_is_checked_on_what_can_show_any_light() -> None:
    renderers = {"linear": ByRatio(), "exposed": ByRatio(exposure=True), "bound": Truth()}
    row = evaluate(Samples(1), ["test"], renderers, physics=True)[0]["test"]
    linear, exposed = row["linear"], row["exposed"]
    for error in (linear.superposition_error, linear.gain_error, linear.turn_error):
        assert error is not None and error < 0.02  # the log map's 16 stops, read from 48 rows
    assert exposed.superposition_error == pytest.approx(0.5, abs=0.02)
    assert exposed.gain_error == pytest.approx(0.5, abs=0.02)
    assert row["bound"].gain_error is None and check_physics(Truth(), sample(0), 0) == {}


class Ball:
    """An exact renderer of a Lambertian ball, its light read off the log map; mirrored where asked for."""

    reads = ("flat", "env_log", "env_direction")

    def __init__(self, mirrored: bool = False) -> None:
        self._mirrored = mirrored

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        encoded, directions = (array(inputs["env_log"]) + 1) / 2, array(inputs["env_direction"])
        radiance = np.expm1(linear_from_srgb(encoded) * np.log(10001.0)) * np.sqrt(1 - directions[..., 1:2] ** 2)
        if self._mirrored:
            radiance = radiance[:, ::-1]
        facing = np.maximum(NORMALS.reshape(-1, 3) @ directions.reshape(-1, 3).T, 0)
        irradiance = facing @ radiance.reshape(-1, 3) * (2 * np.pi / encoded[..., 0].size)
        lit = linear_from_srgb(array(inputs["flat"])) * irradiance.reshape(NORMALS.shape)
        return Rendered(tensor(np.clip(srgb_from_linear(lit), 0, 1)), None)


def test_single_lights_are_looked_for_where_a_sample_has_normals() -> None:
    ball = {
        "flat": tensor(BALL_FLAT),
        "normal": tensor(NORMALS),
        "mask": torch.from_numpy(MASK[None, None].astype(np.float32)),
        "weight": torch.ones(1, 1, *MASK.shape),
        "world_from_camera": torch.from_numpy(FRONT_VIEW[None].astype(np.float32)),
    }
    assert check_physics(Ball(), ball, 0)["one_light_deg"] < 3
    assert check_physics(Ball(mirrored=True), ball, 0)["one_light_deg"] > 50
    without = check_physics(Ball(), {key: value for key, value in ball.items() if key != "normal"}, 0)
    assert "one_light_deg" not in without and without["gain_error"] < 0.01


def test_lpips_is_measured_where_it_is_given() -> None:
    row = evaluate(Samples(1), ["test"], {"bound": Truth()}, lpips=lambda a, b, mask: float(np.abs(a - b).max()))
    assert row[0]["test"]["bound"].lpips == 0 and (row[0]["test"][FLAT].lpips or 0) > 0


def test_what_lies_far_from_the_mask_changes_no_measure() -> None:
    rng = np.random.default_rng(0)
    truth, mask = rng.random((120, 160, 3)), np.zeros((120, 160))
    mask[50:70, 70:90] = 1
    picture = np.clip(truth + rng.normal(0, 0.05, truth.shape), 0, 1)
    spoilt = picture.copy()
    spoilt[:18], spoilt[:, 122:] = 0, 1
    near = measure("a", picture, Example({"truth": truth}, mask), None)
    assert measure("a", spoilt, Example({"truth": truth}, mask), None) == near
    spoilt[55] = 1
    assert measure("a", spoilt, Example({"truth": truth}, mask), None) != near  # negative control
    assert around(mask) == (slice(18, 102), slice(38, 122))
    assert np.isnan(measure("a", picture, Example({"truth": truth}, mask * 0), None)["psnr"])


def test_samples_without_a_mask_do_not_count() -> None:
    empty = {"psnr": float("nan"), "ssim": float("nan"), "detail_ratio": float("nan")}
    whole = {"psnr": 30.0, "ssim": 0.9, "detail_ratio": 1.0}
    assert mean_score([empty, whole]) == mean_score([whole])
    assert mean_score([empty]).n == 0 and mean_score([empty]).detail_ratio is None
