"""Quantized graphs: small, close to the original, and independent of the rest of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from postbias.student.graph_inputs import Feeds
from postbias.student.linear_quantization import quantize_linear
from postbias.student.quantize import quantize_image

WIDTH, VOCABULARY = 64, 500


def text_like(rng: np.random.Generator, table_rows: int = VOCABULARY) -> onnx.ModelProto:
    """Build a graph of an embedding table, two linear layers and a maximum over tokens."""
    values = {
        "table": rng.normal(size=(table_rows, WIDTH)),
        "first": rng.normal(size=(WIDTH, WIDTH)) / 8,
        "second": rng.normal(size=(WIDTH, 32)) / 8,
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "tokens"))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("ReduceMax", ["c", "tokens"], ["embedding"], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 32])
    graph = helper.make_graph(nodes, "text", [ids], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def image_like(rng: np.random.Generator) -> onnx.ModelProto:
    """Build a graph of a convolution over images and a mean."""
    values = {"weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32)}
    constants = [numpy_helper.from_array(v, n) for n, v in values.items()]
    constants.append(numpy_helper.from_array(np.array([2, 3]), "sides"))
    constants.append(numpy_helper.from_array(np.float32(255), "white"))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "weight"], ["seen"]),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("ReduceMean", ["kept", "sides"], ["embedding"], keepdims=0),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "s", "s", 3])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])
    graph = helper.make_graph(nodes, "image", [pixels], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, feeds: dict[str, Any]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, feeds)[0]
    return output


def calibration(rng: np.random.Generator, table_rows: int = VOCABULARY) -> list[Feeds]:
    return [{"input_ids": rng.integers(0, table_rows, (1, 9))} for _ in range(40)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_quantized_text_graph_is_close_and_a_quarter_of_the_size(
    rng: np.random.Generator,
) -> None:
    model = text_like(rng)
    quantized = quantize_linear(model, calibration(rng))
    ids = rng.integers(0, VOCABULARY, (16, 9))
    expected, actual = (run(m, {"input_ids": ids}) for m in (model, quantized))
    assert np.abs(actual - expected).mean() < 0.02 * expected.std()
    assert quantized.ByteSize() < 0.35 * model.ByteSize()


def test_a_row_of_a_quantized_text_graph_does_not_depend_on_the_other_rows(
    rng: np.random.Generator,
) -> None:
    model = text_like(rng)
    # One token is a thousand times as large: a scale for the whole batch would lose the others.
    table = numpy_helper.to_array(model.graph.initializer[0]).copy()
    table[7] *= 1000
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(table, "table"))
    quantized = quantize_linear(model, calibration(rng))
    ids = rng.integers(8, VOCABULARY, (16, 9))
    alone = [run(quantized, {"input_ids": row[None]})[0] for row in ids]
    ids_with_giant = np.vstack([ids, np.full((1, 9), 7)])
    batched = run(quantized, {"input_ids": ids_with_giant})[:-1]
    np.testing.assert_array_equal(np.stack(alone), batched)


def test_quantizing_changes_neither_the_input_model_nor_its_signature(
    rng: np.random.Generator,
) -> None:
    for model, quantize in (
        (text_like(rng), lambda m: quantize_linear(m, calibration(rng))),
        (
            image_like(rng),
            lambda m: quantize_image(m, rng.integers(0, 256, (4, 16, 16, 3), np.uint8)),
        ),
    ):
        before = model.SerializeToString()
        quantized = quantize(model)
        assert model.SerializeToString() == before
        assert list(quantized.graph.input) == list(model.graph.input)
        assert list(quantized.graph.output) == list(model.graph.output)


def test_small_tables_are_not_quantized(rng: np.random.Generator) -> None:
    quantized = quantize_linear(text_like(rng, 32), calibration(rng, 32))
    names = {constant.name for constant in quantized.graph.initializer}
    assert "table" in names
    assert "first" not in names


def test_a_quantized_image_graph_is_close_and_reproducible(
    rng: np.random.Generator,
) -> None:
    model = image_like(rng)
    pixels = rng.integers(0, 256, (20, 16, 16, 3), np.uint8)
    quantized = quantize_image(model, pixels)
    expected, actual = (run(m, {"pixels": pixels}) for m in (model, quantized))
    assert np.abs(actual - expected).mean() < 0.02 * np.abs(expected).mean()
    again = quantize_image(model, pixels)
    assert again.SerializeToString() == quantized.SerializeToString()


def test_sums_of_two_products_fit_into_16_bits(
    rng: np.random.Generator,
) -> None:
    quantized = [
        quantize_linear(text_like(rng), calibration(rng)),
        quantize_image(image_like(rng), rng.integers(0, 256, (4, 16, 16, 3), np.uint8)),
    ]
    for model in quantized:
        weights = [
            numpy_helper.to_array(constant)
            for constant in model.graph.initializer
            if constant.data_type == TensorProto.INT8 and "table" not in constant.name
        ]
        assert weights
        for weight in weights:
            assert 2 * 255 * np.abs(weight.astype(int)).max() < 2**15
