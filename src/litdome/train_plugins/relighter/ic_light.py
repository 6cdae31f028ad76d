"""IC-Light's background-conditioned relighter as a baseline, from weights that the user brings.

Folder: Stable Diffusion 1.5 (or a model of its shape) as diffusers keeps it (``unet vae text_encoder tokenizer``), and
beside them ``iclight_sd15_fbc.safetensors``, the difference that its authors publish for a UNet with 12 input channels:
noise, the person before grey, and the background that the light is told by. It reads no HDRI.

Source: lllyasviel/IC-Light gradio_demo_bg.py (sampler, steps, guidance, prompts); its second pass at a higher
resolution is left out, as it changes the picture's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from litdome.errors import InputError, MissingWeightsError
from litdome.train_plugins.protocol import Rendered
from litdome.train_plugins.relighter.base_folder import read_tensors
from litdome.train_plugins.relighter.convert import check_state

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

OFFSET = "iclight_sd15_fbc.safetensors"
PARTS = ("unet", "vae", "text_encoder", "tokenizer")
CHANNELS = 12
PROMPT, NEGATIVE = "best quality", "lowres, bad anatomy, bad hands, cropped, worst quality"
STEPS, GUIDANCE = 20, 7.0
GREY = 127 / 255  # exactly 0 for the autoencoder
UNIT_PX = 64
HINT = (
    "hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --local-dir {0} && "
    "hf download lllyasviel/ic-light " + OFFSET + " --local-dir {0}"
)


class IcLightRelighter:
    """Relights a person by the background they are to stand before.

    Attributes:
        reads: ``background_relit`` is the stage under the wanted light without the person, (t, 3, h, w), 0..1.
    """

    reads: tuple[str, ...] = ("flat", "mask_flat", "background_relit")

    def __init__(
        self, unet: UNet2DConditionModel, vae: AutoencoderKL, prompts: Tensor, device: str, *, steps: int = STEPS
    ) -> None:
        """Of a widened UNet and the embeddings of the negative and of the positive prompt, shape (2, token, c)."""
        self._unet, self._vae, self._prompts = unet.to(device).eval(), vae.to(device).eval(), prompts.to(device)
        self._device, self._steps = device, steps

    @torch.no_grad()
    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """Pictures of a clip, each by itself from the same noise.

        Raises:
            InputError: A size that is not whole in 64 px.
        """
        height, width = inputs["flat"].shape[-2:]
        if height % UNIT_PX or width % UNIT_PX:
            raise InputError(
                f"IC-Light: {height}x{width} px, not whole multiples of {UNIT_PX}",
                hint="litdome dataset build SESSION --set size.height=704 --set size.width=1280",
            )
        flat, mask = inputs["flat"].float(), inputs["mask_flat"].float()
        person = flat * mask + GREY * (1 - mask)
        given = torch.cat([self._encode(person), self._encode(inputs["background_relit"].float())], dim=1)
        made = [self._sample(one[None], seed) for one in given]
        return Rendered(rgb=torch.cat(made).float().cpu(), alpha=None)

    def _encode(self, pictures: Tensor) -> Tensor:
        """Latents, shape (t, 4, h / 8, w / 8)."""
        signed = (pictures / GREY - 1).to(self._device, self._vae.dtype)
        found: Tensor = self._vae.encode(signed).latent_dist.mode() * self._vae.config.scaling_factor
        return found

    def _sample(self, given: Tensor, seed: int) -> Tensor:
        """One picture, shape (1, 3, h, w), 0..1."""
        scheduler = make_scheduler()
        scheduler.set_timesteps(self._steps, device=self._device)
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(given[:, :4].shape, generator=generator).to(self._device) * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            shown = torch.cat([scheduler.scale_model_input(latents, time), given], dim=1).expand(2, -1, -1, -1)
            without, with_prompt = self._unet(shown, time, self._prompts).sample.chunk(2)
            noise = without + GUIDANCE * (with_prompt - without)
            latents = scheduler.step(noise, time, latents, generator=generator).prev_sample
        picture: Tensor = self._vae.decode(latents / self._vae.config.scaling_factor).sample
        return (picture * 0.5 + 0.5).clamp(0, 1)


def make_scheduler() -> Any:
    """DPM-Solver++ (SDE) with Karras' noise levels, as the authors' demo has it."""
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        algorithm_type="sde-dpmsolver++",
        use_karras_sigmas=True,
        steps_offset=1,
    )


def load_ic_light(folder: Path, device: str = "cpu", *, prompt: str = PROMPT) -> IcLightRelighter:
    """Read the weights.

    Raises:
        MissingWeightsError: A part is not there; says what to get and where it goes.
        InputError: The difference does not fit the UNet, or a file is damaged.
    """
    for name in (*PARTS, OFFSET):
        if not (folder / name).exists():
            raise MissingWeightsError(f"IC-Light: {folder / name} is missing", hint=HINT.format(folder))
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    try:
        unet = UNet2DConditionModel.from_pretrained(folder / "unet")
        vae = AutoencoderKL.from_pretrained(folder / "vae")
        words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        reader = CLIPTextModel.from_pretrained(folder / "text_encoder")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: {str(error).splitlines()[0]}", hint=HINT.format(folder)) from error
    widen(unet)
    add_difference(unet, read_tensors(folder / OFFSET), str(folder / OFFSET))
    with torch.no_grad():
        length = {"padding": "max_length", "truncation": True, "max_length": reader.config.max_position_embeddings}
        tokens = words([NEGATIVE, prompt], return_tensors="pt", **length)
        prompts = reader(tokens["input_ids"]).last_hidden_state
    return IcLightRelighter(unet, vae, prompts, device)


def widen(unet: UNet2DConditionModel) -> None:
    """Give a UNet 12 input channels; the new ones count nothing yet."""
    old = unet.conv_in
    new = nn.Conv2d(CHANNELS, old.out_channels, old.kernel_size, old.stride, old.padding)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)  # type: ignore[union-attr,arg-type]
    unet.conv_in = new
    unet.register_to_config(in_channels=CHANNELS)


def add_difference(unet: nn.Module, difference: Mapping[str, Tensor], source: str) -> None:
    """Add published differences to a widened UNet's weights.

    Raises:
        InputError: Other keys or shapes, as of the variant without a background (8 channels).
    """
    state = unet.state_dict()
    check_state(difference, state, source)
    unet.load_state_dict({key: value + difference[key].to(value) for key, value in state.items()})
