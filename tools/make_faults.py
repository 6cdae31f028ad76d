"""The picture of every fault in docs/simulated-stage.md: python tools/make_faults.py docs/simulated-faults.jpg

One small take is filmed and stored once without faults and once with each; what is shown is read back from the files:
four pictures around the fault of the camera that it hits, under each what lights.csv and timestamps.csv say of it.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import LitdomeError
from litdome.media.images import iter_source
from litdome.media.planes import rgb_from_planes
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.description import CLOCK_START_NS
from litdome.synth.faults import FAULTS, draw_faults
from litdome.synth.film import Shot, shoot
from litdome.synth.recording import plan_take, write_take
from litdome.synth.truth import RecordingTruth

Picture = npt.NDArray[np.uint8]
WIDTH, HEIGHT, CAPTION, LINE, GAP = 96, 168, 18, 13, 10  # px
SHOWN, COLUMNS = 4, 3
MIDDLE = 5  # of the take's 13 frames: about where faults are seen that last
INK, SOFT, PAPER, NOTHING = (20, 20, 20), (90, 90, 90), 255, 205
OUTLINE = (255, 220, 0)


def stored_pictures(truth: RecordingTruth, camera: int) -> dict[int, Picture]:
    """What can be read of a camera's file, by rig frame; the rest of a file that cannot be read says so."""
    found: dict[int, Picture] = {}
    path = truth.folder / "cameras" / f"{truth.rig.ids[camera]}.mp4"
    try:
        codes_of = iter_source(path)
        for frame, codes in zip(truth.stored(camera), codes_of, strict=False):  # a spoilt file ends early
            found[frame] = rgb_from_planes(codes.luma, codes.chroma, matrix="bt709")
    except LitdomeError:
        why = placeholder("unreadable" if path.exists() else "no file")
        return dict.fromkeys(truth.stored(camera), why) | found
    return found


def placeholder(text: str) -> Picture:
    """In the place of a picture."""
    out = np.full((HEIGHT, WIDTH, 3), NOTHING, np.uint8)
    write(out, text, 19, HEIGHT // 2, SOFT)
    return out


def said_lights(truth: RecordingTruth) -> dict[int, str]:
    """What lights.csv says of each rig frame."""
    path = truth.folder / "lights.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        return {int(row["frame"]): row["hdri"].rsplit("_", 1)[0] or row["kind"] for row in csv.DictReader(stream)}


def said_times(truth: RecordingTruth, camera: int) -> dict[int, str]:
    """What timestamps.csv says of a camera's pictures, by rig frame."""
    path = truth.folder / "timestamps.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["camera"] == truth.rig.ids[camera]]
    return {frame: clock(int(row["time_ns"])) for frame, row in zip(truth.stored(camera), rows, strict=True)}


def clock(time_ns: int) -> str:
    """Hours and milliseconds since the take began."""
    hours, rest = divmod(time_ns - CLOCK_START_NS + 1_000_000, 3_600_000_000_000)
    return f"{hours} h " * (hours > 0) + f"{rest / 1e6 - 1:.0f} ms"


def write(picture: Picture, text: str, x: int, y: int, ink: tuple[int, int, int], size: float = 0.33) -> None:
    """Put a line of text into a picture."""
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def outlined(picture: Picture, mask: npt.NDArray[np.uint8]) -> Picture:
    """The picture with a mask's outline."""
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), contours, -1, OUTLINE, 1))


def cell(name: str, truth: RecordingTruth, shots: list[tuple[Shot, ...]]) -> Picture:
    """A fault's name, four pictures around it and what is said of them."""
    fault = next(iter(truth.faults), None)
    camera = truth.rig.ids.index(fault.camera) if fault and fault.camera else 1
    hit = fault.frames if fault else ()
    first = hit[-1 if name == "late-camera" else 0] - 1 if hit else 0 if name == "garbled" else MIDDLE
    pictures, lights, times = stored_pictures(truth, camera), said_lights(truth), said_times(truth, camera)
    out = np.full((CAPTION + HEIGHT + 2 * LINE + 6, SHOWN * WIDTH, 3), PAPER, np.uint8)
    write(out, name, 1, CAPTION - 5, INK, 0.45)
    for k, frame in enumerate(range(first, first + SHOWN)):
        x, below = k * WIDTH, CAPTION + HEIGHT
        picture = pictures.get(frame, placeholder("no picture"))
        if name == "knocked-lens":
            picture = outlined(picture, shots[frame][camera].mask)  # where the person should be
        out[CAPTION:below, x : x + WIDTH - 1] = picture[:, : WIDTH - 1]
        write(out, lights.get(frame, "light ?"), x + 2, below + LINE - 2, SOFT)
        write(out, times.get(frame, "time ?"), x + 2, below + 2 * LINE - 2, SOFT)
    return out


def main() -> None:
    """Read the command line."""
    size = {"width": WIDTH, "height": HEIGHT, "cameras": 3, "pairs": 6, "hdris": 3}
    take = plan_take(Path("take"), subject="s2", camera=CameraSetup(face_cameras=0), seed=7, **size)
    shots = list(shoot(take.film, 2))
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing wrong", *FAULTS):
            faults = draw_faults([name] if name in FAULTS else [], take.truth.rig.ids, len(shots))
            truth = replace(take.truth, folder=Path(folder) / name, faults=faults)
            write_take(truth.folder, replace(take, truth=truth), iter(shots))
            cells.append(cell(name, truth, shots))
    cells += [np.full_like(cells[0], PAPER)] * (-len(cells) % COLUMNS)
    framed = [np.pad(one, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=PAPER) for one in cells]
    rows = [np.concatenate(framed[k : k + COLUMNS], axis=1) for k in range(0, len(framed), COLUMNS)]
    cv2.imwrite(sys.argv[1], np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])


if __name__ == "__main__":
    main()
