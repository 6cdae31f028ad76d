"""A model for MediaPipe's image segmenter with known answers: one 1x1 convolution and a softmax over its outputs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as about
from mediapipe.tasks.metadata import schema_py_generated as tflite

SIDE = 64  # of the input, px


def write_model(path: Path, labels: tuple[str, ...], colors: tuple[tuple[float, float, float], ...]) -> Path:
    """A model whose i-th output answers the colour ``colors[i]`` (weights of r, g, b in 0..1)."""
    model = tflite.ModelT()
    model.version = 3
    kernel = 20 * np.array(colors, np.float32).reshape(len(labels), 1, 1, 3)
    model.buffers = [_buffer(None), _buffer(kernel), _buffer(np.zeros(len(labels), np.float32))]
    pixels, answers = [1, SIDE, SIDE, 3], [1, SIDE, SIDE, len(labels)]
    graph = tflite.SubGraphT()
    graph.tensors = [
        _tensor("picture", pixels, 0),
        _tensor("kernel", list(kernel.shape), 1),
        _tensor("bias", [len(labels)], 2),
        _tensor("scores", answers, 0),
        _tensor("confidences", answers, 0),
    ]
    graph.inputs, graph.outputs = [0], [4]
    convolution, softmax = tflite.Conv2DOptionsT(), tflite.SoftmaxOptionsT()
    convolution.padding = tflite.Padding.SAME
    convolution.strideW = convolution.strideH = convolution.dilationWFactor = convolution.dilationHFactor = 1
    softmax.beta = 1.0
    graph.operators = [
        _operator(0, [0, 1, 2], [3], tflite.BuiltinOptions.Conv2DOptions, convolution),
        _operator(1, [3], [4], tflite.BuiltinOptions.SoftmaxOptions, softmax),
    ]
    model.operatorCodes = [_code(tflite.BuiltinOperator.CONV_2D), _code(tflite.BuiltinOperator.SOFTMAX)]
    model.subgraphs = [graph]
    model.buffers.append(_buffer(np.frombuffer(_description(), np.uint8)))
    described = tflite.MetadataT()
    described.name, described.buffer = "TFLITE_METADATA", 3
    model.metadata = [described]
    path.write_bytes(_packed(model, b"TFL3"))
    with zipfile.ZipFile(path, "a") as archive:  # files of a model lie behind it
        archive.writestr("labels.txt", "\n".join(labels) + "\n")
    return path


def _description() -> bytes:
    normal = about.NormalizationOptionsT()
    normal.mean, normal.std = [0.0], [255.0]
    unit = about.ProcessUnitT()
    unit.optionsType, unit.options = about.ProcessUnitOptions.NormalizationOptions, normal
    picture, answers = about.TensorMetadataT(), about.TensorMetadataT()
    picture.name, answers.name = "picture", "confidences"
    picture.processUnits = [unit]
    properties = about.ImagePropertiesT()
    properties.colorSpace = about.ColorSpaceType.RGB
    content = about.ContentT()
    content.contentPropertiesType, content.contentProperties = about.ContentProperties.ImageProperties, properties
    picture.content = content
    file = about.AssociatedFileT()
    file.name, file.type = "labels.txt", about.AssociatedFileType.TENSOR_AXIS_LABELS
    answers.associatedFiles = [file]
    graph = about.SubGraphMetadataT()
    graph.inputTensorMetadata, graph.outputTensorMetadata = [picture], [answers]
    described = about.ModelMetadataT()
    described.name, described.subgraphMetadata = "colours", [graph]
    return _packed(described, b"M001")


def _packed(table: tflite.ModelT | about.ModelMetadataT, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(table.Pack(builder), file_identifier=identifier)
    return bytes(builder.Output())


def _buffer(values: np.ndarray | None) -> tflite.BufferT:
    buffer = tflite.BufferT()
    buffer.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _tensor(name: str, shape: list[int], buffer: int) -> tflite.TensorT:
    tensor = tflite.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, shape, buffer, tflite.TensorType.FLOAT32
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> tflite.OperatorT:
    operator = tflite.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _code(operator: int) -> tflite.OperatorCodeT:
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = 1
    return code
