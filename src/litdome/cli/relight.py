"""The command from a trained relighter and any flat-lit clip to relit pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from litdome.cli.console import interruptible, progress_bars, read_map
from litdome.cli.plugin import load_plugin
from litdome.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from litdome.datasets.views import DatasetView
    from litdome.lighting import HdriConvention
    from litdome.train_plugins.clips import Clip
    from litdome.train_plugins.fitting import Fit
    from litdome.train_plugins.relit import Places

CONVENTIONS = ("physical", "cosmos", "openexr", "goliath", "skylibs")  # HdriConvention, which imports numpy


@click.command()
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--hdri", "hdri_file", required=True, type=click.Path(path_type=Path), help="Lat-long HDRI: .hdr or .exr."
)
@click.option(
    *("-o", "--output"),
    required=True,
    type=click.Path(path_type=Path),
    help="out.mp4; a folder, for PNG with alpha; a folder called exr or NAME.exr, for half-float EXR.",
)
@click.option(
    "--clip",
    metavar="CAMERA|FOLDER|VIDEO[:START:STOP]",
    help="Camera of the run's dataset (c05, take02/c05) with a range of pairs if you like, or any flat-lit pictures; "
    "by default a held-out camera.",
)
@click.option("--rotate", default="0", metavar="DEG|A:B", help="Turn the light; from A to B over the clip.")
@click.option("--gain", default="1", metavar="GAIN|A:B", help="Multiply the light; from A to B over the clip.")
@click.option("--size", metavar="HEIGHTxWIDTH", help="Frame that the model works in; the training's by default.")
@click.option("--camera-pose", metavar="RIG:CAMERA", help="Where a FOLDER or VIDEO was filmed from; else the front.")
@click.option(
    "--convention", type=click.Choice(CONVENTIONS), help="Where an HDRI's centre lies for a FOLDER or VIDEO; physical."
)
@click.option("--fps", type=click.FloatRange(0, 1000, min_open=True), help="Of a FOLDER; 25 by default.")
@click.option(
    "--backdrop",
    type=click.Choice(["white", "black"]),
    default="white",
    show_default=True,
    help="What the model sees behind a person with alpha.",
)
@click.option("--seed", default=0, show_default=True, help="Of the noise that sampling starts from.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
def relight(
    run_path: Path,
    hdri_file: Path,
    output: Path,
    clip: str | None,
    rotate: str,
    gain: str,
    size: str | None,
    camera_pose: str | None,
    convention: str | None,
    fps: float | None,
    backdrop: str,
    seed: int,
    device: str,
) -> None:
    """Light a flat-lit clip of any length with any HDRI; stopped or killed, the same command goes on.

    Beside the output it writes NAME-preview.mp4 (flat and relit side by side), NAME-sheet.png and NAME.json.

    Example: litdome relight runs/take01 --clip walk.mov --hdri sunset.exr --rotate 0:360 -o sunset.mp4
    """
    from litdome.train_plugins.devices import best_device
    from litdome.train_plugins.fitting import fit_into
    from litdome.train_plugins.origin import find_training, provenance
    from litdome.train_plugins.relighting import Light, LitClip, need_readable
    from litdome.train_plugins.relit import Places, Unfinished
    from litdome.train_plugins.run import RunFolder

    places = Places.of(output)
    turns, gains = parse_course(rotate, "--rotate"), parse_course(gain, "--gain")
    frame = None if size is None else parse_size(size)
    if not hdri_file.is_file():
        raise InputError(f"{hdri_file}: no such HDRI", hint="check the path after --hdri")
    run = RunFolder.open(run_path)
    training = find_training(run)
    found = open_clip(clip, training.data, camera_pose, convention, fps)
    hdr = read_map(hdri_file, found.convention)
    light = Light.over(hdr, len(found.pictures), rotate_deg=turns, gain=gains)
    fit = fit_into(found.size, frame or training.frame)
    for note in (*training.notes, *found.notes, *_about_to(found, fit, places)):
        click.echo(f"litdome: {note}", err=True)
    renderer = load_plugin(run.record.plugin).load(run, best_device(device))
    found = with_matte(found, renderer.reads)
    behind = 1.0 if backdrop == "white" else 0.0
    need_readable(renderer.reads, found)
    about = provenance(run, training, found, hdri_file, fit, rotate_deg=turns, gain=gains, backdrop=behind, seed=seed)
    work = Unfinished(places, about, found.fps)
    with interruptible(f"{work.places.unfinished} is kept") as should_stop, progress_bars() as progress:
        for done in work.relight(renderer, LitClip(found, light, fit, behind), seed):
            progress("relight", done, len(found.pictures))
            if should_stop():
                break
    work.finish()
    click.echo(str(output))


def open_clip(
    text: str | None, data: DatasetView | None, camera_pose: str | None, convention: str | None, fps: float | None
) -> Clip:
    """The clip of ``--clip``: a camera of the run's dataset, else a folder or a video.

    Raises:
        UsageError: No such camera, or an option that a clip of a dataset does not take.
        InputError: No such folder or video, or an unreadable one.
    """
    from litdome.train_plugins.clips import FRONT_VIEW, dataset_clip, file_clip, is_camera

    place, part = (None, None) if text is None else _place_and_part(text)
    if data is not None and (place is None or is_camera(data, place) or not Path(place).exists()):
        given = {"--camera-pose": camera_pose, "--convention": convention, "--fps": fps}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option}: of the cameras of a dataset it is known", hint="--clip FOLDER or VIDEO")
        return dataset_clip(data, place, part)
    if place is None:
        raise UsageError("the run's dataset is not here, so it has no cameras", hint="--clip FOLDER or VIDEO")
    pose = FRONT_VIEW if camera_pose is None else read_pose(camera_pose)
    world = cast("HdriConvention", convention or "physical")
    return file_clip(Path(place), world_from_camera=pose, convention=world, fps=fps, part=part)


def with_matte(clip: Clip, reads: Sequence[str]) -> Clip:
    """A clip of a dataset with its masks, where the renderer needs them."""
    from litdome.train_plugins.clips import DatasetPictures, masked

    return masked(clip) if "mask_flat" in reads and isinstance(clip.pictures, DatasetPictures) else clip


def read_pose(text: str) -> npt.NDArray[np.float64]:
    """The pose of ``--camera-pose RIG:CAMERA``, shape (4, 4); a rig of one camera needs no name.

    Raises:
        UsageError: No such camera.
    """
    from litdome.cli.rig import rig_of

    source, _, camera = (text, "", "") if Path(text).exists() else text.rpartition(":")
    if not source or not Path(source).exists():
        raise InputError(f"--camera-pose {text}: no such rig", hint="--camera-pose take02.zarr:c05")
    rig = rig_of(source)
    if camera not in rig.ids and (camera or len(rig.ids) != 1):
        hint = f"cameras: {', '.join(rig.ids)}"
        raise UsageError(f"--camera-pose {text}: {camera or 'no camera'} of {len(rig.ids)}", hint=hint)
    return rig[camera or rig.ids[0]].world_from_camera


def parse_course(text: str, option: str) -> tuple[float, ...]:
    """``A`` or ``A:B`` as numbers.

    Raises:
        UsageError: Something else.
    """
    try:
        values = tuple(float(part) for part in text.split(":"))
    except ValueError:
        values = ()
    if len(values) not in (1, 2):
        raise UsageError(f"{option} {text}: expected A or A:B", hint=f"{option} 0:360")
    return values


def parse_size(text: str) -> tuple[int, int]:
    """``HEIGHTxWIDTH`` as numbers.

    Raises:
        UsageError: Something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--size {text}: expected HEIGHTxWIDTH", hint="--size 704x1280")
    return int(parts[0]), int(parts[1])


def _place_and_part(text: str) -> tuple[str, tuple[int, int] | None]:
    match = re.fullmatch(r"(.+):(\d+):(\d+)", text, re.ASCII)
    if text and (Path(text).exists() or ":" not in text):
        return text, None
    if match is None:
        expected = "expected CAMERA, FOLDER or VIDEO, with :START:STOP if you like"
        raise UsageError(f"--clip {text}: {expected}", hint="--clip c05:0:24")
    return match[1], (int(match[2]), int(match[3]))


def _about_to(clip: Clip, fit: Fit, places: Places) -> list[str]:
    """What is done to a clip that nobody asked for in words."""
    from litdome.train_plugins.clips import FRONT_VIEW

    said = []
    if fit.shown != fit.size:
        said.append(f"{clip.name}: {_px(fit.size)} goes into the model's {_px(fit.frame)} as {_px(fit.shown)}")
    elif fit.frame != fit.size:
        said.append(f"{clip.name}: {_px(fit.size)} is padded to {_px(fit.frame)} and cut back")
    if clip.world_from_camera is FRONT_VIEW:
        said.append(f"{clip.name}: seen from the front (no --camera-pose), the HDRI's centre behind the subject")
    if clip.has_matte and places.output.suffix.lower() == ".mp4":
        said.append(f"{places.output}: an mp4 has no alpha; -o FOLDER keeps it")
    return said


def _px(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} px"


COMMANDS = [relight]
