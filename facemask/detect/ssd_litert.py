"""Conversion of the Caffe SSD to LiteRT, which runs it one and a half times as fast as cv2.dnn.

The layers are read from the prototxt, their weights from the caffemodel, and the result is a
`.tflite` file in memory. LiteRT has no operators for prior boxes and for the detection output, so
the prior boxes, which are the same for each image, and the parameters of the detection output are
returned beside the file. Only what face_detector/deploy.prototxt uses of Caffe is supported.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facemask.detect.caffe import Message, parse_prototxt, read_weights
from facemask.detect.litert import IDENTIFIER

BATCH_NORM_EPSILON = 1e-5  # Caffe's default
VALUES = 5  # for each anchor in the network's output: four offsets and the score

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
    """A `.tflite` model, and what is needed to decode its output.

    content: the file. The model maps (1, height, width, 3) float32, BGR, mean_bgr subtracted, to
    (1, N, VALUES) float32: for each anchor four offsets, and the score of a face minus that of the
    background. The last four fields are those of Caffe's detection_output_param.
    """

    content: bytes
    size: tuple[int, int]  # height and width of the input, pixels
    mean_bgr: np.ndarray  # (3,) float64
    # (N, 4) float32: x and y of the centre, width and height, as fractions of width and height
    anchors: np.ndarray
    variances: np.ndarray  # (4,) float32, the factors of the offsets
    nms_threshold: float  # IoU
    top_k: int  # boxes that enter non-maximum suppression
    keep_top_k: int  # boxes that are returned, at most
    confidence_threshold: float


def convert(
    weights: Path,
    prototxt: Path,
    mean_bgr: tuple[float, float, float],
    side: int | None = None,
) -> ConvertedSSD:
    """Convert an SSD.

    weights: a caffemodel. mean_bgr: what the network expects to be subtracted from each pixel.
    side: height and width of the input in pixels, in place of the prototxt's; even. The anchors
    keep their sizes in pixels. Levels that a small input has no place for are left out.
    Raises ValueError where the weights do not fit the prototxt, ImportError without LiteRT.
    """
    description = parse_prototxt(prototxt.read_text(encoding="utf-8"))
    if side:
        description["input_shape"]["dim"][2:] = side, side
    data, output, anchors = _translate(description, read_weights(weights))
    prior_box = next(layer for layer in description["layer"] if layer["type"] == "PriorBox")
    param = description["layer"][-1]["detection_output_param"]
    return ConvertedSSD(
        content=_flatbuffer(data, output),
        size=(data.shape[0], data.shape[1]),
        # Caffe pads the normalised input with zeros, LiteRT the input before normalisation. Both
        # give the same if the mean is the pixel that normalisation maps to zero.
        mean_bgr=np.array(mean_bgr) - data.shift / data.scale,
        anchors=anchors,
        variances=np.array(prior_box["prior_box_param"]["variance"], np.float32),
        nms_threshold=param["nms_param"]["nms_threshold"],
        top_k=param["nms_param"]["top_k"],
        keep_top_k=param["keep_top_k"],
        confidence_threshold=param["confidence_threshold"],
    )


@dataclass(eq=False)
class _Node:
    """An operator and its result of (height, width, channels)."""

    operator: str  # "" for the network's input
    shape: tuple[int, ...]
    inputs: "list[_Node]" = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)  # of a convolution: OHWI and bias
    options: dict[str, Any] = field(default_factory=dict)
    # Caffe's value is the result * scale + shift, for each channel. The convolutions that read the
    # node multiply the scale into their kernels.
    scale: Any = 1.0
    shift: Any = 0.0


def _translate(
    description: Message, weights: dict[str, list[np.ndarray]]
) -> tuple[_Node, _Node, np.ndarray]:
    """The input, the output (N, VALUES) for N anchors, and the anchors of ConvertedSSD."""

    def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        """The weights of the layer `name`, of these shapes."""
        flat = weights.get(name, [])
        lengths, expected = [len(array) for array in flat], [math.prod(shape) for shape in shapes]
        if lengths != expected:
            raise ValueError(f"expected {expected} weights of the layer {name}, found {lengths}")
        return [array.reshape(shape) for array, shape in zip(flat, shapes, strict=True)]

    _, channels, height, width = description["input_shape"]["dim"]
    data = _Node("", (height, width, channels))
    values: dict[str, Any] = {description["input"]: data}
    for layer in description["layer"]:
        name, top = layer["name"], layer["top"]
        bottoms: list[Any] = [values.get(bottom) for bottom in layer["bottom"]]
        x = bottoms[0]
        match layer["type"]:
            case "Convolution":
                param = layer["convolution_param"]
                outputs, side = param["num_output"], param["kernel_size"]
                shapes = [(outputs, x.shape[2], side, side), (outputs,)]
                kernels, *bias = arrays(*shapes[: 1 + param.get("bias_term", True)])
                bias = bias[0] if bias else np.zeros(outputs, np.float32)
                values[top] = _convolution(x, kernels, bias, param)
            case "BatchNorm":
                mean, variance, count = arrays(x.shape[2:], x.shape[2:], (1,))
                scale = 1 / np.sqrt(variance / count + BATCH_NORM_EPSILON)
                values[top] = _scale(x, scale, -mean / count * scale)
            case "Scale":
                values[top] = _scale(x, *arrays(x.shape[2:], x.shape[2:]))
            case "ReLU":
                x.options["fusedActivationFunction"] = _RELU
                values[top] = x
            case "Pooling":
                values[top] = _max_pool(x, layer["pooling_param"])
            case "Eltwise":
                values[top] = _Node("ADD", x.shape, bottoms)
            case "Normalize":
                (scale,) = arrays(x.shape[2:])
                values[top] = _Node("L2_NORMALIZATION", x.shape, [x], scale=scale)
            case "PriorBox":
                values[top] = _prior_boxes(x.shape, data.shape, layer["prior_box_param"])
            case "Concat":
                values[top] = bottoms
            case _:  # what LiteRT's order of axes does not need, and what comes after the heads
                values[top] = x
    levels = zip(values["mbox_loc"], values["mbox_conf"], values["mbox_priorbox"], strict=True)
    used = [level for level in levels if min(level[0].shape) > 0]
    heads = [_head(offsets, scores) for offsets, scores, _ in used]
    count = sum(head.shape[0] for head in heads)
    output = _Node("CONCATENATION", (count, VALUES), heads, options={"axis": 1})
    return data, output, np.concatenate([anchors for *_, anchors in used])


def _prior_boxes(level: tuple[int, ...], image: tuple[int, ...], param: Message) -> np.ndarray:
    """The anchors of a level by a prior_box_param that says `flip: true`.

    level and image: (height, width, channels). At each place of the level there are a small square,
    one of the geometric mean of both sizes, and each aspect ratio lying and upright.
    """
    small = param["min_size"]
    sizes = [(small, small), (math.sqrt(small * param["max_size"]),) * 2]
    for ratio in param["aspect_ratio"]:
        longer, shorter = small * math.sqrt(ratio), small / math.sqrt(ratio)
        sizes += [(longer, shorter), (shorter, longer)]
    rows, columns = (
        (np.arange(max(0, side)) + param["offset"]) * param["step"] for side in level[:2]
    )
    anchors = np.empty((len(rows), len(columns), len(sizes), 4), np.float32)
    anchors[..., 0], anchors[..., 1] = columns[:, None], rows[:, None, None]
    anchors[..., 2:] = sizes
    return anchors.reshape(-1, 4) / np.array([image[1], image[0]] * 2, np.float32)


def _scale(node: _Node, scale: np.ndarray, shift: Any) -> _Node:
    """node * scale + shift for each channel, folded into the operators that make the node.

    This changes the node, so it must have no other reader: in this network a BatchNorm or Scale
    works in place, or is the only reader of its input.
    """
    if not node.operator:
        node.scale, node.shift = node.scale * scale, node.shift * scale + shift
    elif node.operator == "CONV_2D":
        kernels, bias = node.constants
        node.constants = [kernels * scale[:, None, None, None], bias * scale + shift]
    elif node.operator == "ADD":
        first, second = node.inputs
        node.inputs = [_scale(first, scale, shift), _scale(second, scale, 0.0)]
    elif node.operator == "MUL":
        node.constants = [node.constants[0] * scale]
    else:  # the shortcut of a residual block, which other operators read, and which gets no shift
        node = _Node("MUL", node.shape, [node], [scale])
    return node


def _convolution(x: _Node, kernels: np.ndarray, bias: np.ndarray, param: Message) -> _Node:
    """The convolution of x by a convolution_param; kernels: (O, I, H, W), as Caffe has them."""
    kernels = np.ascontiguousarray(kernels.transpose(0, 2, 3, 1)) * np.float32(x.scale)
    pad, stride = param.get("pad", 0), param.get("stride", 1)
    dilation = param.get("dilation", 1)
    if pad:  # as an operator: LiteRT's SAME may pad less before than after, Caffe pads both equally
        edges = np.array([(0, 0), (pad, pad), (pad, pad), (0, 0)], np.int32)
        x = _Node("PAD", (x.shape[0] + 2 * pad, x.shape[1] + 2 * pad, x.shape[2]), [x], [edges])
    extent = (kernels.shape[1] - 1) * dilation + 1
    sides = [(side - extent) // stride + 1 for side in x.shape[:2]]
    options = {"padding": _VALID, "strideW": stride, "strideH": stride}
    options |= {"dilationWFactor": dilation, "dilationHFactor": dilation}
    return _Node("CONV_2D", (*sides, len(kernels)), [x], [kernels, bias], options)


def _max_pool(x: _Node, param: Message) -> _Node:
    """The maxima of x by a pooling_param without padding."""
    side, stride = param["kernel_size"], param["stride"]
    # Caffe rounds the number of windows up, and the last one may exceed the input. SAME does so too
    # where the side of the input is even, as it is here.
    rows, columns = (math.ceil((length - side) / stride) + 1 for length in x.shape[:2])
    options = {"padding": _SAME, "strideW": stride, "strideH": stride}
    options |= {"filterWidth": side, "filterHeight": side}
    return _Node("MAX_POOL_2D", (rows, columns, x.shape[2]), [x], options=options)


def _head(offsets: _Node, scores: _Node) -> _Node:
    """The two convolutions of a scale merged into one, reshaped to (anchors, VALUES).

    The softmax needs only the score of a face minus that of the background, and a convolution is
    linear: the difference of the two kernels gives it.
    """
    merged = []
    for four, two in zip(offsets.constants, scores.constants, strict=True):
        four, two = four.reshape(-1, 4, *four.shape[1:]), two.reshape(-1, 2, *two.shape[1:])
        five = np.concatenate([four, two[:, 1:] - two[:, :1]], axis=1)
        merged.append(five.reshape(-1, *five.shape[2:]))
    shape = (*offsets.shape[:2], len(merged[1]))
    node = _Node("CONV_2D", shape, offsets.inputs, merged, offsets.options)
    rows = (math.prod(shape) // VALUES, VALUES)
    return _Node("RESHAPE", rows, [node], [np.array((1, *rows), np.int32)])


def _flatbuffer(data: _Node, output: _Node) -> bytes:
    """The `.tflite` file of the graph from data to output."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT()  # Any: the schema declares lists where it takes arrays too
    graph: Any = schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [schema.BufferT()]  # the first one is shared by all tensors without data
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    for operator in _OPERATORS:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
        model.operatorCodes.append(code)
    types = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}

    def add_tensor(shape: tuple[int, ...], constant: np.ndarray | None = None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(shape), types["float32"]
        if constant is not None:
            tensor.type, tensor.buffer = types[constant.dtype.name], len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = constant.reshape(-1).view(np.uint8)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    indices = {data: add_tensor((1, *data.shape))}

    def add(node: _Node) -> int:
        """The index of the node's tensor; its operator is added after those of its inputs."""
        if node not in indices:
            inputs = [add(x) for x in node.inputs]
            inputs += [add_tensor(constant.shape, constant) for constant in node.constants]
            indices[node] = add_tensor((1, *node.shape))
            operator, options = schema.OperatorT(), _OPTIONS[node.operator]
            operator.opcodeIndex = _OPERATORS.index(node.operator)
            operator.inputs, operator.outputs = inputs, [indices[node]]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            vars(operator.builtinOptions).update(node.options)
            graph.operators.append(operator)
        return indices[node]

    graph.outputs, graph.inputs = [add(output)], [indices[data]]
    builder = flatbuffers.Builder(2**24)  # growing copies the buffer; this file needs 10.5 MB
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
