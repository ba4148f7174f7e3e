"""Three layers of measurements of the corpus: ratings by people, labels and scores."""

from __future__ import annotations

from collections import Counter

import numpy as np

from postbias.axes import Axis
from postbias.people.rated_posts import RatedPosts
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.schema import FIRST_ROUND
from postbias.stats.bootstrap import Array
from postbias.stats.rated_corpus import RatedCorpus, mean_ratings, share_of_ratings
from postbias.stats.strata import Bools, Ints


def layer_values(corpus: ScoredCorpus, posts: RatedPosts, axis: Axis) -> RatedCorpus:
    """Combine ratings, labels and scores of one axis.

    Args:
        corpus: All scored posts.
        posts: The rated posts.
        axis: The axis.

    Returns:
        The three layers, for means.
    """
    matrix = posts.ratings[axis.name]
    has_rating = np.isfinite(matrix).sum(axis=1) > 0
    weights = _weigh(corpus, posts, has_rating)
    return RatedCorpus(
        design=corpus.design,
        ratings=_spread(corpus, posts, mean_ratings(matrix)),
        rating_weights=_spread(corpus, posts, weights, missing=0.0),
        rating_strata=_number_strata(corpus, posts),
        labels=corpus.labels[axis.name],
        scores=corpus.scores_to_estimate(axis.name, lambda scores: scores),
    )


def layer_shares(
    layers: RatedCorpus, corpus: ScoredCorpus, posts: RatedPosts, axis: Axis, threshold: float
) -> RatedCorpus:
    """Replace values by whether they are at or above a threshold.

    Args:
        layers: The layers of the axis.
        corpus: All scored posts.
        posts: The rated posts.
        axis: The axis.
        threshold: The smallest value that counts.

    Returns:
        The layers, for the share of posts.
    """
    labels = corpus.labels[axis.name]
    shares = share_of_ratings(posts.ratings[axis.name], threshold)
    return layers.with_values(
        _spread(corpus, posts, shares),
        np.where(np.isnan(labels), np.nan, labels >= threshold),
        corpus.scores_to_estimate(
            axis.name, lambda scores: (scores >= threshold).astype(np.float64)
        ),
    )


def _weigh(corpus: ScoredCorpus, posts: RatedPosts, has_rating: Bools) -> Array:
    """Compute the weight of each rated post, (n,).

    A post represents the labelled posts of its stratum, of which it is one of those that were
    rated: posts that were drawn but not rated are taken as missing at random. Each labelled post in
    turn represents `weight` posts of the corpus; with later rounds of active sampling, the weights
    of the first round are smaller by the same factor, which cancels out.
    """
    label_weights = corpus.design.weights[posts.rows]
    label_weights = np.where(label_weights > 0, label_weights, 1.0)
    n_rated = Counter(
        item.stratum for item, rated in zip(posts.items, has_rating, strict=True) if rated
    )
    weights = np.zeros(len(posts))
    for i, (item, rated) in enumerate(zip(posts.items, has_rating, strict=True)):
        if not rated:
            continue
        if item.stratum_posts:
            weights[i] = label_weights[i] * item.stratum_posts / n_rated[item.stratum]
        elif np.isfinite(item.probability):
            weights[i] = 1 / item.probability
        else:
            weights[i] = label_weights[i]
    return weights


def _number_strata(corpus: ScoredCorpus, posts: RatedPosts) -> Ints:
    """Number the stratum of every post that could be drawn for rating, (N,); 0 for the others.

    Rated posts have the stratum that they were drawn from. All other labelled posts have the band
    of their score, which is what the strata are.
    """
    names = [item.stratum for item in posts.items]
    codes = {name: code for code, name in enumerate(sorted(set(names)), start=1)}
    # Posts of later rounds of active sampling are not drawn.
    is_labelled = np.isfinite(corpus.labels[corpus.axes[0].name]) & (corpus.rounds <= FIRST_ROUND)
    bands = [codes.get(band, 0) for band in corpus.table["band"].to_pylist()]
    strata = np.where(is_labelled, np.array(bands, dtype=np.int64), 0)
    strata[posts.rows] = [codes[name] for name in names]
    return strata


def _spread(
    corpus: ScoredCorpus, posts: RatedPosts, values: Array, missing: float = np.nan
) -> Array:
    """Place the values of rated posts (n,) among those of all posts (N,)."""
    spread = np.full(len(corpus), missing)
    spread[posts.rows] = values
    return spread
