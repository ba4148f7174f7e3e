"""Metrics of students by language, beside a TF-IDF baseline trained on that language alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.baselines import predict_tfidf_ridge
from postbias.evaluation.evaluation_set import EvaluationSet, EvaluationSets, StudentResults
from postbias.evaluation.labelled_folds import LATER, FoldPredictions, LabelledFold
from postbias.evaluation.slices import (
    MIN_LANGUAGE_POSTS,
    MIN_SLICE_AUTHORS,
    MIN_SLICE_POSTS,
    OTHER,
)
from postbias.posts.authorship import AuthorCounts
from postbias.posts.languages import UNKNOWN, identify_languages
from postbias.posts.schema import CROSS_FITTED_FOLDS
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import (
    Predictions,
    advantage_over,
    calibration_slope,
    mean_absolute_error,
    resampled_mean,
)
from postbias.stats.ranks import spearman_correlation

#: With fewer labels to learn from, a language has no baseline of its own.
MIN_BASELINE_LABELS = 50


@dataclass(frozen=True, slots=True)
class LanguageResult:
    """Results of one student on the test posts in one language, on the main axis.

    Attributes:
        language: Its code, `unknown` or `other`.
        n: Posts that the student can score.
        authors: Their authors.
        n_learned: Labelled posts in this language to learn from.
        metrics: Replicates of the student's metrics, of `error`, the mean of score minus label, and
            of `slope`, that of the label by the score; empty without a post. (1 + R,)
        baseline: Replicates of the main metric of TF-IDF with ridge regression, trained on this
            language alone; None with too few labels. (1 + R,)
        advantage: Replicates of how much better than it the student is. (1 + R,)
    """

    language: str
    n: int
    authors: AuthorCounts
    n_learned: int
    metrics: Mapping[str, Array]
    baseline: Array | None
    advantage: Array | None

    @property
    def is_judged(self) -> bool:
        """Whether there are enough labels for the gate."""
        enough = self.n >= MIN_SLICE_POSTS and self.authors.n_units >= MIN_SLICE_AUTHORS
        return enough and self.p_worse is not None and self.language not in {UNKNOWN, OTHER}

    @property
    def p_worse(self) -> float | None:
        """One-sided p-value of the student being no worse than the baseline.

        By a t-test with as many degrees of freedom as authors less one: with ten authors, the share
        of bootstrap replicates rejects three times as many harmless students as it should. None for
        fewer than two authors.
        """
        n_units = self.authors.n_units
        if self.advantage is None or not np.isfinite(self.advantage[0]) or n_units < 2:
            return None
        from scipy.stats import t

        draws = self.advantage[1:][np.isfinite(self.advantage[1:])]
        # Resamples of n units spread less than the truth, by this factor.
        spread = float(np.std(draws)) * np.sqrt(n_units / (n_units - 1)) if len(draws) else 0.0
        if not spread > 0:  # equal predictions, or a difference without any doubt
            return float(self.advantage[0] >= 0)
        return float(t.cdf(self.advantage[0] / spread, n_units - 1))


def group_languages(folds: Mapping[str, LabelledFold]) -> dict[str, list[str]]:
    """Identify the language of every labelled post; rare ones are `other`.

    Returns:
        Language of each post by fold. (n,)
    """
    found = {fold: identify_languages(posts.captions) for fold, posts in folds.items()}
    counts = Counter(language for codes in found.values() for language in codes)
    is_rare = {code for code, n in counts.items() if n < MIN_LANGUAGE_POSTS and code != UNKNOWN}
    return {
        fold: [OTHER if code in is_rare else code for code in codes]
        for fold, codes in found.items()
    }


def measure_languages(
    sets: EvaluationSets,
    languages: Mapping[str, Sequence[str]],
    texts: Mapping[str, Sequence[str]],
    students: Mapping[str, StudentResults],
    metric: str,
) -> dict[str, list[LanguageResult]]:
    """Measure every student on every language.

    Args:
        sets: The posts.
        languages: Result of `group_languages`.
        texts: Text of every post by fold, for TF-IDF.
        students: Results by student.
        metric: The main metric.

    Returns:
        Results by student; languages with the most labels to learn from first.
    """
    learned = [*CROSS_FITTED_FOLDS] if sets.cross_fitted is not None else ["train"]
    learned = [fold for fold in (*learned, LATER) if fold in sets.folds]
    n_learned = Counter(code for fold in learned for code in languages[fold])
    names = sorted({*n_learned, *languages["test"]}, key=lambda code: (-n_learned[code], code))
    code_of = np.asarray(languages["test"], dtype=object)
    baselines = {
        code: _predict_own_tfidf(sets, (languages, texts), learned, code)
        for code in names
        if n_learned[code] >= MIN_BASELINE_LABELS and np.any(code_of == code)
    }
    return {
        name: [
            _measure_language(
                sets.test, student.test, (code, n_learned[code], baselines.get(code)), metric,
                code_of == code,
            )
            for code in names
        ]
        for name, student in students.items()
    }  # fmt: skip


def _predict_own_tfidf(
    sets: EvaluationSets,
    posts: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]],
    learned: Sequence[str],
    code: str,
) -> Predictions:
    """Fit TF-IDF on one language; the ridge penalty is the best for the valid fold of it."""
    languages, texts = posts
    rows = {fold: [i for i, x in enumerate(languages[fold]) if x == code] for fold in sets.folds}
    own = {fold: [texts[fold][i] for i in rows[fold]] for fold in sets.folds}
    labels = {fold: sets.folds[fold].labels[rows[fold]] for fold in sets.folds}
    seen = [text for fold in learned for text in own[fold]]
    seen_labels = np.concatenate([labels[fold] for fold in learned])
    # Without a valid post in this language, the penalty is chosen on the posts it is fitted to.
    held = ("valid", own["valid"], labels["valid"]) if own["valid"] else ("", seen, seen_labels)
    fitted = predict_tfidf_ridge(
        {"train": seen, "valid": held[1], "test": own["test"]},
        {"train": seen_labels, "valid": held[2]},
        sets.test.axes,
    )
    values = np.full(len(sets.test.fold), np.nan)
    values[rows["test"]] = fitted.predictions["test"][:, 0]
    unknown = np.full_like(values, np.nan)
    return Predictions(values, unknown, unknown)


def _measure_language(
    test: EvaluationSet,
    student: FoldPredictions,
    definition: tuple[str, int, Predictions | None],
    metric: str,
    rows: np.ndarray,
) -> LanguageResult:
    code, n_learned, own = definition
    scored = student.by_axis[test.axes[0].name].restrict(rows)
    is_scored = scored.is_scored
    authors = test.fold.count_authors(np.flatnonzero(is_scored))
    n = int(is_scored.sum())
    if not n:
        return LanguageResult(code, 0, authors, n_learned, {}, None, None)
    labels = test.fold.labels[:, 0]
    metrics = _measure(test, scored, metric)
    metrics |= {
        "error": resampled_mean(scored.values - labels, test.resamples),
        "slope": calibration_slope(labels, scored, test.resamples),
        "coverage": resampled_mean(_covers(scored, labels), test.resamples),
        "width": resampled_mean(scored.hi - scored.lo, test.resamples),
    }
    if own is None:
        return LanguageResult(code, n, authors, n_learned, metrics, None, None)
    baseline = _measure(test, own.restrict(is_scored), metric)[metric]
    advantage = advantage_over(metric, metrics[metric], baseline)
    return LanguageResult(code, n, authors, n_learned, metrics, baseline, advantage)


def _measure(test: EvaluationSet, scored: Predictions, metric: str) -> dict[str, Array]:
    """Return replicates of the MAE and of the main metric; faster than all metrics. (1 + R,)."""
    labels, resamples, rows = test.fold.labels[:, 0], test.resamples, scored.is_scored
    measured = {"mae": mean_absolute_error(labels, scored, resamples)}
    if metric == "rmse":
        measured["rmse"] = np.sqrt(resampled_mean((scored.values - labels) ** 2, resamples))
    elif metric == "spearman":
        measured["spearman"] = spearman_correlation(
            labels[rows], scored.values[rows], resamples.authors[rows], resamples
        )
    return measured


def _covers(scored: Predictions, labels: Array) -> Array:
    """Return 1 where the label is within the interval, NaN without an interval. (n,)."""
    is_inside = (scored.lo - 1e-9 <= labels) & (labels <= scored.hi + 1e-9)
    return np.where(np.isfinite(scored.lo), is_inside, np.nan)
