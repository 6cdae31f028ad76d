"""Optical flow between successive flat-lit frames: the only frames whose light is the same, so the only motion that
can be measured. Kept at a coarse grid of full-picture pixels, forward and backward."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.errors import MissingPackageError, MissingWeightsError
from litdome.stage import PathName, SessionLike, StageConfig, Summary, UInt8Array, Unit

if TYPE_CHECKING:
    from litdome.preprocess.raft.weights import RaftFlow

Float32Array = npt.NDArray[np.float32]
Step = tuple[Float32Array, Float32Array]  # flow from a picture to the next one, and back
PATCH_STEP_PX = 2  # the preset's 3 costs 0.1 to 0.3 dB of the compensated picture on real walking people
NORMAL_MEAN, NORMAL_STD = 118.0, 56.0  # codes: three deviations fit into 0..255


def normalise_brightness(luma: UInt8Array) -> UInt8Array:
    """``luma``, shape (y, x), with mean and deviation set to fixed values, so that a lamp's drift is no motion."""
    gain = NORMAL_STD / (float(luma.std()) + 1.0)
    return np.asarray(cv2.convertScaleAbs(luma, alpha=gain, beta=NORMAL_MEAN - gain * float(luma.mean())), np.uint8)


def working_size(width: int, height: int, long_side_px: int) -> tuple[int, int]:
    """(width, height) with the long side reduced to ``long_side_px``; never enlarged."""
    scale = min(1.0, long_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(picture: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """``picture`` area-averaged to ``size`` = (width, height); itself where it has that size."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def estimate_flow(
    luma: UInt8Array,
    other: UInt8Array,
    *,
    long_side_px: int = 640,
    guesses: tuple[Float32Array | None, Float32Array | None] = (None, None),
) -> Step:
    """Dense motion between two pictures of the same light, both ways (DIS, medium preset with denser patches).

    Args:
        luma, other: Pictures, shape (y, x), uint8.
        long_side_px: Size at which the flow is computed.
        guesses: Where the search starts, forward and backward, each as the result; still where None.

    Returns:
        Forward (``luma`` to ``other``) and backward, each shape (y', x', 2), px of the reduced picture, x before y.

    Source: Kroeger et al. 2016; figures in docs/benchmarks.md.
    """
    size = working_size(luma.shape[1], luma.shape[0], long_side_px)
    first, second = (normalise_brightness(shrink(picture, size)) for picture in (luma, other))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setPatchStride(PATCH_STEP_PX)
    forward, backward = (None if guess is None else guess.astype(np.float32) for guess in guesses)  # calc writes there
    return np.asarray(dis.calc(first, second, forward)), np.asarray(dis.calc(second, first, backward))


def coarse_flow(flow: Float32Array, stride: int, height: int, width: int) -> Float32Array:
    """Sample a dense flow at the centres of ``stride`` x ``stride`` blocks of the full picture.

    Args:
        flow: Shape (y', x', 2), px of its own size.
        stride: Block size, px of the full picture.
        height, width: Of the full picture, px.

    Returns:
        Shape (2, ceil(height / stride), ceil(width / stride)), px of the full picture.
    """
    scale = np.array([width / flow.shape[1], height / flow.shape[0]])
    block = np.maximum(np.round(stride / scale), 1).astype(int)
    smooth = cv2.blur(flow, (int(block[0]), int(block[1]))) if block.max() > 1 else flow
    x = (np.arange(-(-width // stride)) + 0.5) * stride / scale[0] - 0.5
    y = (np.arange(-(-height // stride)) + 0.5) * stride / scale[1] - 0.5
    grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    sampled = cv2.remap(smooth, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.moveaxis(sampled * scale.astype(np.float32), -1, 0))


def dense_flow(
    coarse: npt.NDArray[np.floating], stride: int, height: int, width: int, size: tuple[int, int] | None = None
) -> Float32Array:
    """Expand a coarse flow to every pixel; the inverse of `coarse_flow` for smooth motion.

    Args:
        coarse: Shape (2, y / stride, x / stride), px of the full picture.
        stride: Grid step, px of the full picture.
        height, width: Of the full picture, px.
        size: (width, height) of the result when another than the full picture's; the flow is then in px of it.

    Returns:
        Shape (height, width, 2), float32.
    """
    out_width, out_height = size or (width, height)
    step_x, step_y = width / out_width / stride, height / out_height / stride
    lookup = np.array([[step_x, 0, 0.5 * step_x - 0.5], [0, step_y, 0.5 * step_y - 0.5]])
    field = np.ascontiguousarray(np.moveaxis(coarse, 0, -1), np.float32)
    if size is not None:
        field = field * np.array([out_width / width, out_height / height], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(field, lookup, (out_width, out_height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


class FlatMotion:
    """Steps of one camera from each flat frame to the next, searched twice: a fast arm that the first search loses is
    found where the steps before and after say that it must be. What is read or found once serves the steps beside."""

    def __init__(self, session: SessionLike, camera: str, long_side_px: int) -> None:
        self._session, self._camera, self._long_side_px = session, camera, long_side_px
        self._frames = session.frames("flat")
        self._luma = lru_cache(maxsize=4)(self._read_luma)
        self._alone = lru_cache(maxsize=4)(self._search_alone)

    def step(self, n: int) -> Step:
        """Flow from the n-th flat frame to the next one, and back; the camera has both.

        The second search starts from the velocity of the neighbouring step at the same pixels, as if nothing sped up.
        Nothing reaches farther than one step beyond, so it does not matter where a shard begins.
        """
        before, after = (self._alone(beside) if self._has_both(beside) else None for beside in (n - 1, n + 1))
        if before is None and after is None:
            return self._alone(n)
        guesses = (
            None if before is None else self._lasting(before[1], n - 1, n),
            None if after is None else self._lasting(after[0], n + 1, n),
        )
        return estimate_flow(self._luma(n), self._luma(n + 1), long_side_px=self._long_side_px, guesses=guesses)

    def _lasting(self, flow: Float32Array, beside: int, n: int) -> Float32Array:
        """The reverse of a neighbouring step's flow, over the time of the n-th step."""
        return flow * -(self._span(n) / self._span(beside))

    def _span(self, n: int) -> float:
        return float(self._frames[n + 1] - self._frames[n])

    def _has_both(self, n: int) -> bool:
        return 0 <= n < len(self._frames) - 1 and all(
            self._session.is_present(self._camera, "flat", i) for i in (n, n + 1)
        )

    def _search_alone(self, n: int) -> Step:
        return estimate_flow(self._luma(n), self._luma(n + 1), long_side_px=self._long_side_px)

    def _read_luma(self, n: int) -> UInt8Array:
        size = working_size(*self._session.size(self._camera), self._long_side_px)
        return shrink(self._session.read_luma(self._camera, "flat", n), size)


class FlowConfig(StageConfig):
    """Settings of the flow between flat frames."""

    long_side_px: int = Field(640, ge=64, description="Long side of the picture at which flow is computed.")
    stride_px: int = Field(8, ge=1, le=64, description="Step of the stored grid, px of the full picture.")
    method: Literal["dis", "raft"] = Field("dis", description="What finds the motion: dis, or raft with its weights.")
    weights: PathName = Field("", description="Of raft: the .pth file of torchvision or of its authors.")
    device: str = Field("auto", description="Where raft runs: cpu, cuda, cuda:1; auto is the GPU if there is one.")

    def recorded(self) -> dict[str, Any]:
        """As records hold it: what only raft reads is left out for dis, the device for both: it changes no motion."""
        others = {"device"} if self.method == "raft" else {"device", "method", "weights"}
        return self.model_dump(mode="json", exclude=others)


class Flow:
    """Motion from each flat frame to the next, per camera and pair."""

    name: ClassVar[str] = "flow"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "measure motion between successive flat frames"
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    Config: ClassVar[type[StageConfig]] = FlowConfig

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loaded: RaftFlow | None = None

    def __reduce__(self) -> tuple[type[Flow], tuple[()]]:
        """Travels to other processes without what it has loaded."""
        return Flow, ()

    def input_files(self, session: SessionLike, config: FlowConfig) -> list[Path]:
        """The weights."""
        return [Path(config.weights)] if config.method == "raft" else []

    def prepare(self, session: SessionLike, config: FlowConfig) -> list[Unit]:
        """One unit per camera and shard of pairs; raft's weights are loaded first."""
        self._loaded = None
        if config.method == "raft":
            self._network(config)
        pairs = len(session.pairs)
        for camera in session.cameras:
            width, height = session.size(camera)
            shape = (pairs, 2, -(-height // config.stride_px), -(-width // config.stride_px))
            for path, way in ((f"motion/{camera}", "flat to next_flat"), (f"motion_backward/{camera}", "back")):
                session.create(
                    path,
                    shape,
                    "f2",
                    ("pair", "2", "y", "x"),
                    unit="px of the full picture, x before y",
                    description=f"optical flow {way}; NaN where either picture is missing",
                    fill=float("nan"),
                    attrs={"stride": config.stride_px},
                )
        return [Unit(camera, *shard) for camera in session.cameras for shard in session.shards(pairs)]

    def run(self, session: SessionLike, config: FlowConfig, unit: Unit) -> None:
        """Flow of one shard; pairs that share their flat frames (1:20) share one estimate."""
        camera = str(unit.camera)
        width, height = session.size(camera)
        shape = (unit.stop - unit.start, *session.array(f"motion/{camera}").shape[1:])
        found = np.full((2, *shape), np.nan, np.float16)
        between = self._search(session, config, camera)
        for i, pair in enumerate(range(unit.start, unit.stop)):
            flats = session.pairs.flat[pair], session.pairs.next_flat[pair]
            if i and flats == (session.pairs.flat[pair - 1], session.pairs.next_flat[pair - 1]):
                found[:, i] = found[:, i - 1]
            elif flats[1] >= 0 and all(session.is_present(camera, "flat", int(n)) for n in flats):
                flows = between(int(flats[0]))
                found[:, i] = [coarse_flow(flow, config.stride_px, height, width) for flow in flows]
        session.write(f"motion/{camera}", unit.start, found[0])
        session.write(f"motion_backward/{camera}", unit.start, found[1])

    def finish(self, session: SessionLike, config: FlowConfig) -> Summary:
        """How many pairs, over all cameras, have a flow."""
        measured = 0
        for camera in session.cameras:
            first = session.array(f"motion/{camera}")[:, 0, 0, 0]
            measured += int(np.isfinite(np.asarray(first, np.float32)).sum())
        return {"measured": measured, "pairs": len(session.pairs) * len(session.cameras)}

    def _search(self, session: SessionLike, config: FlowConfig, camera: str) -> Callable[[int], Step]:
        """What gives the step from a recorded flat frame to the next one, recorded too."""
        if config.method == "dis":
            return FlatMotion(session, camera, config.long_side_px).step
        size = working_size(*session.size(camera), config.long_side_px)

        def search(n: int) -> Step:
            first, second = (shrink(session.read_frame(camera, "flat", i), size) for i in (n, n + 1))
            return self._network(config)(first, second)

        return search

    def _network(self, config: FlowConfig) -> RaftFlow:
        with self._guard:
            if self._loaded is None:
                self._loaded = _load_network(config)
            return self._loaded


def _load_network(config: FlowConfig) -> RaftFlow:
    try:
        from litdome.preprocess.raft.weights import HINT, load_raft
    except ImportError as error:
        raise MissingPackageError(f"raft needs torch: {error}", hint="pip install 'litdome[segment]'") from error
    if not config.weights:
        raise MissingWeightsError("flow.method = raft: no weights are named", hint=HINT)
    return load_raft(Path(config.weights), device=config.device)
