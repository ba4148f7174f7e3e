"""Measure coverage and width of estimates of what people would say, on corpora with known truth.

Each replication draws new authors and posts, a teacher that underrates sponsored posts, a student
that overfits the labels it has learned, and raters with biases and noise; it then samples posts for
the teacher and for the raters. The truth is the expected rating in a population of 400,000 posts.

    python benchmarks/people_estimates.py [--replications 500] [--ratings 100] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from postbias.stats.bootstrap import Array, Estimate
from postbias.stats.label_design import HELD_OUT, LEARNED, UNLABELLED, LabelDesign
from postbias.stats.people_estimates import (
    PeopleEstimate,
    difference_of_shares,
    estimate_people_difference,
    estimate_people_mean,
    estimate_people_regression,
)
from postbias.stats.rated_corpus import RatedCorpus, mean_ratings, share_of_ratings

RATER_BIAS = np.array([-0.4, 0.0, 0.4])
HIGH = 6.5

#: Intervals from all layers, from the ratings alone, and of the teacher's labels.
Intervals: TypeAlias = tuple[Estimate, Estimate, Estimate]


@dataclass(frozen=True)
class Study:
    """What is simulated.

    Attributes:
        teacher_noise: Standard deviation of the teacher's error; `None` for random labels.
        n_ratings: Number of rated posts.
        n_labels: Expected number of labels.
        is_stratified: Whether ratings are a stratified sample with more high-scored posts.
        raters_per_post: Number of raters who rate each post.
        is_subsample: Whether posts to rate are drawn from the labelled posts, not from all.
    """

    teacher_noise: float | None = 1.0
    n_ratings: int = 100
    n_labels: int = 1500
    n_posts: int = 6000
    is_stratified: bool = True
    raters_per_post: int = 2
    is_subsample: bool = False


STUDIES = {
    "good teacher": Study(),
    "mediocre teacher": Study(teacher_noise=2.8),
    "random teacher": Study(teacher_noise=None),
    "good teacher, simple random sample of ratings": Study(is_stratified=False),
    "random teacher, simple random sample": Study(teacher_noise=None, is_stratified=False),
    "good teacher, 300 labels": Study(n_labels=300),
    "good teacher, one rater per post": Study(raters_per_post=1),
    "good teacher, ratings of labelled posts": Study(is_subsample=True),
    "random teacher, ratings of labelled posts": Study(teacher_noise=None, is_subsample=True),
}


@dataclass(frozen=True)
class Posts:
    """Simulated posts: authors, covariates, latent intensity, all ratings, labels."""

    author: np.ndarray
    sponsored: np.ndarray
    month: np.ndarray
    ratings: Array
    labels: Array

    @property
    def covariates(self) -> Array:
        """Constant, sponsored, month, (N, 3)."""
        return np.stack([np.ones(len(self.author)), self.sponsored, self.month], axis=1)


def draw_posts(study: Study, n: int, rng: np.random.Generator) -> Posts:
    """Draw posts of authors of different productivity."""
    n_authors = n // 6
    author = rng.choice(n_authors, n, p=rng.dirichlet(np.full(n_authors, 2.0)))
    sponsors = rng.beta(1, 3, n_authors)[author]
    sponsored = (rng.random(n) < sponsors).astype(float)
    month = rng.integers(0, 12, n).astype(float)
    latent = 3.0 + 1.0 * sponsored + 0.08 * month + rng.normal(0, 0.8, n_authors)[author]
    latent += rng.gamma(2.0, 1.2, n) - 2.4
    noise = rng.normal(0, 1.2, (n, len(RATER_BIAS)))
    ratings = np.clip(np.round(2 * (latent[:, None] + RATER_BIAS + noise)) / 2, 0, 10)
    if study.teacher_noise is None:
        labels = rng.gamma(2, 1.5, n)
    else:
        labels = 0.5 + 0.9 * latent - 0.8 * sponsored + rng.normal(0, study.teacher_noise, n)
    return Posts(author, sponsored, month, ratings, np.clip(np.round(labels * 2) / 2, 0, 10))


def draw_corpus(study: Study, rng: np.random.Generator) -> tuple[Posts, RatedCorpus, Array]:
    """Draw a corpus with labels, scores and ratings.

    Returns:
        The posts, the corpus, and the ratings, NaN where a rater has not rated the post. (N, J)
    """
    n = study.n_posts
    posts = draw_posts(study, n, rng)
    rate = np.where(posts.sponsored > 0, 2.0, 1.0)
    probability = np.minimum(rate / rate.sum() * study.n_labels, 1.0)
    is_held_out = (rng.random(posts.author.max() + 1) < 0.3)[posts.author]
    roles = np.where(
        rng.random(n) < probability, np.where(is_held_out, HELD_OUT, LEARNED), UNLABELLED
    )
    scores = 1.0 + 0.6 * posts.labels + rng.normal(0, 1.0, n)
    scores = np.where(roles == LEARNED, 0.5 * scores + 0.5 * posts.labels, scores)
    frame = np.flatnonzero((roles != UNLABELLED) | (not study.is_subsample))
    rated_probability, strata = np.zeros(n), np.zeros(n, np.intp)
    rated_probability[frame], strata[frame] = draw_rating_design(study, scores[frame])
    is_rated = np.zeros(n, bool)
    for stratum in np.unique(strata[frame]):
        members = frame[strata[frame] == stratum]
        size = round(rated_probability[members].sum())
        is_rated[rng.permutation(members)[:size]] = True
    if study.is_subsample:
        rated_probability *= probability
    order = rng.random(posts.ratings.shape).argsort(axis=1)
    is_given = is_rated[:, None] & (order < study.raters_per_post)
    ratings = np.where(is_given, posts.ratings, np.nan)
    design = LabelDesign.of_corpus(
        posts.author, roles.astype(np.int8), np.where(roles != UNLABELLED, 1 / probability, 0.0)
    )
    corpus = RatedCorpus(
        design,
        mean_ratings(ratings),
        np.where(is_rated, 1 / np.where(is_rated, rated_probability, 1.0), 0.0),
        strata,
        np.where(is_rated | (roles != UNLABELLED), posts.labels, np.nan),
        np.clip(scores, 0, 10),
    )
    return posts, corpus, ratings


def draw_rating_design(study: Study, scores: Array) -> tuple[Array, np.ndarray]:
    """Return each post's probability of being rated, and its stratum."""
    n = len(scores)
    if not study.is_stratified:
        return np.full(n, study.n_ratings / n), np.zeros(n, np.intp)
    strata = np.digitize(scores, np.quantile(scores, [0.5, 0.85]))
    sizes = np.bincount(strata)
    per_stratum = np.round(study.n_ratings * np.array([0.35, 0.35, 0.3]))
    return (per_stratum / sizes)[strata], strata + 1


def estimate_all(posts: Posts, corpus: RatedCorpus, ratings: Array) -> dict[str, Intervals]:
    """Estimate every quantity from one corpus."""
    sponsored = posts.sponsored > 0
    shares = corpus.with_values(
        share_of_ratings(ratings, HIGH),
        np.where(np.isnan(corpus.labels), np.nan, corpus.labels >= HIGH),
        (corpus.scores >= HIGH).astype(float),
    )
    first, second = (estimate_people_mean(shares, group) for group in (sponsored, ~sponsored))
    coefficients = estimate_people_regression(corpus, posts.covariates)
    return {
        "mean": _intervals(estimate_people_mean(corpus)),
        "share": _intervals(estimate_people_mean(shares), is_share=True),
        "mean_sponsored": _intervals(estimate_people_mean(corpus, sponsored)),
        "difference": _intervals(estimate_people_difference(corpus, sponsored, ~sponsored)),
        "share_difference": (
            difference_of_shares(first.people, second.people),
            difference_of_shares(first.ratings_only, second.ratings_only),
            difference_of_shares(first.teacher, second.teacher),
        ),
        "coefficient_sponsored": _intervals(coefficients[1]),
        "coefficient_month": _intervals(coefficients[2]),
    }


def _intervals(estimate: PeopleEstimate, *, is_share: bool = False) -> Intervals:
    means = (estimate.people, estimate.ratings_only, estimate.teacher)
    people, ratings_only, teacher = (
        mean.share_interval() if is_share else mean.interval(-np.inf, np.inf) for mean in means
    )
    return people, ratings_only, teacher


def true_values(study: Study) -> dict[str, float]:
    """Compute every quantity in a large population."""
    population = draw_posts(study, 400_000, np.random.default_rng(10**6))
    expected, sponsored = population.ratings.mean(axis=1), population.sponsored > 0
    high = (population.ratings >= HIGH).mean(axis=1)
    coefficients = np.linalg.lstsq(population.covariates, expected, rcond=None)[0]
    return {
        "mean": expected.mean(),
        "share": high.mean(),
        "mean_sponsored": expected[sponsored].mean(),
        "difference": expected[sponsored].mean() - expected[~sponsored].mean(),
        "share_difference": high[sponsored].mean() - high[~sponsored].mean(),
        "coefficient_sponsored": coefficients[1],
        "coefficient_month": coefficients[2],
    }


def measure(study: Study, replications: int) -> dict[str, dict[str, float]]:
    """Simulate, and summarize coverage and relative width of each quantity.

    Returns:
        For each quantity: `coverage` of the truth by all layers, by the ratings alone and by the
        teacher's labels; `width` and `rmse` relative to the ratings alone; `bias` in standard
        deviations of the estimate; `defined` share of replications; `correlation` of labels with
        ratings.
    """
    truths = true_values(study)
    rows: dict[str, list[Array]] = {name: [] for name in truths}
    correlations = []
    for seed in range(replications):
        posts, corpus, ratings = draw_corpus(study, np.random.default_rng(seed))
        rated = corpus.is_rated
        correlations.append(np.corrcoef(corpus.labels[rated], corpus.ratings[rated])[0, 1])
        for name, intervals in estimate_all(posts, corpus, ratings).items():
            limits = [(x.value, x.lo, x.hi) for x in intervals]
            rows[name].append(np.array(limits, float) - truths[name])
    return {
        name: _summarize(np.array(values)) | {"correlation": float(np.mean(correlations))}
        for name, values in rows.items()
    }


def _summarize(errors: Array) -> dict[str, float]:
    """Summarize errors of value and limits by kind of estimate, (R, 3, 3).

    Replications with too few ratings in a group for an estimate are left out.
    """
    is_defined = np.isfinite(errors[:, 0]).all(axis=1)
    errors = errors[is_defined]
    value, lo, hi = np.moveaxis(errors, 2, 0)  # (R, 3) each
    covered = ((lo <= 0) & (hi >= 0)).mean(axis=0)
    width, rmse = (hi - lo).mean(axis=0), np.sqrt((value**2).mean(axis=0))
    return {
        "coverage": covered[0],
        "ratings_only": covered[1],
        "teacher": covered[2],
        "width": width[0] / width[1],
        "rmse": rmse[0] / rmse[1],
        "bias": value[:, 0].mean() / value[:, 0].std(),
        "defined": is_defined.mean(),
    }


def main() -> None:
    """Run the studies and print one JSON object per quantity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--ratings", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(STUDIES))
    options = parser.parse_args()
    for name in options.only:
        study = Study(**{**vars(STUDIES[name]), "n_ratings": options.ratings})
        for quantity, row in measure(study, options.replications).items():
            rounded = {key: round(float(value), 3) for key, value in row.items()}
            print(json.dumps({"study": name, "quantity": quantity, **rounded}), flush=True)


if __name__ == "__main__":
    main()
