"""Check a dataset: every array readable, every sample consistent, no recorded frame in both train and a test."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from litdome.datasets.views import DatasetView, open_dataset
from litdome.progress import Progress, silent


def check_dataset(path: Path, *, progress: Progress = silent) -> list[str]:
    """Findings about a dataset, one line each; empty when it is fine.

    Raises:
        StoreError: No dataset there, or unfinished.
    """
    view = open_dataset(path)
    findings = leaks(view)
    if "train" not in view.splits:
        findings.append(f"{path}: no training sample; litdome dataset build --set splits.lights=0, or record more")
    progress("check", 0, len(view))
    for i in range(len(view)):
        findings += sample_findings(view, i)
        progress("check", i + 1, len(view))
    return findings


def leaks(view: DatasetView) -> list[str]:
    """Recorded frames of one camera that train and a test both show: (session, camera, frame)."""
    shown: dict[tuple[int, int, float], set[str]] = defaultdict(set)
    keys = ["session", "camera", "time_flat", "time_relit"]
    for name in view.splits:
        part = view.split(name)
        for i in range(len(part)):
            sample = part.read(i, keys)
            where = int(sample["session"][0]), int(sample["camera"][0])
            for key in ("time_flat", "time_relit"):
                shown[*where, float(sample[key][0])].add(name)
    return [
        f"session {session} camera {camera}: the frame at {time:.3f} s is in {', '.join(sorted(names))}"
        for (session, camera, time), names in sorted(shown.items())
        if "train" in names and len(names) > 1
    ]


def sample_findings(view: DatasetView, index: int) -> list[str]:
    """What is wrong with one sample."""
    sample = view[index]
    findings = [f"sample {index}: {key} holds NaN" for key, value in sample.items() if bool(value.isnan().any())]
    if float(sample["mask"].sum()) == 0:
        findings.append(
            f"sample {index}: empty mask (camera {int(sample['camera'][0])}, pair {int(sample['pair'][0])})"
        )
    return findings
