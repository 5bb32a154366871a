"""A Caffe SSD as a LiteRT model, which runs it one and a half times as fast as cv2.dnn.

The network is read from its prototxt, with the weights that cv2.dnn has read, and written as a
`.tflite` file in memory. LiteRT has no anchors ("prior boxes") and no end of an SSD's kind: what
they need comes beside the file. Of Caffe stands here what face_detector/deploy.prototxt needs, and
no more.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facemask.detect.litert import IDENTIFIER
from facemask.errors import FacemaskError

Message = dict[str, list[Any]]  # of a prototxt: the values of each field, in order

BATCH_NORM_EPSILON = 1e-5  # Caffe's, where the prototxt states none
VALUES = 5  # of each anchor in the network's output: four offsets and the score

# The operators that the network needs, each with the name of its options in LiteRT's schema.
_OPTIONS = {
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "RESHAPE": "ReshapeOptions",
}
_OPERATORS = list(_OPTIONS)
_SAME, _VALID, _RELU = 0, 1, 1  # the schema's Padding and ActivationFunctionType


@dataclass(frozen=True)
class ConvertedSSD:
    """A `.tflite` model, and what to make of its output.

    content: from (1, height, width, 3) float32, BGR, `zero` taken off, to (1, N, VALUES) float32:
    for each anchor four offsets, and how much higher a face scores there than the background.
    """

    content: bytes
    size: tuple[int, int]  # height and width of its input, pixels
    zero: np.ndarray  # (3,) float64, BGR
    anchors: np.ndarray  # (N, 4) float32, see priors
    variances: np.ndarray  # (4,) float32, of the offsets' code
    overlap: float  # IoU from which on two boxes are of the same face
    top: int  # so many of the surest boxes are looked at
    most: int  # and so many given, at most
    least: float  # confidence, below which there are none


def convert(
    network: cv2.dnn.Net, weights: Path, prototxt: Path, mean_bgr: tuple[float, float, float]
) -> ConvertedSSD:
    """Take an SSD over from cv2.dnn.

    network: what cv2.dnn.readNetFromCaffe made of the two files; not needed afterwards.
    mean_bgr: what the network wants taken off each pixel.
    Raises FacemaskError, naming the weights, where they are not those that the prototxt describes.
    """
    description = parse(prototxt.read_text(encoding="utf-8"))
    data, output, anchors, variances = _translate(description, network, weights)
    rules: Message = _one(description["layer"][-1], "detection_output_param")
    nms: Message = _one(rules, "nms_param")
    return ConvertedSSD(
        content=_flatbuffer(data, output),
        size=(data.shape[0], data.shape[1]),
        # The network pads its input with zeros after normalising it, LiteRT before. Both are the
        # same if what LiteRT gets is zero for the very pixel that is normalised to zero.
        zero=np.array(mean_bgr) - data.shift / data.scale,
        anchors=anchors,
        variances=variances,
        overlap=_one(nms, "nms_threshold"),
        top=_one(nms, "top_k"),
        most=_one(rules, "keep_top_k"),
        least=_one(rules, "confidence_threshold"),
    )


def priors(param: Message, grid: Sequence[int], image: Sequence[int]) -> np.ndarray:
    """Caffe's PriorBox: the anchors of a grid of cells, row by row.

    param: a prior_box_param with one min_size, one max_size, and aspect ratios to be flipped.
    grid: rows and columns. image: height and width in pixels.
    Returns (rows * columns * anchors, 4) float32: x and y of the centre, width and height, all as
    fractions of the image's.
    """
    small, large = _one(param, "min_size"), _one(param, "max_size")
    sizes = [(small, small), (math.sqrt(small * large),) * 2]
    for ratio in param["aspect_ratio"]:
        long, short = small * math.sqrt(ratio), small / math.sqrt(ratio)
        sizes += [(long, short), (short, long)]
    centres = (np.mgrid[: grid[0], : grid[1]] + _one(param, "offset")) * _one(param, "step")
    anchors = np.empty((grid[0], grid[1], len(sizes), 4), np.float32)
    anchors[..., 0] = centres[1][..., None] / image[1]
    anchors[..., 1] = centres[0][..., None] / image[0]
    anchors[..., 2:] = np.array(sizes) / (image[1], image[0])
    return anchors.reshape(-1, 4)


def parse(text: str) -> Message:
    """A prototxt as nested dictionaries, each field a list of its values."""
    tokens = iter(re.findall(r'"[^"]*"|[{}]|[^\s{}:"]+', re.sub(r"#.*", "", text)))

    def value(token: str) -> Any:
        try:
            return json.loads(token)
        except ValueError:  # a bare word, such as MAX
            return token

    def message() -> Message:
        fields: Message = {}
        for name in tokens:
            if name == "}":
                break
            token = next(tokens)
            fields.setdefault(name, []).append(message() if token == "{" else value(token))
        return fields

    return message()


def _one(message: Message, name: str, default: Any = None) -> Any:
    return message.get(name, [default])[0]


@dataclass(eq=False)
class _Node:
    """An operator, and the value that it makes, of (height, width, channels)."""

    operator: str  # "" for the network's input
    shape: tuple[int, ...]
    inputs: "list[_Node]" = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)  # a convolution's: OHWI and bias
    options: dict[str, Any] = field(default_factory=dict)
    # What the network has here is the value * scale + shift, channel by channel; the convolutions
    # that read it take the scale into their kernels.
    scale: Any = 1.0
    shift: Any = 0.0


def _translate(
    description: Message, network: cv2.dnn.Net, weights: Path
) -> tuple[_Node, _Node, np.ndarray, np.ndarray]:
    """The input, the output of (N, VALUES), the N anchors, and the four variances of their code."""

    def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        """The layer's weights, of these shapes."""
        found = network.getLayer(name).blobs
        if [array.size for array in found] != [math.prod(shape) for shape in shapes]:
            raise FacemaskError(
                f"{weights}: not the weights of the face detector that the prototxt describes:"
                f" {name}: expected arrays of {list(shapes)}, found {[a.shape for a in found]}"
            )
        return [array.reshape(shape) for array, shape in zip(found, shapes, strict=True)]

    _, channels, height, width = _one(description, "input_shape")["dim"]
    data = _Node("", (height, width, channels))
    values: dict[str, Any] = {_one(description, "input"): data}
    anchors, variances = [], []
    for layer in description["layer"]:
        name, top = _one(layer, "name"), _one(layer, "top")
        bottoms: list[Any] = [values.get(bottom) for bottom in layer["bottom"]]
        x = bottoms[0]
        match _one(layer, "type"):
            case "Convolution":
                param = _one(layer, "convolution_param")
                count, side = _one(param, "num_output"), _one(param, "kernel_size")
                shapes: list[tuple[int, ...]] = [(count, x.shape[2], side, side)]
                if _one(param, "bias_term", True):
                    shapes.append((count,))
                kernels, bias = [*arrays(*shapes), np.zeros(count, np.float32)][:2]
                values[top] = _convolution(x, kernels, bias, param)
            case "BatchNorm":
                mean, variance, count = arrays(x.shape[2:], x.shape[2:], (1,))
                scale = 1 / np.sqrt(variance / count + BATCH_NORM_EPSILON)
                values[top] = _scaled(x, scale, -mean / count * scale)
            case "Scale":
                values[top] = _scaled(x, *arrays(x.shape[2:], x.shape[2:]))
            case "ReLU":
                x.options["fusedActivationFunction"] = _RELU
                values[top] = x
            case "Pooling":
                values[top] = _max_pool(x, _one(layer, "pooling_param"))
            case "Eltwise":
                values[top] = _Node("ADD", x.shape, bottoms)
            case "Normalize":
                values[top] = _Node("L2_NORMALIZATION", x.shape, [x], scale=arrays(x.shape[2:])[0])
            case "PriorBox":
                param = _one(layer, "prior_box_param")
                anchors.append(priors(param, x.shape, data.shape))
                variances = param["variance"]
            case "Concat":
                values[top] = bottoms
            case _:  # reordering, which LiteRT's order of axes makes needless, and the end
                values[top] = x
    heads = [_head(*pair) for pair in zip(values["mbox_loc"], values["mbox_conf"], strict=True)]
    total = np.concatenate(anchors)
    output = _Node("CONCATENATION", (len(total), VALUES), heads, options={"axis": 1})
    return data, output, total, np.array(variances, np.float32)


def _scaled(node: _Node, scale: np.ndarray, shift: Any) -> _Node:
    """node * scale + shift, channel by channel, taken into what makes the node.

    Nothing else reads the node as it was: a BatchNorm or Scale is here in place, or the only
    reader of what it takes.
    """
    if not node.operator:
        node.scale, node.shift = node.scale * scale, node.shift * scale + shift
    elif node.operator == "CONV_2D":
        kernels, bias = node.constants
        node.constants = [kernels * scale[:, None, None, None], bias * scale + shift]
    elif node.operator == "ADD":
        first, second = node.inputs
        node.inputs = [_scaled(first, scale, shift), _scaled(second, scale, 0.0)]
    elif node.operator == "MUL":
        node.constants = [node.constants[0] * scale]
    else:  # a value that goes past its residual block unchanged, and gets no shift
        node = _Node("MUL", node.shape, [node], [scale])
    return node


def _convolution(x: _Node, kernels: np.ndarray, bias: np.ndarray, param: Message) -> _Node:
    """The convolution of x that a convolution_param describes; kernels: (O, I, H, W) of Caffe."""
    kernels = np.ascontiguousarray(
        (kernels * np.reshape(x.scale, (-1, 1, 1))).transpose(0, 2, 3, 1), np.float32
    )
    pad, stride = _one(param, "pad", 0), _one(param, "stride", 1)
    dilation = _one(param, "dilation", 1)
    if pad:  # of its own: LiteRT's SAME pads less before than after, Caffe the same on both sides
        edges = np.array([(0, 0), (pad, pad), (pad, pad), (0, 0)], np.int32)
        x = _Node("PAD", (x.shape[0] + 2 * pad, x.shape[1] + 2 * pad, x.shape[2]), [x], [edges])
    reach = (kernels.shape[1] - 1) * dilation + 1
    sides = [(side - reach) // stride + 1 for side in x.shape[:2]]
    options = {"padding": _VALID, "strideW": stride, "strideH": stride}
    options |= {"dilationWFactor": dilation, "dilationHFactor": dilation}
    return _Node("CONV_2D", (*sides, len(kernels)), [x], [kernels, bias], options)


def _max_pool(x: _Node, param: Message) -> _Node:
    """The maxima of x that a pooling_param without padding describes."""
    side, stride = _one(param, "kernel_size"), _one(param, "stride")
    # Caffe rounds the number of windows up and lets the last one hang over the edge. SAME does so
    # too where the length is even, as it is here.
    rows, columns = (math.ceil((length - side) / stride) + 1 for length in x.shape[:2])
    options = {"padding": _SAME, "strideW": stride, "strideH": stride}
    options |= {"filterWidth": side, "filterHeight": side}
    return _Node("MAX_POOL_2D", (rows, columns, x.shape[2]), [x], options=options)


def _head(offsets: _Node, scores: _Node) -> _Node:
    """A scale's two convolutions concatenate into one, as (anchors of all its cells, VALUES).

    The softmax needs only how much higher a face scores than the background: by linearity what
    the difference of their kernels gives.
    """
    concatenate = []
    for four, two in zip(offsets.constants, scores.constants, strict=True):
        four, two = four.reshape(-1, 4, *four.shape[1:]), two.reshape(-1, 2, *two.shape[1:])
        five = np.concatenate([four, two[:, 1:] - two[:, :1]], axis=1)
        concatenate.append(five.reshape(-1, *five.shape[2:]))
    shape = (*offsets.shape[:2], len(concatenate[1]))
    node = _Node("CONV_2D", shape, offsets.inputs, concatenate, offsets.options)
    rows = (math.prod(shape) // VALUES, VALUES)
    return _Node("RESHAPE", rows, [node], [np.array((1, *rows), np.int32)])


def _flatbuffer(data: _Node, output: _Node) -> bytes:
    """The `.tflite` file of the graph from data to output."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT()  # the schema declares as lists what it takes as arrays too
    graph: Any = schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [schema.BufferT()]  # by rule that of all tensors without data
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    for operator in _OPERATORS:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
        model.operatorCodes.append(code)
    types = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}

    def tensor(shape: tuple[int, ...], constant: np.ndarray | None = None) -> int:
        new = schema.TensorT()
        new.shape, new.type = list(shape), types["float32"]
        if constant is not None:
            new.type, new.buffer = types[constant.dtype.name], len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = constant.reshape(-1).view(np.uint8)
        graph.tensors.append(new)
        return len(graph.tensors) - 1

    places = {data: tensor((1, *data.shape))}

    def place(node: _Node) -> int:
        """The number of the node's tensor; the first time its operator is put behind others."""
        if node not in places:
            inputs = [place(x) for x in node.inputs]
            inputs += [tensor(constant.shape, constant) for constant in node.constants]
            places[node] = tensor((1, *node.shape))
            operator, kind = schema.OperatorT(), _OPTIONS[node.operator]
            operator.opcodeIndex = _OPERATORS.index(node.operator)
            operator.inputs, operator.outputs = inputs, [places[node]]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            vars(operator.builtinOptions).update(node.options)
            graph.operators.append(operator)
        return places[node]

    graph.outputs, graph.inputs = [place(output)], [places[data]]
    builder = flatbuffers.Builder(2**24)  # it grows by itself, at a copy each; this needs 10.5 MB
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
