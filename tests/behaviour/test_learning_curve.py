"""The learning curve: students of shares of the labels, measured like the final student."""

from __future__ import annotations

import csv
import logging
from typing import Any

import pytest
from tests.behaviour.conftest import N

from postbias.evaluation.evaluate import evaluate
from postbias.evaluation.evaluation_json import evaluation_to_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table
from postbias.student.fold_labels import read_fold_labels
from postbias.student.subset_training import train_on_subsets

TOO_FEW, SHARE = 0.001, 0.4


@pytest.fixture(scope="module")
def logged() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(trained: tuple[Paths, Params], logged: list[str]) -> dict[str, Any]:
    paths, params = trained
    shares = params.evaluate.model_copy(update={"learning_curve": [TOO_FEW, SHARE]})
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("postbias.student.subset_training")
    logger.addHandler(handler)
    try:
        return train_on_subsets(paths, params.model_copy(update={"evaluate": shares}))
    finally:
        logger.removeHandler(handler)


def test_the_last_point_equals_the_evaluation_of_the_student(
    report: dict[str, Any], trained: tuple[Paths, Params]
) -> None:
    students = evaluation_to_json(evaluate(*trained))["students"]["fusion"]["test"]
    for axis in ("bias", "orientation"):
        for metric in ("mae", "rmse", "r2", "spearman"):
            assert report["points"][-1][axis][metric] == pytest.approx(students[axis][metric])


def test_more_labels_help_and_the_last_step_is_the_difference_of_the_last_two_points(
    report: dict[str, Any], trained: tuple[Paths, Params]
) -> None:
    before, after = report["points"]
    fold = read_table(trained[0].split, SPLIT)["fold"].to_pylist()
    assert (before["share"], after["share"]) == (SHARE, 1)
    assert after["labels"] <= fold.count("train") < N
    assert before["labels"] == pytest.approx(SHARE * after["labels"], rel=0.05)
    step = report["last_step"]
    assert (step["from"], step["to"]) == (before["labels"], after["labels"])
    for metric in ("mae", "r2"):
        change = after["bias"][metric]["value"] - before["bias"][metric]["value"]
        assert step["bias"][metric]["value"] == pytest.approx(change)
        assert step["bias"][metric]["lo"] <= change <= step["bias"][metric]["hi"]
    assert (
        step["bias"]["mae"]["hi"] < 0
    )  # paired over authors: significant although the points overlap


def test_a_share_with_too_few_labels_is_left_out_with_a_warning(
    report: dict[str, Any], logged: list[str]
) -> None:
    assert [point["share"] for point in report["points"]] == [SHARE, 1]
    assert [f"{TOO_FEW:.1%}" in line for line in logged] == [True]


def test_a_smaller_share_is_a_subset_of_a_larger_one_and_other_folds_stay_complete(
    trained: tuple[Paths, Params],
) -> None:
    small, large, all_ = (read_fold_labels(trained[0], share=share) for share in (0.2, 0.7, 1.0))
    assert set(small["train"]) < set(large["train"]) < set(all_["train"])
    assert len(large["train"]) == round(0.7 * len(all_["train"]))
    for fold in ("valid", "calib"):
        assert list(small[fold]) == list(large[fold]) == list(all_[fold])


def test_the_plot_data_contains_every_point(
    report: dict[str, Any], trained: tuple[Paths, Params]
) -> None:
    with (trained[0].reports / "plots" / "learning_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report["points"]) * 2 * 4
    by_key = {(row["axis"], int(row["labels"]), row["metric"]): row for row in rows}
    for point in report["points"]:
        row = by_key["orientation", point["labels"], "mae"]
        assert float(row["value"]) == pytest.approx(point["orientation"]["mae"]["value"], 1e-5)
