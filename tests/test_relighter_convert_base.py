"""NVIDIA's files become a folder that diffusers and litdome read; what is not NVIDIA's is refused in one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from original_renderer import SMALL, random_checkpoint, write_tokenizer
from safetensors.torch import load_file
from torch import Tensor

from litdome.cli import run
from litdome.errors import InputError, MissingWeightsError, StoreError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer, base_folder
from litdome.train_plugins.relighter.autoencoder import CosmosAutoencoder
from litdome.train_plugins.relighter.batches import as_video
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.convert import check_original, original_layout
from litdome.train_plugins.relighter.convert_base import TOKENIZER_FILES, convert_base
from litdome.train_plugins.relighter.model import open_trainable
from litdome.train_plugins.relighter.network import NetworkShape
from litdome.train_plugins.relighter.weights import load_base, open_base
from litdome.train_plugins.run import RunFolder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from conftest import FIXTURES, need

    return write_tokenizer(tmp_path_factory.mktemp("nvidia") / "tokenizer", need(FIXTURES / "relighter"))


@pytest.fixture(scope="module")
def base(tokenizer: Path) -> Path:
    """The fixture's checkpoint, converted by the command."""
    folder = tokenizer.parent / "base"
    model = _fixture() / "model.pt"
    assert run(["-q", "weights", "convert", str(model), "--tokenizer", str(tokenizer), "-o", str(folder)]) == 0
    return folder


def _fixture() -> Path:
    from conftest import FIXTURES

    return FIXTURES / "relighter"


def test_the_layout_of_the_released_7b_is_known_by_heart(relighter_fixture: Path) -> None:
    released = json.loads((relighter_fixture / "keys_7b.json").read_text())
    assert original_layout(NetworkShape()) == {name: tuple(size) for name, size in released.items()}
    check_original({name: torch.empty(size, device="meta") for name, size in released.items()}, "7B")


@torch.no_grad()
def test_a_converted_folder_gives_the_originals_numbers(base: Path) -> None:
    numbers = load_file(_fixture() / "net_io.safetensors")
    arguments = (numbers["x"], numbers["timesteps"], numbers["latent_condition"])
    network = load_base(base).network
    made = network(*arguments, padding_mask=numbers["padding_mask"], fps=float(numbers["fps"][0]))
    assert (made - numbers["output"]).abs().max() < 1e-4
    assert not any(".attn2." in name for name in network.state_dict())


@torch.no_grad()
def test_cross_attention_is_kept_where_it_is_asked_for(base: Path) -> None:
    numbers = load_file(_fixture() / "net_io.safetensors")
    made = load_base(base, cross_attention=True).network(
        numbers["x"],
        numbers["timesteps"],
        numbers["latent_condition"],
        padding_mask=numbers["padding_mask"],
        context=numbers["nonzero_context"],
        fps=float(numbers["fps"][0]),
    )
    assert (made - numbers["output_nonzero_context"]).abs().max() < 1e-4


@torch.no_grad()
def test_diffusers_own_transformer_reads_it_and_needs_one_number_of_the_positions(base: Path) -> None:
    from diffusers import CosmosTransformer3DModel

    plain, told = CosmosTransformer3DModel.from_pretrained(base / "transformer", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    numbers = load_file(_fixture() / "net_io.safetensors")
    mask = torch.nn.functional.interpolate(numbers["padding_mask"], numbers["x"].shape[-2:], mode="nearest")
    hidden = torch.cat(
        [numbers["x"], numbers["latent_condition"], mask[:, :, None].expand(-1, -1, numbers["x"].shape[2], -1, -1)], 1
    )
    context = torch.zeros(len(hidden), 1, 24)

    def difference() -> float:
        made = plain(hidden, numbers["timesteps"], context, fps=float(numbers["fps"][0])).sample
        return float((made - numbers["output"]).abs().max())

    assert difference() > 1e-2  # diffusers scales positions to a mean square of 1, the original's have 1/2
    plain.learnable_pos_embed.eps = 1 - 0.5**0.5
    assert difference() < 1e-4


@torch.no_grad()
def test_diffusers_own_autoencoder_reads_it(base: Path) -> None:
    from diffusers import AutoencoderKLCosmos

    numbers = load_file(_fixture() / "vae_io.safetensors")
    model = AutoencoderKLCosmos.from_pretrained(base / "vae")
    assert (model.encode(numbers["image"]).latent_dist.mode() - numbers["image_latent"]).abs().max() < 1e-4
    assert (model.decode(numbers["latent"]).sample - numbers["recon"]).abs().max() < 1e-4
    video = torch.load(_fixture() / "vae_mean_std.pt", weights_only=True)
    assert model.config.latents_mean == pytest.approx(video[0].tolist())


@torch.no_grad()
def test_pictures_and_clips_have_their_own_statistics_after_conversion(base: Path) -> None:
    autoencoder = load_base(base).autoencoder
    numbers = load_file(_fixture() / "vae_io.safetensors")
    mean, std = torch.load(_fixture() / "vae_image_mean_std.pt", weights_only=True)
    expected = (numbers["image_latent"] - mean[:, None, None, None]) / std[:, None, None, None] * 0.5
    assert (autoencoder.encode(numbers["image"]) - expected).abs().max() < 1e-4
    mean, std = (
        value.view(16, 16)[:, : numbers["latent"].shape[2], None, None]
        for value in torch.load(_fixture() / "vae_mean_std.pt", weights_only=True)
    )
    assert (autoencoder.encode(numbers["video"]) - (numbers["latent"] - mean) / std * 0.5).abs().max() < 1e-4
    with pytest.raises(InputError, match="17 latent frames, the tokenizer knows 16"):
        autoencoder.decode(torch.zeros(1, 16, 17, 2, 2))


@torch.no_grad()
def test_a_base_of_half_precision_makes_pictures_on_a_cpu(base: Path) -> None:
    opened = load_base(base, dtype=torch.bfloat16)
    assert opened.network.input_weight.dtype == torch.bfloat16
    numbers = load_file(_fixture() / "vae_io.safetensors")
    exact = load_base(base).autoencoder.encode(numbers["image"])
    assert torch.equal(opened.autoencoder.to("cpu").encode(numbers["image"]), exact)


def test_where_it_comes_from_is_recorded(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((base / "base.json").read_text())
    assert [source["name"] for source in record["sources"]] == ["model.pt", *TOKENIZER_FILES]
    content = (_fixture() / "model.pt").read_bytes()
    assert record["sources"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    for name, digest in record["files"].items():
        assert hashlib.sha256((base / name).read_bytes()).hexdigest() == digest
    assert {"transformer", "vae"} <= {Path(name).parts[0] for name in record["files"]}


@torch.no_grad()
def test_other_sizes_convert_in_parts_and_in_half_precision(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = random_checkpoint(SMALL, seed=5)
    extra = {"net.blocks.block0.blocks.0.block.attn.to_q._extra_state": torch.zeros(1)}
    torch.save({"model": {**state, **extra}}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(
        json.dumps({"network": dict(zip(("max_frames", "max_img_h", "max_img_w"), SMALL.max_size, strict=True))})
    )
    monkeypatch.setattr(base_folder, "_SHARD_BYTES", 20_000)
    convert_base(tmp_path / "model.pt", tokenizer, tmp_path / "base", dtype=torch.bfloat16)
    assert len(list((tmp_path / "base" / "transformer").glob("*-of-*.safetensors"))) > 2
    read = load_base(tmp_path / "base", cross_attention=True)
    assert read.shape == SMALL
    ours = read.network.state_dict()["transformer_blocks.1.ff.net.2.weight"]
    theirs = state["net.blocks.block1.blocks.2.block.layer2.weight"]
    assert torch.equal(ours, theirs.bfloat16().float()) and not torch.equal(ours, theirs)
    from diffusers import CosmosTransformer3DModel

    plain = CosmosTransformer3DModel.from_pretrained(tmp_path / "base" / "transformer")
    assert torch.equal(plain.state_dict()["transformer_blocks.1.ff.net.2.weight"], theirs.bfloat16())


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_tokenizer_is_half_precision_on_a_gpu_as_the_settings_say(base: Path, mode: str) -> None:
    for precision, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        settings = RelighterConfig.model_validate({"base": str(base), "precision": precision, "mode": mode})
        tokenizer = open_trainable(settings, 0).autoencoder
        assert isinstance(tokenizer, CosmosAutoencoder)
        assert tokenizer.to("cpu").model.dtype == torch.float32
        assert tokenizer.to("meta").model.dtype == dtype  # of any device but a CPU


def test_a_clip_that_is_not_whole_in_latent_frames_is_refused(base: Path) -> None:
    tokenizer = load_base(base).autoencoder
    assert as_video(torch.zeros(tokenizer.temporal + 1, 3, 16, 16), "relit", tokenizer).shape[2] == 9
    with pytest.raises(InputError, match=r"relit: 2 pictures, .* one more than a multiple of 8"):
        as_video(torch.zeros(2, 3, 16, 16), "relit", tokenizer)


def test_a_base_of_the_weights_folder_is_opened_by_its_name(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from litdome.train_plugins.relighter.config import NetworkConfig

    monkeypatch.setenv("LITDOME_WEIGHTS", str(base.parent))
    assert open_base("base", NetworkConfig(), 0).autoencoder.channels == 16
    with pytest.raises(MissingWeightsError, match="neither"):
        open_base("no-such-base", NetworkConfig(), 0)


def test_a_run_trains_from_a_converted_base_and_renders(base: Path, tmp_path: Path) -> None:
    settings = RelighterConfig.model_validate({"base": str(base), "steps": 1, "batch": 2, "precision": "bfloat16"})
    run = RunFolder.create(
        tmp_path / "run", plugin="relighter", config=settings, dataset="synthetic", dataset_fingerprint="0"
    )
    RelighterTrainer().fit(SyntheticView(), settings, run)
    renderer, sample = RelighterTrainer().load(run, "cpu"), SyntheticView()[0]
    made = renderer.render({key: sample[key] for key in renderer.reads}, seed=0).rgb
    assert made.shape == sample["relit"].shape and bool(made.isfinite().all())


def broken(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    changed = dict(state)
    if how == "missing":
        del changed["net.blocks.block1.blocks.2.block.layer2.weight"], changed["logvar.1.weight"]
    elif how == "unknown":
        changed["net.blocks.block1.blocks.3.block.layer2.weight"] = torch.zeros(1)
    elif how == "shape":
        changed["net.t_embedder.1.linear_2.weight"] = torch.zeros(7, 3)
    elif how == "inverse":
        changed["net.context_embedding.weight"] = torch.zeros(16, 10)
    elif how == "plain":
        changed["net.x_embedder.proj.1.weight"] = torch.zeros(32, 17 * 4)
    elif how == "foreign":
        changed = {"conv1.weight": torch.zeros(3, 3)}
    return changed


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "2 tensors missing: logvar.1.weight, net.blocks.block1.blocks.2.block.layer2.weight"),
        ("unknown", "1 tensors unknown: net.blocks.block1.blocks.3.block.layer2.weight"),
        ("shape", "net.t_embedder.1.linear_2.weight (7, 3) for (96, 32)"),
        ("inverse", "the inverse renderer's weights"),
        ("plain", "a Cosmos model without conditions (17 input channels)"),
        ("foreign", "weights of another network (conv1.weight)"),
    ],
)
def test_another_model_is_named(
    how: str, said: str, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(broken(random_checkpoint(SMALL), how), tmp_path / "model.pt")
    refused(4, said, tmp_path / "model.pt", tokenizer, tmp_path / "out" / "base", capsys)


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/litdome-ran-code",)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("cut", 4, "cut short after"),
        ("page", 4, "a web page, not weights"),
        ("pointer", 4, "a Git LFS pointer"),
        ("empty", 4, "empty"),
        ("noise", 4, "no weights that can be read"),
        ("code", 4, "a pickle that wants code (posix.system), not opened"),
        ("list", 4, "holds a list, not weights by name"),
        ("none", 7, "no such file"),
    ],
)
def test_a_file_that_is_no_weights_is_refused(
    content: str, code: int, said: str, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.pt"
    if content == "cut":
        model.write_bytes((_fixture() / "model.pt").read_bytes()[:50_000])
    elif content == "page":
        model.write_text("<!DOCTYPE html><html>Access to model is restricted</html>")
    elif content == "pointer":
        model.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    elif content == "empty":
        model.touch()
    elif content == "noise":
        model.write_bytes(bytes(range(256)) * 40)
    elif content == "code":
        torch.save({"net.x": _Code()}, model)
    elif content == "list":
        torch.save([torch.zeros(2)], model)
    refused(code, said, model, tokenizer, tmp_path / "out" / "base", capsys)
    assert not Path("/tmp/litdome-ran-code").exists()


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("decoder.jit", None, 7, "no such file"),
        ("encoder.jit", b"PK\x03\x04 and no more", 4, "cut short"),
        ("mean_std.pt", b"<html></html>", 4, "a web page"),
        ("image_mean_std.pt", "video's", 4, "not a mean and a standard deviation per channel of 16"),
        ("encoder.jit", "model's", 4, "without weights"),
    ],
)
def test_a_tokenizer_that_is_none_is_refused(
    name: str,
    content: bytes | str | None,
    code: int,
    said: str,
    tokenizer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(tokenizer, tmp_path / "tokenizer")
    (folder / name).unlink()
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        source = folder / "mean_std.pt" if content == "video's" else _fixture() / "model.pt"
        shutil.copy(source, folder / name)
    torch.save(random_checkpoint(SMALL), tmp_path / "model.pt")
    refused(code, said, tmp_path / "model.pt", folder, tmp_path / "out" / "base", capsys)


def refused(code: int, said: str, model: Path, tokenizer: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-q", "weights", "convert", str(model), "--tokenizer", str(tokenizer), "-o", str(out)]) == code
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1
    assert not out.exists() and not [*out.parent.glob(".*")]


def test_a_full_disk_is_said_before_anything_is_written(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match=r"0\.1 GB are needed, 0\.0 GB are free"):
        convert_base(_fixture() / "model.pt", tokenizer, tmp_path / "out" / "base")
    assert not (tmp_path / "out" / "base").exists()


def test_what_is_there_is_not_written_over(
    base: Path, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.md").write_text("years of work")
    for out in (base, tmp_path / "thesis"):
        model = str(_fixture() / "model.pt")
        assert run(["-q", "weights", "convert", model, "--tokenizer", str(tokenizer), "-o", str(out)]) == 2
    assert (tmp_path / "thesis" / "chapter1.md").read_text() == "years of work"
    assert load_base(base).shape.blocks == 3


@pytest.mark.parametrize("part", ["transformer/diffusion_pytorch_model.safetensors", "transformer/config.json"])
def test_a_damaged_base_is_an_error(base: Path, tmp_path: Path, part: str) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    content = (folder / part).read_bytes()
    (folder / part).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError):
        load_base(folder)
    (folder / part).unlink()
    with pytest.raises((InputError, MissingWeightsError)):
        load_base(folder)
