"""The prediction-powered estimates: against the library, and against a planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.demo.ground_truth import Cues, draw_cues, true_scores, simulate_teacher
from postbias.stats.bootstrap import Array
from postbias.stats.estimates import Figure, difference, face_value_error
from postbias.stats.ppi import (
    HELD_OUT,
    LEARNED,
    UNLABELLED,
    Study,
    all_learned,
    estimate_mean,
    labels_alone,
    tune,
)

_N, _LABELS, _REPLICATIONS = 4000, 600, 500


def _study(rng: np.random.Generator, n: int = 900) -> tuple[Study, Array, Array]:
    """Give posts of one author each, a third of them labelled and none learned from."""
    scores = rng.normal(5, 2, n)
    labels = scores + rng.normal(0.5, 1, n)
    side = np.where(rng.random(n) < 1 / 3, HELD_OUT, UNLABELLED).astype(np.int8)
    study = Study(np.arange(n), side, np.where(side, 1.0, 0.0))
    return study, np.where(side, labels, np.nan), scores


def test_without_learned_labels_and_clusters_it_is_the_library() -> None:
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    study, labels, scores = _study(np.random.default_rng(0))
    held = study.side == HELD_OUT
    tuning = tune(study, labels, scores)
    found = estimate_mean(study, labels, scores, tuning)
    given = (labels[held], scores[held], scores)
    assert found.value == pytest.approx(ppi_mean_pointestimate(*given, lam=tuning.lam).item())
    lo, hi = ppi_mean_ci(*given, alpha=0.05, lam=tuning.lam)
    interval = found.interval(-np.inf, np.inf)
    assert interval.hi is not None
    assert interval.lo is not None
    # The library takes the labelled posts for a sample of their own; here they are some of all.
    assert interval.hi - interval.lo == pytest.approx((hi - lo).item(), rel=0.1)


def test_the_tuned_estimate_is_about_that_of_the_library() -> None:
    from ppi_py import ppi_mean_pointestimate

    study, labels, scores = _study(np.random.default_rng(1), n=6000)
    held = study.side == HELD_OUT
    found = estimate_mean(study, labels, scores, tune(study, labels, scores))
    library = ppi_mean_pointestimate(labels[held], scores[held], scores[~held])
    assert found.value == pytest.approx(library.item(), abs=0.02)


def test_with_learned_labels_only_it_is_their_weighted_mean() -> None:
    study, labels, scores = _study(np.random.default_rng(2))
    study = Study(study.authors, all_learned(study).side, study.weights * (1 + study.authors % 3))
    labelled = study.side == LEARNED
    found = estimate_mean(study, labels, scores, tune(study, labels, scores))
    expected = np.average(labels[labelled], weights=study.weights[labelled])
    assert found.value == pytest.approx(expected)


def test_where_every_post_is_labelled_it_is_the_mean_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.normal(size=(2, 400))
    side = np.where(rng.random(400) < 0.3, HELD_OUT, LEARNED).astype(np.int8)
    study = Study(np.arange(400), side, np.ones(400))
    tuning = tune(study, labels, scores)
    found = estimate_mean(study, labels, scores, tuning)
    held = side == HELD_OUT
    share = found.value - labels[~held].mean()
    assert share == pytest.approx(
        (labels[held].mean() - labels[~held].mean())
        * (tuning.worth * held.sum() / (tuning.worth * held.sum() + (~held).sum()))
    )


def test_few_labels_or_authors_give_no_estimate() -> None:
    study, labels, scores = _study(np.random.default_rng(4))
    tuning = tune(study, labels, scores)
    few = np.flatnonzero(study.side == HELD_OUT)[:9]
    rows = np.isin(np.arange(len(scores)), few)
    found = estimate_mean(study.within(rows), labels[rows], scores[rows], tuning)
    assert np.isnan(found.value)
    assert found.interval(0, 10).value is None
    assert found.share_interval().value is None
    one_author = Study(np.zeros_like(study.authors), study.side, study.weights)
    assert np.isnan(estimate_mean(one_author, labels, scores, tuning).value)


def test_a_share_of_nought_still_has_an_interval_of_some_width() -> None:
    found = Figure(0.0, 1e-4, np.zeros(3), 30.0, 0.0, (100, 40, 10, 30)).share_interval()
    assert found.lo == 0
    assert found.hi is not None
    assert 0.005 < found.hi < 0.2


def _student(cues: Cues, answers: Array, learned: Array, rng: np.random.Generator) -> Array:
    """Fit what cues say by themselves, pull it to the middle, and overfit the learned posts."""
    columns = [np.eye(5)[cues.claim], np.eye(4)[cues.prop], cues.sticker[:, None], np.ones((_N, 1))]
    x = np.concatenate(columns, axis=1)
    fitted = x @ np.linalg.lstsq(x[learned], answers[learned], rcond=None)[0]
    scores = 0.8 * fitted + 0.2 * answers[learned].mean() + rng.normal(0, 0.3, _N)
    scores[learned] = 0.3 * scores[learned] + 0.7 * answers[learned]
    return np.clip(scores, 0, 10)


@pytest.fixture(scope="module")
def replications() -> dict[str, Array]:
    """Sample, label, train and estimate 500 times, each time from a new corpus."""
    everyone = draw_cues(400_000, np.random.default_rng(10**6))
    stream = simulate_teacher(true_scores(everyone), np.random.default_rng(1))["bias"]
    paid = everyone.sponsored
    is_high = stream >= 6.5
    truths = {
        "mean": stream.mean(),
        "high": is_high.mean(),
        "sponsored": stream[paid].mean(),
        "difference": stream[paid].mean() - stream[~paid].mean(),
    }
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*truths, "naive", "error")}
    for seed in range(_REPLICATIONS):
        rng = np.random.default_rng(seed)
        cues = draw_cues(_N, rng)
        answers = simulate_teacher(true_scores(cues), rng)["bias"]
        # Sponsored posts are sampled three times as often, and folds hold whole authors.
        rate = np.where(cues.sponsored, 3.0, 1.0)
        chance = rate / rate.sum() * _LABELS
        sampled = rng.random(_N) < chance
        held = (rng.random(cues.author.max() + 1) < 0.26)[cues.author]
        side = np.where(sampled, np.where(held, HELD_OUT, LEARNED), UNLABELLED).astype(np.int8)
        scores = _student(cues, answers, side == LEARNED, rng)
        study = Study(cues.author, side, np.where(sampled, 1 / chance, 0.0))
        labels = np.where(sampled, answers, np.nan)
        high = np.where(sampled, answers >= 6.5, np.nan), (scores >= 6.5).astype(np.float64)
        figures = {}
        for name, (y, f), rows_of in (
            ("mean", (labels, scores), np.ones(_N, bool)),
            ("high", high, np.ones(_N, bool)),
            ("sponsored", (labels, scores), cues.sponsored),
            ("organic", (labels, scores), ~cues.sponsored),
        ):
            part, tuning = study.within(rows_of), tune(study, y, f)
            figures[name] = estimate_mean(part, y[rows_of], f[rows_of], tuning)
            alone = tune(all_learned(study), y, f)
            other = labels_alone(part, y[rows_of], f[rows_of], alone)
            if name in truths:
                is_share = name == "high"
                one, two = (
                    x.share_interval() if is_share else x.interval(0, 10)
                    for x in (figures[name], other)
                )
                rows[name].append(
                    (one.value, one.lo, one.hi, two.hi - two.lo, figures[name].uncorrected)
                )
        apart = difference(figures["sponsored"], figures["organic"])
        rows["difference"].append((apart.value, apart.lo, apart.hi, np.inf, np.nan))
        off = face_value_error(study.authors, high[1], figures["high"])
        here = high[1].mean() - np.mean(answers >= 6.5)  # for exactly these posts
        rows["error"].append((off.value - here, off.lo - here, off.hi - here, np.inf, np.nan))
        wrong = Study(study.authors, np.where(sampled, HELD_OUT, 0).astype(np.int8), study.weights)
        naive = estimate_mean(wrong, *high, tune(wrong, *high)).share_interval()
        rows["naive"].append((naive.value, naive.lo, naive.hi, np.inf, np.nan))
    truths |= {"naive": truths["high"], "error": 0.0}
    return {
        name: np.column_stack([np.array(found, float), np.full(len(found), truths[name])])
        for name, found in rows.items()
    }


@pytest.mark.parametrize("what", ["mean", "high", "sponsored", "difference"])
def test_intervals_hold_the_planted_truth_as_often_as_they_say(
    replications: dict[str, Array], what: str
) -> None:
    _, lo, hi, _, _, truth = replications[what].T
    assert 0.93 <= np.mean((lo <= truth) & (truth <= hi)) <= 0.97


@pytest.mark.parametrize("what", ["mean", "high", "sponsored"])
def test_they_are_narrower_than_from_the_labels_alone(
    replications: dict[str, Array], what: str
) -> None:
    _, lo, hi, alone, _, _ = replications[what].T
    assert np.mean(hi - lo) < 0.97 * np.mean(alone)


def test_the_estimate_is_unbiased_where_the_student_is_not(replications: dict[str, Array]) -> None:
    value, _, _, _, uncorrected, truth = replications["high"].T
    assert abs(np.mean(value - truth)) < 0.003
    assert np.mean(uncorrected - truth) < -0.02


def test_learned_labels_taken_for_held_out_ones_would_deceive(
    replications: dict[str, Array],
) -> None:
    _, lo, hi, _, _, truth = replications["naive"].T
    assert np.mean((lo <= truth) & (truth <= hi)) < 0.9


def test_how_far_the_face_value_is_off_is_known_better_than_the_share_itself(
    replications: dict[str, Array],
) -> None:
    _, lo, hi, _, _, truth = replications["error"].T
    _, share_lo, share_hi, _, _, _ = replications["high"].T
    # 500 replications tell coverage to within two points.
    assert np.mean((lo <= truth) & (truth <= hi)) >= 0.92
    assert np.mean(hi - lo) < np.mean(share_hi - share_lo)


def test_without_an_estimate_nothing_is_said_of_the_face_value() -> None:
    study, labels, scores = _study(np.random.default_rng(5))
    nothing = estimate_mean(study, labels, scores, tune(study, labels, scores))
    nothing = Figure(np.nan, np.nan, nothing.influence, 1.0, nothing.uncorrected, nothing.n)
    assert face_value_error(study.authors, scores, nothing).value is None
