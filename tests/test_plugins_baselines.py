"""Baselines: exact where the world is Lambertian, and weights of others read in their real layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sphere_relighting import ALBEDO, FLAT, MASK, NORMALS

from litdome.color import srgb_from_linear
from litdome.datasets.metrics import masked_psnr
from litdome.lighting import environment_maps, sh_basis, view_directions
from litdome.train_plugins.baselines import LambertRelighter, lambert_ratio, light_harmonics

torch.set_num_threads(1)
HEIGHT, WIDTH = 64, 128


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))


def ball_under(hdr: np.ndarray, flat: np.ndarray = FLAT) -> dict[str, torch.Tensor]:
    """What a relighter reads of the ball; the camera looks along world -z."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    log = environment_maps(hdr, pose, HEIGHT, WIDTH)[1]
    direction = view_directions(HEIGHT, WIDTH)
    maps = {"env_log": log * 2 - 1, "env_direction": direction}
    return {"flat": tensor(flat), "normal": tensor(NORMALS), **{key: tensor(value) for key, value in maps.items()}}


def soft_light() -> np.ndarray:
    """A light of three slopes, which harmonics of degree 1 hold exactly."""
    towards = view_directions(32, 64)  # any lat-long grid
    return (0.6 + 0.4 * towards @ np.array([[0.5, 0.2, 0.0], [0.3, 0.3, 0.6], [-0.4, 0.1, 0.2]])).astype(np.float32)


def test_even_light_leaves_the_flat_picture() -> None:
    made = LambertRelighter().render(ball_under(np.ones((32, 64, 3), np.float32)), seed=0).rgb
    assert masked_psnr(made[0].permute(1, 2, 0).numpy(), FLAT, MASK) > 50  # the maps' curve is read back


def test_it_shades_as_harmonics_of_the_light_say() -> None:
    inputs = ball_under(soft_light())
    light = light_harmonics((inputs["env_log"][0].permute(1, 2, 0).numpy() + 1) / 2, view_directions(HEIGHT, WIDTH))
    truth = srgb_from_linear(np.clip(ALBEDO * (sh_basis(NORMALS) @ light), 0, 1))
    made = LambertRelighter().render(inputs, seed=0).rgb[0].permute(1, 2, 0).numpy()
    assert masked_psnr(made, truth, MASK) > 60
    turned = {**inputs, "normal": inputs["normal"].flip(-1)}  # wrong normals
    assert masked_psnr(LambertRelighter().render(turned, seed=0).rgb[0].permute(1, 2, 0).numpy(), truth, MASK) < 40


def test_the_sessions_gain_is_taken_out_of_flat_and_light_alike() -> None:
    hdr = soft_light()
    dim = srgb_from_linear(0.5 * ALBEDO)  # flat light of radiance 0.5
    made = LambertRelighter(0.5).render(ball_under(0.5 * hdr, dim), seed=0).rgb
    expected = LambertRelighter().render(ball_under(0.5 * hdr), seed=0).rgb
    assert float((made - expected).abs().max()) < 1e-5


def test_light_from_one_side_is_seen_on_that_side() -> None:
    hdr = np.zeros((32, 64, 3), np.float32)
    hdr[:, 44:52] = 5.0
    light = light_harmonics(
        environment_maps(hdr, np.diag([1.0, -1, -1, 1]), HEIGHT, WIDTH)[1], view_directions(HEIGHT, WIDTH)
    )
    right, left = (lambert_ratio(np.array([[[x, 0.0, 0.5]]]) / np.hypot(x, 0.5), light)[0, 0] for x in (1.0, -1.0))
    assert abs(np.log(right[0] + 1e-3) - np.log(left[0] + 1e-3)) > 1


def test_pixels_without_a_surface_get_what_faces_the_camera_gets() -> None:
    light = light_harmonics(np.full((HEIGHT, WIDTH, 3), 0.3), view_directions(HEIGHT, WIDTH))
    nothing, facing = (
        lambert_ratio(np.array([[normal]]), light)[0, 0] for normal in ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    assert nothing == pytest.approx(facing, rel=0.01)  # even light, on a grid: all normals alike


# IC-Light


@pytest.fixture(scope="module")
def ic_light_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion's layout with small random weights, and a published difference of the real keys' kind."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from litdome.train_plugins.relighter.ic_light import OFFSET, widen

    folder = tmp_path_factory.mktemp("ic-light")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "block_out_channels": (16, 32)}
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1,
        cross_attention_dim=16, attention_head_dim=8, norm_num_groups=4, **blocks,
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    vae.save_pretrained(folder / "vae")
    reader = CLIPTextConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    CLIPTextModel(reader).save_pretrained(folder / "text_encoder")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[]).save_pretrained(folder / "tokenizer")
    widen(unet)
    generator = torch.Generator().manual_seed(1)
    difference = {k: 0.02 * torch.randn(v.shape, generator=generator) for k, v in unet.state_dict().items()}
    save_file(difference, folder / OFFSET)
    return folder


def ball_before(background: float) -> dict[str, torch.Tensor]:
    small = {"flat": np.pad(FLAT, ((8, 8), (8, 8), (0, 0))), "mask_flat": np.pad(MASK, 8)[..., None]}
    return {**{k: tensor(v) for k, v in small.items()}, "background_relit": torch.full((1, 3, 64, 64), background)}


def test_ic_light_is_the_models_weights_plus_the_published_difference(ic_light_folder: Path) -> None:
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file

    from litdome.train_plugins.relighter.ic_light import OFFSET, load_ic_light

    merged = load_ic_light(ic_light_folder)._unet.state_dict()
    origin = UNet2DConditionModel.from_pretrained(ic_light_folder / "unet").state_dict()
    difference = load_file(ic_light_folder / OFFSET)
    assert merged["conv_in.weight"].shape[1] == 12
    assert torch.equal(merged["conv_in.weight"][:, 4:], difference["conv_in.weight"][:, 4:])
    for key, value in origin.items():
        mine = merged[key][:, :4] if key == "conv_in.weight" else merged[key]
        added = difference[key][:, :4] if key == "conv_in.weight" else difference[key]
        assert torch.allclose(mine, value + added)


def test_ic_light_renders_by_background_and_seed(ic_light_folder: Path) -> None:
    from litdome.train_plugins.relighter.ic_light import load_ic_light

    relighter = load_ic_light(ic_light_folder)
    relighter._steps = 2
    made = relighter.render(ball_before(0.2), seed=3).rgb
    assert made.shape == (1, 3, 64, 64)
    assert float(made.min()) >= 0 and float(made.max()) <= 1 and float(made.std()) > 0
    assert torch.equal(made, relighter.render(ball_before(0.2), seed=3).rgb)
    assert not torch.equal(made, relighter.render(ball_before(0.9), seed=3).rgb)
    assert not torch.equal(made, relighter.render(ball_before(0.2), seed=4).rgb)


def test_what_is_missing_is_named_with_what_to_type(ic_light_folder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from litdome.errors import InputError, MissingWeightsError
    from litdome.train_plugins.relighter.ic_light import OFFSET, load_ic_light

    with pytest.raises(MissingWeightsError, match="unet is missing") as caught:
        load_ic_light(tmp_path)
    assert OFFSET in str(caught.value.hint) and str(tmp_path) in str(caught.value.hint)
    folder = Path(shutil.copytree(ic_light_folder, tmp_path / "wrong"))
    other = load_file(folder / OFFSET)
    other["conv_in.weight"] = other["conv_in.weight"][:, :8].contiguous()  # the variant without a background
    save_file(other, folder / OFFSET)
    with pytest.raises(InputError, match=r"conv_in.weight has shape"):
        load_ic_light(folder)
    (folder / OFFSET).write_bytes(b"not tensors")
    with pytest.raises(InputError, match="damaged"):
        load_ic_light(folder)


def test_ic_light_needs_whole_blocks(ic_light_folder: Path) -> None:
    from litdome.errors import InputError
    from litdome.train_plugins.relighter.ic_light import load_ic_light

    inputs = {key: value[..., :48, :] for key, value in ball_before(0.2).items()}
    with pytest.raises(InputError, match="48x64 px"):
        load_ic_light(ic_light_folder).render(inputs, seed=0)
