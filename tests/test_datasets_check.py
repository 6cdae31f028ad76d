"""What a check finds: damage, unsound samples, leaks, duplicates, what changed; a sound dataset has none of it."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zarr
from baked_take import make_take, write_record

from litdome.cli import run
from litdome.datasets.build import build_dataset
from litdome.datasets.check import check_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.store.decisions import Decision, add_decision
from litdome.store.session import Session

SMALL = {"size": {"height": 48, "width": 80, "fit": "full"}}
NOTHING_HELD = {"lights": 0, "motion_from": None, "cameras": 0}


def bake(session: Session, out: Path, **splits: object) -> Path:
    spec = DatasetSpec.model_validate({**SMALL, **({"splits": splits} if splits else {})})
    assert build_dataset([session], out, spec, workers=1) is not None
    return out


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A take of three cameras and three lights."""
    return make_take(tmp_path_factory.mktemp("takes") / "one.zarr")


@pytest.fixture(scope="module")
def sound(session: Session) -> Path:
    """A dataset of it that holds nothing out."""
    return bake(session, Path(session.url).parent / "sound", **NOTHING_HELD)


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound dataset to spoil."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def test_a_sound_dataset_has_no_findings(sound: Path) -> None:
    assert check_dataset(sound) == []


def test_a_leak_of_each_kind_is_found(session: Session, tmp_path: Path) -> None:
    """Samples moved between splits."""
    out = bake(session, tmp_path / "data", lights=["sun"], motion_from=0.8, cameras=["c02"])
    root = zarr.open_group(out, mode="r+")
    names, array = list(root.attrs["splits"]), root["samples/split"]
    stored = array[...]
    assert check_dataset(out) == []
    for name, said in (("test_light", "light one/sun"), ("test_motion", "read frames"), ("test_camera", "camera c02")):
        moved = stored.copy()
        moved[np.flatnonzero(stored == names.index(name))[0]] = names.index("train")
        array[...] = moved
        found = check_dataset(out)
        assert any(said in line for line in found), (name, found)
    array[...] = stored


def test_consent_that_ends_later_is_a_finding(tmp_path: Path) -> None:
    consent = {"uses": ["train"], "expires": date.max.isoformat()}
    session = make_take(tmp_path / "take.zarr", cameras=("c00",), consent=consent)
    out = bake(session, tmp_path / "data")
    assert check_dataset(out) == []
    root = zarr.open_group(out, mode="r+")
    about = [dict(each) for each in root.attrs["sessions"]]
    about[0]["consent"] = {"uses": ["train"], "expires": "2020-01-01"}
    root.attrs["sessions"] = about
    assert check_dataset(out) == ["take (subject s0): the consent ended on 2020-01-01"]
    session.set_attrs("", consent={"withdrawn": "2026-02-03"})
    assert f"{session.url} (subject s0): the subject withdrew consent on 2026-02-03" in check_dataset(out)


def test_what_changed_is_said_by_a_second_build_and_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = make_take(tmp_path / "take.zarr", cameras=("c00",))
    out = bake(session, tmp_path / "data")
    assert check_dataset(out) == []
    write_record(session, "align", {"seed": "again"}, version=2)
    add_decision(session.url, Decision("drop", None, ((2, 4),), "blurred", "me"))
    found = check_dataset(out)
    assert found == [
        "take: changed by align since it was baked",
        "take: decisions: 0 then, 1 now since it was baked",
    ]
    command = ["-q", "dataset", "build", session.url, "-o", str(out), "--set", "size.height=64"]
    assert run(command) == 2
    said = capsys.readouterr().err
    assert "take: changed by align; take: decisions: 0 then, 1 now; size.fit: full then, person now" in said
    assert run(["-q", "dataset", "check", str(out)]) == 1
    shutil.move(session.url, tmp_path / "moved.zarr")  # a dataset that travels has nothing to compare with
    assert check_dataset(out) == []


def test_damage_is_found_where_it_is(out: Path) -> None:
    shard = out / "cameras" / "one" / "c01" / "relit" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    found = check_dataset(out)
    assert len(found) == 1 and "one/c01 pair 0 (sample 24): cannot be read" in found[0]


def test_unsound_samples_are_found(out: Path) -> None:
    root = zarr.open_group(out, mode="r+")
    camera = root["cameras/one/c00"]
    for name, row, value in (("mask", 2, 0), ("relit", 3, 0), ("flat", 4, 200)):
        stored = camera[name][...]
        stored[row] = value
        camera[name][...] = stored
    relit = camera["relit"][...]
    relit[7] = relit[6]
    camera["relit"][...] = relit
    lights = root["hdri_views/one/c02/ldr"]
    maps = lights[...]
    maps[1] = 0
    lights[...] = maps
    assert check_dataset(out) == [
        "one/c00 pair 2 (sample 2): empty mask",
        "one/c00 pair 3 (sample 3): relit is empty",
        "one/c00 pair 4 (sample 4): flat shows something where the weight is 0",
        "one/c00: 1 relit pictures come twice, for one, one/c00 pair 6 (sample 6) and one/c00 pair 7 (sample 7)",
        "one/c02: light sky, ldr map: empty",
    ]


def test_an_edited_spec_is_found(out: Path) -> None:
    root = zarr.open_group(out, mode="r+")
    spec = json.loads(json.dumps(root.attrs["spec"]))
    spec["splits"]["seed"] = 7
    root.attrs["spec"] = spec
    assert check_dataset(out) == ["the spec is not the one that was baked: it was edited"]
