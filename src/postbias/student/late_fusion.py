"""Start a fusion student from a text student and an image student, so that it is no worse.

A fusion student that is trained as a whole can lose to the better of its modalities, because the
two overfit and generalise at different rates (Wang et al., CVPR 2020). Here each modality is
trained on its own, with its own early stopping, and the fusion student starts as a weighted sum of
the two scores. Further training is kept only if it clearly improves on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader

from postbias.student.losses import compute_losses
from postbias.student.network import LateFusionHead, Student

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from postbias.student.dataset import PostDataset
    from postbias.student.embedding_cache import EmbeddedDataset

    Array = NDArray[np.float64]

_POSTS_PER_PASS = 64
# Between the best weights of two scores that say the same (0.5) and of independent ones (1).
_PRIOR_WEIGHT, _PRIOR_SD = 0.75, 0.5


def join_parts(fusion: Student, parts: Mapping[str, Student]) -> None:
    """Copy the encoders and heads of two students into a fusion student.

    Args:
        fusion: A new student with late fusion, changed in place; the units of its head are set.
        parts: The `text` and the `image` student.
    """
    head = fusion.head
    assert isinstance(head, LateFusionHead)
    for name, part in parts.items():
        encoder, own_head = getattr(fusion, name), getattr(head, name)
        encoder.load_state_dict(getattr(part, name).state_dict())
        own_head.load_state_dict(part.head.state_dict())
        own_head.change_units(head.center, head.scale)


@torch.no_grad()
def fit_weights(head: LateFusionHead, valid: EmbeddedDataset, base_labels: Array) -> None:
    """Fit the weights of the two scores to the labels of posts with both modalities.

    Scores of posts that the two heads were trained on are too good to weigh them by, so that the
    valid fold is used.

    Args:
        head: The head, changed in place.
        valid: The valid fold.
        base_labels: Mean label of the train fold, (A,); posts of which both heads know nothing
            keep this score.
    """
    parts = valid.parts
    has_both = (parts["has_text"] * parts["has_image"]).squeeze(1) > 0  # (N,)
    head.cpu().eval()
    scores = [
        own_head.raw_scores((parts[name][has_both], parts[f"has_{name}"][has_both]))
        for name, own_head in (("text", head.text), ("image", head.image))
    ]
    targets = ((torch.from_numpy(valid.labels)[has_both] - head.center) / head.scale).double()
    shares = (torch.from_numpy(base_labels) - head.center) / head.scale
    base = shares.logit(1e-6) if head.bounded else shares  # (A,)
    for axis in range(len(base)):
        columns = torch.stack([score[:, axis] for score in scores], dim=1).double()
        weights = weigh_scores(
            columns.numpy(), targets[:, axis].numpy(), float(base[axis]), is_logistic=head.bounded
        )
        head.weights[:, axis] = torch.from_numpy(weights)
        head.offset[axis] = float(base[axis]) * (1 - weights.sum())


def weigh_scores(scores: Array, targets: Array, base: float, *, is_logistic: bool) -> Array:
    """Fit non-negative weights of scores by penalised least squares or logistic regression.

    Non-negative weights of a useless score are near 0 (Breiman, Stacked Regressions, Machine
    Learning 1996). The penalty is a normal prior, which matters only if there are few posts.

    Args:
        scores: Scores of K models, (N, K), in standard deviations of the labels or as logits.
        targets: Labels, (N,), in the same units; shares of the range for logistic regression.
        base: Score of a post of which no model knows anything.
        is_logistic: Whether the weighted sum is the logit of the target.

    Returns:
        Weights (K,) of the differences from the base.
    """
    from scipy.optimize import minimize

    design = scores - base

    def loss(weights: Array) -> tuple[float, Array]:
        fitted = base + design @ weights
        if is_logistic:
            value = np.logaddexp(0, fitted) - targets * fitted
            error = 0.5 * (1 + np.tanh(fitted / 2)) - targets
        else:
            error = fitted - targets
            value = error**2 / 2
        pull = (weights - _PRIOR_WEIGHT) / _PRIOR_SD**2
        penalty = float(pull @ (weights - _PRIOR_WEIGHT)) / 2
        return float(value.sum()) + penalty, design.T @ error + pull

    n_scores = scores.shape[1]
    start, bounds = np.full(n_scores, _PRIOR_WEIGHT), [(0, None)] * n_scores
    found: Array = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found


@torch.no_grad()
def measure_losses(student: Student, posts: PostDataset, loss: str) -> Array:
    """Compute the training loss of each post without dropout and in fp32, summed over axes, (N,).

    Args:
        student: The student; put in evaluation mode.
        posts: The posts.
        loss: Value of `train.loss`.
    """
    device = next(student.parameters()).device  # of the encoders; weights are fitted on the CPU
    student.to(device).eval()
    losses: list[NDArray[np.float64]] = []
    for batch in DataLoader(posts, _POSTS_PER_PASS, collate_fn=posts.collate):
        inputs = {name: value.to(device) for name, value in batch.items()}
        labels = inputs.pop("labels")
        of_batch = compute_losses(student(**inputs), labels, student.head, loss)
        losses.append(of_batch.sum(1).double().cpu().numpy())
    return np.concatenate(losses)


def is_clear_gain(losses: Array, new_losses: Array) -> bool:
    """Decide whether a mean loss has fallen by more than the standard error of the difference.

    The new weights are the best of many on the same posts, so that a smaller gain may be chance
    (one-standard-error rule; Breiman et al., Classification and Regression Trees, 1984).

    Args:
        losses: Loss of each post, (N,).
        new_losses: The same with new weights, (N,).
    """
    gains = losses - new_losses
    return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)))
