"""Compare this port with numbers that the original program made.

A folder of numbers holds any of model.pt with net_io.safetensors, net_io_single.safetensors and sampler.safetensors;
conditions.safetensors; env_proj.safetensors; vae_state.safetensors with vae_io.safetensors and two statistics files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from litdome.errors import InputError, MissingWeightsError
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.train_plugins.relighter.autoencoder import CosmosAutoencoder
from litdome.train_plugins.relighter.conditions import CONDITIONS, assemble_conditions
from litdome.train_plugins.relighter.convert import check_state, convert_network_state, network_shape
from litdome.train_plugins.relighter.convert_tokenizer import build_tokenizer
from litdome.train_plugins.relighter.network import FPS, RelighterNetwork, build_network
from litdome.train_plugins.relighter.sampler import noise_schedule, sample_euler

Part = Literal[
    "network", "network_single", "sampler", "conditions", "env_ldr", "env_log", "env_direction", "autoencoder"
]
PARTS: tuple[Part, ...] = get_args(Part)
TOLERANCE = 1e-4
_MEAN_ONLY: tuple[Part, ...] = ("env_ldr", "env_log", "env_direction")  # single pole pixels may differ by up to 6e-4
_CONVENTIONS = {"default": "cosmos", "physical": "physical"}


@dataclass(frozen=True)
class ParityReport:
    """Differences to the original's numbers; a part whose files are missing has no key.

    Attributes:
        max_abs_diff, mean_abs_diff: Worst and mean absolute difference per part.
    """

    max_abs_diff: dict[Part, float] = field(default_factory=dict)
    mean_abs_diff: dict[Part, float] = field(default_factory=dict)

    @property
    def within_tolerance(self) -> bool:
        """At least one part compared, none above 1e-4 (worst; for environment maps the mean); NaN is above."""
        means = self.mean_abs_diff
        measured = [means[part] if part in _MEAN_ONLY else worst for part, worst in self.max_abs_diff.items()]
        return bool(measured) and all(value <= TOLERANCE for value in measured)


def parity(folder: Path) -> ParityReport:
    """Run every part of the port on the original's inputs, on the CPU in float32.

    Args:
        folder: Where the numbers lie (see the module).

    Raises:
        MissingWeightsError: Nothing to compare with there.
        InputError: Numbers that contradict each other or are not readable.
    """
    try:
        with torch.no_grad():
            differences = dict(_compare(folder))
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{folder}: incomplete parity numbers: {error}") from error
    if not differences:
        raise MissingWeightsError(f"{folder}: no parity numbers", hint="litdome weights parity FOLDER")
    return ParityReport(
        {part: float(torch.cat([d.flatten() for d in each]).max()) for part, each in differences.items()},
        {part: float(torch.cat([d.flatten() for d in each]).mean()) for part, each in differences.items()},
    )


def load_original_network(model: Path, config: Path | None = None) -> RelighterNetwork:
    """A network of any size from an original model.pt; config.json gives the largest latent where it is there.

    Raises:
        InputError: Names or shapes that are not a forward renderer's.
    """
    original = torch.load(model, map_location="cpu", weights_only=True, mmap=True)
    state = convert_network_state(original.get("model", original))
    settings = json.loads(config.read_text())["network"] if config is not None and config.exists() else {}
    sizes = tuple(int(settings.get(key, size)) for key, size in _DEFAULT_SIZE.items())
    network = build_network(network_shape(state, cast(tuple[int, int, int], sizes)))
    check_state(state, network.state_dict(), model.name)
    network.load_state_dict(state)
    return network


_DEFAULT_SIZE = {"max_frames": 128, "max_img_h": 240, "max_img_w": 240}


def _compare(folder: Path) -> Iterator[tuple[Part, list[Tensor]]]:
    if (folder / "model.pt").exists():
        network = load_original_network(folder / "model.pt", folder / "config.json")
        for part, name in (("network", "net_io"), ("network_single", "net_io_single")):
            if (folder / f"{name}.safetensors").exists():
                yield cast(Part, part), _network_differences(network, load_file(folder / f"{name}.safetensors"))
        if (folder / "sampler.safetensors").exists():
            yield "sampler", _sampler_differences(network, load_file(folder / "sampler.safetensors"))
    if (folder / "conditions.safetensors").exists():
        yield "conditions", _condition_differences(load_file(folder / "conditions.safetensors"))
    if (folder / "env_proj.safetensors").exists():
        yield from _environment_differences(load_file(folder / "env_proj.safetensors"))
    if (folder / "vae_state.safetensors").exists() and (folder / "vae_io.safetensors").exists():
        yield "autoencoder", _autoencoder_differences(folder)


def _network_differences(network: RelighterNetwork, numbers: dict[str, Tensor]) -> list[Tensor]:
    def run(context: Tensor | None) -> Tensor:
        output: Tensor = network(
            numbers["x"],
            numbers["timesteps"],
            numbers["latent_condition"],
            padding_mask=numbers.get("padding_mask"),
            context=context,
            fps=float(numbers["fps"][0]) if "fps" in numbers else FPS,
        )
        return output

    differences = [(run(None) - numbers["output"]).abs()]
    if "nonzero_context" in numbers:
        differences.append((run(numbers["nonzero_context"]) - numbers["output_nonzero_context"]).abs())
    return differences


def _sampler_differences(network: RelighterNetwork, numbers: dict[str, Tensor]) -> list[Tensor]:
    """The sample, and the noise levels relative to the largest."""
    expected = numbers["sigmas"]
    sigmas = noise_schedule(len(expected) - 1, float(expected[0]), float(expected[-2]))

    def denoise(latents: Tensor, level: Tensor) -> Tensor:
        return cast(Tensor, network(latents, level, numbers["latent_condition"]))

    sample = sample_euler(denoise, numbers["noise"], sigmas)
    return [(sample - numbers["sample"]).abs(), (sigmas - expected).abs() / expected[0]]


def _condition_differences(numbers: dict[str, Tensor]) -> list[Tensor]:
    latents = {name: numbers[f"latent_{name}"] for name in CONDITIONS if f"latent_{name}" in numbers}
    built = assemble_conditions(latents, next(iter(latents.values())))
    return [(built - numbers["latent_condition"]).abs()]


def _environment_differences(numbers: dict[str, Tensor]) -> Iterator[tuple[Part, list[Tensor]]]:
    poses = sorted(key.removesuffix(".c2w") for key in numbers if key.endswith(".c2w"))
    hdr = numbers["hdr"].numpy()
    ldr, log = [], []
    for pose in poses:
        convention = _CONVENTIONS.get(pose.rpartition("_")[2])
        if convention is None:
            raise InputError(f"env_proj: pose {pose} does not end in {' or '.join('_' + c for c in _CONVENTIONS)}")
        world_from_camera = numbers[f"{pose}.c2w"].numpy()[:3, :3] @ OPENCV_FROM_OPENGL
        height, width = numbers[f"{pose}.env_ldr"].shape[:2]
        radiance = project_hdri(
            hdr, world_from_camera, height, width, convention=cast(Literal["cosmos", "physical"], convention)
        )
        ldr.append(_difference(tone_map_ldr(radiance), numbers[f"{pose}.env_ldr"]))
        log.append(_difference(tone_map_log(radiance), numbers[f"{pose}.env_log"]))
    if poses:
        yield "env_ldr", ldr
        yield "env_log", log
    direction = numbers.get("env_nrm")
    if direction is not None:
        yield "env_direction", [_difference(view_directions(*direction.shape[:2]), direction)]


def _difference(ours: np.ndarray[tuple[int, ...], np.dtype[np.floating]], theirs: Tensor) -> Tensor:  # type: ignore[type-arg]
    return (torch.from_numpy(np.asarray(ours, np.float32)) - theirs).abs()


def _autoencoder_differences(folder: Path) -> list[Tensor]:
    """Of the bare encoder and decoder: the numbers are from before the latents' statistics."""
    stats = [
        torch.load(folder / name, map_location="cpu", weights_only=True)
        for name in ("vae_mean_std.pt", "vae_image_mean_std.pt")
    ]
    autoencoder = CosmosAutoencoder(build_tokenizer(load_file(folder / "vae_state.safetensors")), stats[0], stats[1])
    numbers = load_file(folder / "vae_io.safetensors")
    differences = []
    for video, latent, recon in (("video", "latent", "recon"), ("image", "image_latent", "image_recon")):
        if video in numbers:
            encoded = autoencoder.model.encode(numbers[video]).latent_dist.mode()
            decoded = autoencoder.model.decode(numbers[latent]).sample
            differences += [(encoded - numbers[latent]).abs(), (decoded - numbers[recon]).abs()]
    return differences
