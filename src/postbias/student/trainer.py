"""Fit a student with the Hugging Face Trainer: loss, optimizer, early stopping, checkpoints.

A killed run resumes from its last complete checkpoint and ends with the same weights as an
uninterrupted one.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
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
from postbias.student.checkpoints import last_complete, mark_complete, remove_checkpoints
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.dataset import PostDataset
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.epoch_metrics import build_curve, make_compute_metrics, metric_values
from postbias.student.fixed_epochs import fix_epochs
from postbias.student.network import Head, Student

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from postbias.params import Params, TrainParams

logger = logging.getLogger(__name__)

#: Called after each epoch with its number and its metrics.
OnEpoch = Callable[[int, dict[str, float]], None]

#: One fold: posts for a student, embeddings for a head.
FoldDataset = PostDataset | EmbeddedDataset

_LOGGED = ("train_loss", "valid_loss", "valid_mae", "valid_rmse", "valid_r2")
_HUBER_DELTA = 1.0  # in standard deviations of the labels
_MIN_SHARE = 1e-6  # of the range; cross-entropy is clamped there, float32 resolves no less


@dataclass(frozen=True, slots=True)
class FitResult:
    """Result of one training run.

    Attributes:
        curve: Metrics of each epoch, with `epoch` and `step`.
        best_epoch: The epoch whose weights were kept.
    """

    curve: tuple[dict[str, float], ...]
    best_epoch: int

    @property
    def best_row(self) -> dict[str, float]:
        """Row of the curve for the epoch whose weights were kept."""
        return next(row for row in self.curve if row["epoch"] == self.best_epoch)


def fit(
    model: Student | Head,
    folds: tuple[FoldDataset, FoldDataset],
    axes: Sequence[Axis],
    params: Params,
    *,
    seed: int,
    checkpoints: Path,
    on_epoch: OnEpoch,
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
        on_epoch: Called after each epoch; on resuming, also for the epochs already done.
        n_epochs: Epoch to stop after, without a look at the valid fold; None to choose the best.

    Returns:
        The learning curve and the epoch with the best score on the valid fold.

    Raises:
        ParamsError: If a batch does not fit into memory and several processes train together.
    """
    head = _head_of(model)
    _set_units(head, folds[0].labels, axes)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    n_processes = distributed.process_count()
    per_pass = params.train.micro_batch_size or -(-params.train.batch_size // n_processes)
    while True:
        arguments = _arguments(params.train, seed, checkpoints, per_pass)
        trainer = _trainer(model, folds, axes, params.train, arguments, on_epoch)
        fix_epochs(trainer, n_epochs)
        last = last_complete(checkpoints)
        if last:
            logger.info("resuming from %s", last.name)
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            # The Trainer wraps `forward` in autocast, in place; the exported model must not be.
            trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
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
    chosen = (int(row["epoch"]) for row in curve if row["step"] == best_step)
    return FitResult(curve, n_epochs or next(chosen))


def _trainer(
    model: Student | Head,
    folds: tuple[FoldDataset, FoldDataset],
    axes: Sequence[Axis],
    params: TrainParams,
    arguments: transformers.TrainingArguments,
    on_epoch: OnEpoch,
) -> transformers.Trainer:
    train, valid = folds
    trainer = _StudentTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=valid,
        data_collator=train.collate,
        compute_metrics=make_compute_metrics(axes),
        optimizers=(_optimizer(model, params), None),
        callbacks=[transformers.EarlyStoppingCallback(params.patience), _EpochCallback(on_epoch)],
        loss=params.loss,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if not distributed.is_main_process():
        # Dropout and augmentation differ by process; set after the Trainer has set its own seed.
        torch.manual_seed(arguments.seed + distributed.process_rank())
    return trainer


def _set_units(head: Head, labels: NDArray[np.float32], axes: Sequence[Axis]) -> None:
    """Set the units of the head's outputs: shares of the range, or standard deviations."""
    if head.bounded:
        head.center.copy_(torch.tensor([axis.low for axis in axes]))
        head.scale.copy_(torch.tensor([axis.high - axis.low for axis in axes]))
    else:
        head.center.copy_(torch.from_numpy(labels.mean(0)))
        head.scale.copy_(torch.from_numpy(labels.std(0).clip(min=1e-3)))


def _head_of(model: Any) -> Head:  # noqa: ANN401 - the Trainer's type is wider
    head = model if isinstance(model, Head) else model.head
    assert isinstance(head, Head)
    return head


class _StudentTrainer(transformers.Trainer):
    """A Trainer with the student's loss and with batches of captions of similar length."""

    def __init__(self, *, loss: str, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        super().__init__(**kwargs)
        self._loss = loss

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
        head = _head_of(self.model)
        scale = head.scale
        error = (scores - labels) / scale
        if self._loss == "cross_entropy":
            shares, targets = ((value - head.center) / scale for value in (scores, labels))
            logits = shares.logit(_MIN_SHARE)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        elif self._loss == "huber":
            loss = nn.functional.huber_loss(error, torch.zeros_like(error), delta=_HUBER_DELTA)
        else:
            loss = error.square().mean()
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
        distributed.broadcast_buffers(self.model)
        return dict(super().evaluate(*args, **kwargs))


class _EpochCallback(transformers.TrainerCallback):
    """Report each epoch, and mark complete checkpoints."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch
        self._n_reported = 0

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        for row in build_curve(state.log_history)[self._n_reported :]:
            self._n_reported += 1
            metrics = metric_values(row)
            line = "  ".join(f"{name} {metrics[name]:.4g}" for name in _LOGGED if name in metrics)
            logger.info("epoch %d  %s", row["epoch"], line)
            self._on_epoch(int(row["epoch"]), metrics)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


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
        save_total_limit=1,  # in addition to the best one
        load_best_model_at_end=True,
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


def _optimizer(model: Student | Head, params: TrainParams) -> torch.optim.Optimizer:
    """Build AdamW with a learning rate per part; no weight decay of vectors (norms, biases)."""
    groups = []
    rates = {"text": params.lr_text, "image": params.lr_image, "head": params.lr_head}
    parts = {"head": model} if isinstance(model, Head) else dict(model.named_children())
    for name, part in parts.items():
        rate = rates[name]
        weights = [p for p in part.parameters() if p.requires_grad]
        for decays, decay in ((True, params.weight_decay), (False, 0.0)):
            chosen = [p for p in weights if (p.ndim > 1) is decays]
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)
