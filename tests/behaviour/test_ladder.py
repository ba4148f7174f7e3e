"""A pocket student learns from the scores of a full student."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from postbias.errors import ArtifactError, CorpusError, ParamsError
from postbias.evaluation.calibration_scores import score_variants
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.schema import SPLIT, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Manifest
from postbias.scoring.post_scores import OK
from postbias.scoring.scorer import Scorer
from postbias.student.artifact_training import open_job
from postbias.student.distillation import DistillationResult, distil_student
from postbias.student.fold_labels import LabelsByPost, read_fold_labels
from postbias.student.full_student import label_for_training, open_full_student

Trained = tuple[Paths, Params]

_FULL = "full_students/fusion"
_POCKET: dict[str, Any] = {
    "text_scratch": {"vocab_size": 320, "hidden": 8, "layers": 1, "heads": 2},
    "head_hidden": 16,
    "ablation": "whole",
    "modalities": ["text"],
    "distil_from": _FULL,
}


def _settings(params: Params, **settings: Any) -> Params:
    base = params.model_dump(mode="json")
    base["train"] |= _POCKET | settings
    if base["train"]["distil_from"]:
        base["evaluate"]["learning_curve"] = []
    return Params.model_validate_json(json.dumps(base))


def _copy(trained: Trained, root: Path, full: str = "fusion") -> Paths:
    """Copy the repository without students, and one of them as the full student."""
    ignored = shutil.ignore_patterns("store", "students", "out_of_fold")
    shutil.copytree(trained[0].root, root, ignore=ignored)
    shutil.copytree(trained[0].students / full, root / _FULL)
    return Paths(root, root)


def _forget_labels(paths: Paths, *, every: int) -> None:
    """Remove the labels of the train fold, but for those of every n-th author."""
    split, labels = read_table(paths.split, SPLIT), read_table(paths.labels)
    authors = [int(author[1:]) for author in split["author"].to_pylist()]
    is_lost = pa.array([author % every != 0 for author in authors])
    kept = split.filter(pc.invert(pc.and_(pc.equal(split["fold"], "train"), is_lost)))
    ids = kept["post_id"].combine_chunks()
    write_table(kept, paths.split, SPLIT)
    labels = labels.filter(pc.is_in(labels["post_id"], value_set=ids))
    write_table(labels, paths.labels, labels_schema(("bias", "orientation")))


def _distil(paths: Paths, params: Params, modality: str = "text") -> DistillationResult:
    return distil_student(paths, params, modality, lambda _: nullcontext(lambda *_: None))


def _score(paths: Paths, folder: Path, ids: list[str]) -> LabelsByPost:
    with Scorer.open(folder, threads=1) as scorer:
        return {
            post_id: np.array([result.scores[axis].value for axis in scorer.axes], np.float32)
            for post_id, is_whole, result in score_variants(scorer, paths.sampled_posts, ids)
            if is_whole and result.status == OK
        }


def _ids(paths: Paths, fold: str) -> list[str]:
    split = read_table(paths.split, SPLIT)
    return list(split.filter(pc.equal(split["fold"], fold))["post_id"].to_pylist())


def test_with_a_transfer_set_a_pocket_student_is_closer_to_the_full_student(
    trained: Trained, tmp_path: Path
) -> None:
    # A text student too, whose scores depend on nothing that the pocket student does not see.
    paths = _copy(trained, tmp_path / "repo", full="text")
    _forget_labels(paths, every=5)
    test_ids = _ids(paths, "test")
    full = _score(paths, paths.root / _FULL, test_ids)
    distances, report = [], {}
    for settings in ({"distil_from": None}, {"transfer": 230}):
        report = _distil(paths, _settings(trained[1], **settings)).report
        pocket = _score(paths, paths.students / "text", test_ids)
        distances.append(np.mean([abs(full[p] - pocket[p])[0] for p in pocket]))
    labels_only, ladder = distances
    assert ladder < 0.9 * labels_only
    manifest = Artifact.open(paths.students / "text").manifest
    assert manifest.distilled_from is not None
    assert (
        0.9 * 230 < report["transfer"] == manifest.distilled_from.posts < 230
    )  # some lack captions
    assert report["n_train"] == manifest.n_train <= len(_ids(paths, "train"))


def test_only_unlabelled_posts_and_the_train_fold_get_scores(
    trained: Trained, tmp_path: Path
) -> None:
    paths = _copy(trained, tmp_path / "repo")
    _forget_labels(paths, every=2)
    folds = read_fold_labels(paths)
    with open_job(paths, _settings(trained[1], transfer=30), "fusion") as job:
        labels = label_for_training(job, folds)
    train = labels.folds["train"]
    scores = _score(paths, paths.root / _FULL, list(train))
    assert len(labels.soft_labelled) == 30
    assert not labels.soft_labelled & {p for fold in folds.values() for p in fold}
    assert not labels.soft_labelled & set(_ids(paths, "test"))
    assert set(train) == set(folds["train"]) | labels.soft_labelled
    for post_id, values in train.items():
        label = folds["train"].get(post_id, scores[post_id])
        np.testing.assert_allclose(values, (label + scores[post_id]) / 2, atol=1e-5)
    assert labels.folds["valid"] is folds["valid"]


def test_posts_are_scored_once_for_all_modalities(trained: Trained, tmp_path: Path) -> None:
    paths = _copy(trained, tmp_path / "repo")
    folds, labels = read_fold_labels(paths), []
    for modality in ("fusion", "text"):
        with open_job(paths, _settings(trained[1]), modality) as job:
            labels.append(label_for_training(job, folds))
        stored = {file: file.stat().st_mtime_ns for file in (paths.store / "scores").rglob("*")}
    assert labels[0].digest() == labels[1].digest()
    assert stored == {f: f.stat().st_mtime_ns for f in (paths.store / "scores").rglob("*")}


def test_a_full_student_of_the_same_folds_is_known_to_have_seen_no_other_label(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = _copy(trained, tmp_path / "repo")
    params = _settings(trained[1])
    assert open_full_student(paths, params, read_fold_labels(paths), "text").same_folds
    assert not caplog.records
    _forget_labels(paths, every=2)
    assert not open_full_student(paths, params, read_fold_labels(paths), "text").same_folds
    assert "if its labels include posts of the folds calib or test" in caplog.text


def test_without_a_full_student_nothing_is_recorded(trained: Trained) -> None:
    text = (trained[0].students / "text" / "student.json").read_text(encoding="utf-8")
    assert not {"distilled_from", "text_layers"} & json.loads(text).keys()
    assert Artifact.open(trained[0].students / "text").lineage.keys() == {"artifact"}


@pytest.mark.parametrize(
    ("change", "modality", "message"),
    [
        (lambda m: {"axes": m.axes[:1]}, "text", r"scores other axes; saw 'bias'; allowed: bias, "),
        (lambda _: {"rubric": "mine@1"}, "text", r"another rubric; saw 'mine@1'; allowed: gender_"),
        (lambda _: {"cross_fit": 5}, "text", r"cross-fitted, so that .* calib; saw 'cross_fit: 5'"),
        (None, "image", r"what the image student reads; saw 'text'; allowed: fusion or image"),
    ],
    ids=["axes", "rubric", "cross-fitted", "modality"],
)
def test_a_full_student_that_cannot_be_learned_from_is_an_error(
    trained: Trained,
    tmp_path: Path,
    change: Callable[[Manifest], dict[str, Any]] | None,
    modality: str,
    message: str,
) -> None:
    paths = _copy(trained, tmp_path / "repo", full="text" if change is None else "fusion")
    if change is not None:
        manifest = Artifact.open(paths.root / _FULL).manifest
        changed = dataclasses.replace(manifest, intervals={}, **change(manifest))
        write_artifact(paths.root / _FULL, changed)
    with pytest.raises(ParamsError, match=message):
        open_full_student(paths, _settings(trained[1]), read_fold_labels(paths), modality)


def test_a_missing_or_damaged_full_student_is_an_error(trained: Trained, tmp_path: Path) -> None:
    paths = _copy(trained, tmp_path / "repo")
    params, folds = _settings(trained[1]), read_fold_labels(paths)
    (paths.root / _FULL / "onnx" / "head.onnx").unlink()
    with pytest.raises(ArtifactError, match="incomplete: onnx/head"):
        open_full_student(paths, params, folds, "text")
    shutil.rmtree(paths.root / _FULL)
    with pytest.raises(ParamsError, match=r"no student in this folder; saw 'full_.*cp -r build"):
        open_full_student(paths, params, folds, "text")


def test_a_transfer_set_larger_than_the_corpus_is_an_error(
    trained: Trained, tmp_path: Path
) -> None:
    paths = _copy(trained, tmp_path / "repo")
    _forget_labels(paths, every=2)
    n_unlabelled = 320 - len(_ids(paths, "train"))
    params = _settings(trained[1], transfer=n_unlabelled + 1)
    expected = rf"saw {n_unlabelled + 1}; allowed: at most {n_unlabelled}; decrease it"
    with open_job(paths, params, "text") as job, pytest.raises(CorpusError, match=expected):
        label_for_training(job, read_fold_labels(paths))
