"""What people would say of all posts, from few ratings, many labels and a score of every post.

With b_S(v) the weighted least-squares coefficient of values v in sample S, A the rated posts, T the
teacher's sample, H its held-out part, U all posts that the student did not learn from, and N all
posts, the estimate is

    b_A(y) - lam_1 [b_A(t) - b_T(t)] - lam_2 [b_H(f) - b_U(f)] - lam_3 [b_A(f) - b_N(f)]

for ratings y, labels t and scores f. Each bracket compares two estimates of the same quantity, so
its expectation is 0 however wrong teacher and student are, and the estimate is about people for any
lam. The lam that minimise the variance are found by least squares (power tuning). If the rated
posts were drawn from the labelled ones, learned posts are too frequent among A: the last bracket
then compares the rated held-out posts with U.

This is prediction-powered inference (Angelopoulos et al., Science 2023; tuned: PPI++, 2023) with
two layers of predictions, and, as a regression, design-based supervised learning (DSL; Egami,
Hinck, Stewart and Wei, NeurIPS 2023): predictions of all posts, corrected by expert-coded posts
with known inclusion probabilities. Where DSL divides by the inclusion probability, the correction
here is a weighted regression, so that the random size of a group in the sample adds no variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array, Estimate
from postbias.stats.estimates import MeanEstimate, SampleSizes, estimate_difference_of_means
from postbias.stats.label_design import HELD_OUT
from postbias.stats.layered_samples import LayeredSamples
from postbias.stats.rated_corpus import RatedCorpus
from postbias.stats.strata import Bools

#: Minimum numbers of rated posts and of their authors for an estimate.
MIN_RATED, MIN_AUTHORS = 10, 5

# Columns of the brackets that need the teacher's labels of rated posts, and only the scores.
_TEACHER, _STUDENT = [0, 1], [2]
_RANK_TOLERANCE = 1e-10
# lam of the mean of all posts counts like so many rated units when that of a small group is fitted.
_PRIOR_UNITS = 20.0


@dataclass(frozen=True, slots=True)
class PeopleEstimate:
    """An estimated mean, share, difference or regression coefficient of people's ratings.

    Attributes:
        people: The estimate from all three layers.
        ratings_only: The estimate from the ratings alone, for comparison.
        teacher: The same quantity of the teacher's labels.
        tuning: lam_1, lam_2 and lam_3; 0 where a layer does not help. (3,)
    """

    people: MeanEstimate
    ratings_only: MeanEstimate
    teacher: MeanEstimate
    tuning: tuple[float, float, float]

    def teacher_error(self) -> Estimate:
        """Return how far the teacher alone is off: its quantity minus that of people."""
        return estimate_difference_of_means(self.teacher, self.people)


def estimate_people_mean(corpus: RatedCorpus, group: Bools | None = None) -> PeopleEstimate:
    """Estimate the mean rating that people would give to all posts, or to a group of them.

    For a share, replace ratings, labels and scores by indicators (`RatedCorpus.with_values`) and
    use `MeanEstimate.share_interval`.

    Args:
        corpus: All posts.
        group: Mask of the group; by default all posts. (N,)

    Returns:
        The estimate; NaN with fewer than `MIN_RATED` ratings or `MIN_AUTHORS` rated authors.
    """
    group = np.ones(len(corpus.scores), bool) if group is None else group
    return _compare_groups(corpus, [group], np.array([1.0]))


def estimate_people_difference(corpus: RatedCorpus, first: Bools, second: Bools) -> PeopleEstimate:
    """Estimate the difference between two groups' mean ratings: the first minus the second.

    Args:
        corpus: All posts.
        first: Mask of the first group. (N,)
        second: Mask of the second group. (N,)

    Returns:
        The estimate; NaN with too few ratings in either group.

    Raises:
        ValueError: If a post is in both groups.
    """
    if np.any(first & second):
        raise ValueError(
            f"{np.count_nonzero(first & second)} posts are in both groups; a difference needs "
            "groups without common posts: remove these posts from one of them"
        )
    return _compare_groups(corpus, [first, second], np.array([1.0, -1.0]))


def estimate_people_regression(corpus: RatedCorpus, covariates: Array) -> list[PeopleEstimate]:
    """Regress the ratings that people would give to all posts on covariates, by least squares.

    Standard errors are clustered by author.

    Args:
        corpus: All posts.
        covariates: Covariates of every post, a constant among them. (N, P)

    Returns:
        The estimate of each coefficient, in order; NaN if the rated posts do not identify it.
    """
    sizes, n_covariates = _count(corpus), covariates.shape[1]
    if not _is_enough(corpus):
        return [_undefined(corpus, sizes) for _ in range(n_covariates)]
    samples = LayeredSamples.of(corpus, covariates)
    return [_estimate(samples, contrast, sizes) for contrast in np.eye(n_covariates)]


def difference_of_shares(first: MeanEstimate, second: MeanEstimate) -> Estimate:
    """Compute the interval of a difference between two shares: the first minus the second.

    Combines the limits of the two shares (Newcombe 1998; Zou and Donner 2008): symmetric intervals
    are too narrow for small shares.

    Args:
        first: Share of one group.
        second: Share of another group; the two may have common authors.

    Returns:
        The difference with its 95% interval; undefined if one of them is.
    """
    a, b = (_share_limits(mean) for mean in (first, second))
    if a is None or b is None:
        return Estimate(None, None, None)
    size = max(len(first.influence), len(second.influence))
    u, v = (np.pad(m.influence, (0, size - len(m.influence))) for m in (first, second))
    norm = float(np.sqrt((u @ u) * (v @ v)))
    correlation = float(u @ v) / norm if norm > 0 else 0.0

    def distance(x: float, y: float) -> float:
        return float(np.sqrt(max(x**2 + y**2 - 2 * correlation * x * y, 0.0)))

    value = a[0] - b[0]
    below, above = distance(a[0] - a[1], b[2] - b[0]), distance(a[2] - a[0], b[0] - b[1])
    return Estimate(value, max(value - below, -1.0), min(value + above, 1.0))


def _share_limits(share: MeanEstimate) -> tuple[float, float, float] | None:
    """Return the value and the limits of a share; `None` if undefined."""
    estimate = share.share_interval()
    if estimate.value is None or estimate.lo is None or estimate.hi is None:
        return None
    return estimate.value, estimate.lo, estimate.hi


def _compare_groups(
    corpus: RatedCorpus, groups: Sequence[Bools], contrast: Array
) -> PeopleEstimate:
    """Estimate a combination of the means of groups; the other posts are one more group."""
    sizes = _count(corpus.subset(np.any(groups, axis=0)))
    if not all(_is_enough(corpus.subset(group)) for group in groups):
        return _undefined(corpus, sizes)
    rest, columns = ~np.any(groups, axis=0), list(groups)
    if corpus.is_rated[rest].any():
        columns.append(rest)
    kept = np.any(columns, axis=0)  # without ratings in the rest, all samples leave it out
    covariates = np.stack(columns, axis=1)[kept].astype(np.float64)
    samples = LayeredSamples.of(corpus.subset(kept), covariates)
    return _estimate(samples, np.pad(contrast, (0, len(columns) - len(contrast))), sizes)


def _is_enough(corpus: RatedCorpus) -> bool:
    authors = corpus.design.authors[corpus.is_rated]
    return len(authors) >= MIN_RATED and len(np.unique(authors)) >= MIN_AUTHORS


def _estimate(samples: LayeredSamples, contrast: Array, sizes: SampleSizes) -> PeopleEstimate:
    """Estimate a linear combination (P,) of the coefficients."""
    plug_in = samples.plug_in(contrast)
    if not samples.ratings.identifies(contrast):
        undefined = MeanEstimate(np.nan, np.nan, np.zeros(1), 1.0, plug_in, sizes)
        return PeopleEstimate(undefined, undefined, undefined, (0.0, 0.0, 0.0))
    value, own = samples.rated(contrast)
    offsets, brackets = samples.brackets(contrast)
    freedom = samples.degrees_of_freedom(contrast)
    ratings_only = _make_mean(value, own, freedom, plug_in, sizes)
    best, tuning = ratings_only, np.zeros(len(offsets))
    for columns in (_TEACHER, _STUDENT, _TEACHER + _STUDENT):
        if not brackets[:, columns].any():
            continue
        lam, spent = _tune(samples, contrast, columns)
        tuned = _make_mean(
            value - float(offsets @ lam), own - brackets @ lam, freedom, plug_in, sizes, spent=spent
        )
        if _width(tuned) < _width(best):
            best, tuning = tuned, lam
    teacher_value, influence = samples.teacher(contrast)
    n_labels = len(samples.labels.rows) if samples.labels else 0
    n_units = float(np.count_nonzero(influence))
    teacher = _make_mean(
        teacher_value, influence, n_units - 1, plug_in, sizes._replace(labels=n_labels)
    )
    return PeopleEstimate(
        best, ratings_only, teacher, (float(tuning[0]), float(tuning[1]), float(tuning[2]))
    )


def _tune(samples: LayeredSamples, contrast: Array, columns: list[int]) -> tuple[Array, float]:
    """Find lam by least squares, shrunk toward that of the mean of all posts.

    Returns:
        lam, 0 outside the columns, (3,), and the number of parameters that were fitted to the data
        of the contrast itself.
    """
    freedom = samples.degrees_of_freedom(contrast)
    own_share = freedom / (freedom + _PRIOR_UNITS)
    lam = np.zeros(3)
    for direction, share in ((contrast, own_share), (samples.mean_contrast, 1 - own_share)):
        _value, own = samples.rated(direction)
        _offsets, brackets = samples.brackets(direction)
        fitted = np.linalg.lstsq(brackets[:, columns], own, rcond=_RANK_TOLERANCE)[0]
        lam[columns] += share * fitted
    n_layers = sum(layer[0] in columns for layer in (_TEACHER, _STUDENT))
    is_mean = np.allclose(contrast, samples.mean_contrast)
    return lam, n_layers * (1.0 if is_mean else own_share)


def _make_mean(
    value: float,
    influence: Array,
    freedom: float,
    plug_in: float,
    sizes: SampleSizes,
    *,
    spent: float = 0.0,
) -> MeanEstimate:
    """Make an estimate from its influence; each tuned parameter costs a degree of freedom."""
    left = max(freedom - spent, 1.0)
    variance = float(influence @ influence) * max(freedom, 1.0) / left
    return MeanEstimate(value, variance, influence, left, plug_in, sizes)


def _width(mean: MeanEstimate) -> float:
    interval = mean.interval(-np.inf, np.inf)
    assert interval.lo is not None
    assert interval.hi is not None
    return interval.hi - interval.lo


def _undefined(corpus: RatedCorpus, sizes: SampleSizes) -> PeopleEstimate:
    plug_in = float(corpus.scores.mean()) if len(corpus.scores) else np.nan
    mean = MeanEstimate(np.nan, np.nan, np.zeros(1), 1.0, plug_in, sizes)
    return PeopleEstimate(mean, mean, mean, (0.0, 0.0, 0.0))


def _count(corpus: RatedCorpus) -> SampleSizes:
    """Count posts, ratings (in place of labels), held-out labels and authors."""
    roles = corpus.design.roles
    return SampleSizes(
        len(roles),
        int(np.count_nonzero(corpus.is_rated)),
        int(np.count_nonzero(roles == HELD_OUT)),
        len(np.unique(corpus.design.authors)),
    )
