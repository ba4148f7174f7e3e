"""Training: examples in, a fitted student and its learning curve out.

The Hugging Face Trainer drives epochs, schedules, precision, devices and checkpoints; this module
says what is optimised and when to stop. A run that is killed goes on from its last whole checkpoint
and ends with the same weights as one left alone. Knows nothing of files other than checkpoints.
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
from postbias.student import checkpoints as saved
from postbias.student import distributed as processes
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.dataset import PostDataset
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.epoch_metrics import curve_of, judge, metrics_of
from postbias.student.network import Head, Student

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from postbias.params import Params, TrainParams

logger = logging.getLogger(__name__)

#: Called after each epoch with its number and its metrics.
OnEpoch = Callable[[int, dict[str, float]], None]

#: What a student or a head learns from.
Fold = PostDataset | EmbeddedDataset

_SHOWN = ("train_loss", "valid_loss", "valid_mae", "valid_rmse", "valid_r2")
_HUBER_DELTA = 1.0  # in standard deviations of the labels
_SMALLEST_SHARE = 1e-6  # of a range, that cross-entropy tells from none: float32 ends there


@dataclass(frozen=True, slots=True)
class Fit:
    """What a training run came to.

    Attributes:
        curve: One row of metrics per epoch, with `epoch`.
        best_epoch: The epoch whose weights the student now has.
    """

    curve: tuple[dict[str, float], ...]
    best_epoch: int

    @property
    def best(self) -> dict[str, float]:
        """The row of the curve whose weights the student now has."""
        return next(row for row in self.curve if row["epoch"] == self.best_epoch)


def fit(
    model: Student | Head,
    folds: tuple[Fold, Fold],
    axes: Sequence[Axis],
    params: Params,
    *,
    seed: int,
    checkpoints: Path,
    on_epoch: OnEpoch,
) -> Fit:
    """Train a student, or only its head on embeddings, in place.

    A batch that does not fit into memory is split: training begins again with half as many posts
    per pass and twice as many passes per update.

    Args:
        model: What to train; its head's centre and scale are set here.
        folds: The train and the valid fold: posts for a student, embeddings for a head.
        axes: The axes in label order, the main one first.
        params: The `train` group and `threads`.
        seed: Of the order of posts, augmentation and dropout.
        checkpoints: Folder of this run's checkpoints, keyed by the caller so that only the same
            work finds them; removed when training is done.
        on_epoch: Called after each epoch, also for epochs that an earlier, killed run did.

    Returns:
        The curve and the epoch that was best on the valid fold.

    Raises:
        ParamsError: If a batch does not fit into memory and several processes train together.
    """
    head = _head_of(model)
    _set_units(head, folds[0].labels, axes)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    per_pass = params.train.micro_batch_size or -(-params.train.batch_size // processes.count())
    while True:
        arguments = _arguments(params.train, seed, checkpoints, per_pass)
        trainer = _trainer(model, folds, axes, params.train, arguments, on_epoch)
        last = saved.last_whole(checkpoints)
        if last:
            logger.info("going on from %s", last.name)
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            # The trainer wraps `forward` in autocast, in place; what is exported must not be.
            trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
            break
        except RuntimeError as error:
            if per_pass == 1 or not should_reduce_batch_size(error):
                raise
            if processes.count() > 1:  # the others do not know, and wait for this one
                raise _too_large(per_pass) from error
        per_pass //= 2
        logger.warning("a pass does not fit into memory: trying %d posts per pass", per_pass)
        saved.remove(checkpoints)  # steps of another size
        model.load_state_dict(start)
    curve = curve_of(trainer.state.log_history)
    best = trainer.state.best_global_step
    saved.remove(checkpoints)
    return Fit(curve, next(int(row["epoch"]) for row in curve if row["step"] == best))


def _trainer(
    model: Student | Head,
    folds: tuple[Fold, Fold],
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
        compute_metrics=judge(axes),
        optimizers=(_optimizer(model, params), None),
        callbacks=[transformers.EarlyStoppingCallback(params.patience), _Progress(on_epoch)],
        loss=params.loss,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if not processes.is_first():  # other posts, other dropout; after the Trainer has set its seed
        torch.manual_seed(arguments.seed + processes.number())
    return trainer


def _set_units(head: Head, labels: NDArray[np.float32], axes: Sequence[Axis]) -> None:
    """Say what the head's outputs mean: shares of the range, or standard deviations."""
    if head.bounded:
        head.center.copy_(torch.tensor([axis.low for axis in axes]))
        head.scale.copy_(torch.tensor([axis.high - axis.low for axis in axes]))
    else:
        head.center.copy_(torch.from_numpy(labels.mean(0)))
        head.scale.copy_(torch.from_numpy(labels.std(0).clip(min=1e-3)))


def _head_of(model: Any) -> Head:  # noqa: ANN401 - the Trainer's type is wide
    head = model if isinstance(model, Head) else model.head
    assert isinstance(head, Head)
    return head


class _StudentTrainer(transformers.Trainer):
    """The Trainer with the student's loss and batches of captions of similar length."""

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
            shares, given = ((value - head.center) / scale for value in (scores, labels))
            logits = shares.logit(_SMALLEST_SHARE)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, given)
        elif self._loss == "huber":
            loss = nn.functional.huber_loss(error, torch.zeros_like(error), delta=_HUBER_DELTA)
        else:
            loss = error.square().mean()
        return (loss, {"loss": loss, "scores": scores}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ANN401
        assert isinstance(self.train_dataset, Fold)
        lengths = self.train_dataset.lengths
        if len(set(lengths)) <= 1:
            return super()._get_train_sampler(train_dataset)
        size = self.args.train_batch_size
        if (together := processes.count()) > 1:
            return processes.SharedOrder(size * together, lengths, self.args.seed)
        return LengthGroupedSampler(size, lengths=lengths)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ANN401 - the Trainer's own
        assert self.model is not None
        processes.share_buffers(self.model)
        return dict(super().evaluate(*args, **kwargs))


class _Progress(transformers.TrainerCallback):
    """Tells the caller of each epoch and marks checkpoints that are whole."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch
        self._told = 0

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        for row in curve_of(state.log_history)[self._told :]:
            self._told += 1
            metrics = metrics_of(row)
            shown = "  ".join(f"{name} {metrics[name]:.4g}" for name in _SHOWN if name in metrics)
            logger.info("epoch %d  %s", row["epoch"], shown)
            self._on_epoch(int(row["epoch"]), metrics)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        saved.mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _arguments(
    train: TrainParams, seed: int, checkpoints: Path, per_pass: int
) -> transformers.TrainingArguments:
    smaller_is_better = train.select_by != "spearman"
    device = choose_device(train.device)
    bf16 = uses_bf16(train.precision, device)
    logger.info("training in %s on %s", "bf16" if bf16 else "fp32", device)
    arguments = transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=train.epochs,
        per_device_train_batch_size=per_pass,
        gradient_accumulation_steps=-(-train.batch_size // (per_pass * processes.count())),
        per_device_eval_batch_size=4 * per_pass,
        lr_scheduler_type="cosine",
        warmup_steps=train.warmup,
        bf16=bf16,
        use_cpu=device == "cpu",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,  # besides the best
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{train.select_by}",
        greater_is_better=not smaller_is_better,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",
        label_names=["labels"],
    )
    # One process, one GPU: the Trainer would deal a batch out to all that it sees, row by row, and
    # pictures are not rows. Several take `torchrun`.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _too_large(per_pass: int) -> ParamsError:
    return ParamsError(
        "a pass does not fit into memory, and several processes cannot split it by themselves",
        seen=f"{per_pass} posts per pass",
        do=f"set train.micro_batch_size to {max(1, per_pass // 2)}",
    )


def _optimizer(model: Student | Head, params: TrainParams) -> torch.optim.Optimizer:
    """AdamW with one learning rate per part; vectors (norms, biases) do not decay."""
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
