"""The README's picture, from a finished demo: python tools/make_picture.py demo docs/demo.jpg

Upper rows: flat-lit and relit pictures of all cameras with the masks' outlines. Last row: the held-out camera, flat
and as the fine-tuned tiny base lights it under an HDRI that it never saw in training.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import litdome
from litdome.report.sheets import outline_mask, video_frames
from litdome.stage import PairKind
from litdome.store.session import Session

WIDTH, ROW = 1200, 300
Picture = npt.NDArray[np.uint8]


def row_of(session: Session, kind: PairKind, pair: int) -> Picture:
    """All cameras side by side, the person outlined."""
    shown = [
        outline_mask(np.asarray(session.read_rgb(id, kind, pair)), session.read_mask(id, kind, pair))
        for id in session.cameras
    ]
    return fit(np.concatenate([cv2.resize(p, (p.shape[1] * ROW // p.shape[0], ROW)) for p in shown], axis=1))


def fit(picture: npt.NDArray[np.generic]) -> Picture:
    """Scaled to the picture's width."""
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    return np.asarray(cv2.resize(np.asarray(picture, np.uint8), (WIDTH, height), interpolation=cv2.INTER_AREA))


def main() -> None:
    """Read the command line."""
    demo, out = Path(sys.argv[1]), Path(sys.argv[2])
    session = litdome.open_session(str(demo / "take01.zarr"))
    frames = video_frames(demo / "relit.mp4", 3, 640)
    rows = [row_of(session, "flat", 4), row_of(session, "relit", 4), fit(np.concatenate(frames, axis=1))]
    sheet = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(out), sheet, [cv2.IMWRITE_JPEG_QUALITY, 86])


if __name__ == "__main__":
    main()
