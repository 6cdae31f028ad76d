"""A small take with everything in it: filmed, ingested, calibrated, and taken through every stage."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from stored_take import digests

from litdome.calib.exchange import write_transforms
from litdome.pipeline import config_for, ingest_recording, processing_stages, run_stage
from litdome.store.session import Session
from litdome.synth import make_recording


def whole_take(url: str, work: Path) -> Session:
    """Film into ``work`` and process into ``url``; the second camera loses a picture."""
    size = {"cameras": 2, "pairs": 3, "width": 64, "height": 112, "hdris": 2, "lights": 16}
    truth = make_recording(work / "take", **size, boards=False, faults=("drop-frame",))
    write_transforms(work / "transforms.json", truth.rig)
    ingest_recording(work / "take", url, {})
    session = Session.open(url, writable=True)
    tables = {
        "calibrate": {"source": "import", "import_file": str(work / "transforms.json")},
        "hdri": {"height": 44, "width": 80},
    }
    for stage in processing_stages().values():
        run_stage(session, stage, config_for(stage, tables))
    return session


if __name__ == "__main__":  # python tests/whole_take.py tests/stores/NAME: keeps a take of the installed version
    kept = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        made = digests(whole_take(str(kept / "take.zarr"), Path(folder)))
    (kept / "take.json").write_text(json.dumps(made, indent=1) + "\n")
