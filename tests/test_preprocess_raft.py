from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from preprocess_scene import HEIGHT, WIDTH, make_scene, write_session

from litdome.errors import ConfigError, InputError, MissingWeightsError
from litdome.preprocess.flow import Flow, FlowConfig, coarse_flow, shrink, working_size

torch = pytest.importorskip("torch", reason="RAFT needs torch")

from litdome.preprocess.raft.weights import RaftFlow, load_raft  # noqa: E402

# What torchvision 0.28 and princeton-vl/RAFT 13198c3 give for `pictures` with `random_weights` after three corrections
# (every 8th row from 1 and column from 2), and the names and shapes of their weights.
ORACLE = np.load(Path(__file__).parent / "data" / "raft.npz")
SHAPES: dict[str, dict[str, list[int]]] = json.loads(ORACLE["shapes"].tobytes())
PICTURES = ["torchvision_large", "torchvision_small", "princeton_large", "princeton_small"]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A texture, and it moved by about (3, -2) px; shape (136, 160, 3)."""
    y, x = np.mgrid[:136, :160].astype(np.float64)

    def texture(dx: np.ndarray | float, dy: float) -> np.ndarray:
        u, v = x - dx, y - dy
        waves = [np.sin(u / 7 + 2 * np.sin(v / 19)), np.cos(v / 5 - u / 23), np.sin((u + v) / 11) * np.cos(v / 9)]
        return np.uint8(np.round(127 + 100 * np.stack(waves, -1)))

    return texture(0.0, 0.0), texture(3 + np.sin(y / 30), -2.0)


def random_weights(name: str) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(5)
    state = {}
    for key, shape in SHAPES[name].items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 25
        values = rng.standard_normal(shape) / fan**0.5
        state[key] = torch.from_numpy((values**2 + 0.5 if key.endswith("running_var") else values).astype(np.float32))
    return state


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("raft") / "small.pth", random_weights("torchvision_small"))


def difference(network: RaftFlow, name: str) -> float:
    found = np.stack(network(*pictures(), corrections=3))
    return float(np.abs(found[:, 1::8, 2::8] - ORACLE[name]).max())


@pytest.mark.parametrize("name", PICTURES)
def test_the_network_gives_what_the_published_code_gives(name: str, tmp_path: Path) -> None:
    state = random_weights(name)
    assert difference(load_raft(save(tmp_path / "a.pth", state), device="cpu"), name) < 1e-4  # px, of motions of 10 px
    key = next(key for key in state if "flow_head.conv2.weight" in key)
    state[key] = state[key] * 1.01
    assert difference(load_raft(save(tmp_path / "b.pth", state), device="cpu"), name) > 1e-2


def test_pictures_of_any_size_keep_it(small: Path) -> None:
    first, second = (picture[:100, :77] for picture in pictures())
    forward, backward = load_raft(small, device="cpu")(first, second, corrections=1)
    assert forward.shape == backward.shape == (100, 77, 2) and np.isfinite(forward).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("feature_encoder.conv.bias"), "1 of the network are not in it, features.last.bias"),
        (lambda state: state.update({"head.extra": torch.zeros(1)}), "1 are not the network's, head.extra"),
        (lambda state: state.update({"feature_encoder.conv.bias": torch.zeros(3)}), "1 have another shape, features"),
    ],
)
def test_other_weights_are_refused_by_name(change: object, said: str, tmp_path: Path) -> None:
    state = random_weights("torchvision_small")
    change(state)  # type: ignore[operator]
    with pytest.raises(InputError, match=said):
        load_raft(save(tmp_path / "w.pth", state))


def test_a_file_without_weights_is_told_from_a_missing_one(tmp_path: Path, small: Path) -> None:
    with pytest.raises(MissingWeightsError, match="no such file") as missing:
        load_raft(tmp_path / "none.pth")
    assert missing.value.exit_code == 7 and "BSD-3" in str(missing.value.hint)
    (tmp_path / "words.pth").write_text("not found")
    for path in (tmp_path / "words.pth", save(tmp_path / "list.pth", [1, 2]), save(tmp_path / "n.pth", {"a": 1})):
        with pytest.raises(InputError, match=r"no (table of )?weights"):
            load_raft(path)
    with pytest.raises(InputError, match="no weights"):  # a pickle that would run code is not opened
        load_raft(save(tmp_path / "code.pth", Path("x")))
    with pytest.raises(ConfigError, match=r"flow.device = nowhere"):
        load_raft(small, device="nowhere")


def test_the_flow_stage_runs_raft_where_it_is_asked_to(tmp_path: Path, small: Path) -> None:
    scene = make_scene(5)
    session = write_session(tmp_path / "s.zarr", scene)
    stage, config = Flow(), FlowConfig(method="raft", weights=str(small), long_side_px=128, device="cpu")
    assert stage.input_files(session, config) == [small]
    for unit in stage.prepare(session, config):
        stage.run(session, config, unit)
    assert stage.finish(session, config) == {"measured": 2, "pairs": 2}
    size = working_size(WIDTH, HEIGHT, 128)
    forward, backward = load_raft(small, device="cpu")(*(shrink(scene.flats[n], size) for n in (1, 2)))
    for path, flow in (("motion/c00", forward), ("motion_backward/c00", backward)):
        wanted = coarse_flow(flow, config.stride_px, HEIGHT, WIDTH)
        np.testing.assert_allclose(session.read_at(path, 1), wanted, rtol=1e-3, atol=1e-3)  # stored as f2


def test_what_only_raft_reads_is_not_recorded_for_dis() -> None:
    assert FlowConfig(weights="x.pth", device="cpu").recorded() == {"long_side_px": 640, "stride_px": 8}
    recorded = FlowConfig(method="raft", weights="x.pth", device="cuda").recorded()
    assert recorded == {"long_side_px": 640, "stride_px": 8, "method": "raft", "weights": "x.pth"}


def test_raft_without_weights_writes_nothing(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", make_scene(3))
    with pytest.raises(MissingWeightsError, match="no weights are named"):
        Flow().prepare(session, FlowConfig(method="raft"))
    assert not session.has("motion/c00")
