"""Shift and scale the input of a linear layer so that rounding it to 8 bits costs least.

The scales go into the weights, so that the layer's output is the same before rounding: large
columns of the input become smaller at the expense of the weights (Xiao et al., "SmoothQuant",
ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Largest absolute values in 8 bits. Weights use 7 of them: CPUs without VNNI add pairs of products
#: in 16 bits, which 8 bits would overflow, and an artifact must give the same scores on every CPU.
WEIGHT_MAX = 64
ACTIVATION_MAX = 127
UNSIGNED_MAX = 255

# Smallest outputs of activation functions.
_LOWEST = {"Gelu": -0.17, "Relu": 0.0}
# How much of the columns' range moves from the inputs to the weights; 0.5 for half of it.
_EXPONENTS = (0.25, 0.5, 0.75)
_WORTH = 0.9  # scaling costs time, and is not used if it leaves a larger share of the error


@dataclass(frozen=True, slots=True)
class InputScaling:
    """How an input x is brought to 8 bits: in steps of a row, from `(x - lowest) * factors`.

    Attributes:
        lowest: Smallest possible value of the input, which becomes 0 of unsigned integers; None
            for an input of either sign.
        factors: Factor of each column, float32 (K,); None without scaling.
    """

    lowest: float | None = None
    factors: Tensor | None = None

    def apply(self, rows: Tensor) -> Tensor:
        """Shift and scale rows (M, K)."""
        shifted = rows if self.lowest is None else rows - self.lowest
        return shifted if self.factors is None else shifted * self.factors

    def weights(self, weights: Tensor) -> Tensor:
        """Scale weights (K, N) the other way."""
        return weights if self.factors is None else weights / self.factors[:, None]


def choose_scaling(operator: str, rows: Tensor, weights: Sequence[Tensor]) -> InputScaling:
    """Choose the scaling with the smallest expected error of rounding.

    Args:
        operator: ONNX operator that computes the input.
        rows: Examples of the input, float32 (M, K), M at least 1.
        weights: Weights (K, N) of each layer with this input.

    Returns:
        The scaling.
    """
    plain = InputScaling(_LOWEST.get(operator))
    inputs = rows.abs().amax(0).clamp(min=1e-5)
    outputs = torch.stack([w.abs().amax(1) for w in weights]).amax(0).clamp(min=1e-5)
    scaled = [
        InputScaling(plain.lowest, outputs ** (1 - exponent) / inputs**exponent)
        for exponent in _EXPONENTS
    ]
    errors = [expect_error(scaling, rows, weights) for scaling in scaled]
    if min(errors) < _WORTH * expect_error(plain, rows, weights):
        return scaled[errors.index(min(errors))]
    return plain


def expect_error(scaling: InputScaling, rows: Tensor, weights: Sequence[Tensor]) -> float:
    """Compute the expected squared error of the outputs per row, if rounding errors are uniform.

    Args:
        scaling: How the input is scaled.
        rows: Examples of the input, float32 (M, K).
        weights: Weights (K, N) of each layer.
    """
    values = scaling.apply(rows)
    largest = ACTIVATION_MAX if scaling.lowest is None else UNSIGNED_MAX
    steps = values.abs().amax(1) / largest  # (M,)
    total = 0.0
    for plain in weights:
        own = scaling.weights(plain)
        weight_steps = own.abs().amax(0) / WEIGHT_MAX  # (N,)
        of_inputs = steps.square().mean() * own.square().sum()
        of_weights = values.square().sum(1).mean() * weight_steps.square().sum()
        total += float(of_inputs + of_weights) / 12  # variance of a uniform error, in steps
    return total
