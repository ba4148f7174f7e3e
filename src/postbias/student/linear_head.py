"""Fit a linear head to embeddings exactly: by ridge regression, or by logistic regression.

With a few thousand noisy labels, the penalty decides how well a head on pretrained embeddings
generalises. Gradient descent with early stopping has none that could be chosen as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers

from postbias.axes import Axis
from postbias.student.epoch_metrics import make_compute_metrics
from postbias.student.losses import compute_losses
from postbias.student.network import Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from postbias.student.embedding_cache import EmbeddedDataset

    Array = NDArray[np.float64]

logger = logging.getLogger(__name__)

_PENALTIES = np.logspace(0, 6, 25)  # of coefficients of standardised features
_LOGISTIC_PENALTIES = np.logspace(0, 5, 11)
_N_SPLITS = 5  # of the posts, to choose the penalty of logistic regression


@torch.no_grad()
def fit_linear_head(head: Head, train: EmbeddedDataset, loss: str) -> None:
    """Set the weights of a linear head to the penalised optimum of the train fold.

    The penalty is chosen on the train fold by cross-validation: leave-one-out for ridge regression
    (Golub, Heath & Wahba, Technometrics 1979), five parts for logistic regression.

    Args:
        head: A linear head whose units are set; changed in place and moved to the CPU.
        train: The train fold.
        loss: Value of `train.loss`; for `huber`, squared errors are minimised.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    features = scaler.fit_transform(_features(head.cpu().eval(), train).double().numpy())
    targets = (torch.from_numpy(train.labels) - head.center) / head.scale  # (N, A)
    fit = _fit_logistic if loss == "cross_entropy" else _fit_ridge
    weights, offset = fit(features, targets.double().numpy())  # (A, F), (A,)
    weights = weights / scaler.scale_
    head.last_layer.weight.copy_(torch.from_numpy(weights))
    head.last_layer.bias.copy_(torch.from_numpy(offset - weights @ scaler.mean_))


@torch.no_grad()
def evaluate_head(
    head: Head, valid: EmbeddedDataset, axes: Sequence[Axis], loss: str
) -> dict[str, float]:
    """Compute what the learning curve has for an evaluation, without `epoch` and `step`.

    Args:
        head: A fitted head, in evaluation mode.
        valid: The valid fold.
        axes: Axes in label order, the main axis first.
        loss: Value of `train.loss`.
    """
    labels = torch.from_numpy(valid.labels)
    scores = head.to_scores(head.layers(_features(head, valid)).float())  # (N, A)
    prediction = transformers.EvalPrediction(scores.numpy(), valid.labels)
    metrics = {"loss": float(compute_losses(scores, labels, head, loss).mean())}
    metrics |= make_compute_metrics(axes)(prediction)
    return {f"valid_{name}": value for name, value in metrics.items()}


def _features(head: Head, posts: EmbeddedDataset) -> torch.Tensor:
    parts = posts.parts
    return head.features(
        *((parts[name], parts[f"has_{name}"]) for name in ("text", "image") if name in parts)
    )


def _fit_ridge(features: Array, targets: Array) -> tuple[Array, Array]:
    """Return weights (A, F) and offsets (A,) of ridge regression, with a penalty per axis."""
    from sklearn.linear_model import RidgeCV

    ridge = RidgeCV(_PENALTIES, alpha_per_target=True).fit(features, targets)
    logger.info("ridge regression: penalties %s", np.round(ridge.alpha_, 1).tolist())
    return ridge.coef_.reshape(targets.shape[1], -1), np.reshape(ridge.intercept_, -1)


def _fit_logistic(features: Array, targets: Array) -> tuple[Array, Array]:
    """Return weights (A, F) and offsets (A,) of logistic regression on shares of the range."""
    fits = [_fit_logistic_axis(features, shares) for shares in targets.T]
    return np.stack([weights for weights, _ in fits]), np.array([offset for _, offset in fits])


def _fit_logistic_axis(features: Array, shares: Array) -> tuple[Array, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    def fit(rows: NDArray[np.intp], penalty: float) -> LogisticRegression:
        # A share counts as that much of a post at the upper end, and the rest of it at the lower.
        upper, lower = rows[shares[rows] > 0], rows[shares[rows] < 1]
        outcomes = np.repeat([1, 0], [len(upper), len(lower)])
        counts = np.concatenate([shares[upper], 1 - shares[lower]])
        model = LogisticRegression(C=1 / penalty, max_iter=500)
        return model.fit(features[np.concatenate([upper, lower])], outcomes, counts)

    splits = list(KFold(_N_SPLITS, shuffle=True, random_state=0).split(features))
    losses = np.zeros(len(_LOGISTIC_PENALTIES))
    for number, penalty in enumerate(_LOGISTIC_PENALTIES):
        for kept, left_out in splits:
            logits = fit(kept, penalty).decision_function(features[left_out])
            losses[number] += (np.logaddexp(0, logits) - shares[left_out] * logits).sum()
    penalty = _LOGISTIC_PENALTIES[losses.argmin()]
    logger.info("logistic regression: penalty %.4g", penalty)
    model = fit(np.arange(len(shares)), penalty)
    return model.coef_[0], float(model.intercept_[0])
