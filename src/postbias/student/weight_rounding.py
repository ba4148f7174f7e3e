"""Round weights so that the outputs of a linear layer change little, rather than its weights."""

from __future__ import annotations

import torch
from torch import Tensor

_DAMPING = 0.01  # of the mean square of the inputs, against singular matrices
_BLOCK = 128  # rows that are rounded before the rest is updated


def round_weights(weights: Tensor, gram: Tensor, scales: Tensor, max_value: int) -> Tensor:
    """Round weights row by row, and correct the rows to come for the error (GPTQ).

    The method is that of Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers", ICLR 2023, with rows in the order of their inputs' mean square.

    Args:
        weights: Weights of `x @ weights`, float32 (K, N).
        gram: Sum of the outer products of the inputs x with themselves, float64 (K, K).
        scales: Step of each column, float32 (N,).
        max_value: Largest absolute value of the result.

    Returns:
        The weights in steps, int8 (K, N).
    """
    power = gram.diagonal()
    order = power.argsort(descending=True, stable=True)
    damped = gram[order][:, order]
    damped.diagonal().add_(_DAMPING * power.mean().clamp(min=1e-12))
    # Upper triangular factor of the inverse: row i says how an error in row i is made up for.
    factor = torch.linalg.cholesky(
        torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True
    )
    left = (weights / scales)[order].double()  # in steps
    rounded = torch.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        block = slice(start, start + _BLOCK)
        errors = torch.zeros_like(left[block])
        for at in range(start, min(start + _BLOCK, len(left))):
            rounded[at] = left[at].round().clamp(-max_value, max_value)
            errors[at - start] = (left[at] - rounded[at]) / factor[at, at]
            rest = slice(at + 1, start + _BLOCK)
            left[rest] -= factor[at, rest, None] * errors[at - start]
        left[start + _BLOCK :] -= factor[block, start + _BLOCK :].T @ errors
    result = torch.empty_like(rounded)
    result[order] = rounded
    return result.to(torch.int8)
