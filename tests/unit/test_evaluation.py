"""Evaluation of a small repository with real artifacts, scorer and files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score
from tests.tiny_artifact import AXES, write_tiny_artifact
from tests.unit import evaluation_corpus as corpus

from postbias.demo.ground_truth import (
    Cues,
    draw_cues,
    optimal_predictions,
    simulate_teacher,
    true_scores,
)
from postbias.errors import ArtifactError, GateError
from postbias.evaluation.evaluate import Evaluation, choose_student, evaluate
from postbias.evaluation.evaluation_json import evaluation_to_json
from postbias.evaluation.evaluation_set import EvaluationSet, StudentResults
from postbias.evaluation.labelled_folds import FoldPredictions, load_labelled_folds
from postbias.evaluation.outputs import write_champion, write_evaluation
from postbias.paths import Paths
from postbias.posts.shards import read_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer
from postbias.stats.metrics import POINT_METRICS, Predictions
from postbias.tracking.evaluation_logging import log_evaluation


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return corpus.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def evaluation(template: Paths) -> Evaluation:
    return evaluate(template, corpus.demo_params())


@pytest.fixture
def copied(template: Paths, tmp_path: Path) -> Paths:
    root = tmp_path / "copy"
    shutil.copytree(template.root, root)
    return Paths(root, root)


def _numbers(report: dict[str, Any]) -> list[dict[str, Any]]:
    models = [*report["students"].values(), *report["baselines"].values()]
    return [n for model in models for axis in model["test"].values() for n in axis.values()]


def test_the_report_has_the_documented_structure(evaluation: Evaluation) -> None:
    report = evaluation_to_json(evaluation)
    assert set(report["students"]) == {"fusion", "text", "image"}
    assert set(report["baselines"]) == {"constant", "tfidf_ridge"}
    metrics = report["students"]["fusion"]["test"]["bias"]
    names = {"coverage_90", "width_90"} | set(POINT_METRICS)
    assert set(metrics) == names
    assert all(set(number) == {"value", "lo", "hi"} for number in _numbers(report))
    n = {"train": 150, "valid": 60, "calib": 0, "test": 150}
    assert report["n"] == n | {"test_authors": 50, "test_posts_without_author": 0}
    assert set(report["gate"]) == {
        "beats_constant",
        "beats_tfidf_ridge",
        "spread",
        "int8_loss",
        "no_leakage",
        "coverage_bias",
        "coverage_orientation",
        "uses_caption",
        "uses_image",
        "repeat_change",
        "odd_captions",
    }
    assert report["ceiling"] == {}
    pairs = {"fusion_vs_text", "fusion_vs_image", "text_vs_image", "fusion_vs_tfidf_ridge"}
    assert pairs <= set(report["paired"])
    assert set(report["paired"]["fusion_vs_text"]["bias"]) == {"value", "lo", "hi", "p"}


def test_values_are_within_their_intervals(evaluation: Evaluation) -> None:
    for number in _numbers(evaluation_to_json(evaluation)):
        if number["lo"] is not None:
            assert number["lo"] <= number["hi"]
            # A percentile interval of a skewed statistic may narrowly miss its value.
            slack = 0.5 * (number["hi"] - number["lo"]) + 1e-9
            assert number["lo"] - slack <= number["value"] <= number["hi"] + slack


def test_metrics_are_those_of_the_int8_scorer_on_the_test_posts(
    template: Paths, evaluation: Evaluation
) -> None:
    test = load_labelled_folds(template, AXES)["test"]
    table = read_table(template.posts / "part-1.parquet")
    rows = {row["post_id"]: row for row in table.to_pylist() if row["post_id"] in test.post_ids}
    with Scorer.open(template.students / "image") as scorer:
        values, labels = [], []
        for post_id, label in zip(test.post_ids, test.labels[:, 0], strict=True):
            row = rows[post_id]
            images = tuple(image["bytes"] for image in row["images"])
            (result,) = scorer.score([PostInput(row["caption"], images)])
            if result.status == "ok":
                values.append(result.scores["bias"].value)
                labels.append(label)
    report = evaluation_to_json(evaluation)["students"]["image"]
    assert report["n"]["test"] == len(values) < 150
    assert report["test"]["bias"]["mae"]["value"] == pytest.approx(
        mean_absolute_error(labels, values)
    )


def test_posts_that_a_student_cannot_score_are_counted_by_reason(evaluation: Evaluation) -> None:
    students = evaluation_to_json(evaluation)["students"]
    for student in students.values():
        assert student["n"]["test"] + sum(student["unscored"]["test"].values()) == 150
    assert students["fusion"]["unscored"]["test"] == {}
    assert set(students["text"]["unscored"]["test"]) == {"no_content"}
    assert set(students["image"]["unscored"]["test"]) == {"no_content", "unreadable"}
    assert set(students["fusion"]["modalities"]) == {"image+text", "text", "image"}


def test_two_students_are_compared_on_the_posts_that_both_can_score(evaluation: Evaluation) -> None:
    text = evaluation.students["text"].test.by_axis["bias"]
    image = evaluation.students["image"].test.by_axis["bias"]
    both = text.is_scored & image.is_scored
    labels = evaluation.folds["test"].labels[both, 0]
    expected = mean_absolute_error(labels, text.values[both]) - mean_absolute_error(
        labels, image.values[both]
    )
    assert evaluation.paired["text_vs_image"]["bias"][0] == pytest.approx(expected)


def test_the_fusion_student_is_chosen_and_its_copy_is_the_champion(
    copied: Paths, evaluation: Evaluation
) -> None:
    report = write_evaluation(evaluation, copied)
    champion = write_champion(evaluation, copied)
    assert evaluation.chosen == "fusion"
    assert champion.digest == Artifact.open(copied.students / "fusion").digest
    assert report["champion"] == {"modality": "fusion", "digest": champion.digest}
    assert json.loads((copied.reports / "evaluate.json").read_text())["chosen"] == "fusion"
    assert not list(copied.build.glob(".champion*"))


def test_the_same_input_gives_the_same_bytes(copied: Paths, evaluation: Evaluation) -> None:
    def files(evaluation: Evaluation) -> dict[str, bytes]:
        write_evaluation(evaluation, copied)
        return {p.name: p.read_bytes() for p in copied.reports.rglob("*") if p.is_file()}

    assert files(evaluation) == files(evaluate(copied, corpus.demo_params()))


def test_metrics_of_all_students_on_valid_and_of_all_models_on_test_are_kept_apart(
    copied: Paths, evaluation: Evaluation
) -> None:
    report = write_evaluation(evaluation, copied)
    metrics = json.loads((copied.reports / "metrics.json").read_text())
    assert set(metrics) == {"valid", "test"}
    assert set(metrics["valid"]) == set(report["students"])
    assert set(metrics["test"]) == set(report["students"]) | set(report["baselines"])
    for fold, students in metrics.items():
        mae = report["students"]["fusion"][fold]["bias"]["mae"]["value"]
        assert students["fusion"]["bias"]["mae"] == pytest.approx(mae, rel=1e-5)


def test_plot_data_has_one_row_per_scored_post_student_and_axis(
    copied: Paths, evaluation: Evaluation
) -> None:
    report = write_evaluation(evaluation, copied)
    with (copied.reports / "plots" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = 2 * sum(student["n"]["test"] for student in report["students"].values())
    assert len(rows) == expected
    assert {row["modality"] for row in rows} == {"fusion", "text", "image"}


@pytest.mark.parametrize("kind", ["random", "constant", "shuffled"])
def test_meaningless_labels_give_a_report_but_no_champion(copied: Paths, kind: str) -> None:
    rng = np.random.default_rng(5)
    labels = read_table(copied.labels).select(["bias", "orientation"]).to_pandas().to_numpy()
    meaningless: dict[str, Callable[[], np.ndarray]] = {
        "random": lambda: rng.uniform(0, 10, labels.shape),
        "constant": lambda: np.full(labels.shape, 7.5),
        "shuffled": lambda: rng.permutation(labels),
    }
    corpus.write_labels(copied, meaningless[kind]())
    (copied.champion / "old").mkdir(parents=True)
    evaluation = evaluate(copied, corpus.demo_params())
    report = write_evaluation(evaluation, copied)
    assert report["champion"] is None
    with pytest.raises(GateError, match="beats_constant"):
        write_champion(evaluation, copied)
    assert (copied.reports / "evaluate.json").is_file()
    assert not copied.champion.exists()


def test_the_student_is_chosen_on_valid_even_if_another_is_best_on_test(
    copied: Paths,
) -> None:
    """On valid, the labels are the scores of the text student; on test, of the fusion student."""
    folds = load_labelled_folds(copied, AXES)
    with Scorer.open(copied.students / "text") as scorer:
        results = scorer.score([PostInput(caption) for caption in folds["valid"].captions])
    labels = read_table(copied.labels).to_pandas().set_index("post_id")[["bias", "orientation"]]
    for post_id, result in zip(folds["valid"].post_ids, results, strict=True):
        if result.status == "ok":
            labels.loc[post_id] = [result.scores[axis.name].value for axis in AXES]
    corpus.write_labels(copied, labels.to_numpy())
    evaluation = evaluate(copied, corpus.demo_params())
    assert evaluation.chosen == "text"
    assert evaluation.paired["fusion_vs_text"]["bias"][0] < 0


def test_a_student_that_changed_during_its_evaluation_is_not_promoted(
    copied: Paths, evaluation: Evaluation
) -> None:
    shutil.rmtree(copied.students / "fusion")
    write_tiny_artifact(copied.students / "fusion", "fusion", seed=9)
    with pytest.raises(ArtifactError, match="changed during its evaluation"):
        write_champion(evaluation, copied)
    assert not copied.champion.exists()


def test_students_without_a_common_post_are_chosen_by_their_own_posts(
    evaluation: Evaluation, caplog: pytest.LogCaptureFixture
) -> None:
    """The text student scores every other post, the image student the rest."""
    valid = EvaluationSet.create(evaluation.folds["valid"], AXES, 100, np.random.default_rng(0))
    scored = evaluation.students["fusion"].valid.by_axis["bias"]
    first = np.arange(len(valid.fold)) % 2 == 0

    def student(predictions: Predictions) -> StudentResults:
        scored = FoldPredictions({"bias": predictions}, {}, ())
        return StudentResults("", scored, scored, scored, {})

    worse = Predictions(scored.values + 1, scored.lo, scored.hi)
    chosen = choose_student(
        valid,
        {"text": student(worse.restrict(first)), "image": student(scored.restrict(~first))},
        "mae",
    )
    assert chosen == "image"
    assert "comparing each on its own posts" in caplog.text


def test_noise_ceilings_are_reported_for_the_demo_corpus_only(copied: Paths) -> None:
    ids = [f"p{i:04d}" for i in range(corpus.N)]
    params = corpus.demo_params()
    pq.write_table(pa.table({"post_id": ids[:9]}), copied.sampled_file("data/truth.parquet"))
    assert evaluation_to_json(evaluate(copied, params))["ceiling"] == {}
    rng = np.random.default_rng(3)
    cues = draw_cues(corpus.N, rng)
    answers = simulate_teacher(true_scores(cues), rng)
    corpus.write_labels(copied, np.column_stack([answers[axis] for axis in corpus.AXES]))
    columns = {field.name: getattr(cues, field.name) for field in fields(Cues)}
    pq.write_table(pa.table({"post_id": ids, **columns}), copied.sampled_file("data/truth.parquet"))
    evaluation = evaluate(copied, params)
    report = evaluation_to_json(evaluation)
    ceiling = report["ceiling"]
    assert set(ceiling) == {"fusion", "text", "image"}
    best = optimal_predictions(cues, 200_000, seed=4)["fusion"]
    for column, axis in enumerate(corpus.AXES):
        student = evaluation.students["fusion"].test.by_axis[axis]
        rows = [ids.index(post_id) for post_id in evaluation.test_set.fold.post_ids]
        scored = student.is_scored
        labels = evaluation.test_set.fold.labels[scored, column]
        expected = r2_score(labels, best[axis][rows][scored])
        assert ceiling["fusion"][axis]["r2"]["value"] == pytest.approx(expected, abs=0.01)
        own = r2_score(labels, student.values[scored])
        reached = ceiling["fusion"][axis]["reached"]["value"]
        assert reached == pytest.approx(own / ceiling["fusion"][axis]["r2"]["value"], rel=1e-4)
        for modality in ("text", "image"):
            single = ceiling[modality][axis]["r2"]
            fusion = ceiling["fusion"][axis]["r2"]["value"]
            assert single["lo"] < single["value"] < single["hi"] < fusion
            assert 0 < single["value"] < fusion < 1


def test_charts_tables_and_metrics_are_logged_to_the_run(
    copied: Paths, evaluation: Evaluation
) -> None:
    logged: dict[str, Any] = {}

    class Run:
        paths = copied
        log_image = staticmethod(lambda image, name: logged.update({name: image}))
        log_text = staticmethod(lambda text, name: logged.update({name: text}))
        log_table = staticmethod(lambda rows, name: logged.update({name: rows}))
        log_metrics = staticmethod(logged.update)
        set_tags = staticmethod(logged.update)

    report = write_evaluation(evaluation, copied)
    charts = log_evaluation(Run(), evaluation, report)  # type: ignore[arg-type]
    mae = report["students"]["fusion"]["test"]["bias"]["mae"]
    assert logged["test.fusion.bias.mae"] == mae["value"]
    assert "test.constant.bias.spearman" not in logged
    assert logged["champion.modality"] == "fusion"
    assert logged["gate.no_leakage"] == 0
    assert logged["result.md"].startswith("| `bias`, test fold |")
    assert set(charts) == {"fusion", "text", "image"}
    assert charts["fusion"].keys() == {"predictions", "residuals", "calibration"}
    # Each student has its own charts.
    assert charts["text"]["residuals"] != charts["image"]["residuals"]
    images = [logged["comparison.png"], *charts["fusion"].values()]
    assert all(min(Image.open(io.BytesIO(image)).size) > 200 for image in images)
    assert {"slices.json", "coverage.json", "gate.json"} < set(logged)
    assert {row["line"] for row in logged["gate.json"]} == set(report["gate"])
    assert logged["audit.text.faults"] == 0
    assert "checks.shuffled_image.loss" in logged
