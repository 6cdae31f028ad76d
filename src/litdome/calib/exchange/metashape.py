"""Agisoft Metashape's cameras.xml: camera to chunk, OpenCV axes; the chunk's own transform leads to the world.

Principal points count from the picture's middle (first pixel's centre at (0.5, 0.5)), fx = f + b1, fy = f; p1 and p2
are OpenCV's p2 and p1. Metashape states no up: the world is taken as it is. Formulas: Metashape's manual.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from litdome.calib.exchange.found import (
    CORNER,
    FloatArray,
    FoundCamera,
    coefficients,
    lens,
    need_models,
    numbers,
    pose_of,
    read_xml,
    rigid,
    told,
)
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig

PARAMETERS = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
UNKNOWN_TO_US = {"frame": ("k4", "p3", "p4"), "fisheye": ("p1", "p2", "p3", "p4")}
PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dng", ".avif"}


def read(path: Path) -> list[FoundCamera]:
    """The enabled cameras, by their labels without a picture's suffix; those that are not aligned have no pose.

    Raises:
        CalibrationError: Not such a file, a lens that litdome cannot hold (k4, p3, p4, skew, another type), a
            broken pose.
    """
    root = read_xml(path)
    chunks = [root] if root.tag == "chunk" else root.findall("chunk")
    chunks = [chunk for chunk in chunks if chunk.find("cameras") is not None]
    if len(chunks) != 1:
        raise CalibrationError(f"{path}: {len(chunks)} chunks with cameras; 1 can be read", hint="export one chunk")
    return _cameras(path, chunks[0])


def _cameras(path: Path, chunk: ElementTree.Element) -> list[FoundCamera]:
    sensors = {node.get("id"): node for node in chunk.iter("sensor")}
    whole = _transform(path, chunk.find("transform"))
    world_from_chunk = {}
    for node in chunk.iter("component"):
        inner = node.find("transform")
        world_from_chunk[node.get("id")] = whole if inner is None else _transform(path, inner)
    nodes = [node for list_ in chunk.iter("cameras") for node in list_.iter("camera")]
    found = []
    for node in nodes:
        label = node.get("label", "")
        if node.get("enabled", "true") not in ("true", "1"):
            continue
        with told(f"{path}: camera {label}"):
            if node.get("sensor_id") not in sensors:
                raise KeyError(f"sensor {node.get('sensor_id')}")
            size, k, bent, kind = _lens(sensors[node.get("sensor_id")])
            to_world = world_from_chunk.get(node.get("component_id"), whole)
            pose = _pose(node.find("transform"), to_world)
            model: LensModel = "fisheye4" if kind == "fisheye" else "pinhole5"
            found.append(FoundCamera(_id(label), size, k, bent, pose, model))
    return found


def _id(label: str) -> str:
    path = Path(label)
    return path.stem if path.suffix.lower() in PICTURES else label


def _transform(path: Path, node: ElementTree.Element | None) -> tuple[float, FloatArray]:
    """Scale and rigid transform, shape (4, 4), from the chunk to the world."""
    if node is None:
        return 1.0, np.eye(4)
    with told(f"{path}: <transform>"):
        rotation, translation = _numbers(node, "rotation", np.eye(3)), _numbers(node, "translation", np.zeros(3))
        scale = float(_numbers(node, "scale", np.ones(1))[0])
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"a scale of {scale:g}")
        return scale, rigid(pose_of(rotation, translation), f"{path}: <transform>")


def _numbers(node: ElementTree.Element, tag: str, default: FloatArray) -> FloatArray:
    text = node.findtext(tag)
    return default if text is None else numbers(text.split(), default.shape)


def _pose(node: ElementTree.Element | None, to_world: tuple[float, FloatArray]) -> FloatArray | None:
    if node is None:
        return None
    pose = numbers((node.text or "").split(), (4, 4))
    scale, moved = to_world
    pose[:3, 3] *= scale
    return np.asarray(moved @ pose)


def _lens(sensor: ElementTree.Element) -> tuple[tuple[int, int], FloatArray, FloatArray, str]:
    nodes = sensor.findall("calibration")
    adjusted = [node for node in nodes if node.get("class") == "adjusted"] or nodes
    if not adjusted:
        raise KeyError(f"calibration of sensor {sensor.get('label')}")
    node = adjusted[0]
    kind = node.get("type", sensor.get("type", "frame"))
    if kind not in UNKNOWN_TO_US:
        raise ValueError(f"a lens of type {kind} is not supported; frame and fisheye are")
    resolution = node.find("resolution")
    resolution = sensor.find("resolution") if resolution is None else resolution
    if resolution is None:
        raise KeyError("resolution")
    width, height = int(resolution.attrib["width"]), int(resolution.attrib["height"])
    values = {name: float(node.findtext(name, "0")) for name in PARAMETERS}
    odd = [name for name in UNKNOWN_TO_US[kind] if values[name]]
    if odd:
        raise ValueError(
            f"{', '.join(f'{name} = {values[name]:g}' for name in odd)} of a {kind} lens cannot be held; fix it at 0"
        )
    focal = values["f"] + values["b1"], values["f"]
    centre = width / 2 + values["cx"] - CORNER, height / 2 + values["cy"] - CORNER
    names = ("k1", "k2", "k3", "k4") if kind == "fisheye" else ("k1", "k2", "p2", "p1", "k3")
    return (width, height), lens(*focal, *centre, values["b2"]), coefficients(*(values[n] for n in names)), kind


def write(rig: Rig) -> dict[str, bytes]:
    """The file: one sensor for each camera, one component whose frame is the world.

    Raises:
        CalibrationError: pinhole8 lenses.
    """
    need_models(rig, "Metashape", "pinhole5", "fisheye4")
    count = str(len(rig.cameras))
    document = ElementTree.Element("document", version="2.0.0")
    chunk = ElementTree.SubElement(document, "chunk", label="litdome", enabled="true")
    sensors = ElementTree.SubElement(chunk, "sensors", next_id=count)
    components = ElementTree.SubElement(chunk, "components", next_id="1", active_id="0")
    component = ElementTree.SubElement(components, "component", id="0", label="Component 1")
    cameras = ElementTree.SubElement(chunk, "cameras", next_id=count, next_group_id="0")
    _texts(
        ElementTree.SubElement(component, "transform"),
        {"rotation": "1 0 0 0 1 0 0 0 1", "translation": "0 0 0", "scale": "1"},
    )
    for number, camera in enumerate(rig.cameras):
        _write_sensor(sensors, str(number), camera)
        names = {"id": str(number), "sensor_id": str(number), "component_id": "0", "label": camera.id}
        node = ElementTree.SubElement(cameras, "camera", names)
        _texts(node, {"transform": " ".join(repr(float(v)) for v in camera.world_from_camera.ravel())})
    ElementTree.indent(document)
    return {"": ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)}


def _write_sensor(parent: ElementTree.Element, id: str, camera: Camera) -> None:
    kind = "fisheye" if camera.model == "fisheye4" else "frame"
    size = {"width": str(camera.width), "height": str(camera.height)}
    sensor = ElementTree.SubElement(parent, "sensor", id=id, label=camera.id, type=kind)
    ElementTree.SubElement(sensor, "resolution", size)
    node = ElementTree.SubElement(sensor, "calibration", {"type": kind, "class": "adjusted"})
    ElementTree.SubElement(node, "resolution", size)
    k, bent = camera.intrinsics, camera.distortion
    values = {
        "f": k[1, 1],
        "cx": k[0, 2] + CORNER - camera.width / 2,
        "cy": k[1, 2] + CORNER - camera.height / 2,
        "b1": k[0, 0] - k[1, 1],
    }
    names = ("k1", "k2", "k3", "k4") if kind == "fisheye" else ("k1", "k2", "p2", "p1", "k3")
    values |= dict(zip(names, bent, strict=False))
    _texts(node, {name: repr(float(values[name])) for name in PARAMETERS if values.get(name)})


def _texts(parent: ElementTree.Element, texts: Mapping[str, str]) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text
