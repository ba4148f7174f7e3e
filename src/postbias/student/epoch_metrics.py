"""Compute metrics on the valid fold while training, and collect them into a learning curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import transformers

from postbias.axes import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def build_curve(
    history: Sequence[dict[str, Any]], column: str = "valid_loss"
) -> tuple[dict[str, float], ...]:
    """Join the training and evaluation entries of each step in the Trainer's log.

    Args:
        history: `trainer.state.log_history`.
        column: A metric; epochs without it are left out.

    Returns:
        One row per evaluation, with `epoch`, `step` and the metrics.
    """
    by_step: dict[int, dict[str, float]] = {}
    for entry in history:
        row = by_step.setdefault(entry["step"], {})
        epoch = round(entry["epoch"], 4)
        row |= {"epoch": int(epoch) if epoch == int(epoch) else epoch, "step": entry["step"]}
        if "loss" in entry:
            row |= {"train_loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for name, value in entry.items():
            if name.startswith("eval_") and not name.endswith(("runtime", "per_second")):
                row[f"valid_{name.removeprefix('eval_')}"] = value
    return tuple(row for row in by_step.values() if column in row)


def mean_curve(curves: Sequence[Sequence[dict[str, float]]]) -> tuple[dict[str, float], ...]:
    """Average the curves of several training runs over the epochs that all of them reached.

    Args:
        curves: Curves as `build_curve` returns them.

    Returns:
        One row per epoch, with the mean of each metric.
    """
    by_epoch = zip(*curves, strict=False)  # runs stop early, each after its own best epoch
    return tuple(
        {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        | {"epoch": rows[0]["epoch"]}
        for rows in by_epoch
    )


def metric_values(row: dict[str, float]) -> dict[str, float]:
    """Drop `epoch` and `step` from a row of the curve."""
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


def make_compute_metrics(
    axes: Sequence[Axis],
) -> Callable[[transformers.EvalPrediction], dict[str, float]]:
    """Build the Trainer's `compute_metrics` function.

    Args:
        axes: Axes in label order, the main axis first.

    Returns:
        A function from predictions (N, A) to the metrics of the clipped scores. Metrics of all
        axes but the main one have the axis' name as a suffix.
    """

    def compute_metrics(prediction: transformers.EvalPrediction) -> dict[str, float]:
        scores, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        metrics: dict[str, float] = {}
        for column, axis in enumerate(axes):
            clipped: NDArray[np.float64] = scores[:, column].clip(axis.low, axis.high)
            suffix = f"_{axis.name}" if column else ""
            of_axis = point_metrics(labels[:, column], clipped)
            metrics |= {f"{name}{suffix}": value for name, value in of_axis.items()}
        return metrics

    return compute_metrics


def point_metrics(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> dict[str, float]:
    """Compute the metrics of one axis.

    Args:
        labels: Labels, (N,).
        scores: Scores, (N,).

    Returns:
        `mae`, `rmse`, `r2` and `spearman`; Spearman's correlation with a constant is defined as 0.
    """
    from scipy.stats import spearmanr

    error = scores - labels
    is_defined = np.ptp(scores) > 0 and np.ptp(labels) > 0
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(1 - np.square(error).mean() / max(labels.var(), 1e-12)),
        "spearman": float(spearmanr(labels, scores).statistic) if is_defined else 0.0,
    }
