"""Quantize encoder graphs to int8: a quarter of the size, and several times as fast.

Image encoders: one static scale per tensor for activations, from calibration images, and one per
channel for weights. Text encoders, and image encoders that are transformers: one scale per column
for weights, and one per token, computed at run time, for activations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

Array = NDArray[Any]

# Weights use 7 of 8 bits: CPUs without VNNI add pairs of products in 16 bits, which 8 bits would
# overflow, and an artifact must give the same scores on every CPU.
_WEIGHT_MAX = 64
_ACTIVATION_MAX = 127
_ACTIVATION_ZERO = 128
_MIN_TABLE_SIZE = 4096  # weights of an embedding table below which quantizing saves nothing
_IMAGES_PER_RUN = 8


def quantize_image(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> onnx.ModelProto:
    """Quantize an image encoder.

    Args:
        model: The fp32 graph; not changed.
        pixels: Calibration images, uint8 (N, S, S, 3), N at least 1.

    Returns:
        The int8 graph, with the same inputs and outputs.
    """
    if _is_transformer(model):
        # A few channels of their activations are a hundred times as large as the rest: with one
        # scale per tensor, a random ViT's embeddings keep a cosine of 0.92, with one per token
        # 0.999.
        return quantize_linear(model)
    model = _copy(model)
    # Suppresses a warning that shapes were not inferred, which these graphs do not need.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _ImageReader(pixels),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(path)


def quantize_linear(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantize a transformer: its linear layers and its embedding tables.

    Activations get a scale per token, so that an embedding does not depend on its batch.
    onnxruntime's own dynamic quantization has one scale for the whole batch; docs/experiments.md
    compares the alternatives and their speed.

    Args:
        model: The fp32 graph; not changed.

    Returns:
        The int8 graph, with the same inputs and outputs.
    """
    model = _copy(model)
    rewriter = _GraphRewriter(model.graph)
    for node in model.graph.node:
        weight = rewriter.weights.get(node.input[1]) if node.op_type == "MatMul" else None
        table = rewriter.weights.get(node.input[0]) if node.op_type == "Gather" else None
        if weight is not None and weight.ndim == 2:
            rewriter.quantize_product(node, weight)
        elif table is not None and table.ndim == 2 and table.size >= _MIN_TABLE_SIZE:
            rewriter.quantize_lookup(node, table)
        else:
            rewriter.nodes.append(node)
    rewriter.replace_graph()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def _is_transformer(model: onnx.ModelProto) -> bool:
    """Check whether most weights belong to linear layers."""
    sizes = {
        constant.name: int(np.prod(constant.dims))
        for constant in model.graph.initializer
        if constant.data_type == onnx.TensorProto.FLOAT
    }
    linear = {
        node.input[1]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in sizes
    }
    return 2 * sum(sizes[name] for name in linear) > sum(sizes.values())


class _GraphRewriter:
    """Collects the nodes and constants that will replace those of a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {
            constant.name: numpy_helper.to_array(constant)
            for constant in graph.initializer
            if constant.data_type == onnx.TensorProto.FLOAT
        }
        self._constants: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, tuple[str, str]] = {}

    def quantize_product(self, node: onnx.NodeProto, weight: Array) -> None:
        """Replace `x @ weight` by an integer product."""
        x, name, output = node.input[0], node.input[1], node.output[0]
        rows, row_scales = self._quantize_rows(x, len(weight))
        integers, scales = _symmetric(weight, axis=0)
        self._emit(
            "MatMulIntegerToFloat",
            [
                rows,
                self._constant(f"{name}.int8", integers),
                self._constant("int8.one", np.float32(1)),
                self._constant(f"{name}.scale", scales.reshape(-1)),
                self._constant("int8.zero", np.uint8(_ACTIVATION_ZERO)),
            ],
            f"{output}.product",
            domain="com.microsoft",
        )
        flat = self._emit("Mul", [f"{output}.product", row_scales], f"{output}.flat")
        width = self._constant(f"int8.width.{weight.shape[1]}", np.array([weight.shape[1]]))
        shape = self._emit("Shape", [x], f"{output}.outer", start=0, end=-1)
        shape = self._emit("Concat", [shape, width], f"{output}.shape", axis=0)
        self._emit("Reshape", [flat, shape], output)

    def quantize_lookup(self, node: onnx.NodeProto, table: Array) -> None:
        """Replace an embedding table by int8 rows and their scales."""
        name, ids, output = node.input[0], node.input[1], node.output[0]
        integers, scales = _symmetric(table, axis=1, max_value=_ACTIVATION_MAX)
        rows = self._constant(f"{name}.int8", integers)
        rows = self._emit("Gather", [rows, ids], f"{output}.found")
        rows = self._emit("Cast", [rows], f"{output}.found.float", to=onnx.TensorProto.FLOAT)
        scale = self._constant(f"{name}.scale", scales)
        scale = self._emit("Gather", [scale, ids], f"{output}.found.scale")
        self._emit("Mul", [rows, scale], output)

    def replace_graph(self) -> None:
        """Write the collected nodes and all constants in use back into the graph."""
        used = {name for node in self.nodes for name in node.input}
        kept = [constant for constant in self.graph.initializer if constant.name in used]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend([*kept, *self._constants.values()])

    def _quantize_rows(self, x: str, width: int) -> tuple[str, str]:
        """Quantize the rows of a tensor (..., K) to uint8 (M, K) with scales (M, 1)."""
        if x not in self._quantized:
            last = self._constant("int8.last", np.array([-1]))
            flat = self._emit(
                "Reshape",
                [x, self._constant(f"int8.rows.{width}", np.array([-1, width]))],
                f"{x}.rows",
            )
            high = self._emit("ReduceMax", [flat, last], f"{x}.high", keepdims=0)
            low = self._emit("ReduceMin", [flat, last], f"{x}.low", keepdims=0)
            low = self._emit("Neg", [low], f"{x}.depth")
            tiny = self._constant("int8.tiny", np.float32(1e-12))
            reach = self._emit("Max", [high, low, tiny], f"{x}.reach")
            step = self._constant("int8.step", np.float32(1 / _ACTIVATION_MAX))
            scale = self._emit("Mul", [reach, step], f"{x}.scale")
            count = self._emit("Shape", [scale], f"{x}.count")
            zero = self._constant("int8.zeros", np.array([_ACTIVATION_ZERO], np.uint8))
            zeros = self._emit("Expand", [zero, count], f"{x}.zeros")
            rows = self._emit("QuantizeLinear", [flat, scale, zeros], f"{x}.uint8", axis=0)
            scales = self._emit("Unsqueeze", [scale, last], f"{x}.scales")
            self._quantized[x] = rows, scales
        return self._quantized[x]

    def _constant(self, name: str, value: Any) -> str:  # noqa: ANN401 - arrays and numpy scalars
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def _emit(self, kind: str, inputs: list[str], output: str, **options: Any) -> str:  # noqa: ANN401
        self.nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output


class _ImageReader(CalibrationDataReader):  # type: ignore[misc]
    """Passes calibration images to onnxruntime, a few at a time."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._starts: Iterator[int] = iter(range(0, len(pixels), _IMAGES_PER_RUN))
        self._pixels = pixels

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        start = next(self._starts, None)
        if start is None:
            return None
        return {"pixels": self._pixels[start : start + _IMAGES_PER_RUN]}


def _symmetric(values: Array, *, axis: int, max_value: int = _WEIGHT_MAX) -> tuple[Array, Array]:
    """Quantize symmetrically with one scale per slice along `axis`, which is kept with width 1."""
    scales = np.abs(values).max(axis=axis, keepdims=True) / np.float32(max_value)
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    return np.clip(np.rint(values / scales), -max_value, max_value).astype(np.int8), scales


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
