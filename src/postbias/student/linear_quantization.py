"""Quantize the linear layers and embedding tables of a transformer's graph to int8.

Activations get a scale per token, computed at run time, so that an embedding does not depend on its
batch. onnxruntime's own dynamic quantization has one scale for the whole batch; docs/experiments.md
compares the alternatives and their speed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from postbias.student.graph_inputs import Feeds
from postbias.student.input_scaling import (
    ACTIVATION_MAX,
    UNSIGNED_MAX,
    WEIGHT_MAX,
    InputScaling,
    choose_scaling,
)
from postbias.student.linear_inputs import LinearInput, record_linear_inputs
from postbias.student.weight_rounding import round_weights

Array = NDArray[Any]

_ACTIVATION_ZERO = 128
_MIN_TABLE_SIZE = 4096  # weights of an embedding table below which quantizing saves nothing


def quantize_linear(model: onnx.ModelProto, runs: Iterable[Feeds]) -> onnx.ModelProto:
    """Quantize a transformer: its linear layers and its embedding tables.

    Args:
        model: The fp32 graph; not changed.
        runs: Inputs of the graph to calibrate with, at least one; not all are used if they are
            many.

    Returns:
        The int8 graph, with the same inputs and outputs.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    rewriter = _GraphRewriter(quantized.graph)
    recorded = record_linear_inputs(model, rewriter.linear_inputs(), runs)
    for node in quantized.graph.node:
        table = rewriter.weights.get(node.input[0]) if node.op_type == "Gather" else None
        if rewriter.is_linear(node):
            rewriter.quantize_product(node, recorded[node.input[0]])
        elif table is not None and table.ndim == 2 and table.size >= _MIN_TABLE_SIZE:
            rewriter.quantize_lookup(node, table)
        else:
            rewriter.nodes.append(node)
    rewriter.replace_graph()
    quantized.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return quantized


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
        self._operators = {name: node.op_type for node in graph.node for name in node.output}
        self._layers: dict[str, list[str]] = defaultdict(list)  # weights by input
        for node in filter(self.is_linear, graph.node):
            self._layers[node.input[0]].append(node.input[1])
        self._constants: dict[str, onnx.TensorProto] = {}
        self._scalings: dict[str, InputScaling] = {}
        self._quantized: dict[str, tuple[str, str]] = {}

    def is_linear(self, node: onnx.NodeProto) -> bool:
        """Check whether a node multiplies its input by a constant matrix."""
        weight = self.weights.get(node.input[1]) if node.op_type == "MatMul" else None
        return weight is not None and weight.ndim == 2

    def linear_inputs(self) -> Sequence[str]:
        """List the inputs of linear layers."""
        return list(self._layers)

    def quantize_product(self, node: onnx.NodeProto, recorded: LinearInput) -> None:
        """Replace `x @ weight` by an integer product."""
        x, name, output = node.input[0], node.input[1], node.output[0]
        scaling = self._choose_scaling(x, recorded)
        rows, row_scales = self._quantize_rows(x, len(self.weights[name]), scaling)
        integers, scales = _quantize_weights(self._tensor(name), recorded, scaling)
        zero = _ACTIVATION_ZERO if scaling.lowest is None else 0
        self._emit(
            "MatMulIntegerToFloat",
            [
                rows,
                self._constant(f"{name}.int8", integers.numpy()),
                self._constant("int8.one", np.float32(1)),
                self._constant(f"{name}.scale", scales.numpy()),
                self._constant(f"int8.zero.{zero}", np.uint8(zero)),
            ],
            f"{output}.product",
            domain="com.microsoft",
        )
        flat = self._emit("Mul", [f"{output}.product", row_scales], f"{output}.flat")
        if scaling.lowest:
            # What the shift of the input adds to the output.
            weights = integers.double() * scales.double()
            added = scaling.apply(torch.zeros(1, len(weights))).double() @ weights
            shift = self._constant(f"{name}.shift", added.squeeze(0).float().numpy())
            flat = self._emit("Sub", [flat, shift], f"{output}.shifted")
        width = integers.shape[1]
        last = self._constant(f"int8.width.{width}", np.array([width]))
        shape = self._emit("Shape", [x], f"{output}.outer", start=0, end=-1)
        shape = self._emit("Concat", [shape, last], f"{output}.shape", axis=0)
        self._emit("Reshape", [flat, shape], output)

    def quantize_lookup(self, node: onnx.NodeProto, table: Array) -> None:
        """Replace an embedding table by int8 rows and their scales."""
        name, ids, output = node.input[0], node.input[1], node.output[0]
        scales = _steps(np.abs(table).max(axis=1, keepdims=True), ACTIVATION_MAX)
        integers = np.rint(table / scales).astype(np.int8)
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

    def _choose_scaling(self, x: str, recorded: LinearInput) -> InputScaling:
        if x not in self._scalings:
            weights = [self._tensor(name) for name in self._layers[x]]
            operator = self._operators.get(x, "")
            self._scalings[x] = choose_scaling(operator, recorded.rows, weights)
        return self._scalings[x]

    def _quantize_rows(self, x: str, width: int, scaling: InputScaling) -> tuple[str, str]:
        """Quantize the rows of a tensor (..., K) to uint8 (M, K) with scales (M, 1)."""
        if x not in self._quantized:
            last = self._constant("int8.last", np.array([-1]))
            shape = self._constant(f"int8.rows.{width}", np.array([-1, width]))
            flat = self._emit("Reshape", [x, shape], f"{x}.rows")
            if scaling.lowest:
                height = self._constant(f"{x}.height", np.float32(-scaling.lowest))
                flat = self._emit("Add", [flat, height], f"{x}.raised")
            if scaling.factors is not None:
                factors = self._constant(f"{x}.factors", scaling.factors.numpy())
                flat = self._emit("Mul", [flat, factors], f"{x}.smooth")
            high = self._emit("ReduceMax", [flat, last], f"{x}.high", keepdims=0)
            reaches = [high, self._constant("int8.tiny", np.float32(1e-12))]
            if scaling.lowest is None:
                low = self._emit("ReduceMin", [flat, last], f"{x}.low", keepdims=0)
                reaches.insert(1, self._emit("Neg", [low], f"{x}.depth"))
            reach = self._emit("Max", reaches, f"{x}.reach")
            largest = ACTIVATION_MAX if scaling.lowest is None else UNSIGNED_MAX
            step = self._constant(f"int8.step.{largest}", np.float32(1 / largest))
            scale = self._emit("Mul", [reach, step], f"{x}.scale")
            count = self._emit("Shape", [scale], f"{x}.count")
            zero = _ACTIVATION_ZERO if scaling.lowest is None else 0
            zeros = self._constant(f"int8.zeros.{zero}", np.array([zero], np.uint8))
            zeros = self._emit("Expand", [zeros, count], f"{x}.zeros")
            rows = self._emit("QuantizeLinear", [flat, scale, zeros], f"{x}.uint8", axis=0)
            scales = self._emit("Unsqueeze", [scale, last], f"{x}.scales")
            self._quantized[x] = rows, scales
        return self._quantized[x]

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.weights[name].copy())

    def _constant(self, name: str, value: Any) -> str:  # noqa: ANN401 - arrays and numpy scalars
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def _emit(self, kind: str, inputs: list[str], output: str, **options: Any) -> str:  # noqa: ANN401
        self.nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output


def _quantize_weights(
    weights: Tensor, recorded: LinearInput, scaling: InputScaling
) -> tuple[Tensor, Tensor]:
    """Quantize weights (K, N) to int8 with one scale per column, (N,)."""
    weights, gram = scaling.weights(weights), recorded.gram
    if scaling.factors is not None:
        factors = scaling.factors.double()
        gram = gram * factors * factors[:, None]
    scales = torch.from_numpy(_steps(weights.abs().amax(0).numpy(), WEIGHT_MAX))
    return round_weights(weights, gram, scales, WEIGHT_MAX), scales


def _steps(largest: Array, max_value: int) -> Array:
    """Compute scales from largest absolute values; 1 where all values are 0."""
    scales = largest / np.float32(max_value)
    return np.where(scales == 0, np.float32(1), scales).astype(np.float32)
