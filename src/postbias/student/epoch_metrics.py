"""What is noted of each epoch: the metrics on the valid fold and the learning curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import transformers

from postbias.axes import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def curve_of(history: Sequence[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    """Join the Trainer's training and evaluation entries of each epoch.

    Args:
        history: The Trainer's log.

    Returns:
        One row per judged epoch, with `epoch`, `step` and the metrics.
    """
    by_step: dict[int, dict[str, float]] = {}
    for entry in history:
        row = by_step.setdefault(entry["step"], {})
        row |= {"epoch": round(entry["epoch"]), "step": entry["step"]}
        if "loss" in entry:
            row |= {"train_loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for name, value in entry.items():
            if name.startswith("eval_") and not name.endswith(("runtime", "per_second")):
                row[f"valid_{name.removeprefix('eval_')}"] = value
    return tuple(row for row in by_step.values() if "valid_loss" in row)


def metrics_of(row: dict[str, float]) -> dict[str, float]:
    """Return the metrics of a row of the curve.

    Args:
        row: With `epoch` and `step`.

    Returns:
        Without them.
    """
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


def judge(axes: Sequence[Axis]) -> Callable[[transformers.EvalPrediction], dict[str, float]]:
    """Return what the Trainer judges an epoch by.

    Args:
        axes: The axes in label order, the main one first.

    Returns:
        From predictions (N, A) to the metrics of clipped scores: those of the main axis without a
        suffix, those of the others with one.
    """

    def judged(outcome: transformers.EvalPrediction) -> dict[str, float]:
        scores, labels = np.asarray(outcome.predictions), np.asarray(outcome.label_ids)
        metrics: dict[str, float] = {}
        for column, axis in enumerate(axes):
            clipped: NDArray[np.float64] = scores[:, column].clip(axis.low, axis.high)
            suffix = f"_{axis.name}" if column else ""
            found = _point_metrics(labels[:, column], clipped)
            metrics |= {f"{name}{suffix}": value for name, value in found.items()}
        return metrics

    return judged


def _point_metrics(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> dict[str, float]:
    """Metrics to choose an epoch by; constant scores rank nothing, so their Spearman is 0."""
    from scipy.stats import spearmanr

    error = scores - labels
    varies = np.ptp(scores) > 0 and np.ptp(labels) > 0
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(1 - np.square(error).mean() / max(labels.var(), 1e-12)),
        "spearman": float(spearmanr(labels, scores).statistic) if varies else 0.0,
    }
