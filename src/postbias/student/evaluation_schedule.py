"""Evaluate on the valid fold at and between the ends of epochs, and report each evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from postbias.student.checkpoints import mark_complete
from postbias.student.epoch_metrics import build_curve, metric_values

logger = logging.getLogger(__name__)

#: Called after each evaluation with its number and its metrics. Evaluations are counted from 1, or
#: from 0 if the first takes place before training. With one per epoch, the number is the epoch.
OnEvaluation = Callable[[int, dict[str, float]], None]

_LOGGED = ("train_loss", "valid_loss", "valid_mae", "valid_rmse", "valid_r2")


class EvaluationSchedule(transformers.TrainerCallback):
    """Ask for evaluations within an epoch; the Trainer itself evaluates at its end.

    Checkpoints are written at the end of epochs only: a run that resumes within one would not draw
    the same random numbers for augmentation and dropout, because batches are prepared in advance.
    """

    def __init__(self, per_epoch: int) -> None:
        """Plan evaluations at equal distances.

        Args:
            per_epoch: Evaluations per epoch, the one at its end included.
        """
        self._per_epoch = per_epoch
        self._last_step: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Ask for an evaluation after this step if it is due."""
        steps = state.max_steps // int(args.num_train_epochs)
        due = {round(number * steps / self._per_epoch) for number in range(1, self._per_epoch)}
        if state.global_step % steps in due - {0}:
            control.should_log = control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Remember the step of the last evaluation."""
        self._last_step = state.global_step

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Do not evaluate twice if training is stopped within an epoch."""
        if control.should_training_stop and self._last_step == state.global_step:
            control.should_evaluate = control.should_save = False


class EvaluationReport(transformers.TrainerCallback):
    """Report each evaluation, and mark complete checkpoints."""

    def __init__(self, on_evaluation: OnEvaluation) -> None:
        """Report to a function.

        Args:
            on_evaluation: On resuming, called for the evaluations already done too.
        """
        self._on_evaluation = on_evaluation
        self._n_reported = 0

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Report the evaluations that have not been reported yet."""
        curve = build_curve(state.log_history)
        numbered = list(number_evaluations(curve))
        for number, row in numbered[self._n_reported :]:
            self._n_reported += 1
            report_evaluation(number, row["epoch"], metric_values(row), self._on_evaluation)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Mark the checkpoint as complete; this callback must be the last one."""
        mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def report_evaluation(
    number: int, epoch: float, metrics: dict[str, float], on_evaluation: OnEvaluation
) -> None:
    """Log an evaluation, and pass it on."""
    line = "  ".join(f"{name} {metrics[name]:.4g}" for name in _LOGGED if name in metrics)
    logger.info("epoch %.4g  %s", epoch, line)
    on_evaluation(number, metrics)


def number_evaluations(
    curve: tuple[dict[str, float], ...],
) -> list[tuple[int, dict[str, float]]]:
    """Number the rows of a learning curve: from 0 if it starts before training, else from 1."""
    start = 0 if curve and curve[0]["step"] == 0 else 1
    return list(enumerate(curve, start))
