"""The body template as frozen arrays: one person at rest, its skeleton, skin weights, UV layout and expressions.

The shipped file is made by tools/make_template.py from CC0 data (NOTICE). Axes are the world's: +y up, facing +z,
metres, feet on y = 0; the person's left is +x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
EXPRESSION_BASIS = "arkit52"


@dataclass(frozen=True, eq=False)
class Template:
    """A skinned person at rest (A-pose, elbows bent).

    Attributes:
        vertices: Shape (vertex, 3), metres.
        faces: Vertex indices, shape (face, 3), counter-clockwise seen from outside.
        uv: Texture coordinates, shape (uv, 2), 0..1, u right, v down as picture rows run.
        face_uv: Indices into `uv`, shape (face, 3).
        uv_vertices: The vertex that each texture coordinate belongs to, shape (uv,): ``vertices[uv_vertices]`` with
            ``face_uv`` is the same surface cut open along its seams.
        face_regions: Index into `region_names`, shape (face,).
        region_names: body, head, hand_left, ...
        weights: Skin weights in falling order, shape (vertex, 8), summing to 1.
        weight_bones: Bone of each weight, shape (vertex, 8).
        bones: Names; ``.L`` is the person's left.
        parents: Parent of each bone, shape (bone,), before its children; -1 the root.
        joints: Where each bone turns, shape (bone, 3), metres. All bone frames are parallel to the world at rest.
        expressions: Names of the expression codes, ARKit's 52.
        expression_starts: Shape (52 + 1,): rows of the two arrays below that belong to each code.
        expression_vertices: Moved vertices, shape (row,).
        expression_offsets: How far at code 1, shape (row, 3), metres.
    """

    vertices: Float32Array
    faces: IntArray
    uv: Float32Array
    face_uv: IntArray
    uv_vertices: IntArray
    face_regions: IntArray
    region_names: tuple[str, ...]
    weights: FloatArray
    weight_bones: IntArray
    bones: tuple[str, ...]
    parents: IntArray
    joints: FloatArray
    expressions: tuple[str, ...]
    expression_starts: IntArray
    expression_vertices: IntArray
    expression_offsets: Float32Array

    def bone(self, name: str) -> int:
        """Index of a bone.

        Raises:
            ValueError: No bone has this name.
        """
        return self.bones.index(name)

    def region(self, *names: str) -> npt.NDArray[np.bool_]:
        """Which vertices touch a face of the named regions, shape (vertex,)."""
        wanted = [self.region_names.index(name) for name in names]
        inside = np.zeros(len(self.vertices), bool)
        inside[self.faces[np.isin(self.face_regions, wanted)]] = True
        return inside


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template that litdome ships: an adult of 1.70 m with 13,718 vertices, 104 bones and 52 expression codes."""
    with (
        resources.as_file(resources.files("litdome.template") / "body.npz") as path,
        np.load(path, allow_pickle=False) as file,
    ):
        arrays = {name: file[name] for name in file.files}
    faces, face_uv = arrays["faces"].astype(np.int32), arrays["face_uv"].astype(np.int32)
    uv_vertices = np.zeros(len(arrays["uv"]), np.int32)
    uv_vertices[face_uv] = faces
    weights = arrays["weights"].astype(np.float64)
    template = Template(
        vertices=arrays["vertices"],
        faces=faces,
        uv=(arrays["uv"] / np.float32(65535)).astype(np.float32),
        face_uv=face_uv,
        uv_vertices=uv_vertices,
        face_regions=arrays["face_regions"].astype(np.int32),
        region_names=tuple(arrays["region_names"].tolist()),
        weights=weights / weights.sum(axis=1, keepdims=True),
        weight_bones=arrays["weight_bones"].astype(np.int32),
        bones=tuple(arrays["bones"].tolist()),
        parents=arrays["parents"].astype(np.int32),
        joints=arrays["joints"],
        expressions=tuple(arrays["expressions"].tolist()),
        expression_starts=arrays["expression_starts"],
        expression_vertices=arrays["expression_vertices"].astype(np.int32),
        expression_offsets=arrays["expression_offsets"].astype(np.float32),
    )
    for value in vars(template).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False  # one cached template serves everybody
    return template
