"""Fit a student with the Hugging Face Trainer: loss, optimizer, early stopping, checkpoints.

A killed run resumes from its last complete checkpoint and ends with the same weights as an
uninterrupted one.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn
from transformers.trainer_pt_utils import LengthGroupedSampler

from postbias.axes import Axis
from postbias.errors import ParamsError
from postbias.student import distributed
from postbias.student.checkpoints import last_complete, remove_checkpoints
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.dataset import PostDataset
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.epoch_metrics import build_curve, make_compute_metrics
from postbias.student.evaluation_schedule import (
    EvaluationReport,
    EvaluationSchedule,
    OnEvaluation,
)
from postbias.student.fixed_epochs import fix_epochs
from postbias.student.kept_weights import KeptWeights
from postbias.student.losses import compute_losses
from postbias.student.network import ScoreHead, Student
from postbias.student.optimizer import build_optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from postbias.params import Params, TrainParams

logger = logging.getLogger(__name__)

#: One fold: posts for a student, embeddings for a head.
FoldDataset = PostDataset | EmbeddedDataset


@dataclass(frozen=True, slots=True)
class FitResult:
    """Result of one training run.

    Attributes:
        curve: Metrics of each evaluation, with `epoch` and `step`; the epoch is a fraction within
            an epoch, and 0 before training.
        best_epoch: The epoch of the evaluation whose weights were kept.
    """

    curve: tuple[dict[str, float], ...]
    best_epoch: float

    @property
    def best_row(self) -> dict[str, float]:
        """Row of the curve for the evaluation whose weights were kept."""
        return next(row for row in self.curve if row["epoch"] == self.best_epoch)


def fit(
    model: Student | ScoreHead,
    folds: tuple[FoldDataset, FoldDataset],
    axes: Sequence[Axis],
    params: Params,
    *,
    seed: int,
    checkpoints: Path,
    on_evaluation: OnEvaluation,
    is_fitted: bool = False,
    n_epochs: int | None = None,
) -> FitResult:
    """Train a student, or only its head on embeddings, in place.

    If a batch does not fit into memory, training starts again with half as many posts per forward
    pass and twice as many passes per update.

    Args:
        model: The student or head; sets the head's `center` and `scale` too.
        folds: The train and valid folds: posts for a student, embeddings for a head.
        axes: Axes in label order, the main axis first.
        seed: Seed of the order of posts, of augmentation and of dropout.
        checkpoints: Folder for this run's checkpoints, deleted at the end. Its name must depend on
            everything that determines the result, so that only the same run resumes from it.
        on_evaluation: Called after each evaluation; on resuming, also for those already done.
        is_fitted: Whether the model already scores posts: it is then evaluated before training too,
            and kept as it is if training does not improve it.
        n_epochs: Epoch to stop after, without a look at the valid fold; None to choose the best.

    Returns:
        The learning curve and the epoch with the best score on the valid fold.

    Raises:
        ParamsError: If a batch does not fit into memory and several processes train together.
    """
    head = head_of(model)
    set_units(head, folds[0].labels, axes)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    n_processes = distributed.process_count()
    per_pass = params.train.micro_batch_size or -(-params.train.batch_size // n_processes)
    while True:
        last = last_complete(checkpoints)
        arguments = _arguments(params.train, seed, checkpoints, per_pass)
        arguments.eval_on_start = is_fitted and last is None
        kept = KeptWeights(model, params.train.average)
        if last:
            logger.info("resuming from %s", last.name)
            kept.read(last)
        trainer = _trainer(model, folds, axes, params.train, arguments, kept, on_evaluation)
        fix_epochs(trainer, n_epochs)
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            # The Trainer wraps `forward` in autocast, in place; the exported model must not be.
            trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
            if n_epochs is None:
                kept.load_best()
            break
        except RuntimeError as error:
            if per_pass == 1 or not should_reduce_batch_size(error):
                raise
            if n_processes > 1:  # the others would wait for this one forever
                raise _out_of_memory(per_pass) from error
        per_pass //= 2
        logger.warning("out of memory: retrying with %d posts per pass", per_pass)
        remove_checkpoints(checkpoints)  # their steps have another size
        model.load_state_dict(initial)
    remove_checkpoints(checkpoints)
    curve = build_curve(trainer.state.log_history, "train_loss" if n_epochs else "valid_loss")
    best_step = trainer.state.best_global_step
    chosen = (row["epoch"] for row in curve if row["step"] == best_step)
    return FitResult(curve, n_epochs or next(chosen))


def _trainer(
    model: Student | ScoreHead,
    folds: tuple[FoldDataset, FoldDataset],
    axes: Sequence[Axis],
    params: TrainParams,
    arguments: transformers.TrainingArguments,
    kept: KeptWeights,
    on_evaluation: OnEvaluation,
) -> transformers.Trainer:
    train, valid = folds
    trainer = _StudentTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=valid,
        data_collator=train.collate,
        compute_metrics=make_compute_metrics(axes),
        optimizers=(build_optimizer(model, params), None),
        callbacks=[
            EvaluationSchedule(params.evaluations_per_epoch),
            transformers.EarlyStoppingCallback(params.patience),
            kept,
            EvaluationReport(on_evaluation),
        ],
        loss=params.loss,
        kept=kept,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if not distributed.is_main_process():
        # Dropout and augmentation differ by process; set after the Trainer has set its own seed.
        torch.manual_seed(arguments.seed + distributed.process_rank())
    return trainer


def set_units(head: ScoreHead, labels: NDArray[np.float32], axes: Sequence[Axis]) -> None:
    """Set the units of the head's outputs: shares of the range, or standard deviations."""
    if head.bounded:
        head.center.copy_(torch.tensor([axis.low for axis in axes]))
        head.scale.copy_(torch.tensor([axis.high - axis.low for axis in axes]))
    else:
        head.center.copy_(torch.from_numpy(labels.mean(0)))
        head.scale.copy_(torch.from_numpy(labels.std(0).clip(min=1e-3)))


def head_of(model: Any) -> ScoreHead:  # noqa: ANN401 - the Trainer's type is wider
    """Return the head of a student, or the head itself."""
    head = model if isinstance(model, ScoreHead) else model.head
    assert isinstance(head, ScoreHead)
    return head


class _StudentTrainer(transformers.Trainer):
    """A Trainer with the student's loss and with batches of captions of similar length."""

    def __init__(self, *, loss: str, kept: KeptWeights, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        super().__init__(**kwargs)
        self._loss = loss
        self._kept = kept

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:  # noqa: ANN401
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        scores = model(**inputs).float()  # (B, A)
        loss = compute_losses(scores, labels, head_of(self.model), self._loss).mean()
        return (loss, {"loss": loss, "scores": scores}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ANN401
        assert isinstance(self.train_dataset, FoldDataset)
        lengths = self.train_dataset.lengths
        if len(set(lengths)) <= 1:
            return super()._get_train_sampler(train_dataset)
        size = self.args.train_batch_size
        if (n_processes := distributed.process_count()) > 1:
            return distributed.SharedLengthSampler(size * n_processes, lengths, self.args.seed)
        return LengthGroupedSampler(size, lengths=lengths)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ANN401 - the Trainer's own
        assert self.model is not None
        with self._kept.averaged():
            distributed.broadcast_buffers(self.model)
            return dict(super().evaluate(*args, **kwargs))


def _arguments(
    train: TrainParams, seed: int, checkpoints: Path, per_pass: int
) -> transformers.TrainingArguments:
    device = choose_device(train.device)
    bf16 = uses_bf16(train.precision, device)
    logger.info("training in %s on %s", "bf16" if bf16 else "fp32", device)
    n_processes = distributed.process_count()
    arguments = transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=train.epochs,
        per_device_train_batch_size=per_pass,
        gradient_accumulation_steps=-(-train.batch_size // (per_pass * n_processes)),
        per_device_eval_batch_size=4 * per_pass,
        lr_scheduler_type="cosine",
        warmup_steps=train.warmup,
        bf16=bf16,
        use_cpu=device == "cpu",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        metric_for_best_model=f"eval_{train.select_by}",
        greater_is_better=train.select_by == "spearman",
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",
        label_names=["labels"],
    )
    # With several visible GPUs the Trainer would split each batch by rows (`DataParallel`), which
    # is wrong for `pixels`: its rows are images, not posts. Use `torchrun` for several GPUs.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _out_of_memory(per_pass: int) -> ParamsError:
    return ParamsError(
        "a forward pass does not fit into memory, and is not split automatically under torchrun",
        seen=f"{per_pass} posts per pass",
        do=f"set train.micro_batch_size to {max(1, per_pass // 2)}",
    )
