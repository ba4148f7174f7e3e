"""Inputs that stop an evaluation or fail the gate."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.unit import evaluation_corpus as corpus

from postbias.errors import ArtifactError, CorpusError, GateError, InputError, LabelsError
from postbias.evaluation.evaluate import count_leaks, evaluate
from postbias.evaluation.evaluation_json import evaluation_to_json
from postbias.evaluation.outputs import write_champion, write_evaluation
from postbias.evaluation.results_table import markdown_table
from postbias.json_files import write_json
from postbias.paths import Paths
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact, write_artifact


@pytest.fixture
def repository(tmp_path: Path) -> Paths:
    return corpus.write_corpus(tmp_path)


def test_an_author_in_two_folds_is_a_leak_that_the_gate_reports(repository: Paths) -> None:
    split = read_table(repository.split, SPLIT).to_pydict()
    assert count_leaks(repository) == 0
    split["author"][0] = split["author"][-1]
    write_table(
        read_table(repository.split).from_pydict(split, schema=SPLIT), repository.split, SPLIT
    )
    assert count_leaks(repository) == 1
    with pytest.raises(GateError, match=r"no_leakage 1 \(limit 0\)"):
        write_champion(evaluate(repository, corpus.demo_params()), repository)


def test_leaks_found_by_the_audit_of_the_split_count(repository: Paths) -> None:
    write_json(repository.reports / "split.json", {"audit": {"leakage": 4}})
    assert count_leaks(repository) == 4
    (repository.reports / "split.json").unlink()
    with pytest.raises(InputError, match="no audit"):
        count_leaks(repository)


def test_an_empty_fold_is_an_error_that_names_it(repository: Paths) -> None:
    corpus.write_split(repository, (60, 60, 0, 0))
    with pytest.raises(CorpusError, match="no labelled post in the test fold"):
        evaluate(repository, corpus.demo_params())


def test_a_test_fold_of_one_author_has_values_without_intervals_and_no_champion(
    repository: Paths,
) -> None:
    corpus.write_split(repository, (60, 30, 29, 1))
    evaluation = evaluate(repository, corpus.demo_params())
    mae = evaluation_to_json(evaluation)["students"]["fusion"]["test"]["bias"]["mae"]
    assert mae["value"] is not None
    assert mae["lo"] is None
    with pytest.raises(GateError, match="beats_constant"):
        write_champion(evaluation, repository)


def _labels(repository: Paths) -> np.ndarray:
    return read_table(repository.labels).select(list(corpus.AXES)).to_pandas().to_numpy(copy=True)


def _no_high_labels(repository: Paths) -> None:
    corpus.write_labels(repository, np.clip(_labels(repository), 0, 3.4))


def _equal_labels(repository: Paths) -> None:
    corpus.write_labels(repository, np.zeros((corpus.N, len(corpus.AXES))))


def _equal_labels_of_one_axis(repository: Paths) -> None:
    labels = _labels(repository)
    labels[:, 1] = 5
    corpus.write_labels(repository, labels)


def _binary_labels(repository: Paths) -> None:
    labels = _labels(repository)
    corpus.write_labels(repository, np.where(labels > np.median(labels, axis=0), 10.0, 0.0))


def _one_author(repository: Paths) -> None:
    split = read_table(repository.split, SPLIT).to_pydict()
    split["author"] = split["cluster"] = ["a"] * corpus.N
    write_table(
        read_table(repository.split).from_pydict(split, schema=SPLIT), repository.split, SPLIT
    )


@pytest.mark.parametrize("metric", ["mae", "spearman"])
@pytest.mark.parametrize(
    "degenerate",
    [_no_high_labels, _equal_labels, _equal_labels_of_one_axis, _binary_labels, _one_author],
)
def test_degenerate_corpora_give_a_report_with_undefined_numbers_left_empty(
    repository: Paths, degenerate: Callable[[Paths], None], metric: str
) -> None:
    degenerate(repository)
    params = corpus.demo_params(bootstrap=50, main_metric=metric)
    report = write_evaluation(evaluate(repository, params), repository)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["chosen"] in report["students"]
    assert markdown_table(report)


def test_labels_without_an_axis_of_the_students_are_an_error(repository: Paths) -> None:
    labels = read_table(repository.labels)
    names = ["post_id", "bias", "bias_sd", "n_replies", "reason", "teacher", "rubric", "status"]
    one_axis = labels.select(names)
    write_table(one_axis, repository.labels, one_axis.schema)
    with pytest.raises(LabelsError, match="orientation"):
        evaluate(repository, corpus.demo_params())


def test_a_missing_student_is_an_error_that_names_it(repository: Paths) -> None:
    shutil.rmtree(repository.students / "text")
    with pytest.raises(ArtifactError, match="text"):
        evaluate(repository, corpus.demo_params())


def test_students_that_score_different_axes_are_an_error(repository: Paths) -> None:
    folder = repository.students / "text"
    manifest = Artifact.open(folder).manifest
    write_artifact(folder, dataclasses.replace(manifest, axes=manifest.axes[::-1]))
    with pytest.raises(ArtifactError, match="different axes; saw \\['text'\\]"):
        evaluate(repository, corpus.demo_params())


def test_a_post_of_the_split_without_a_label_is_an_error(repository: Paths) -> None:
    labels = read_table(repository.labels)
    write_table(labels.slice(1), repository.labels, labels.schema)
    with pytest.raises(LabelsError, match=r"1 posts of .* have no label"):
        evaluate(repository, corpus.demo_params())
