"""Linear layers in int8: rounding that minds the inputs, and inputs that are easy to round."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from postbias.student.graph_inputs import Feeds
from postbias.student.input_scaling import InputScaling, choose_scaling, expect_error
from postbias.student.linear_inputs import record_linear_inputs
from postbias.student.linear_quantization import quantize_linear
from postbias.student.weight_rounding import round_weights

K, N = 48, 24


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def correlated(rng: np.random.Generator, n: int) -> torch.Tensor:
    """Draw rows (n, K) that vary mostly in a few directions."""
    rows = rng.normal(size=(n, 6)) @ rng.normal(size=(6, K)) + 0.1 * rng.normal(size=(n, K))
    return torch.from_numpy(rows.astype(np.float32))


def test_rounding_with_the_inputs_changes_outputs_less_than_rounding_to_the_nearest(
    rng: np.random.Generator,
) -> None:
    rows, new = correlated(rng, 900).split([600, 300])
    weights = torch.from_numpy(rng.normal(size=(K, N)).astype(np.float32))
    scales = weights.abs().amax(0) / 8
    rounded = round_weights(weights, (rows.T @ rows).double(), scales, 8) * scales
    nearest = (weights / scales).round().clamp(-8, 8) * scales
    errors = [(new @ (w - weights)).square().mean().item() for w in (rounded, nearest)]
    assert errors[0] < 0.25 * errors[1]


def test_rounding_for_uncorrelated_inputs_is_to_the_nearest(rng: np.random.Generator) -> None:
    weights = torch.from_numpy(rng.normal(size=(K, N)).astype(np.float32))
    scales = weights.abs().amax(0) / 64
    rounded = round_weights(weights, torch.eye(K, dtype=torch.float64), scales, 64)
    assert torch.equal(rounded, (weights / scales).round().to(torch.int8))


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_inputs_without_variance_can_be_rounded(power: float, rng: np.random.Generator) -> None:
    weights = torch.from_numpy(rng.normal(size=(K, N)).astype(np.float32))
    gram = torch.full((K, K), power, dtype=torch.float64)
    rounded = round_weights(weights, gram, weights.abs().amax(0) / 64, 64)
    assert rounded.abs().max() == 64


def test_columns_that_are_large_are_scaled_down_and_the_product_stays(
    rng: np.random.Generator,
) -> None:
    rows = torch.from_numpy(rng.uniform(-1, 1, (2000, K)).astype(np.float32))
    weights = torch.from_numpy(rng.choice([-1, 1], (K, N)).astype(np.float32))
    assert choose_scaling("LayerNormalization", rows, [weights]) == InputScaling()
    rows[:, 5] *= 50
    scaling = choose_scaling("LayerNormalization", rows, [weights])
    assert scaling.factors is not None
    assert scaling.factors.argmin() == 5
    torch.testing.assert_close(
        scaling.apply(rows) @ scaling.weights(weights), rows @ weights, rtol=1e-4, atol=1e-2
    )
    assert expect_error(scaling, rows, [weights]) < 0.2 * expect_error(
        InputScaling(), rows, [weights]
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_expected_error_is_that_of_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.normal(size=(4000, K)).astype(np.float32))
    weights = torch.from_numpy(rng.normal(size=(K, N)).astype(np.float32))
    steps = rows.abs().amax(1, keepdim=True) / 127
    weight_steps = weights.abs().amax(0) / 64
    product = (rows / steps).round() * steps @ ((weights / weight_steps).round() * weight_steps)
    measured = (product - rows @ weights).square().sum(1).mean().item()
    assert expect_error(InputScaling(), rows, [weights]) == pytest.approx(measured, rel=0.1)


def test_recorded_inputs_are_those_of_the_graph(rng: np.random.Generator) -> None:
    model, runs = layer(rng, "Identity"), draw_runs(rng, 10)
    (recorded,) = record_linear_inputs(model, ["hidden"], runs).values()
    rows = np.concatenate([run["values"].reshape(-1, K) for run in runs])
    np.testing.assert_allclose(recorded.gram.numpy(), rows.T @ rows, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(recorded.rows.numpy(), rows[::8])


def test_recording_stops_when_there_are_enough_rows(rng: np.random.Generator) -> None:
    model, runs = layer(rng, "Identity"), iter(draw_runs(rng, 1200))
    (recorded,) = record_linear_inputs(model, ["hidden"], runs).values()
    assert recorded.n_rows == 8197  # the first number of rows above 8,192 that 7 divides
    assert len(recorded.rows) == 1024
    assert len(list(runs)) == 1200 - 8197 // 7


@pytest.mark.parametrize(
    ("operator", "is_unsigned"), [("Gelu", True), ("Relu", True), ("Identity", False)]
)
def test_inputs_that_are_never_low_use_all_of_the_integers(
    operator: str, is_unsigned: bool, rng: np.random.Generator
) -> None:
    model, runs = layer(rng, operator), draw_runs(rng, 60)
    quantized = quantize_linear(model, runs)
    zeros = [
        numpy_helper.to_array(constant)
        for constant in quantized.graph.initializer
        if constant.data_type == TensorProto.UINT8
    ]
    assert {int(zero.reshape(-1)[0]) for zero in zeros} == {0 if is_unsigned else 128}
    for run in [*draw_runs(rng, 20), {"values": np.zeros((1, 3, K), np.float32)}]:
        expected, actual = (run_graph(m, run) for m in (model, quantized))
        assert np.abs(actual - expected).max() < 0.05 * max(1, np.abs(expected).max())


def test_quantizing_twice_gives_the_same_bytes(rng: np.random.Generator) -> None:
    model, runs = layer(rng, "Gelu"), draw_runs(rng, 60)
    first, second = (quantize_linear(model, runs).SerializeToString() for _ in range(2))
    assert first == second


def layer(rng: np.random.Generator, operator: str) -> onnx.ModelProto:
    """Build a graph of an activation function and a linear layer."""
    weights = numpy_helper.from_array(rng.normal(size=(K, N)).astype(np.float32), "weights")
    nodes = [
        helper.make_node(operator, ["values"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "weights"], ["embedding"]),
    ]
    values = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n", "t", K])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", "t", N])
    graph = helper.make_graph(nodes, "layer", [values], [out], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def draw_runs(rng: np.random.Generator, count: int) -> list[Feeds]:
    return [{"values": rng.normal(size=(1, 7, K)).astype(np.float32)} for _ in range(count)]


def run_graph(model: onnx.ModelProto, feeds: Feeds) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, dict(feeds))[0]
    return output
