"""What relit pictures say of themselves: which weights made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from litdome.train_plugins.clips import array_clip
from litdome.train_plugins.fitting import fit_into
from litdome.train_plugins.origin import Training, provenance
from litdome.train_plugins.run import RunFolder


class NoSettings(BaseModel):
    pass


def test_the_hash_is_of_all_weights_and_of_nothing_else(tmp_path: Path) -> None:
    run = RunFolder.create(
        tmp_path / "run", plugin="relighter", config=NoSettings(), dataset="", dataset_fingerprint=""
    )
    with run.checkpoint(1) as folder:
        (folder / "average").mkdir()
        for name in ("pytorch_lora_weights", "average/pytorch_lora_weights", "optimizer"):
            (folder / f"{name}.safetensors").write_bytes(b"first")
    (tmp_path / "sun.exr").write_bytes(b"")
    clip = array_clip(np.zeros((1, 3, 16, 16), np.float32))

    def said() -> dict[str, object]:
        training = Training(None, None, (), None)
        light = {"rotate_deg": (0.0,), "gain": (1.0,)}
        return provenance(run, training, clip, tmp_path / "sun.exr", fit_into(clip.size), **light, backdrop=1.0, seed=0)

    checkpoint, before = run.latest_checkpoint(), said()
    assert checkpoint is not None
    (checkpoint / "optimizer.safetensors").write_bytes(b"other")
    assert said() == before
    for name in ("average/pytorch_lora_weights", "pytorch_lora_weights"):  # what renders, and what trains on
        file = checkpoint / f"{name}.safetensors"
        file.write_bytes(b"other")
        assert said()["checkpoint_sha256"] != before["checkpoint_sha256"]
        file.write_bytes(b"first")
