"""The Haar transform is exact; the Cosmos tokenizer uses the statistics of what it is given."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from litdome.train_plugins.relighter.autoencoder import CosmosAutoencoder, HaarAutoencoder
from litdome.train_plugins.relighter.convert_tokenizer import build_tokenizer


def picture(frames: int = 2) -> torch.Tensor:
    return torch.rand(1, 3, frames, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_haar_is_inverted_exactly() -> None:
    autoencoder = HaarAutoencoder()
    latents = autoencoder.encode(picture())
    assert latents.shape == (1, 48, 2, 6, 8)
    assert torch.allclose(autoencoder.decode(latents), picture(), atol=1e-5)


def test_haar_sees_every_4x4_block_by_itself() -> None:
    changed = picture()
    changed[..., 4:8, 8:12] += 0.5
    difference = HaarAutoencoder().encode(changed) - HaarAutoencoder().encode(picture())
    assert set(map(tuple, difference[0].abs().sum(dim=(0, 1)).nonzero().tolist())) == {(1, 2)}


def test_a_unit_of_each_haar_channel_changes_the_picture_as_its_scale_says() -> None:
    autoencoder, scale = HaarAutoencoder(), HaarAutoencoder().channel_scale()
    zero = autoencoder.decode(torch.zeros(1, 48, 1, 2, 2))
    changes = []
    for channel in (0, 20, 47):
        latents = torch.zeros(1, 48, 1, 2, 2)
        latents[0, channel, 0, 0, 0] = 1
        changes.append(float((autoencoder.decode(latents) - zero).norm()))
    expected = scale[[0, 20, 47]] / scale[0] * changes[0]
    assert torch.allclose(torch.tensor(changes), expected, rtol=1e-4)


def test_cosmos_uses_image_statistics_for_single_pictures(relighter_fixture: Path) -> None:
    stats = [
        torch.load(relighter_fixture / name, weights_only=True) for name in ("vae_mean_std.pt", "vae_image_mean_std.pt")
    ]
    autoencoder = CosmosAutoencoder(
        build_tokenizer(load_file(relighter_fixture / "vae_state.safetensors")), stats[0], stats[1]
    )
    assert (autoencoder.channels, autoencoder.spatial, autoencoder.temporal) == (16, 8, 8)
    numbers = load_file(relighter_fixture / "vae_io.safetensors")
    with torch.no_grad():
        image = autoencoder.encode(numbers["image"])
        video = autoencoder.encode(numbers["video"])
    mean, std = (value[None, :, None, None, None] for value in stats[1])
    assert torch.allclose(image, (numbers["image_latent"] - mean) / std * 0.5, atol=1e-5)
    mean, std = (value.reshape(1, 16, -1, 1, 1)[:, :, : video.shape[2]] for value in stats[0])
    assert torch.allclose(video, (numbers["latent"] - mean) / std * 0.5, atol=1e-5)
