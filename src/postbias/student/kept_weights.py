"""Average a student's weights while it trains, and keep those that are best on the valid fold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from postbias.student import distributed

_BEST, _AVERAGE = "best.safetensors", "average.safetensors"

Weights = dict[str, Tensor]


class KeptWeights(transformers.TrainerCallback):
    """Weights besides those that are being trained: their average, and the best evaluated ones.

    The average is a power-function exponential moving average (Karras et al., CVPR 2024): after
    step t, the weights of step s count in proportion to s^g. Their mean age is a fixed share of
    the steps so far, whatever the length of training. Running statistics of batch normalisation
    are averaged too.

    Both are stored with each checkpoint, so that a resumed run continues from them.
    """

    def __init__(self, model: nn.Module, mean_age: float | None) -> None:
        """Start without any weights.

        Args:
            model: The model that is trained.
            mean_age: Mean age of the averaged weights, as a share of the steps so far, at most 0.5
                for a plain mean; None for no average.
        """
        self._model = model
        self._exponent = None if mean_age is None else 1 / mean_age - 2
        self._average: Weights | None = None
        self._best: Weights | None = None

    def read(self, checkpoint: Path) -> None:
        """Continue from the weights that are stored with a checkpoint."""
        files = (checkpoint / name for name in (_BEST, _AVERAGE))
        self._best, self._average = (load_file(file) if file.exists() else None for file in files)

    def load_best(self) -> None:
        """Load the best weights into the model."""
        assert self._best is not None
        self._model.load_state_dict(self._best)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the average in the model within a `with` block, if there is one."""
        if self._average is None:
            yield
            return
        trained = _copy(self._model)
        self._model.load_state_dict(self._average)
        try:
            yield
        finally:
            self._model.load_state_dict(trained)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Average from the initial weights on; they are forgotten soon."""
        if self._exponent is not None and self._average is None:
            self._average = _copy(self._model)

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Add the weights of a step to the average."""
        if self._average is None:
            return
        assert self._exponent is not None
        new_share = 1 - (1 - 1 / state.global_step) ** (self._exponent + 1)
        for name, value in self._model.state_dict().items():
            average = self._average[name] = self._average[name].to(value.device)
            if average.is_floating_point():
                average.lerp_(value, new_share)
            else:
                average.copy_(value)

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Keep the evaluated weights if they are the best so far."""
        value, best = given["metrics"][args.metric_for_best_model], state.best_metric
        if best is None or (value > best if args.greater_is_better else value < best):
            state.best_metric, state.best_global_step = value, state.global_step
            self._best = {name: value.cpu() for name, value in _copy(self._model).items()}

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Store the weights with a checkpoint."""
        if not distributed.is_main_process():
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for name, weights in ((_BEST, self._best), (_AVERAGE, self._average)):
            if weights is not None:
                save_file({key: value.contiguous() for key, value in weights.items()},
                          checkpoint / name)  # fmt: skip


def _copy(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
