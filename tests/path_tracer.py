"""The simulated stage's scenes in mitsuba, a path tracer that shares nothing with ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litdome.geometry import Camera
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Float32Array, Mesh

FROM_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])  # mitsuba's cameras have x left, y up, z forward


def trace(
    folder: Path,
    camera: Camera,
    meshes: list[tuple[Mesh, dict[str, Any]]],
    lights: DirectionalLights | None,
    *,
    bounces: int = 0,
    samples: int = 16,
) -> Float32Array:
    """Radiance that mitsuba's path tracer sees, linear, shape (y, x, 3); nothing is black.

    Args:
        folder: For the meshes' files.
        camera: Without distortion, its principal point in the middle.
        meshes: Each with its BSDF; ``{}``: Lambertian in its vertices' albedo.
        lights: None: radiance 1 from everywhere.
        bounces: Besides the direct light.
        samples: Per pixel.
    """
    import mitsuba as mi

    mi.set_variant("scalar_rgb")
    scene: dict[str, Any] = {"type": "scene", "camera": _camera(mi, camera, samples)}
    scene["integrator"] = {"type": "path", "max_depth": bounces + 2, "rr_depth": 99, "hide_emitters": True}
    for k, (mesh, bsdf) in enumerate(meshes):
        path = folder / f"{k}.ply"
        _write_ply(path, mesh)
        lambert = {"type": "diffuse", "reflectance": {"type": "mesh_attribute", "name": "vertex_color"}}
        scene[f"mesh{k}"] = {"type": "ply", "filename": str(path), "bsdf": bsdf or lambert}
    lit = [{"type": "constant", "radiance": {"type": "rgb", "value": 1.0}}]
    if lights is not None:
        lit = [_emitter(lights, light) for light in range(len(lights.intensity))]
    # one light at a time: with several, a path would draw one, and noise would be all we measure
    pictures = [np.array(mi.render(mi.load_dict({**scene, "light": light}), seed=1)) for light in lit]
    return np.asarray(np.sum(pictures, axis=0), np.float32)[..., :3]


def _emitter(lights: DirectionalLights, light: int) -> dict[str, Any]:
    """A light at infinity by its irradiance, or one that has a place by its intensity."""
    irradiance = lights.intensity[light]
    if lights.positions is None:
        direction = (-lights.directions[light]).tolist()
        return {"type": "directional", "direction": direction, "irradiance": _rgb(irradiance)}
    place = lights.positions[light]
    intensity = irradiance * ((place - lights.centre) ** 2).sum()
    return {"type": "point", "position": place.tolist(), "intensity": _rgb(intensity)}


def _rgb(values: Float32Array) -> dict[str, Any]:
    return {"type": "rgb", "value": values.tolist()}


def metal(mi_roughness: float, color: tuple[float, float, float]) -> dict[str, Any]:
    """A metal of Disney's principled BSDF: GGX of alpha roughness squared, Schlick's Fresnel of the colour."""
    return {
        "type": "principled",
        "base_color": {"type": "rgb", "value": list(color)},
        "metallic": 1.0,
        "roughness": mi_roughness,
    }


def varnish(roughness: float) -> dict[str, Any]:
    """The highlight alone of a dielectric whose normal reflectance is .04: GGX, exact Fresnel of index 1.5."""
    return {
        "type": "principled",
        "base_color": {"type": "rgb", "value": 0.0},
        "roughness": roughness,
        "specular": 0.5,
    }


def _camera(mi: Any, camera: Camera, samples: int) -> dict[str, Any]:
    return {
        "type": "perspective",
        "fov_axis": "x",
        "fov": float(np.degrees(2 * np.arctan(camera.width / 2 / camera.intrinsics[0, 0]))),
        "to_world": mi.ScalarTransform4f((camera.world_from_camera @ FROM_OPENCV).tolist()),
        "near_clip": 0.01,
        "sampler": {"type": "stratified", "sample_count": samples},
        "film": {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "rfilter": {"type": "box"},
            "component_format": "float32",
        },
    }


def _write_ply(path: Path, mesh: Mesh) -> None:
    kinds = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz", "r", "g", "b")]
    vertices = np.column_stack([mesh.vertices, mesh.normals, mesh.albedo]).astype("<f4")
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("index", "<i4", (3,))])
    faces["count"], faces["index"] = 3, mesh.faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {name}" for name, _ in kinds]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    path.write_bytes("\n".join(lines).encode() + vertices.tobytes() + faces.tobytes())
