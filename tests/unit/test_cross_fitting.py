"""Cross-fitting: groups, out-of-fold baselines, and scores for estimates about all posts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.cross_fitting import Study, simulate, summarise
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.conftest import ROOT

from postbias.axes import Axis
from postbias.errors import CorpusError, SchemaError
from postbias.evaluation.calibration_scores import collect_out_of_fold, collect_recentred
from postbias.evaluation.cross_fitted_baseline import predict_tfidf_cross_fitted
from postbias.evaluation.labelled_folds import LabelledFold, pool_folds
from postbias.evaluation.out_of_fold_predictions import predict_out_of_fold
from postbias.params import load_params
from postbias.params.students import TrainParams
from postbias.population.cross_fitted_scores import CrossFittedScores
from postbias.posts.cross_fitting_groups import assign_cross_fitting_groups, draw_sample
from postbias.posts.schema import CROSS_FITTED_FOLDS, SPLIT
from postbias.scoring.out_of_fold import SHIPPED, OutOfFoldScores
from postbias.scoring.post_scores import AxisScore, PostScore
from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, UNLABELLED, LabelDesign
from postbias.student.cross_fitting import CrossFittingPlan
from postbias.student.epoch_metrics import mean_curve

_AXIS = Axis("bias", 0, 10)


def _split(authors: list[str], clusters: list[str], folds: list[str]) -> pa.Table:
    ids = [f"p{row:03d}" for row in range(len(authors))]
    return pa.table([ids, authors, clusters, folds, [1] * len(ids)], schema=SPLIT)


@given(
    links=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 40)), min_size=1, max_size=60),
    n_groups=st.integers(2, 4),
    seed=st.integers(0, 5),
)
@settings(deadline=None)
def test_linked_posts_share_a_group_and_groups_are_balanced(
    links: list[tuple[int, int]], n_groups: int, seed: int
) -> None:
    authors, clusters = [f"a{a}" for a, _ in links], [f"c{c}" for _, c in links]
    split = _split(authors, clusters, ["train"] * len(links))
    try:
        group_of = assign_cross_fitting_groups(split, n_groups, seed)
    except CorpusError:
        return
    groups = [group_of[post_id] for post_id in split["post_id"].to_pylist()]
    for names in (authors, clusters):
        for name in set(names):
            assert len({g for g, other in zip(groups, names, strict=True) if other == name}) == 1
    sizes = np.bincount(groups, minlength=n_groups + 1)[1:]
    assert sizes.min() > 0
    reordered = split.take(list(range(len(links)))[::-1])
    assert assign_cross_fitting_groups(reordered, n_groups, seed) == group_of
    singles = _split(clusters, clusters, ["train"] * len(links))
    if len(set(clusters)) == len(clusters) >= n_groups:  # nothing is linked
        single = list(assign_cross_fitting_groups(singles, n_groups, seed).values())
        assert np.ptp(np.bincount(single, minlength=n_groups + 1)[1:]) <= 1


def test_posts_of_test_and_excluded_posts_are_in_no_group_but_link_others() -> None:
    # p000 and p002 have different authors; the excluded p001 links them.
    split = _split(
        ["a", "b", "b", "c", "d", "e"],
        ["x", "x", "y", "z", "w", "v"],
        ["train", "excluded", "calib", "valid", "test", "train"],
    )
    group_of = assign_cross_fitting_groups(split, 3, seed=0)
    assert set(group_of) == {"p000", "p002", "p003", "p005"}
    assert group_of["p000"] == group_of["p002"]
    with pytest.raises(CorpusError, match=r"3 sets .* allowed: at least 4"):
        assign_cross_fitting_groups(split, 4, seed=0)


def test_a_student_is_trained_and_stopped_on_labels_of_other_groups_only() -> None:
    groups = {f"{fold}{row}": 1 + row % 3 for fold in CROSS_FITTED_FOLDS for row in range(9)}
    folds = {
        fold: {p: np.zeros(1, np.float32) for p in groups if p.startswith(fold)}
        for fold in CROSS_FITTED_FOLDS
    }
    plan = CrossFittingPlan(folds, groups, 3, ("test0",), (), ())
    for student in (1, 2, 3):
        labels = plan.training_labels(student)
        seen = set(labels.folds["train"]) | set(labels.folds["valid"])
        assert seen == {post_id for post_id, group in groups.items() if group != student}
        assert set(labels.folds["valid"]) < set(folds["valid"])
        assert set(plan.held_out_ids(student)) == set(groups) - seen
    assert set(plan.labels) == set(groups)


def test_samples_with_different_keys_are_independent_and_grow_by_addition() -> None:
    ids = [f"p{row}" for row in range(4000)]
    first, second = (set(draw_sample(ids, 1000, key)) for key in ("sample:1", "transfer:1"))
    assert len(first & second) == pytest.approx(250, abs=4 * np.sqrt(250 * 0.75 * 0.75))
    assert set(draw_sample(ids, 500, "sample:1")) < first
    assert draw_sample(reversed(ids), 1000, "sample:1") == sorted(first)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transfer": 100}, "transfer requires cross_fit or distil_from"),
        ({"cross_fit": 3, "distil_from": "full_students/a"}, "requires distil_from: null"),
        (
            {"distil_from": "full_students/a", "launch": "torchrun --nproc-per-node 2"},
            "distil_from requires launch: python",
        ),
        ({"distil_from": "build/students/fusion"}, "should match pattern"),
        ({"distil_from": "full_students/../build"}, "should match pattern"),
        (
            {"text_layers": 2, "text_encoder": "scratch"},
            "for one with random weights, set text_scratch",
        ),
        ({"cross_fit": 3, "seeds": 2}, "requires seeds: 1"),
        ({"cross_fit": 3, "launch": "torchrun --nproc-per-node 2"}, "requires launch: python"),
        ({"cross_fit": 3, "fusion": "parts", "ablation": "whole"}, "requires fusion: joint"),
        ({"cross_fit": 3, "average": 0.1}, "average: null"),
        ({"cross_fit": 3, "evaluations_per_epoch": 2}, "requires evaluations_per_epoch: 1"),
        ({"cross_fit": 1}, "greater than or equal to 2"),
    ],
)
def test_impossible_combinations_of_params_are_errors(
    values: dict[str, object], message: str
) -> None:
    train = load_params(ROOT / "params.yaml").train.model_dump()
    with pytest.raises(ValidationError, match=message):
        TrainParams.model_validate(train | values)


def test_a_mean_curve_has_the_epochs_that_all_runs_reached() -> None:
    runs = [
        [{"epoch": float(e), "step": 7.0 * e, "valid_loss": k + e} for e in range(1, 4 + k)]
        for k in range(3)
    ]
    curve = mean_curve(runs)
    assert [row["epoch"] for row in curve] == [1, 2, 3]
    assert [row["valid_loss"] for row in curve] == [2, 3, 4]


_WORDS = ("walk", "river", "coffee", "must", "obey", "kitchen", "garden", "bread")


def _folds(rng: np.random.Generator) -> dict[str, LabelledFold]:
    folds = {}
    for fold, n in {"train": 120, "valid": 40, "calib": 40, "test": 30}.items():
        counts = rng.integers(0, 3, (n, len(_WORDS)))
        captions = tuple(" ".join(np.repeat(_WORDS, row).tolist()) or "nothing" for row in counts)
        labels = (2 + counts @ np.linspace(0, 1, len(_WORDS)) + rng.normal(0, 0.3, n)).clip(0, 10)
        ids = tuple(f"{fold}{row:03d}" for row in range(n))
        folds[fold] = LabelledFold(ids, ids, captions, labels[:, None])
    return folds


def test_the_baseline_predicts_each_group_without_its_labels() -> None:
    folds = _folds(np.random.default_rng(0))
    texts = {fold: posts.captions for fold, posts in folds.items()}
    pooled = pool_folds(folds)
    groups = {post_id: 1 + row % 3 for row, post_id in enumerate(pooled.post_ids)}
    first = predict_tfidf_cross_fitted(folds, texts, (_AXIS,), groups)
    changed = {}
    for fold, posts in folds.items():
        is_first = np.array([groups.get(post_id) == 1 for post_id in posts.post_ids])
        labels = np.where(is_first[:, None], 10 - posts.labels, posts.labels)
        changed[fold] = LabelledFold(posts.post_ids, posts.authors, posts.captions, labels)
    second = predict_tfidf_cross_fitted(changed, texts, (_AXIS,), groups)
    in_first = np.array([groups[post_id] == 1 for post_id in pooled.post_ids])
    same = first.predictions["calib"] == second.predictions["calib"]
    assert same[in_first].all()
    assert not same[~in_first].all()
    error = first.predictions["calib"] - pooled.labels
    assert np.abs(error).mean() < 0.6 * np.abs(pooled.labels - np.median(pooled.labels)).mean()
    assert np.abs(first.predictions["test"] - folds["test"].labels).mean() < 0.6


def _score(value: float | None, modalities: str = "text") -> PostScore:
    if value is None:
        return PostScore("no_content", {}, None, None, 0, "")
    return PostScore("ok", {"bias": AxisScore(value, None, None)}, "low", modalities, 0, "")


def test_out_of_fold_intervals_are_those_of_the_other_groups_and_cover(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folds = _folds(rng)
    pooled = pool_folds(folds)
    groups = {post_id: 1 + row % 4 for row, post_id in enumerate(pooled.post_ids)}
    labels = dict(zip(pooled.post_ids, pooled.labels[:, 0], strict=True))
    results = [
        (groups[post_id], (post_id, True, _score(float(label + rng.normal(0, 1)))))
        for post_id, label in labels.items()
        if post_id != "valid000"
    ]
    results.append((groups["valid000"], ("valid000", True, _score(None))))
    scores = OutOfFoldScores.of_results(("bias",), results)
    scores.write(tmp_path / "text.parquet")
    scores = OutOfFoldScores.read(tmp_path / "text.parquet", ("bias",))
    predictions = predict_out_of_fold(scores, folds["valid"], pooled, ((_AXIS,), 0.9))
    assert predictions.unscored == {"no_content": 1}
    valid = predictions.by_axis["bias"]
    assert np.isnan(valid.values[0])
    for row, post_id in enumerate(folds["valid"].post_ids[1:], start=1):
        others = [
            labels[p] - score.scores["bias"].value
            for k, (p, _, score) in results
            if k != groups[post_id] and score.status == "ok"
        ]
        rank = int(0.05 * (len(others) + 1))
        expected = np.sort(np.float64(others))[[rank - 1, -rank]] + valid.values[row]
        assert [valid.lo[row], valid.hi[row]] == pytest.approx(expected.clip(0, 10), abs=1e-5)


def test_residuals_are_recentred_by_the_mean_difference_to_the_student_that_ships() -> None:
    rng = np.random.default_rng(3)
    shifts, results, labels = {1: 0.7, 2: -0.4}, [], {}
    for row in range(60):
        shipped = float(rng.uniform(3, 7))
        for student, shift in shifts.items():
            results.append((student, (f"u{row}", True, _score(shipped + shift))))
        results.append((SHIPPED, (f"u{row}", True, _score(shipped))))
    for row in range(40):
        student, post_id = 1 + row % 2, f"p{row:02d}"
        labels[post_id] = np.array([float(rng.uniform(3, 7))])
        results.append((student, (post_id, True, _score(5 + shifts[student]))))
    scores = OutOfFoldScores.of_results(("bias",), results)
    found = collect_recentred(scores, labels)
    expected = [labels[post_id][0] - 5 for post_id in found.post_ids]
    assert found.residuals[:, 0] == pytest.approx(expected, abs=1e-5)
    # With too few posts that no student has seen, the residuals stay as they are.
    few = scores.select(np.array([int(p[1:]) < 20 or p[0] == "p" for p in scores.post_ids]))
    raw = collect_out_of_fold(few, labels).residuals
    np.testing.assert_array_equal(collect_recentred(few, labels).residuals, raw)


def test_a_table_without_rows_is_an_error_where_scores_are_expected(tmp_path: Path) -> None:
    OutOfFoldScores.empty(("bias",)).write(tmp_path / "text.parquet")
    with pytest.raises(SchemaError, match=r"no scores, although train\.cross_fit is set"):
        OutOfFoldScores.read(tmp_path / "text.parquet", ("bias",))


def test_the_corrected_mean_score_is_unbiased_over_samples() -> None:
    """Over all samples of unlabelled posts, the mean is that of the K students on all posts."""
    n, n_labels, n_sampled, n_students = 12, 4, 3, 2
    rng = np.random.default_rng(0)
    champion, students = rng.uniform(0, 10, n), rng.uniform(0, 10, (n_students, n))
    roles = np.where(np.arange(n) < n_labels, HELD_OUT, UNLABELLED).astype(np.int8)
    design = LabelDesign.of_corpus(np.arange(n), roles, (roles != 0) * 1.0)
    ids = np.array([f"p{row}" for row in range(n)], dtype=object)
    means = []

    def squared(values: Array) -> Array:
        return values**2

    for sampled in combinations(range(n_labels, n), n_sampled):
        pairs = [(row, row % n_students) for row in range(n_labels)]
        pairs += [(row, k) for row in sampled for k in range(n_students)]
        at, by = np.array(pairs).T
        scores = OutOfFoldScores(
            ("bias",), ids[at], by + 1, np.ones(len(at), bool), np.full(len(at), "text", object),
            students[by, at][:, None], np.full(len(at), "ok", object),
        )  # fmt: skip
        aligned = CrossFittedScores.align(scores, pa.chunked_array([ids.tolist()]), design)
        corrected = aligned.correct("bias", champion, squared)
        own = students[np.arange(n_labels) % n_students, np.arange(n_labels)]
        np.testing.assert_allclose(corrected[:n_labels], own**2)
        assert aligned.replace_seen("bias", champion)[:n_labels] == pytest.approx(own)
        means.append(corrected[n_labels:].mean())
    assert np.mean(means) == pytest.approx((students[:, n_labels:] ** 2).mean())


def test_each_cross_fitted_fold_is_pooled_once() -> None:
    folds = _folds(np.random.default_rng(2))
    pooled = pool_folds(folds)
    assert pooled.post_ids == tuple(
        sorted(p for fold in CROSS_FITTED_FOLDS for p in folds[fold].post_ids)
    )
    by_id = dict(zip(pooled.post_ids, pooled.labels, strict=True))
    for fold in CROSS_FITTED_FOLDS:
        for post_id, label in zip(folds[fold].post_ids, folds[fold].labels, strict=True):
            assert by_id[post_id] == label


@pytest.mark.slow
def test_simulated_intervals_and_estimates_cover_and_are_narrower_than_with_set_aside_folds() -> (
    None
):
    runs = [simulate(Study(posts=2000, labels=600), seed) for seed in range(300)]
    summary = summarise(runs)
    for name, nominal in (("interval", 0.9), ("mean", 0.95), ("part", 0.95)):
        value, error = summary["cross-fitted"][f"{name} coverage"]
        assert value > nominal - 3 * error - 0.01, name
        widths = [
            run["cross-fitted"][f"{name} width"] - run["set aside"][f"{name} width"] for run in runs
        ]
        assert np.mean(widths) < -3 * np.std(widths) / np.sqrt(len(widths)), name
    # The residuals of posts that the student has seen are too small: the simulation can tell.
    assert summary["in-sample residuals"]["interval coverage"][0] < 0.85
