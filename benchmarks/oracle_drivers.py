"""Perfect alignment as drivers: the flat picture at the relit time of every sample, out of a simulated take's truth.

    python benchmarks/oracle_drivers.py RECORDING SESSION DATASET FOLDER
    litdome train relighter DATASET --set drivers=FOLDER

The pictures are framed like the dataset's own. They have no sensor noise, and they are opaque: no mask is applied.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from litdome.datasets.views import DatasetView, open_dataset
from litdome.geometry import Camera, Resampler
from litdome.store.session import Session
from litdome.train_plugins.drivers import Driver, DriverRecord, Fold, UInt8Array, write_drivers

FOLD = "truth"  # computed, not trained: it saw nothing


def framing(view: DatasetView, session: str, index: int, camera: Camera) -> Resampler:
    """From a session camera's pictures to the dataset's."""
    height, width = view.shape("flat")[1:3]
    intrinsics = view.reader.table(f"rig/{session}/intrinsics")[index]
    return Resampler.between(camera, replace(camera.undistorted(), width=width, height=height, intrinsics=intrinsics))


def true_pictures(view: DatasetView, recording: Path, session: Session, name: str) -> Iterator[Driver]:
    """The drivers of one session's samples."""
    sessions = [str(about["name"]) for about in view.attrs["sessions"]]
    own = view.where(session=sessions.index(name))
    lookups: dict[int, Resampler] = {}
    for n, (index, pair) in enumerate(zip(own.column("camera").tolist(), own.column("pair").tolist(), strict=True)):
        id = session.cameras[index]
        camera = session.rig[id]
        lookup = lookups.setdefault(index, framing(view, name, index, camera))
        file = recording / "truth/flat_at_relit" / id / f"{session.pairs.relit_frame[pair]:06d}.png"
        picture = np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)
        if picture.shape[1::-1] != (camera.width, camera.height):  # the session was stored smaller
            picture = np.asarray(cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA))
        shown = own.codes(n, "weight") > 0  # not padding
        framed: UInt8Array = lookup(picture) * shown[..., None]
        opaque = np.full((*framed.shape[:2], 1), 255, np.uint8)
        yield Driver(FOLD, name, id, pair, np.concatenate([framed, opaque], axis=2))


def write_oracle(recording: Path, session: Session, view: DatasetView, folder: Path) -> None:
    """Drivers for the samples of the dataset's only session."""
    name = str(view.attrs["sessions"][0]["name"])
    everything = {name: ((0, len(session.pairs)),)}
    height, width = view.shape("flat")[1:3]
    fold = Fold(name=FOLD, run="simulated", held_out=everything)
    record = DriverRecord(dataset=view.fingerprint, size=(height, width), folds=(fold,))
    write_drivers(folder, record, true_pictures(view, recording, session, name))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    recording, url, dataset, folder = sys.argv[1:]
    write_oracle(Path(recording), Session.open(url), open_dataset(Path(dataset)), Path(folder))
