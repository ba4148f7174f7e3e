"""Train for a given number of epochs instead of choosing the best one on the valid fold."""

from __future__ import annotations

from typing import Any

import transformers

from postbias.student.evaluation_schedule import EvaluationSchedule
from postbias.student.kept_weights import KeptWeights


def fix_epochs(trainer: transformers.Trainer, n_epochs: int | None) -> None:
    """Let training stop after an epoch of its schedule and keep its weights.

    The learning rate of each step is that of a training run that stops early.

    Args:
        trainer: A trainer with early stopping that has not started.
        n_epochs: Number of epochs, from 1; None to change nothing.
    """
    if n_epochs is None:
        return
    for callback in (transformers.EarlyStoppingCallback, EvaluationSchedule, KeptWeights):
        trainer.remove_callback(callback)
    trainer.add_callback(_StopCallback(n_epochs))
    trainer.args.eval_strategy = transformers.trainer_utils.IntervalStrategy.NO


class _StopCallback(transformers.TrainerCallback):
    """Stop after a given epoch."""

    def __init__(self, n_epochs: int) -> None:
        self._n_epochs = n_epochs

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        if state.epoch is not None and round(state.epoch) >= self._n_epochs:
            control.should_training_stop = True
