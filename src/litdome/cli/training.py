"""Commands from a dataset to a relit video: dataset, plugin, train, relight, evaluate, weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import (
    interruptible,
    json_option,
    print_json,
    print_table,
    progress_bars,
    settings_options,
)
from litdome.errors import InputError, MissingPackageError, PluginError, UsageError

if TYPE_CHECKING:
    from litdome.datasets.spec import DatasetSpec
    from litdome.train_plugins.protocol import Trainer
    from litdome.train_plugins.relighting import Clip

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
)


@click.group()
def dataset() -> None:
    """Frozen training data: build, check, show."""


@dataset.command("build")
@click.argument("sessions", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--spec", "spec_file", type=click.Path(dir_okay=False, path_type=Path), help="Spec (TOML).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one value: size.height=704.")
@click.option("--workers", type=int, help="Threads; all cores by default.")
def dataset_build(
    sessions: tuple[str, ...], output: Path, spec_file: Path | None, assignments: tuple[str, ...], workers: int | None
) -> None:
    """Select, split and bake sessions into a dataset.

    Example: litdome dataset build take01.zarr -o take01-data --set size.height=176 --set size.width=320
    """
    from litdome.config import build_config, load_tables
    from litdome.datasets.spec import DatasetSpec

    tables = {"dataset": load_tables([spec_file] if spec_file else [], assignments)}
    build_and_say(list(sessions), output, build_config(DatasetSpec, "dataset", tables), workers)


@dataset.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def dataset_show(path: Path, as_json: bool) -> None:
    """What a dataset holds.

    Example: litdome dataset show take01-data
    """
    from litdome.datasets.views import open_dataset

    view = open_dataset(path)
    counts = {name: len(view.split(name)) for name in view.splits}
    attrs = view.attrs
    if as_json:
        print_json({"fingerprint": view.fingerprint, "splits": counts, "keys": list(view.keys), "spec": attrs["spec"]})
        return
    size = attrs["spec"]["size"]
    click.echo(f"{path}: {len(view)} samples at {size['height']}x{size['width']}, {attrs['left_out']} left out")
    for session in attrs["sessions"]:
        cameras, lights = len(session["cameras"]), len(session["hdris"])
        click.echo(f"{session['name']}: subject {session['subject']}, {cameras} cameras, {lights} lights")
    print_table(["split", "samples"], [[name, count] for name, count in counts.items()])


@dataset.command("check")
@click.argument("path", type=click.Path(path_type=Path))
def dataset_check(path: Path) -> int:
    """Read every sample and look for leaks between train and the tests; exit 1 with findings.

    Example: litdome dataset check take01-data
    """
    from litdome.datasets.check import check_dataset

    with progress_bars() as progress:
        findings = check_dataset(path, progress=progress)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{path}: {len(findings)} findings")
    return 1 if findings else 0


def build_and_say(urls: list[str], output: Path, spec: DatasetSpec, workers: int | None) -> None:
    """Bake a dataset with a bar, and say on stdout what it holds."""
    from litdome import open_session
    from litdome.datasets.build import build_dataset

    sessions = [open_session(url) for url in urls]
    with progress_bars() as progress, interruptible() as should_stop:
        summary = build_dataset(sessions, output, spec, workers=workers, progress=progress, should_stop=should_stop)
    if summary is not None:
        counts = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        click.echo(f"{summary.path}: {summary.samples} samples ({counts}), {summary.left_out} left out")


@click.group()
def plugin() -> None:
    """Training plugins: list, show their settings, check."""


@plugin.command("list")
def plugin_list() -> None:
    """Installed training plugins.

    Example: litdome plugin list
    """
    from litdome.train_plugins.registry import list_plugins

    print_table(["plugin", "summary"], [[found.name, found.summary or found.problem] for found in list_plugins()])


@plugin.command("config")
@click.argument("name")
def plugin_config(name: str) -> None:
    """A plugin's settings with their defaults, as TOML.

    Example: litdome plugin config relighter > relighter.toml
    """
    import tomli_w

    config = load_plugin(name).Config()
    click.echo(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)), nl=False)


@plugin.command("check")
@click.argument("name")
def plugin_check(name: str) -> int:
    """Run the conformance kit on a plugin; exit 1 with findings.

    Example: litdome plugin check relighter
    """
    from litdome.train_plugins.checks import check_plugin

    findings = check_plugin(name)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{name}: {len(findings)} findings")
    return 1 if findings else 0


def load_plugin(name: str) -> Trainer:
    """The trainer called ``name``, with its packages there.

    Raises:
        UsageError: No such plugin.
        MissingPackageError: One of its packages is not installed.
    """
    from importlib.util import find_spec

    from litdome.train_plugins.registry import load_trainer

    trainer = load_trainer(name)
    missing = [package for package in trainer.packages if find_spec(package) is None]
    if missing:
        raise MissingPackageError(f"{name} needs {', '.join(missing)}", hint="pip install 'litdome[train]'")
    return trainer


@click.command()
@click.argument("plugin_name", metavar="PLUGIN")
@click.argument("dataset_path", metavar="DATASET", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/PLUGIN-N by default.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--dry-run", is_flag=True, help="Check data and settings, train nothing.")
@settings_options
def train(
    plugin_name: str,
    dataset_path: Path,
    out: Path | None,
    resume: Path | None,
    device: str,
    dry_run: bool,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Train a plugin on a dataset.

    Example: litdome train relighter take01-data --set steps=300 --out runs/take01
    """
    from litdome.config import build_config, load_tables
    from litdome.datasets.views import open_dataset
    from litdome.train_plugins.run import RunFolder

    trainer = load_plugin(plugin_name)
    data = open_dataset(dataset_path)
    table = load_tables([config_file] if config_file else [], assignments)
    if resume is not None and (table or out):
        raise UsageError(
            "--resume goes on with the run's own settings",
            hint=f"litdome train {plugin_name} {dataset_path} --resume {resume}",
        )
    existing = None if resume is None else RunFolder.open(resume)
    config = (
        existing.config(trainer.Config) if existing else build_config(trainer.Config, plugin_name, {plugin_name: table})
    )
    _stop_on_problems(trainer, data, config)
    if dry_run:
        click.echo(f"{plugin_name}: settings and {len(data)} samples are fine")
        return
    place = resume or out or _next_run(plugin_name)
    with progress_bars() as progress:
        if existing is not None:
            run = RunFolder.open(place, device=_device(device), progress=progress)
        else:
            run = RunFolder.create(
                place,
                plugin=plugin_name,
                config=config,
                dataset=str(dataset_path.resolve()),
                dataset_fingerprint=data.fingerprint,
                device=_device(device),
                progress=progress,
            )
        if existing is not None and existing.record.dataset_fingerprint != data.fingerprint:
            raise UsageError(f"{place}: was trained on another dataset", hint=f"it used {existing.record.dataset}")
        with run:
            trainer.fit(data.split("train"), config, run)
            stopped = run.should_stop()
    if stopped:
        from litdome.cli.console import Stopped

        raise Stopped(
            "stopped; a checkpoint is kept", hint=f"litdome train {plugin_name} {dataset_path} --resume {place}"
        )
    click.echo(str(place))


@click.command()
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--hdri", "hdri_file", required=True, type=click.Path(path_type=Path), help="Lat-long HDRI: .hdr or .exr."
)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Video to write.")
@click.option(
    "--clip", help="Camera of the run's dataset, with pairs if you like: c05 or c05:0:24; a held-out one by default."
)
@click.option("--rotate", "rotate_deg", default=0.0, show_default=True, help="Turn the light over the clip, degrees.")
@click.option("--gain", default=1.0, show_default=True, help="Multiplies the HDRI.")
@click.option("--seed", default=0, show_default=True, help="Of the noise that sampling starts from.")
@click.option("--side-by-side", "beside", is_flag=True, help="Show the flat-lit clip to the left.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
def relight(
    run_path: Path,
    hdri_file: Path,
    output: Path,
    clip: str | None,
    rotate_deg: float,
    gain: float,
    seed: int,
    beside: bool,
    device: str,
) -> None:
    """Light a flat-lit clip with any HDRI.

    Example: litdome relight runs/take01 --hdri sunset.exr -o sunset.mp4
    """
    from litdome.media.encode import VideoWriter
    from litdome.media.hdr import read_hdr
    from litdome.train_plugins.relighting import relight_clip, side_by_side
    from litdome.train_plugins.run import RunFolder

    if output.exists():
        raise UsageError(f"{output}: exists already", hint="give another -o, or remove it")
    if not hdri_file.exists():
        raise InputError(f"{hdri_file}: no such HDRI", hint="check the path after --hdri")
    hdr = read_hdr(hdri_file)
    run = RunFolder.open(run_path)
    found = _clip(Path(run.record.dataset), clip)
    renderer = load_plugin(run.record.plugin).load(run, _device(device))
    with progress_bars() as progress:
        relit = relight_clip(renderer, found, hdr, gain=gain, rotate_deg=rotate_deg, seed=seed, progress=progress)
    with VideoWriter(output, fps=found.fps) as writer:
        for frame in side_by_side([found.flat, relit] if beside else [relit]):
            writer.write(frame)
    click.echo(str(output))


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
    from litdome.train_plugins.evaluate import evaluate as score
    from litdome.train_plugins.evaluate import write_evaluation
    from litdome.train_plugins.run import RunFolder

    run = RunFolder.open(run_path)
    lpips = None if lpips_files is None else load_lpips(*lpips_files)
    trainer = load_plugin(run.record.plugin)
    data = open_dataset(Path(run.record.dataset))
    names = splits or tuple(name for name in data.splits if name != "train")
    if not names:
        raise UsageError(f"{data.path}: holds nothing out", hint="--split train, or another dataset")
    renderers = {run.record.plugin: trainer.load(run, _device(device))}
    references = getattr(trainer, "references", None)
    if references is not None:
        renderers = {**references(run, _device(device)), **renderers}
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


@click.group()
def weights() -> None:
    """Weights: compare this machine's numbers with NVIDIA's code."""


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


def _clip(dataset_path: Path, text: str | None) -> Clip:
    from litdome.datasets.views import open_dataset
    from litdome.train_plugins.relighting import dataset_clip

    data = open_dataset(dataset_path)
    if text is None:
        return dataset_clip(data)
    camera, *rest = text.split(":")
    if rest and (len(rest) != 2 or not all(part.isdigit() for part in rest)):
        raise UsageError(f"--clip {text}: expected CAMERA or CAMERA:START:STOP", hint="--clip c05:0:24")
    return dataset_clip(data, camera, (int(rest[0]), int(rest[1])) if rest else None)


def _stop_on_problems(trainer: Trainer, data: Any, config: Any) -> None:
    for problem in trainer.check(data.split("train") if "train" in data.splits else data, config):
        if problem.severity == "error":
            raise PluginError(problem.message, hint=problem.hint)
        click.echo(f"litdome: {problem.message}; try: {problem.hint}", err=True)


def _next_run(name: str) -> Path:
    runs = Path("runs")
    number = next(n for n in range(1, 10**6) if not (runs / f"{name}-{n}").exists())
    return runs / f"{name}-{number}"


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


COMMANDS = [dataset, plugin, train, relight, evaluate, weights]
