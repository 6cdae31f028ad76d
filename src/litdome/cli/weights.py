"""Commands about weights: where they are, NVIDIA's files converted, numbers compared."""

from __future__ import annotations

from pathlib import Path

import click

from litdome.cli.console import json_option, print_json, print_table, progress_bars
from litdome.weights import Found


@click.group()
def weights() -> None:
    """Weights: what is where, convert NVIDIA's files, compare numbers with NVIDIA's code."""


@weights.command("list")
@json_option
def weights_list(as_json: bool) -> None:
    """Weights that litdome can use: where they are or go, their licence, how to get and to use them.

    They are looked for in the folder that LITDOME_WEIGHTS names, else in ~/.litdome/weights.

    Example: litdome weights list
    """
    from litdome.weights import look_for_weights

    found = look_for_weights()
    if as_json:
        print_json({"weights": [_row(one) for one in found]})
        return
    print_table(["name", "state", "MB", "licence", "for"], [_short(one) for one in found])
    for one in found:
        verb = "use" if one.state == "there" else "get"
        click.echo(f"{one.weights.name}: {verb}: {one.next_step}")


@weights.command("doctor")
@click.argument("names", nargs=-1)
@json_option
def weights_doctor(names: tuple[str, ...], as_json: bool) -> int:
    """Read all weights (or those of NAMES) and compare their hashes; exit 1 when some are missing or damaged.

    Example: litdome weights doctor cosmos-7b
    """
    from litdome.weights import look_for_weights

    with progress_bars() as report:
        found = look_for_weights(names, whole=True, progress=report)
    bad = [one for one in found if one.state != "there"]
    if as_json:
        print_json({"weights": [_row(one) for one in found], "ok": not bad})
    else:
        print_table(
            ["name", "state", "MB", "found", "place"],
            [[o.weights.name, o.state, f"{o.bytes / 1e6:.1f}", o.detail, str(o.path)] for o in found],
        )
        for one in bad:
            click.echo(f"{one.weights.name} is {one.state}: {one.next_step}")
    return 1 if bad else 0


@weights.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with encoder.jit, decoder.jit, mean_std.pt and image_mean_std.pt.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the base to be.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision that weights are stored in; by default that of the files. The original computes in bfloat16.",
)
@json_option
def weights_convert(model: Path, tokenizer: Path, out: Path, dtype: str | None, as_json: bool) -> None:
    """NVIDIA's model.pt of the forward renderer, with its tokenizer, to a folder that diffusers and litdome read.

    Every name and shape is checked first. The files' hashes and the licence are recorded in base.json.

    Example: litdome weights convert forward/model.pt --tokenizer tokenizer --dtype bfloat16 -o cosmos-7b
    """
    import torch

    from litdome.train_plugins.relighter.convert_base import convert_base, is_released

    with progress_bars() as report:
        made = convert_base(model, tokenizer, out, dtype=getattr(torch, dtype) if dtype else None, progress=report)
    source = made.sources[0]
    if as_json:
        print_json({"path": str(out), "released": is_released(source), **made.model_dump(mode="json")})
        return
    equal = "equals the released 7B" if is_released(source) else "is not that of the released 7B"
    click.echo(f"{model}: sha256 {source.sha256[:16]}, md5 {source.md5} {equal}")
    click.echo(f"{out}: {len(made.files)} files, licence: {made.licence}")
    click.echo(f"litdome train relighter DATASET --set base={out}")


@weights.command("parity")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def weights_parity(folder: Path, as_json: bool) -> int:
    """Run network, sampler, conditions and environment maps against recorded numbers; exit 1 above tolerance.

    Example: litdome weights parity fixtures/relighter --json
    """
    from litdome.train_plugins.relighter.parity import parity

    found = parity(folder)
    if as_json:
        print_json({"max_abs_diff": found.max_abs_diff, "mean_abs_diff": found.mean_abs_diff})
    else:
        rows = [[k, f"{v:.2e}", f"{found.mean_abs_diff[k]:.2e}"] for k, v in found.max_abs_diff.items()]
        print_table(["part", "worst", "mean"], rows)
    return 0 if found.within_tolerance else 1


def _row(found: Found) -> dict[str, object]:
    return {
        "name": found.weights.name,
        "state": found.state,
        "path": str(found.path),
        "bytes": found.bytes,
        "licence": found.weights.licence,
        "use": found.weights.use,
        "detail": found.detail,
        "next_step": found.next_step,
    }


def _short(found: Found) -> list[str]:
    size = f"{found.bytes / 1e6:.1f}" if found.bytes else ""
    return [found.weights.name, found.state, size, found.weights.licence, found.weights.use]


COMMANDS = [weights]
