"""Fit one student from one seed: end to end, or its head only on cached embeddings.

Only the head is trained if params freeze both encoders, or if a text or image student takes its
encoder from the fusion student. The latter is learning using privileged information (Vapnik &
Vashist, 2009): the image accounts for its own share of the labels while the fusion student's text
encoder is trained, which leaves less noise in what that encoder learns from. The head that is
trained on top still sees one modality only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import transformers

from postbias.axes import Axis
from postbias.student import distributed
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.embedding_cache import EmbeddedDataset, Embedder
from postbias.student.evaluation_schedule import OnEvaluation, report_evaluation
from postbias.student.freezing import freeze
from postbias.student.late_fusion import (
    fit_weights,
    is_clear_gain,
    join_parts,
    measure_losses,
)
from postbias.student.linear_head import evaluate_head, fit_linear_head
from postbias.student.network import Head, LateFusionHead, Student
from postbias.student.trainer import FitResult, fit, set_units
from postbias.student.training_setup import TrainingSetup

if TYPE_CHECKING:
    from pathlib import Path

    from postbias.params import Params

logger = logging.getLogger(__name__)

# Encoders that were trained before are trained on at this share of their learning rates.
_JOINT_RATE = 0.3


def fit_from_seed(
    setup: TrainingSetup,
    axes: tuple[Axis, ...],
    others: Mapping[str, Student],
    seed: int,
    on_evaluation: OnEvaluation,
) -> tuple[Student, FitResult]:
    """Build and train a student.

    Args:
        setup: The job and its data.
        axes: Axes in label order, the main axis first.
        others: Trained students from which this one starts, by modality; not changed.
        seed: Seed of random weights, of the order of posts, of augmentation and of dropout.
        on_evaluation: Called after each evaluation.

    Raises:
        CorpusError: If a fold has too few usable posts.
        WeightsError: If pretrained weights cannot be loaded.
    """
    transformers.set_seed(seed)
    if setup.job.has_fusion_encoders:
        student = _with_fusion_encoders(setup, others["fusion"])
    else:
        student = setup.new_student()
    run = _Fit(setup, student, axes, seed, on_evaluation)
    return student, run.fit_parts(others) if setup.job.starts_from_parts else run.fit()


@dataclass(frozen=True, slots=True)
class _Fit:
    """One student being trained, in place."""

    setup: TrainingSetup
    student: Student
    axes: tuple[Axis, ...]
    seed: int
    on_evaluation: OnEvaluation

    def fit(self) -> FitResult:
        """Train everything that is not frozen; first the head alone, if params say so."""
        train, is_frozen = self.setup.job.params.train, self.student.encoders_are_frozen
        # A head with random weights would distort good embeddings before it is fitted to them
        # (LP-FT; Kumar et al., ICLR 2022).
        if train.head == "linear":
            result = self._fit_linear_head()
            if is_frozen:
                return result
        elif train.head_epochs and not is_frozen:
            self._fit_head(
                _with_train(self.setup.job.params, epochs=train.head_epochs,
                            evaluations_per_epoch=1, average=None)
            )  # fmt: skip
        else:
            return self._fit(self.setup.job.params, is_fitted=False)
        # From then on the head is no further from its optimum than the encoders, and with its own
        # rate it would overfit before they have adapted.
        rates = [train.lr_text] * (self.student.text is not None)
        rates += [train.lr_image] * (self.student.image is not None)
        rate = min(train.lr_head, *rates)
        return self._fit(_with_train(self.setup.job.params, lr_head=rate), is_fitted=True)

    def fit_parts(self, parts: Mapping[str, Student]) -> FitResult:
        """Start from a text and an image student; train on only as far as it clearly helps."""
        setup, student = self.setup, self.student
        train = setup.job.params.train
        folds = setup.datasets()
        set_units(student.head, folds[0].labels, self.axes)
        join_parts(student, parts)
        assert isinstance(student.head, LateFusionHead)
        fit_weights(student.head, embed_fold(setup, student, "valid"), folds[0].labels.mean(0))
        logger.info("late fusion: weights of text and image %s", student.head.weights.tolist())
        if "all" in (train.freeze.text, train.freeze.image):
            # Else all images would be encoded in every epoch, to train what is left. The fitted
            # heads stay too: at the correction's rate of learning, they would lose their fit.
            freeze(student, text="all", image="all")
            student.head.text.requires_grad_(requires_grad=False)
            student.head.image.requires_grad_(requires_grad=False)
        start = {name: value.cpu().clone() for name, value in student.state_dict().items()}
        losses = measure_losses(student, folds[1], train.loss)
        rates = {f"lr_{name}": getattr(train, f"lr_{name}") * _JOINT_RATE for name in parts}
        result = self._fit(_with_train(setup.job.params, **rates), is_fitted=True)
        if result.best_epoch == 0:
            return result
        if is_clear_gain(losses, measure_losses(student, folds[1], train.loss)):
            return result
        logger.info("the gain of joint training is within its standard error: late fusion is kept")
        student.load_state_dict(start)
        return replace(result, best_epoch=0)

    def _fit(self, params: Params, *, is_fitted: bool) -> FitResult:
        model, folds = (
            (self.student.head, embed_folds(self.setup, self.student))
            if self.student.encoders_are_frozen
            else (self.student, self.setup.datasets())
        )
        return fit(
            model, folds, self.axes, params, seed=self.seed, checkpoints=self._checkpoints(),
            on_evaluation=self.on_evaluation, is_fitted=is_fitted, n_epochs=self.setup.n_epochs,
        )  # fmt: skip

    def _fit_linear_head(self) -> FitResult:
        head, (train, valid) = self.student.head, embed_folds(self.setup, self.student)
        assert isinstance(head, Head)
        set_units(head, train.labels, self.axes)
        fit_linear_head(head, train, self.setup.job.params.train.loss)
        metrics = evaluate_head(head, valid, self.axes, self.setup.job.params.train.loss)
        if self.student.encoders_are_frozen:
            report_evaluation(0, 0, metrics, self.on_evaluation)
        return FitResult(({"epoch": 0, "step": 0} | metrics,), 0)

    def _fit_head(self, params: Params) -> FitResult:
        return fit(
            self.student.head, embed_folds(self.setup, self.student), self.axes, params,
            seed=self.seed, checkpoints=self._checkpoints("-head"), on_evaluation=lambda *_: None,
        )  # fmt: skip

    def _checkpoints(self, suffix: str = "") -> Path:
        job = self.setup.job
        name = f"{job.modality}-{self.setup.cache_key(self.seed)[:16]}{suffix}"
        return job.paths.store / "checkpoints" / name


def _with_train(params: Params, **settings: object) -> Params:
    train = params.train.model_copy(update=settings)
    return params.model_copy(update={"train": train})


def _with_fusion_encoders(setup: TrainingSetup, fusion: Student) -> Student:
    """Combine the fusion student's encoder of this modality with a new head."""
    train = setup.job.params.train
    student = Student(
        fusion.text if setup.job.has_text else None,
        fusion.image if setup.job.has_image else None,
        hidden=train.head_hidden,
        n_axes=setup.n_axes,
        dropout=train.dropout,
        bounded=train.loss == "cross_entropy",
        linear=train.head == "linear",
    )
    freeze(student, text="all", image="all")
    return student


def embed_folds(setup: TrainingSetup, student: Student) -> tuple[EmbeddedDataset, EmbeddedDataset]:
    """Embed the usable posts of both folds; augmentation and token dropout do not apply here."""
    train, valid = (embed_fold(setup, student, fold) for fold in ("train", "valid"))
    if setup.job.modality == "fusion":
        train.modality_dropout = setup.job.params.train.modality_dropout
    return train, valid


def embed_fold(
    setup: TrainingSetup, student: Student, fold: Literal["train", "valid"]
) -> EmbeddedDataset:
    """Embed the usable posts of a fold; embeddings are stored, and read on the next call."""
    train = setup.job.params.train
    device = choose_device(train.device)
    store = setup.job.paths.store / "embeddings"
    embedder = Embedder(student, store, device=device, bf16=uses_bf16(train.precision, device))
    is_train = fold == "train"
    examples, rows = (setup.train if is_train else setup.valid), setup.usable_rows()[not is_train]
    if (n_processes := distributed.process_count()) > 1:
        # Each process embeds its share into the store, from which all then read everything.
        embedder.embed(examples, rows[distributed.process_rank() :: n_processes])
        distributed.barrier()
    return EmbeddedDataset(embedder.embed(examples, rows), examples.labels[rows])
