"""Distil the teacher's labels into a student: train, export, and add intervals to the artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postbias.evaluation.calibration_scores import collect_recentred
from postbias.json_files import write_json
from postbias.scoring.artifact import Artifact
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.student.artifact_training import (
    TrainingReport,
    count_transfer,
    open_job,
    train_artifact,
    train_in_group,
)
from postbias.student.cross_fitting import plan_cross_fitting, train_cross_fitted
from postbias.student.fold_labels import keep_first_round, read_first_round, read_fold_labels
from postbias.student.full_student import label_for_training
from postbias.student.interval_fitting import add_intervals, add_reference_profile, score_calib
from postbias.student.training import OnSeed, train_or_load, train_seeds
from postbias.student.training_setup import load_training_setup
from postbias.teacher.rubric import load_rubric

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


@dataclass(frozen=True, slots=True)
class DistillationResult:
    """A finished student.

    Attributes:
        lineage: Digests to tag the run with.
        report: Content of `reports/train/<modality>.json`.
        curve: Learning curve of the seed that was kept; the mean of those of the cross-fitted
            students.
    """

    lineage: Mapping[str, str]
    report: TrainingReport
    curve: Sequence[dict[str, float]]

    @property
    def digest(self) -> str:
        """Digest of its artifact."""
        return self.lineage["artifact"]


def distil_student(
    paths: Paths, params: Params, modality: str, on_seed: OnSeed
) -> DistillationResult:
    """Train a student and write its artifact, report and learning curve.

    Writes `build/students/<modality>/`, `build/out_of_fold/<modality>.parquet` (without rows unless
    params cross-fit), `reports/train/<modality>.json` and `reports/curves/<modality>.csv`.

    Args:
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.
        on_seed: Opens the log of one seed's training run.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality, or there are too
            few authors for cross-fitting.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    folder = paths.students / modality
    if params.train.cross_fit is None:
        result = distil_artifact(folder, paths, params, modality, on_seed)
        scores = OutOfFoldScores.empty(tuple(a.name for a in Artifact.open(folder).manifest.axes))
    else:
        result, scores = _distil_cross_fitted(folder, paths, params, modality, on_seed)
    scores.write(paths.out_of_fold / f"{modality}.parquet")
    write_json(paths.reports / "train" / f"{modality}.json", result.report)
    _write_curve(result.curve, paths.reports / "curves" / f"{modality}.csv")
    return result


def distil_artifact(
    folder: Path,
    paths: Paths,
    params: Params,
    modality: str,
    on_seed: OnSeed,
    *,
    share: float = 1.0,
) -> DistillationResult:
    """Train a student on the train fold and write its artifact only; never cross-fits.

    With `train.distil_from` it learns from the scores of a full student too.

    Args:
        folder: Folder of the artifact.
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.
        on_seed: Opens the log of one seed's training run.
        share: Share of the train fold to use.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    folds = read_fold_labels(paths, share=share)
    # Only a fusion student of the whole train fold is cached for the other modalities.
    train = train_or_load if share == 1 else train_seeds
    with open_job(paths, params, modality) as job:
        labels = label_for_training(job, folds)
        trained, report = train_artifact(folder, job, labels, train, on_seed)
    train_labels, calib_labels = (keep_first_round(paths, folds[f]) for f in ("train", "calib"))
    calib = score_calib(folder, paths, calib_labels, threads=params.threads)
    add_intervals(folder, paths, calib, coverage=params.evaluate.coverage)
    artifact = add_reference_profile(
        folder, paths, train_labels, calib_labels, threads=params.threads
    )
    if labels.full_student is not None:
        report = count_transfer(report, artifact.manifest)
    return DistillationResult(artifact.lineage, report, trained.best_fit.curve)


def _distil_cross_fitted(
    folder: Path, paths: Paths, params: Params, modality: str, on_seed: OnSeed
) -> tuple[DistillationResult, OutOfFoldScores]:
    """Cross-fit, train on all labels, and fit the intervals to the out-of-fold residuals."""
    plan = plan_cross_fitting(paths, params)
    with open_job(paths, params, modality) as job:
        result = train_cross_fitted(folder, job, plan, on_seed)
    first_round = keep_first_round(paths, plan.labels)
    residuals = collect_recentred(result.scores, first_round)
    add_intervals(folder, paths, residuals, coverage=params.evaluate.coverage)
    first = read_first_round(paths)
    first_test = [post_id for post_id in plan.test_ids if post_id in first]
    # The student has seen all labelled posts but those of test, of which no label is used here.
    artifact = add_reference_profile(folder, paths, first_round, first_test, threads=params.threads)
    return DistillationResult(artifact.lineage, result.report, result.curve), result.scores


def join_training(paths: Paths, params: Params, modality: str) -> None:
    """Train as one of the further processes of `torchrun`; the main process writes all files.

    Args:
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    with open_job(paths, params, modality) as job:
        setup = load_training_setup(job, read_fold_labels(paths))
        train_in_group(train_or_load, setup, rubric, lambda _: nullcontext(lambda *_: None))


def _write_curve(curve: Sequence[dict[str, float]], path: Path) -> None:
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(list(curve)).drop(columns="step").set_index("epoch")
    frame.to_csv(path, float_format="%.6g")
