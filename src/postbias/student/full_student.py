"""Label posts with the scores of a full student, for a smaller student to learn from.

The ladder: the teacher labels some posts, a full student learns these labels, and a pocket student
learns the scores that the full student gives to many more posts. On labels alone a small student
is limited by their number and their noise; on the scores of a larger one by the number of posts,
which cost no more than scoring (Ba and Caruana, 2014; Stanton et al., 2021).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from postbias.errors import CorpusError, ParamsError
from postbias.posts.cross_fitting_groups import draw_unlabelled
from postbias.posts.schema import scores_schema
from postbias.posts.shards import list_shards, read_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.manifest_records import DistilledFrom
from postbias.scoring.post_scores import BATCH_SIZE, OK
from postbias.scoring.scorer import Scorer
from postbias.student.artifact_training import TrainingLabels
from postbias.student.fold_labels import LabelsByPost, read_unlabelled_ids
from postbias.teacher.rubric import load_rubric

if TYPE_CHECKING:
    from pathlib import Path

    from postbias.params import Params
    from postbias.paths import Paths
    from postbias.student.training_setup import TrainingJob

logger = logging.getLogger(__name__)

#: Weight of the full student's score in the label of a post of the train fold; the rest is the
#: label of the teacher.
SCORE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class FullStudent:
    """A finished student that a smaller one learns from.

    Attributes:
        artifact: Its artifact.
        same_folds: Whether it was trained on the labels of these train and valid folds.
    """

    artifact: Artifact
    same_folds: bool


def label_for_training(job: TrainingJob, folds: Mapping[str, LabelsByPost]) -> TrainingLabels:
    """Add the scores of the full student to the labels of the train fold, if params name one.

    Posts of the train fold get the mean of their label and the full student's score; those of
    `train.transfer` the score. The valid fold keeps its labels, as do calib and test: the smaller
    student is chosen, calibrated and judged by the teacher's labels.

    Args:
        job: What to train.
        folds: Labels by fold, as `read_fold_labels` returns them.

    Returns:
        The labels to train on.

    Raises:
        ArtifactError: If the full student is incomplete or damaged.
        CorpusError: If there are fewer unlabelled posts than `train.transfer`.
        ParamsError: If there is no full student there, or it cannot be learned from.
    """
    if job.params.train.distil_from is None:
        return TrainingLabels(folds)
    full = open_full_student(job.paths, job.params, folds, job.modality)
    wanted = draw_transfer(job.paths, job.params)
    scores = _score_posts(job, full.artifact, [*folds["train"], *wanted])
    soft = {post_id: scores[post_id] for post_id in wanted if post_id in scores}
    logger.info("full student: %d unlabelled posts scored, of %d", len(soft), len(wanted))
    mixed = {post_id: _mix(label, scores.get(post_id)) for post_id, label in folds["train"].items()}
    source = DistilledFrom(full.artifact.digest, len(soft), full.same_folds)
    return TrainingLabels(
        {"train": mixed | soft, "valid": folds["valid"]},
        soft_labelled=frozenset(soft),
        full_student=source,
    )


def open_full_student(
    paths: Paths, params: Params, folds: Mapping[str, LabelsByPost], modality: str
) -> FullStudent:
    """Open the full student, and check that a smaller one can learn from it.

    Args:
        paths: The repository.
        params: `train.distil_from` names the folder.
        folds: Labels by fold, as `read_fold_labels` returns them.
        modality: Modality of the smaller student.

    Raises:
        ArtifactError: If it is incomplete or damaged.
        ParamsError: If there is no student in that folder, or it scores other axes, follows another
            rubric, reads other modalities or was cross-fitted.
    """
    assert params.train.distil_from is not None
    folder = paths.root / params.train.distil_from
    artifact = _open(folder, params.train.distil_from)
    manifest, rubric = artifact.manifest, load_rubric(paths.root / params.annotate.rubric)
    axes = [axis.name for axis in rubric.axes]
    scored = [axis.name for axis in manifest.axes]
    allowed = ("fusion",) if modality == "fusion" else ("fusion", modality)
    requirements = (
        (scored == axes, "scores other axes", ", ".join(scored), ", ".join(axes)),
        (manifest.rubric == rubric.ref, "was trained on labels of another rubric",
         manifest.rubric, rubric.ref),
        (manifest.modality in allowed, f"does not read what the {modality} student reads",
         manifest.modality, " or ".join(allowed)),
        (manifest.cross_fit is None, "was cross-fitted, so that it has learned labels of calib",
         f"cross_fit: {manifest.cross_fit}", "a student trained with cross_fit: null"),
    )  # fmt: skip
    for is_met, problem, seen, wanted in requirements:
        if not is_met:
            raise ParamsError(
                f"train.distil_from: the full student {problem}", seen=seen, allowed=wanted,
                do="train a full student on the labels of this repository, or choose another one",
            )  # fmt: skip
    same_folds = manifest.training_digest == TrainingLabels(folds).digest()
    if not same_folds:
        logger.warning(
            "the full student in %s was not trained on this train fold: if its labels include posts"
            " of the folds calib or test, the metrics of the new student are too good",
            params.train.distil_from,
        )
    return FullStudent(artifact, same_folds)


def draw_transfer(paths: Paths, params: Params) -> tuple[str, ...]:
    """Draw the unlabelled posts to learn from.

    Args:
        paths: The repository, with the sampled posts and folds.
        params: `seed` and `train.transfer` are used.

    Returns:
        Ids of `train.transfer` posts that are in no fold.

    Raises:
        CorpusError: If there are fewer.
    """
    drawn = draw_unlabelled(read_unlabelled_ids(paths), params).transfer
    if len(drawn) < (n_wanted := params.train.transfer or 0):
        raise CorpusError(
            "train.transfer is greater than the number of posts without a label",
            seen=n_wanted,
            allowed=f"at most {len(drawn)}",
            do="decrease it, label fewer posts (sample.n), or import more",
        )
    return drawn


def _open(folder: Path, name: str) -> Artifact:
    if not (folder / "student.json").is_file():
        raise ParamsError(
            "train.distil_from: no student in this folder",
            seen=name,
            do="copy a finished student there, for example"
            f" `cp -r build/students/fusion {name}`, or set train.distil_from to null",
        )
    return Artifact.open(folder)


def _score_posts(job: TrainingJob, artifact: Artifact, wanted: Iterable[str]) -> LabelsByPost:
    """Score the sampled posts as they ship, int8; return scores (A,) of the wanted ones.

    Finished shards are kept in `store/scores/`: each modality needs the same scores.
    """
    paths, params = job.paths, job.params
    outputs = ScoreOutputs(
        job.scratch / "full_scores", job.scratch / "full_rejects.parquet", paths.store / "scores"
    )
    with Scorer.open(
        artifact.folder, threads=params.threads, image_texts=paths.image_texts
    ) as scorer:
        axes = scorer.axes
        score_shards(list_shards(paths.sampled_posts), scorer, outputs, batch_size=BATCH_SIZE)
    needed, scores = frozenset(wanted), LabelsByPost()
    for shard in list_shards(outputs.scores):
        table = read_table(shard, scores_schema(axes), ["post_id", "status", *axes])
        values = np.column_stack([table[axis].to_numpy() for axis in axes]).astype(np.float32)
        rows = zip(table["post_id"].to_pylist(), table["status"].to_pylist(), values, strict=True)
        scores |= {p: row for p, status, row in rows if status == OK and p in needed}
    return scores


def _mix(label: np.ndarray, score: np.ndarray | None) -> np.ndarray:
    """Average a label and the score of the full student; a post without a score keeps its label."""
    if score is None:
        return label
    return ((1 - SCORE_SHARE) * label + SCORE_SHARE * score).astype(np.float32)
