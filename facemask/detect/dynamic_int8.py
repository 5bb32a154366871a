"""Computing the convolutions of a `.tflite` model in int8, with no data to calibrate them."""

from typing import Any

import numpy as np

from facemask.detect.litert import IDENTIFIER

# Convolutions with fewer products in a sum stay float32: converting their input would take the time
# that they gain, and each number counts more.
_MIN_PRODUCTS = 64


def quantize_weights(content: bytes) -> bytes:
    """A float32 `.tflite` model with the kernels of most convolutions in int8.

    LiteRT then also rounds the input of these convolutions to int8, by its range in each call
    (dynamic-range quantization). Inputs and outputs stay float32. TensorFlow's converter does the
    same, but to depthwise convolutions too, which LiteRT then runs without its fast kernels: it
    makes MobileNetV2 slower. Raises ImportError without LiteRT.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            if code != schema.BuiltinOperator.CONV_2D:
                continue
            kernels = graph.tensors[operator.inputs[1]]  # (O, H, W, I)
            buffer = model.buffers[kernels.buffer]
            if buffer.data is None or kernels.type != schema.TensorType.FLOAT32:
                continue  # not a constant, or not to be rounded
            if np.prod(kernels.shape[1:]) < _MIN_PRODUCTS:
                continue
            values = buffer.data.view(np.float32).reshape(kernels.shape[0], -1)
            scales = np.maximum(np.abs(values).max(axis=1), 1e-12) / 127
            whole = np.rint(values / scales[:, None]).astype(np.int8)
            buffer.data = whole.reshape(-1).view(np.uint8)
            kernels.type = schema.TensorType.INT8
            quantization: Any = schema.QuantizationParametersT()
            quantization.scale = scales.astype(np.float32)
            quantization.zeroPoint = np.zeros(len(scales), np.int64)
            kernels.quantization = quantization
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
