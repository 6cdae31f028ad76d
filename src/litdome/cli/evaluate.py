"""How well a run relights what it has not seen: the tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from litdome.cli.console import json_option, print_json, print_table, progress_bars
from litdome.cli.plugin import load_plugin
from litdome.errors import UsageError

EVALUATE_COLUMNS = (  # of `Score`: title, digits
    ("psnr", "psnr dB", 2),
    ("registered_psnr", "registered dB", 2),
    ("shift_px", "shift px", 2),
    ("ssim", "ssim", 3),
    ("lpips", "lpips", 3),
    ("detail_ratio", "detail", 2),
    ("color_bias", "colour dE", 1),
    ("cross_psnr", "seeds dB", 1),
    ("superposition_error", "L1+L2", 3),
    ("gain_error", "2 L", 3),
    ("turn_error", "turned", 3),
    ("one_light_deg", "one light", 1),
)


@click.command()
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--split", "splits", multiple=True, help="Split to score; all test splits by default.")
@click.option("--limit", type=int, help="At most so many samples a split, evenly spaced.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Noises to compare: 4, say.")
@click.option(
    "--lpips",
    "lpips_files",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="BACKBONE HEADS",
    help="Weights of AlexNet or VGG16, and LPIPS's own for it.",
)
@click.option("--physics", is_flag=True, help="Check superposition, gain and turn on a sample of each split.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@json_option
def evaluate(
    run_path: Path,
    splits: tuple[str, ...],
    limit: int | None,
    seeds: int,
    lpips_files: tuple[Path, Path] | None,
    physics: bool,
    device: str,
    as_json: bool,
) -> None:
    """Measures on held-out samples (PSNR, SSIM, shift, ...), beside baselines and the autoencoder's ceiling.

    Example: litdome evaluate runs/take01 --seeds 4 --lpips alexnet-owt-7be5be79.pth alex.pth
    """
    table = evaluate_run(run_path, splits, limit, device, seeds=seeds, lpips_files=lpips_files, physics=physics)
    if lpips_files is None:
        click.echo("litdome: no LPIPS: its weights are not shipped; see --lpips", err=True)
    if as_json:
        print_json({split: {name: asdict(score) for name, score in row.items()} for split, row in table.items()})
        return
    scores = [score for row in table.values() for score in row.values()]
    shown = [column for column in EVALUATE_COLUMNS if any(getattr(score, column[0]) is not None for score in scores)]
    rows = [
        [split, method, *(_number(getattr(score, name), digits) for name, _, digits in shown), score.n]
        for split, row in table.items()
        for method, score in row.items()
    ]
    print_table(["split", "method", *(title for _, title, _ in shown), "n"], rows)
    in_regions = [
        [split, method, name, _number(region.psnr, 2), _number(region.ssim, 3), region.n]
        for split, row in table.items()
        for method, score in row.items()
        for name, region in (score.regions or {}).items()
    ]
    if in_regions:
        click.echo()
        print_table(["split", "method", "region", "psnr dB", "ssim", "n"], in_regions)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def evaluate_run(
    run_path: Path,
    splits: tuple[str, ...],
    limit: int | None,
    device: str,
    *,
    seeds: int = 1,
    lpips_files: tuple[Path, Path] | None = None,
    physics: bool = False,
) -> Any:
    """Score a run and keep the table (evaluation.json) and example pictures in its folder."""
    from litdome.datasets.metrics import load_lpips
    from litdome.datasets.views import open_dataset
    from litdome.datasets.withdrawal import need_consent
    from litdome.train_plugins.devices import best_device
    from litdome.train_plugins.evaluate import evaluate as score
    from litdome.train_plugins.evaluate import write_evaluation
    from litdome.train_plugins.run import RunFolder

    run = RunFolder.open(run_path)
    lpips = None if lpips_files is None else load_lpips(*lpips_files)
    trainer = load_plugin(run.record.plugin)
    data = open_dataset(Path(run.record.dataset))
    need_consent(data.attrs["sessions"], None, data.path)
    names = splits or tuple(name for name in data.splits if name != "train")
    if not names:
        raise UsageError(f"{data.path}: holds nothing out", hint="--split train, or another dataset")
    renderers = {run.record.plugin: trainer.load(run, best_device(device))}
    references = getattr(trainer, "references", None)
    if references is not None:
        renderers = {**references(run, best_device(device)), **renderers}
    with progress_bars() as progress:
        table, examples = score(
            data,
            names,
            renderers,
            limit=limit,
            seed=run.seed,
            seeds=seeds,
            lpips=lpips,
            physics=physics,
            progress=progress,
        )
    write_evaluation(run.path, table, examples)
    return table


COMMANDS = [evaluate]
