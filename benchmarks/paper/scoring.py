"""Scores of every sample by itself: one row each, kept as they are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from litdome.color import linear_from_srgb
from litdome.datasets.metrics import excess_warped_error, masked_psnr
from litdome.datasets.views import DatasetView, open_dataset
from litdome.lighting import tone_map_ldr, tone_map_log
from litdome.train_plugins.baselines import LambertRelighter
from litdome.train_plugins.evaluate import Example, measure, predicted_ratio, ratio_picture, spaced
from litdome.train_plugins.protocol import Renderer
from litdome.train_plugins.relighter.ic_light import load_ic_light
from paper.arms import (
    FLAT,
    IC_LIGHT,
    LAMBERT,
    RATIO,
    REFERENCES,
    ROUND_TRIP,
    TRUE_RATIO,
    ZERO_SHOT,
    Drive,
    Training,
    Trial,
)
from paper.runs import Runs
from paper.takes import NOVEL, SEEN
from paper.truth import TakeTruth

FloatArray = npt.NDArray[np.floating[Any]]
Row = dict[str, float | str]
Relight = Callable[[Mapping[str, Tensor]], FloatArray]
RENDERING_BLUR_PX, RENDERING_TINT = 0.8, (1.04, 1.0, 0.94)
SMALLEST_PX = 384  # height for IC-Light
CLIP = 4  # consecutive pictures under one light


@dataclass(frozen=True)
class Shown:
    """One sample as a method is shown it.

    Attributes:
        inputs: Sample keys, time axis 1.
        truth, mask: What was recorded, shape (y, x, 3), and where the person is, shape (y, x).
        camera, pair, hdri: Of the sample.
    """

    inputs: Mapping[str, Tensor]
    truth: FloatArray
    mask: FloatArray
    camera: int
    pair: int
    hdri: int


def score(runs: Runs, trial: Trial, seed: int) -> list[Row]:
    """The trial's rows, made now if they are not there: of methods that train nothing, seed 0 stands for all."""
    place = runs.stage.folder / "scores" / f"{trial.key}-{runs.base_mark}-seed{seed}.json"
    if not place.exists():
        rows = list(_rows(runs, trial, seed))
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".partial")
        partial.write_text(json.dumps(rows))
        partial.rename(place)
    return list(json.loads(place.read_text()))


def _rows(runs: Runs, trial: Trial, seed: int) -> Iterator[Row]:
    truth, relight = runs.truth(trial.data, trial.person), _method(runs, trial, seed)
    view = open_dataset(runs.data(trial.data).path)
    for split in (NOVEL, SEEN):
        own = view.split(split).where(session=truth.number)
        for place, index in enumerate(spaced(len(own), runs.stage.scale.tests)):
            shown = show(own, index, truth, trial.drive)
            made = relight(shown.inputs)
            if place == 0 and split == NOVEL:
                keep_picture(runs, trial, seed, made, shown)
            yield {"split": split, **_about(trial, shown), **measures(made, shown)}
    if trial.clips:
        yield from _clip_rows(runs, trial, truth, view.split(SEEN).where(session=truth.number), relight)


def _about(trial: Trial, shown: Shown) -> Row:
    return {"person": trial.person, "camera": shown.camera, "pair": shown.pair, "hdri": shown.hdri}


def measures(made: FloatArray, shown: Shown) -> dict[str, float]:
    """Every measure of one picture; `structure_psnr` is PSNR with a gain per channel fitted in linear light."""
    example = Example({"truth": shown.truth}, shown.mask)
    fitted = ratio_picture(made, fitted_gain(made, shown.truth, shown.mask))
    return {**measure("", made, example, None), "structure_psnr": masked_psnr(fitted, shown.truth, shown.mask)}


def fitted_gain(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> FloatArray:
    """The gain per channel, shape (3,), that brings a picture nearest to its truth over the mask, in linear light."""
    made, wanted = linear_from_srgb(picture), linear_from_srgb(truth)
    weight = mask[..., None]
    return np.asarray((weight * made * wanted).sum((0, 1)) / np.maximum((weight * made**2).sum((0, 1)), 1e-9))


def show(view: DatasetView, index: int, truth: TakeTruth, drive: Drive) -> Shown:
    """A sample as ``drive`` has it."""
    sample = view[index]
    camera, pair = (int(sample[key][0]) for key in ("camera", "pair"))
    shown = sample["weight"] > 0  # not padding
    mask = np.asarray((sample["mask"] * shown)[0, 0].numpy(), np.float64)
    if drive in ("aligned", "rendering"):
        flat = truth.flat_at_relit(camera, pair) * shown[0, 0].numpy()[..., None]
        if drive == "rendering":
            exact = truth.mask(camera, pair) * shown[0, 0].numpy()
            sample["mask_flat"] = _tensor(exact[..., None])
            flat = like_rendering(flat, exact)
        sample["flat"] = sample["flat_compensated"] = _tensor(flat)
    if drive == "without gain":
        gain = float(truth.view.attrs["sessions"][truth.number]["light_gain"])
        sample |= with_light_times(sample, 1 / gain)
    return Shown(sample, _picture(sample["relit"]), mask, camera, pair, int(sample["hdri"][0]))


def like_rendering(flat: FloatArray, mask: FloatArray) -> FloatArray:
    """A stand-in for an avatar's rendering: the true flat picture, softened, tinted, on black."""
    soft = cv2.GaussianBlur(flat * mask[..., None], (0, 0), RENDERING_BLUR_PX)
    return ratio_picture(np.clip(soft, 0, 1) * (mask[..., None] > 0), np.array(RENDERING_TINT))


def with_light_times(sample: Mapping[str, Tensor], gain: float) -> dict[str, Tensor]:
    """The maps of a sample's light times a gain."""
    logarithm = (sample["env_log"].numpy().astype(np.float64) + 1) / 2
    radiance = np.expm1(linear_from_srgb(logarithm) * np.log1p(10000.0)) * gain
    maps = {"env_ldr": tone_map_ldr(radiance), "env_log": tone_map_log(radiance)}
    return {key: torch.from_numpy(np.asarray(value * 2 - 1, np.float32)) for key, value in maps.items()}


def _method(runs: Runs, trial: Trial, seed: int) -> Relight:
    if isinstance(trial.method, Training):
        return _by(runs.renderer(trial.method, seed), seed)
    truth = runs.truth(trial.data, trial.person)
    gain = float(truth.view.attrs["sessions"][truth.number]["light_gain"])
    if trial.method == FLAT:
        return lambda inputs: _picture(inputs["flat"])
    if trial.method == RATIO:
        return lambda inputs: ratio_picture(_picture(inputs["flat"]), _predicted(inputs) / gain)
    if trial.method == TRUE_RATIO:
        return _true_ratio
    if trial.method == LAMBERT:
        lambert = LambertRelighter(gain)

        def by_normals(inputs: Mapping[str, Tensor]) -> FloatArray:
            camera, pair = (int(inputs[key][0]) for key in ("camera", "pair"))
            normal = _tensor(truth.normals(camera, pair, at_flat=True))
            return _by(lambert, 0)({**inputs, "normal": normal})

        return by_normals
    if trial.method == ROUND_TRIP or trial.method == ZERO_SHOT:
        return _by(runs.references(trial.data)[trial.method], 0)
    if trial.method == IC_LIGHT and runs.ic_light is not None:
        return by_background(load_ic_light(runs.ic_light))
    raise ValueError(f"{trial.method}: none of {', '.join((*REFERENCES, IC_LIGHT))}")


def by_background(relighter: Renderer) -> Relight:
    """IC-Light, given the stage under the wanted light: the relit picture with the person painted over from around.
    Small pictures are shown to it four times as large, near the size that it was trained at."""

    def relight(inputs: Mapping[str, Tensor]) -> FloatArray:
        relit, mask = _picture(inputs["relit"]), inputs["mask_wide"][0, 0].numpy()
        stage = cv2.inpaint((relit * 255 + 0.5).astype(np.uint8), (mask > 0).astype(np.uint8), 3, cv2.INPAINT_TELEA)
        given = {**inputs, "background_relit": _tensor(stage / 255)}
        times = SMALLEST_PX // min(relit.shape[0], SMALLEST_PX)
        large = {key: interpolate(given[key], scale_factor=times, mode="bilinear") for key in relighter.reads}
        return _picture(interpolate(relighter.render(large, seed=0).rgb, relit.shape[:2], mode="area"))

    return relight


def _by(renderer: Renderer, seed: int) -> Relight:
    return lambda inputs: _picture(renderer.render({key: inputs[key] for key in renderer.reads}, seed=seed).rgb)


def _true_ratio(inputs: Mapping[str, Tensor]) -> FloatArray:
    flat, mask = _picture(inputs["flat"]), np.asarray(inputs["mask"][0, 0].numpy(), np.float64)
    return ratio_picture(flat, fitted_gain(flat, _picture(inputs["relit"]), mask))


def _predicted(inputs: Mapping[str, Tensor]) -> FloatArray:
    return predicted_ratio((_picture(inputs["env_log"]) + 1) / 2, _picture(inputs["env_direction"]))


def _clip_rows(runs: Runs, trial: Trial, truth: TakeTruth, view: DatasetView, relight: Relight) -> Iterator[Row]:
    """Excess warped error between neighbours of clips under one light, the whole clip rendered as one chunk."""
    renderer = None if isinstance(trial.method, str) else runs.renderer(trial.method, 0)
    for start in one_light_starts(view):
        shown = [show(view, start + k, truth, trial.drive) for k in range(CLIP)]
        if renderer is None:
            made = [relight(one.inputs) for one in shown]
        else:
            clip = {key: torch.cat([one.inputs[key] for one in shown]) for key in renderer.reads}
            made = list(np.asarray(renderer.render(clip, seed=0).rgb.permute(0, 2, 3, 1).numpy(), np.float64))
        for k in range(1, CLIP):
            now, before = shown[k], shown[k - 1]
            flow, seen = truth.flow(now.camera, now.pair, before.pair)
            error = excess_warped_error(made[k], made[k - 1], now.truth, before.truth, flow, now.mask * seen)
            yield {"split": SEEN, **_about(trial, now), "excess_warped_error": error}


def one_light_starts(view: DatasetView) -> list[int]:
    """Where clips of `CLIP` successive pairs of one camera under one light begin, without overlap."""
    camera, pair, hdri = (view.column(name).astype(int) for name in ("camera", "pair", "hdri"))
    found, at = [], 0
    while at + CLIP <= len(view):
        part = slice(at, at + CLIP)
        steady = np.ptp(camera[part]) == 0 and np.ptp(hdri[part]) == 0 and (np.diff(pair[part]) == 1).all()
        found += [at] if steady else []
        at += CLIP if steady else 1
    return found


def keep_picture(runs: Runs, trial: Trial, seed: int, made: FloatArray, shown: Shown) -> None:
    """What a trial made of the first sample, with what it was shown and the truth, side by side, as .png."""
    if seed > 0:
        return
    row = np.concatenate([_picture(shown.inputs["flat"]), made, shown.truth], axis=1)
    path = runs.stage.folder / "pictures" / f"{trial.key}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (np.clip(row[..., ::-1], 0, 1) * 255 + 0.5).astype(np.uint8))


def input_rows(runs: Runs, data: str, person: str) -> list[Row]:
    """How far the pictures that drive a relighter are from the flat picture at the relit time, before any training."""
    place = runs.stage.folder / "scores" / f"inputs-{data}.json"
    if not place.exists():
        truth, rows = runs.truth(data, person), []
        view = open_dataset(runs.data(data).path).split(SEEN).where(session=truth.number)
        for index in spaced(len(view), runs.stage.scale.tests):
            now, then = show(view, index, truth, "captured"), show(view, index, truth, "aligned")
            wanted = replace(now, truth=_picture(then.inputs["flat"]))
            for key in ("flat", "flat_compensated"):
                about = {"key": key, "shift_px_recorded": float(view.column("shift_px")[index])}
                rows.append({**about, **measures(_picture(now.inputs[key]), wanted)})
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(rows))
    return list(json.loads(place.read_text()))


def _picture(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor[0].permute(1, 2, 0).cpu().numpy(), np.float64)


def _tensor(picture: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))
