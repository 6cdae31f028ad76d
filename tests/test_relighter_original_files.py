"""TorchScript archives are read as torch reads them, without their program."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from original_renderer import module_of

from litdome.errors import InputError
from litdome.train_plugins.relighter.original_files import hash_file, read_torchscript

STATE = {
    "encoder.down.0.conv3d.weight": torch.arange(24.0).reshape(2, 3, 4),
    "encoder.down.0.conv3d.bias": torch.randn(2, generator=torch.Generator().manual_seed(0)).bfloat16(),
    "encoder.norm.weight": torch.ones(3, dtype=torch.float16),
    "patch._arange": torch.arange(4),
}


@pytest.mark.parametrize("how", ["trace", "script"])
def test_the_tensors_are_those_that_torch_reads(tmp_path: Path, how: str) -> None:
    file, module = tmp_path / "encoder.jit", module_of(STATE)
    made = torch.jit.trace(module, torch.zeros(1)) if how == "trace" else torch.jit.script(module)
    made.save(str(file))
    found, theirs = read_torchscript(file), torch.jit.load(str(file)).state_dict()
    assert found.keys() == theirs.keys() == STATE.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in theirs.items())


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


def test_an_archive_that_names_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "encoder.jit"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("encoder/data.pkl", pickle.dumps(_Code(), protocol=2))
    with pytest.raises(InputError, match=r"wants code \(__builtin__.eval\)"):
        read_torchscript(file)


def test_hashes_are_the_well_known_ones(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    found = hash_file(tmp_path / "abc")
    assert found.md5 == "900150983cd24fb0d6963f7d28e17f72"
    assert found.sha256.startswith("ba7816bf8f01cfea")
