"""Published weights that litdome can use: what they are for, whose they are, where they go, whether they are whole."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from litdome.errors import UsageError
from litdome.progress import Progress, silent

BASE_RECORD = "base.json"
SHIPPED_BASE = Path(__file__).parent / "train_plugins" / "relighter" / "base"
State = Literal["there", "missing", "damaged"]


@dataclass(frozen=True)
class Weights:
    """One set of weights.

    Attributes:
        name: What it is called here: a file or a folder of the weights folder.
        use: What it is for.
        licence: Its authors' terms for the weights.
        get: How to get it and where to put it; ``{path}`` is its place.
        say: What to type to use it; ``{path}`` is its place.
        sha256_start: First digits of its hash, where its authors publish them.
        kind: base (a folder of `litdome weights convert`), file, or hub (a folder with config.json).
        shipped: Whether it comes with litdome.
    """

    name: str
    use: str
    licence: str
    get: str
    say: str
    sha256_start: str = ""
    kind: Literal["base", "file", "hub"] = "file"
    shipped: bool = False

    def path(self, folder: Path) -> Path:
        """Where it lies, in a weights folder."""
        return SHIPPED_BASE if self.shipped else folder / self.name


@dataclass(frozen=True)
class Found:
    """What was found of one set of weights.

    Attributes:
        weights: Which.
        path: Where it is, or should be.
        state: there, missing or damaged.
        detail: Hash or note of what is there, or what is wrong.
        bytes: Its size, 0 if missing.
    """

    weights: Weights
    path: Path
    state: State
    detail: str
    bytes: int

    @property
    def next_step(self) -> str:
        """What to do: how to get it, or what to type to use it."""
        text = self.weights.say if self.state == "there" else self.weights.get
        return text.format(path=self.path, parent=self.path.parent)


_TORCHVISION = "curl -L --create-dirs -o {path} https://download.pytorch.org/models/"
_LPIPS = (
    "curl -L --create-dirs -o {path} https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
)
_NVIDIA = (
    "hf download nvidia/Diffusion_Renderer_Forward_Cosmos_7B --local-dir forward && "
    "hf download nvidia/Cosmos-Tokenize1-CV8x8x8-720p --local-dir tokenizer && "
    "litdome weights convert forward/model.pt --tokenizer tokenizer --dtype bfloat16 -o {path}"
)
PUBLISHED: tuple[Weights, ...] = (
    Weights(
        "tiny", "relighter, small base to walk the whole way", "Apache-2.0", "pip install --force-reinstall litdome",
        "litdome train relighter DATASET", kind="base", shipped=True,
    ),
    Weights(
        "cosmos-7b", "relighter, DiffusionRenderer's forward model and its tokenizer", "NVIDIA Open Model License",
        _NVIDIA, "litdome train relighter DATASET --set base=cosmos-7b", kind="base",
    ),
    Weights(
        "wan2.1-t2v-1.3b", "relighter, another base beside Cosmos", "Apache-2.0",
        "hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --exclude 'text_encoder/*' --local-dir {path}",
        "litdome train relighter DATASET --set base=wan2.1-t2v-1.3b", kind="hub",
    ),
    Weights(
        "raft_large_C_T_SKHT_V2-ff5fadd5.pth", "optical flow, in place of DIS", "BSD-3-Clause",
        _TORCHVISION + "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "litdome flow SESSION --set flow.method=raft --set flow.weights={path}", "ff5fadd5",
    ),
    Weights(
        "sapiens2-seg-0.4b", "masks and body parts", "Sapiens2 License",
        "hf download facebook/sapiens2-seg-0.4b --local-dir {path}",
        "litdome segment SESSION --set segment.source=sapiens --set segment.weights={path}", kind="hub",
    ),
    Weights(
        "selfie_multiclass_256x256.tflite", "masks on a CPU", "Apache-2.0",
        "curl -L --create-dirs -o {path} https://storage.googleapis.com/mediapipe-models/image_segmenter/"
        "selfie_multiclass_256x256/float32/latest/selfie_multiclass_256x256.tflite",
        "litdome segment SESSION --set segment.source=mediapipe --set segment.weights={path}",
    ),
    Weights(
        "alexnet-owt-7be5be79.pth", "LPIPS, its network", "BSD-3-Clause",
        _TORCHVISION + "alexnet-owt-7be5be79.pth",
        "litdome evaluate RUN --lpips {path} {parent}/alex.pth", "7be5be79",
    ),
    Weights(
        "alex.pth", "LPIPS, its linear heads", "BSD-2-Clause", _LPIPS + "alex.pth",
        "litdome evaluate RUN --lpips {parent}/alexnet-owt-7be5be79.pth {path}",
    ),
)  # fmt: skip


def weights_folder() -> Path:
    """Where weights are looked for: ``LITDOME_WEIGHTS``, else ``~/.litdome/weights``."""
    return Path(os.environ.get("LITDOME_WEIGHTS") or Path.home() / ".litdome" / "weights").expanduser()


def look_for_weights(
    names: tuple[str, ...] = (), *, whole: bool = False, progress: Progress = silent
) -> tuple[Found, ...]:
    """What is there of the published weights.

    Args:
        names: Which; all by default.
        whole: Read every byte and compare hashes, where they are known.
        progress: Called per set.

    Raises:
        UsageError: A name that is not known.
    """
    known = {weights.name: weights for weights in PUBLISHED}
    strange = [name for name in names if name not in known]
    if strange:
        raise UsageError(f"weights {strange[0]}: unknown", hint=f"one of {', '.join(known)}")
    chosen = [known[name] for name in names] or list(PUBLISHED)
    found = []
    for done, weights in enumerate(chosen):
        progress("weights", done, len(chosen))
        found.append(_look(weights, weights.path(weights_folder()), whole))
    progress("weights", len(chosen), len(chosen))
    return tuple(found)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _look(weights: Weights, path: Path, whole: bool) -> Found:
    if not path.exists():
        return Found(weights, path, "missing", "", 0)
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    size = sum(file.stat().st_size for file in files)
    checks = {"base": _base_problem, "file": _file_problem, "hub": _hub_problem}
    problem, detail = checks[weights.kind](weights, path, whole)
    return Found(weights, path, "damaged" if problem else "there", problem or detail, size)


def _base_problem(weights: Weights, folder: Path, whole: bool) -> tuple[str, str]:
    try:
        record = json.loads((folder / BASE_RECORD).read_text(encoding="utf-8"))
        expected = dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"no {BASE_RECORD} that can be read ({error})", ""
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing", ""
        if whole and sha256_of(file) != digest:
            return f"{name} is not what was written (sha256)", ""
    sources = ", ".join(f"{source['name']} sha256 {source['sha256'][:12]}" for source in record.get("sources", []))
    return "", sources or str(record.get("note", ""))


def _file_problem(weights: Weights, file: Path, whole: bool) -> tuple[str, str]:
    with file.open("rb") as stream:
        start = stream.read(16)
    if start.lstrip()[:1] == b"<":
        return "a web page, not weights", ""
    if start[:2] == b"PK" and not zipfile.is_zipfile(file):
        return f"cut short after {file.stat().st_size} bytes", ""
    if not whole:
        return "", f"sha256 {weights.sha256_start}... expected, not read" if weights.sha256_start else ""
    digest = sha256_of(file)
    if not digest.startswith(weights.sha256_start):
        return f"sha256 {digest[:12]}, not {weights.sha256_start}...", ""
    return "", f"sha256 {digest[:12]}"


def _hub_problem(weights: Weights, folder: Path, whole: bool) -> tuple[str, str]:
    if not any((folder / name).is_file() for name in ("config.json", "transformer/config.json")):
        return "no config.json in it", ""
    parts = sorted(folder.rglob("*.safetensors"))
    if not parts:
        return "no .safetensors in it", ""
    cut = [part.name for part in parts if not _whole_safetensors(part)]
    if cut:
        return f"{cut[0]} is cut short", ""
    return "", f"sha256 {sha256_of(parts[0])[:12]}" if whole else ""


def _whole_safetensors(file: Path) -> bool:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, MemoryError, OverflowError):
            return False
    ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
    return file.stat().st_size == 8 + length + max(ends, default=0)
