"""Cross-fitted students, from training to the estimates for all posts."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from postbias.evaluation.evaluate import Evaluation, evaluate
from postbias.evaluation.labelled_folds import labels_by_id
from postbias.evaluation.outputs import write_champion
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.cross_fitting_groups import assign_cross_fitting_groups
from postbias.posts.schema import CROSS_FITTED_FOLDS, SAMPLE, SPLIT, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.inference import infer
from postbias.scoring.out_of_fold import SHIPPED, OutOfFoldScores
from postbias.stats.label_design import HELD_OUT, UNLABELLED
from postbias.student.distillation import distil_student

_K, _TRANSFER = 2, 60
_AXES = ("bias", "orientation")


def _distil(root: Path, params: Params, modalities: tuple[str, ...]) -> None:
    paths = Paths(root, root)
    for modality in modalities:
        distil_student(paths, params, modality, lambda _: nullcontext(lambda *_: None))


def _params(untrained: tuple[Paths, Params], **settings: object) -> Params:
    """Cross-fit for few epochs: nothing here depends on how good the students are."""
    settings = {"cross_fit": _K, "transfer": _TRANSFER, "epochs": 2} | settings
    train = untrained[1].train.model_copy(update=settings)
    return untrained[1].model_copy(update={"train": train})


def _copy(untrained: tuple[Paths, Params], root: Path) -> Paths:
    """Copy the repository; half of the authors of the train fold lose their labels."""
    shutil.copytree(untrained[0].root, root)
    paths = Paths(root, root)
    split, labels = read_table(paths.split), read_table(paths.labels)
    is_odd = pa.array([int(author[1:]) % 2 == 1 for author in split["author"].to_pylist()])
    lost = pc.and_(pc.equal(split["fold"], "train"), is_odd)
    kept = split.filter(pc.invert(lost))
    ids = kept["post_id"].combine_chunks()
    write_table(kept, paths.split, SPLIT)
    labels = labels.filter(pc.is_in(labels["post_id"], value_set=ids))
    write_table(labels, paths.labels, labels_schema(_AXES))
    sample = [
        {"post_id": p, "author": a, "stratum": "all", "group_size": 1, "round": 1}
        | {"probability": 0.8, "weight": 1.25}
        for p, a in zip(ids.to_pylist(), kept["author"].to_pylist(), strict=True)
    ]
    write_table(pa.Table.from_pylist(sample, SAMPLE), paths.sample, SAMPLE)
    return paths


@pytest.fixture(scope="module")
def trained(
    untrained: tuple[Paths, Params], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Paths, Params]:
    """A cross-fitted text student."""
    paths = _copy(untrained, tmp_path_factory.mktemp("cross_fit") / "repo")
    params = _params(untrained, modalities=("text",))
    _distil(paths.root, params, ("text",))
    return paths, params


@pytest.fixture(scope="module")
def evaluation(trained: tuple[Paths, Params]) -> Evaluation:
    return evaluate(*trained)


@pytest.fixture(scope="module")
def corpus(trained: tuple[Paths, Params], evaluation: Evaluation) -> ScoredCorpus:
    paths, params = trained
    write_champion(replace(evaluation, gate={}, chosen="text"), paths)
    infer(paths, params)
    return load_scored_corpus(paths)


def _read(paths: Paths, modality: str) -> OutOfFoldScores:
    return OutOfFoldScores.read(paths.out_of_fold / f"{modality}.parquet", _AXES)


def test_each_label_has_a_score_of_the_student_that_has_not_seen_its_author(
    trained: tuple[Paths, Params],
) -> None:
    paths, params = trained
    split = read_table(paths.split, SPLIT)
    groups = assign_cross_fitting_groups(split, _K, params.seed)
    test_ids = set(split.filter(pc.equal(split["fold"], "test"))["post_id"].to_pylist())
    scores = _read(paths, "text")
    whole = scores.select(scores.is_whole & (scores.students != SHIPPED))
    seen: dict[str, set[int]] = {}
    for post_id, student in zip(whole.post_ids, whole.students.tolist(), strict=True):
        seen.setdefault(post_id, set()).add(student)
    assert {post_id: {group} for post_id, group in groups.items()}.items() <= seen.items()
    everyone = set(range(1, _K + 1))
    others = {post_id: students for post_id, students in seen.items() if post_id not in groups}
    assert all(students == everyone for students in others.values())
    assert test_ids < set(others)  # and unlabelled posts


def test_the_student_that_ships_learns_from_all_labels_but_those_of_test(
    trained: tuple[Paths, Params],
) -> None:
    paths, _ = trained
    split = read_table(paths.split, SPLIT)
    n_labels = pc.sum(pc.not_equal(split["fold"], "test")).as_py()
    manifest = Artifact.open(paths.students / "text").manifest
    assert 0.95 * n_labels < manifest.n_train < n_labels  # a few posts have no caption
    assert manifest.cross_fit == _K
    for intervals in manifest.intervals.values():
        assert intervals["text"].n == manifest.n_train


def test_the_champion_is_chosen_and_compared_by_out_of_fold_scores(
    trained: tuple[Paths, Params], evaluation: Evaluation
) -> None:
    scores = _read(trained[0], "text")
    of_post = {
        post_id: values[0]
        for post_id, is_whole, values in zip(
            scores.post_ids, scores.is_whole, scores.values, strict=True
        )
        if is_whole
    }
    valid = evaluation.folds["valid"]
    expected = [of_post[post_id] for post_id in valid.post_ids]
    used = evaluation.students["text"].valid.by_axis["bias"].values
    np.testing.assert_array_equal(used, expected)
    measured = evaluation.students["text"].measured["out_of_fold"]["bias"]
    labels = {
        post_id: label[0]
        for fold in CROSS_FITTED_FOLDS
        for post_id, label in labels_by_id(evaluation.folds[fold]).items()
    }
    errors = [abs(label - of_post[post_id]) for post_id, label in labels.items()]
    assert measured["mae"][0] == pytest.approx(np.nanmean(errors))
    assert 0.8 < measured["coverage"][0] <= 1
    coverage = evaluation.diagnostics.coverage["text"]["bias"]["all"]
    assert 0.8 < coverage.value[0] <= 1


def test_every_label_corrects_the_estimates(corpus: ScoredCorpus) -> None:
    roles = corpus.design.roles
    assert set(roles.tolist()) == {UNLABELLED, HELD_OUT}
    assert not corpus.design.is_never_held_out.any()
    cross_fitted = corpus.cross_fitted
    assert cross_fitted is not None
    # All unlabelled posts are sampled here, so that they have the mean score of the K students.
    used = corpus.scores_to_estimate("bias", lambda scores: scores)
    sums = np.bincount(cross_fitted.rows, cross_fitted.weights, len(corpus))
    np.testing.assert_allclose(sums, 1)
    ids = corpus.table["post_id"].to_pylist()
    for row in np.flatnonzero(roles == UNLABELLED)[:20]:
        of_post = cross_fitted.rows == row
        values = cross_fitted.values["bias"][of_post]
        assert values.min() - 1e-6 <= used[row] <= values.max() + 1e-6, ids[row]


@pytest.mark.slow
def test_other_modalities_take_over_the_fusion_students(
    untrained: tuple[Paths, Params], tmp_path: Path
) -> None:
    paths = _copy(untrained, tmp_path / "repo")
    _distil(paths.root, _params(untrained), ("fusion", "text"))
    # K + 1 students of each modality; the fusion students are not trained again.
    assert len(list((paths.store / "encoders").iterdir())) == 2 * (_K + 1)
    scores = _read(paths, "fusion")
    parts = set(scores.modalities[~scores.is_whole].tolist())
    assert parts == {"text", "image"}
    intervals = Artifact.open(paths.students / "fusion").manifest.intervals["bias"]
    assert min(interval.n for interval in intervals.values()) > 300


def test_a_repeated_run_loads_the_students_and_writes_the_same_bytes(
    trained: tuple[Paths, Params],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    paths = trained[0]
    outputs = [paths.students / "text" / "student.json", paths.out_of_fold / "text.parquet"]
    before = [file.read_bytes() for file in outputs]
    shutil.copytree(paths.root, tmp_path / "repo")
    shutil.rmtree(tmp_path / "repo" / "build" / "students")
    with caplog.at_level("INFO", "postbias.student"):
        _distil(tmp_path / "repo", trained[1], ("text",))
    copy = Paths(tmp_path / "repo", tmp_path / "repo")
    outputs = [copy.students / "text" / "student.json", copy.out_of_fold / "text.parquet"]
    assert [file.read_bytes() for file in outputs] == before
    assert not [record for record in caplog.records if record.getMessage().startswith("epoch ")]


@pytest.mark.slow
def test_the_score_of_a_post_does_not_depend_on_the_labels_of_its_group(
    untrained: tuple[Paths, Params], tmp_path: Path
) -> None:
    scores = {}
    for name in ("original", "changed"):
        paths = _copy(untrained, tmp_path / name)
        groups = assign_cross_fitting_groups(read_table(paths.split, SPLIT), _K, 20260521)
        labels = read_table(paths.labels, labels_schema(_AXES))
        if name == "changed":
            is_first = np.array([groups.get(p) == 1 for p in labels["post_id"].to_pylist()])
            for axis in _AXES:
                flipped = np.where(is_first, 10 - labels[axis].to_numpy(), labels[axis].to_numpy())
                index = labels.schema.get_field_index(axis)
                labels = labels.set_column(index, labels.schema.field(axis), pa.array(flipped))
            write_table(labels, paths.labels, labels_schema(_AXES))
        _distil(paths.root, _params(untrained, modalities=("text",), epochs=1), ("text",))
        scores[name] = _read(paths, "text")
    by_first = scores["original"].students == 1
    same = scores["original"].values == scores["changed"].values
    is_scored = np.isfinite(scores["original"].values[:, 0])
    assert same[by_first & is_scored].all()
    assert not same[~by_first & is_scored].all()
