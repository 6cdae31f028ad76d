"""Settings of segment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from litdome.preprocess.segmenters.sapiens import Dtype
from litdome.preprocess.silhouettes import THRESHOLD
from litdome.stage import PathName, StageConfig

Source = Literal["plate", "sapiens", "mediapipe", "import"]
READS: dict[str, set[str]] = {  # settings that shape a source's masks; device and batch change how long they take
    "plate": set(),
    "sapiens": {"weights", "matting_weights", "dtype"},
    "mediapipe": {"weights"},
    "import": {"masks", "masks_scale"},
}


class SegmentConfig(StageConfig):
    """Settings of the masks."""

    source: Source = Field("plate", description="What finds the person: plate, sapiens, mediapipe or import.")
    long_side_px: int = Field(
        960, ge=64, description="Long side at which masks by the plate are computed; they are stored full."
    )
    threshold: float = Field(
        THRESHOLD, gt=0, description="Difference to the plate at which both are as likely, deviations of the noise."
    )
    plate_frames: int = Field(24, ge=1, le=200, description="Flat frames that the clean plate is made of.")
    max_unsure_permille: float = Field(
        5.0, ge=0, description="Part of the plate that no frame shows for sure, 1/1000, above which a warning is given."
    )
    moving_permille: float = Field(
        1.0, gt=0, description="What moves more from one flat frame to the next is no background; 1/1000 of long side."
    )
    weights: PathName = Field(
        "", description="Of sapiens a hub id (downloaded) or a folder; of mediapipe a .tflite or .task file."
    )
    matting_weights: PathName = Field(
        "", description="Of a Sapiens 2 matting network, for finer outlines; may be empty."
    )
    device: str = Field("auto", description="Where sapiens runs: cpu, cuda, cuda:1; auto is the GPU if there is one.")
    dtype: Dtype = Field("bf16", description="What sapiens computes in: bf16 or fp32.")
    batch: int = Field(8, ge=1, description="Pictures that sapiens looks at together; fewer need less memory.")
    masks: PathName = Field("", description="Folder of the masks to import (docs/masks.md says how it is laid out).")
    masks_scale: float = Field(1.0, gt=0, description="Size of the imported masks to that of the stored pictures.")

    def recorded(self) -> dict[str, Any]:
        """As records hold it: the source's own settings only, so that runs of earlier versions stay what they are."""
        others = set().union(*READS.values(), {"device", "batch"}) - READS[self.source]
        return self.model_dump(mode="json", exclude=others | ({"source"} if self.source == "plate" else set()))
