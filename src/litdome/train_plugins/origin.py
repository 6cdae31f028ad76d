"""What a relit picture comes from: the run and what it was trained on, the clip, the light, and who agreed to what."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import litdome
from litdome.datasets.views import DatasetView, open_dataset
from litdome.datasets.withdrawal import need_consent, subjects_of
from litdome.errors import PluginError
from litdome.train_plugins.clips import Clip, FilePictures, PartOfPictures
from litdome.train_plugins.fitting import Fit, Size
from litdome.train_plugins.run import RunFolder

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"  # IPTC's word


@dataclass(frozen=True)
class Training:
    """What a run was trained on.

    Attributes:
        data: Its dataset; None where that is not on this machine.
        frame: Height and width of its pictures, px; None where the dataset is not here.
        subjects: Whom it shows; pseudonyms.
        consents: What they agreed to, one for each session.
        notes: What somebody who uses the run should know, one sentence each.
    """

    data: DatasetView | None
    frame: Size | None
    subjects: tuple[str, ...]
    consents: tuple[Any, ...] | None
    notes: tuple[str, ...] = ()


def find_training(run: RunFolder) -> Training:
    """What a run was trained on, as far as it is here.

    Raises:
        ConsentError: Somebody whom it shows no longer agrees.
        StoreError: The dataset is here and damaged.
    """
    place = Path(run.record.dataset)
    if not place.exists():
        note = f"{place}, which {run.path} was trained on, is not here: consent and picture size are not known"
        return Training(None, None, run.record.subjects, None, (note,))
    data = open_dataset(place)
    sessions = data.attrs["sessions"]
    need_consent(sessions, None, data.path)
    _, height, width = data.shape("flat")[:3]
    return Training(data, (height, width), subjects_of(sessions), tuple(session.get("consent") for session in sessions))


def provenance(
    run: RunFolder,
    training: Training,
    clip: Clip,
    hdri: Path,
    fit: Fit,
    *,
    rotate_deg: Sequence[float],
    gain: Sequence[float],
    backdrop: float,
    seed: int,
) -> dict[str, Any]:
    """What relit pictures say of themselves; the same inputs and options give the same.

    Raises:
        PluginError: The run has no checkpoint yet.
    """
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise PluginError(f"{run.path}: no checkpoint yet", hint=f"litdome train --resume {run.path}")
    return {
        "synthetic": True,
        "digital_source_type": SYNTHETIC,
        "software": f"litdome {litdome.__version__}",
        "run": str(run.path.resolve()),
        "plugin": run.record.plugin,
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": _hash_of_folder(checkpoint),
        "subjects": list(training.subjects),
        "consent": None if training.consents is None else list(training.consents),
        "clip": clip.name,
        **_source_of(clip),
        "pictures": len(clip.pictures),
        "hdri": hdri.name,
        "hdri_sha256": hashlib.sha256(hdri.read_bytes()).hexdigest(),
        "hdri_convention": clip.convention,
        "rotate_deg": list(rotate_deg),
        "gain": list(gain),
        "light_gain": clip.light_gain,
        "world_from_camera": [[round(float(value), 9) for value in row] for row in clip.world_from_camera],
        "size": list(fit.shown),
        "frame": list(fit.frame),
        "backdrop": backdrop,
        "seed": seed,
    }


def _hash_of_folder(folder: Path) -> str:
    """Of the weights of a checkpoint, averaged ones too; the state of its optimizer does not count."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        if not path.stem.startswith("optimizer"):
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _source_of(clip: Clip) -> dict[str, Any]:
    """Which pictures of which files a clip holds; files that changed meanwhile are another clip."""
    part = clip.pictures
    if not isinstance(part, PartOfPictures) or not isinstance(part.pictures, FilePictures):
        return {}
    size = sum(path.stat().st_size for path in part.pictures.files)
    return {"clip_path": str(part.pictures.source.resolve()), "clip_bytes": size, "clip_part": [part.start, part.stop]}
