"""Cross-fitting: train K students, each on the labels of all groups of posts but one.

Each labelled post gets a score from the student that has not seen its label, nor one of its author
or of a near-duplicate. So all labels but those of the test fold serve for training, for intervals
and for the correction of estimates about all posts. The student that ships is trained on all of
them, for the mean number of epochs that was best for the K students, and optionally on unlabelled
posts with the mean score of the K students as label (distillation of an ensemble; Hinton, Vinyals
and Dean, 2015).
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from postbias.evaluation.calibration_scores import score_variants
from postbias.posts.cross_fitting_groups import assign_cross_fitting_groups, draw_unlabelled
from postbias.posts.schema import CROSS_FITTED_FOLDS, SPLIT
from postbias.posts.shards import read_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.out_of_fold import SHIPPED, OutOfFoldScores, VariantScore
from postbias.scoring.post_scores import OK
from postbias.scoring.scorer import Scorer
from postbias.student.artifact_training import (
    TrainingLabels,
    TrainingReport,
    count_transfer,
    train_artifact,
)
from postbias.student.epoch_metrics import mean_curve, metric_values
from postbias.student.fold_labels import (
    LabelsByPost,
    read_fold_labels,
    read_unlabelled_ids,
)
from postbias.student.training import OnSeed, TrainedStudent, train_or_load
from postbias.student.training_setup import TrainingJob

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CrossFittingPlan:
    """Which student is trained on which labels, and which posts it scores.

    Attributes:
        folds: Labels (A,) by post id, by fold: `train`, `valid` and `calib`.
        group_of: Group by post id of these folds, from 1.
        n_groups: Number of groups, K.
        test_ids: Posts of the test fold.
        sampled_ids: Random sample of the posts without a label in any fold.
        transfer_ids: Another sample of them, to train the student that ships on.
    """

    folds: Mapping[str, LabelsByPost]
    group_of: Mapping[str, int]
    n_groups: int
    test_ids: tuple[str, ...]
    sampled_ids: tuple[str, ...]
    transfer_ids: tuple[str, ...]

    @property
    def labels(self) -> LabelsByPost:
        """Labels of all groups by post id."""
        return {p: y for fold in CROSS_FITTED_FOLDS for p, y in self.folds[fold].items()}

    def training_labels(self, student: int) -> TrainingLabels:
        """Select the labels for one of the K students.

        The valid fold without its group chooses the epoch; train and calib are trained on.
        """
        return TrainingLabels(
            {
                "train": self._leave_out(student, "train") | self._leave_out(student, "calib"),
                "valid": self._leave_out(student, "valid"),
            }
        )

    def held_out_ids(self, student: int) -> list[str]:
        """List the posts of the group that a student has not seen."""
        return [post_id for post_id, group in self.group_of.items() if group == student]

    def _leave_out(self, student: int, fold: str) -> LabelsByPost:
        return {p: y for p, y in self.folds[fold].items() if self.group_of[p] != student}


@dataclass(frozen=True, slots=True)
class CrossFittedTraining:
    """Result of cross-fitting.

    Attributes:
        scores: Out-of-fold scores of all groups, and scores of the test posts and of the sample by
            every student.
        report: Numbers of the student that ships; `valid_*` are means over the K students.
        curve: Mean learning curve of the K students.
    """

    scores: OutOfFoldScores
    report: TrainingReport
    curve: Sequence[dict[str, float]]


def plan_cross_fitting(paths: Paths, params: Params) -> CrossFittingPlan:
    """Divide the labels into groups, and draw the unlabelled posts to score.

    Args:
        paths: The repository, with posts, labels and folds.
        params: `train.cross_fit` is the number of groups.

    Returns:
        The plan; it depends on the seed and is the same for every modality.

    Raises:
        CorpusError: If there are too few authors.
    """
    assert params.train.cross_fit is not None
    split = read_table(paths.split, SPLIT)
    fold_of = dict(zip(split["post_id"].to_pylist(), split["fold"].to_pylist(), strict=True))
    unlabelled = draw_unlabelled(read_unlabelled_ids(paths), params)
    return CrossFittingPlan(
        folds=read_fold_labels(paths),
        group_of=assign_cross_fitting_groups(split, params.train.cross_fit, params.seed),
        n_groups=params.train.cross_fit,
        test_ids=tuple(post_id for post_id, fold in fold_of.items() if fold == "test"),
        sampled_ids=unlabelled.sampled,
        transfer_ids=unlabelled.transfer,
    )


def train_cross_fitted(
    folder: Path, job: TrainingJob, plan: CrossFittingPlan, on_seed: OnSeed
) -> CrossFittedTraining:
    """Train the K students and then the one that ships, whose artifact is written.

    Args:
        folder: Folder of the artifact, which gets neither intervals nor a reference profile here.
        job: What to train.
        plan: Groups and posts.
        on_seed: Opens the log of a training run; it gets the mean learning curve.

    Returns:
        The scores of the K students and the report.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        WeightsError: If pretrained weights cannot be loaded.
    """
    fits, results = [], list[tuple[int, VariantScore]]()
    soft_labels = []
    for student in range(1, plan.n_groups + 1):
        logger.info("cross-fitting: student %d of %d", student, plan.n_groups)
        artifact = job.scratch / f"student{student}"
        labels = plan.training_labels(student)
        fits.append(_train_quietly(artifact, job, labels)[0])
        with _open_scorer(artifact, job) as scorer:
            axes = scorer.axes
            results += [(student, result) for result in _score(scorer, job, plan, student)]
        soft_labels.append(_score_transfer(artifact, job, plan, labels))
    curve = mean_curve([trained.best_fit.curve for trained in fits])
    with on_seed(job.params.seed) as on_epoch:
        for row in curve:
            on_epoch(int(row["epoch"]), metric_values(row))
    epochs = _choose_epochs(job, fits)
    logger.info("training on all labels for %d epochs", epochs[job.modality])
    labels = _all_labels(plan, epochs, soft_labels)
    _, report = _train_quietly(folder, job, labels)
    with _open_scorer(folder, job) as scorer:
        unseen = _score_unseen(scorer, job, plan)
        seen = labels.soft_labelled
        results += [(SHIPPED, result) for result in unseen if result[0] not in seen]
    return CrossFittedTraining(
        OutOfFoldScores.of_results(axes, results), _report(folder, plan, fits, report), curve
    )


def _train_quietly(
    folder: Path, job: TrainingJob, labels: TrainingLabels
) -> tuple[TrainedStudent, TrainingReport]:
    """Train a student without logging its epochs to the run of the stage."""
    return train_artifact(
        folder, job, labels, train_or_load, lambda _: nullcontext(lambda *_: None)
    )


def _score(
    scorer: Scorer, job: TrainingJob, plan: CrossFittingPlan, student: int
) -> Iterator[VariantScore]:
    """Score the student's own group in all variants, and the posts that every student scores."""
    yield from score_variants(scorer, job.paths.sampled_posts, plan.held_out_ids(student))
    yield from _score_unseen(scorer, job, plan)


def _score_unseen(
    scorer: Scorer, job: TrainingJob, plan: CrossFittingPlan
) -> Iterator[VariantScore]:
    """Score the test posts in all variants, and the sample of unlabelled posts as they are."""
    yield from score_variants(scorer, job.paths.sampled_posts, plan.test_ids)
    for post_id, is_whole, result in score_variants(
        scorer, job.paths.sampled_posts, plan.sampled_ids
    ):
        if is_whole:
            yield post_id, is_whole, result


def _open_scorer(artifact: Path, job: TrainingJob) -> Scorer:
    return Scorer.open(artifact, threads=job.params.threads, image_texts=job.paths.image_texts)


def _score_transfer(
    artifact: Path, job: TrainingJob, plan: CrossFittingPlan, labels: TrainingLabels
) -> LabelsByPost:
    """Score the transfer set; return scores (A,) by post id.

    A student with the fusion student's encoders takes its soft labels too, so that both are trained
    on the same labels, and the fusion student is not trained once more.
    """
    if not plan.transfer_ids:
        return {}
    if job.has_fusion_encoders:
        artifact = artifact.with_name(f"{artifact.name}-fusion")
        _train_quietly(artifact, replace(job, modality="fusion"), labels)
    with _open_scorer(artifact, job) as scorer:
        return {
            post_id: np.array([result.scores[axis].value for axis in scorer.axes], np.float32)
            for post_id, is_whole, result in score_variants(
                scorer, job.paths.sampled_posts, plan.transfer_ids
            )
            if is_whole and result.status == OK
        }


def _choose_epochs(job: TrainingJob, fits: Sequence[TrainedStudent]) -> dict[str, int]:
    """Return the mean of the best epochs, also for the fusion student that lends its encoders."""
    best = {job.modality: [trained.best_fit.best_epoch for trained in fits]}
    if job.has_fusion_encoders:
        best["fusion"] = [trained.fusion_epochs or 1 for trained in fits]
    return {modality: round(statistics.mean(epochs)) for modality, epochs in best.items()}


def _all_labels(
    plan: CrossFittingPlan, epochs: Mapping[str, int], soft_labels: Sequence[LabelsByPost]
) -> TrainingLabels:
    """Combine the labels of all groups with the mean scores of the transfer set.

    In the loss, a post with a soft label weighs as much as one with a label of the teacher.
    """
    soft: LabelsByPost = {
        post_id: np.mean([scores[post_id] for scores in soft_labels], axis=0, dtype=np.float32)
        for post_id in soft_labels[0]
    }
    folds = {"train": plan.labels | soft, "valid": plan.folds["valid"]}
    return TrainingLabels(folds, epochs, frozenset(soft))


def _report(
    folder: Path,
    plan: CrossFittingPlan,
    fits: Sequence[TrainedStudent],
    report: TrainingReport,
) -> TrainingReport:
    rows = [trained.best_fit.best_row for trained in fits]
    means = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
    return (
        count_transfer(report, Artifact.open(folder).manifest)
        | {name: value for name, value in means.items() if name.startswith("valid_")}
        | {"cross_fit": plan.n_groups}
    )
