"""Examine the installation: Python, packages, what owns cv2, the trainer's base, the GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from litdome.weights import look_for_weights

OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
BASE_PACKAGES = ("numpy", "scipy", "zarr", "dask", "av", "click", "pydantic", "OpenEXR", "embreex")
TRAIN_PACKAGES = ("torch", "diffusers", "peft", "safetensors")


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it is fine, what was found, and what to type if not."""

    name: str
    ok: bool
    found: str
    hint: str = ""


def examine() -> list[Finding]:
    """All checks; nothing heavy is imported but torch, where it is installed."""
    checks: tuple[Callable[[], Finding], ...] = (
        python_version,
        base_packages,
        one_opencv,
        train_packages,
        no_torchvision,
        embedded_base,
        gpu,
    )
    return [check() for check in checks]


def python_version() -> Finding:
    """Python 3.11 to 3.13."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 13), found, "use Python 3.11, 3.12 or 3.13")


def base_packages() -> Finding:
    """The packages that every command needs."""
    return _packages("packages", BASE_PACKAGES, "pip install litdome")


def train_packages() -> Finding:
    """The packages of the train extra; without them there is no training, all else works."""
    found = _packages("train extra", TRAIN_PACKAGES, "pip install 'litdome[train]'")
    return found if found.ok else Finding(found.name, True, f"not installed ({found.found}); {found.hint}")


def one_opencv() -> Finding:
    """All owners of cv2 at one version: they write the same files, and pip does not notice."""
    owners = {name: version for name in OPENCV_PACKAGES if (version := _version(name))}
    found = ", ".join(f"{name} {version}" for name, version in owners.items()) or "none"
    hint = "pip uninstall all of them, then pip install -c constraints.txt opencv-python"
    return Finding("cv2", len(set(owners.values())) == 1, found, hint)


def no_torchvision() -> Finding:
    """A CPU torch and a CUDA torchvision do not import beside each other."""
    torch, torchvision = _version("torch"), _version("torchvision")
    clash = bool(torchvision) and "+cpu" in (torch or "") and "+cpu" not in (torchvision or "")
    return Finding("torchvision", not clash, torchvision or "not installed (good)", "pip uninstall torchvision")


def embedded_base() -> Finding:
    """The tiny base that ships with the package."""
    tiny = look_for_weights(("tiny",), whole=True)[0]
    found = f"{tiny.bytes / 1e6:.1f} MB" if tiny.state == "there" else f"{tiny.state} {tiny.detail}".strip()
    return Finding("tiny base", tiny.state == "there", found, tiny.next_step)


def gpu() -> Finding:
    """A GPU is good to have; everything here runs without one."""
    if not _version("torch"):
        return Finding("gpu", True, "unknown without torch")
    import torch

    return Finding("gpu", True, torch.cuda.get_device_name() if torch.cuda.is_available() else "none (CPU only)")


def _packages(name: str, packages: tuple[str, ...], hint: str) -> Finding:
    missing = [package for package in packages if not _version(package)]
    found = f"missing: {', '.join(missing)}" if missing else f"all {len(packages)} there"
    return Finding(name, not missing, found, hint)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
