"""Training losses of scores, in units that do not depend on the range of the axes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from postbias.student.network import ScoreHead

_HUBER_DELTA = 1.0  # in standard deviations of the labels
_MIN_SHARE = 1e-6  # of the range; cross-entropy is clamped there, float32 resolves no less


def compute_losses(scores: Tensor, labels: Tensor, head: ScoreHead, loss: str) -> Tensor:
    """Compute the loss of each score.

    Args:
        scores: Scores in units of the axes, (B, A).
        labels: Labels, (B, A).
        head: The head that gave the scores; has their units.
        loss: `mse`, `huber` or `cross_entropy`.

    Returns:
        Losses, (B, A).
    """
    error = (scores - labels) / head.scale
    if loss == "cross_entropy":
        shares, targets = ((value - head.center) / head.scale for value in (scores, labels))
        logits = shares.logit(_MIN_SHARE)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if loss == "huber":
        zero = error.new_zeros(error.shape)
        return functional.huber_loss(error, zero, reduction="none", delta=_HUBER_DELTA)
    return error.square()
