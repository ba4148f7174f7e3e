"""What the cascade gains: the errors that remain when the teacher decides some posts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.schema import FIRST_ROUND, SPLIT
from postbias.posts.shards import read_table
from postbias.stats.bootstrap import Array, resample_authors, summarize_replicates
from postbias.stats.metrics import band_indices
from postbias.stats.referral import remaining_error

Json = dict[str, Any]

_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


def measure_referral(
    paths: Paths, corpus: ScoredCorpus, priority: Array, replications: int, rng: np.random.Generator
) -> Json:
    """Measure on the test fold which share of the student's errors the teacher would remove.

    Errors are those against the teacher's label: posts in another band, and absolute errors.
    Referring posts at random leaves, on average, 1 minus the share referred.

    Args:
        paths: The repository, for the folds.
        corpus: All scored posts.
        priority: Posts with the highest values are referred first. (N,)
        replications: Bootstrap replications.

    Returns:
        `posts`, and `points` with `share`, `band_errors` and `absolute_error`: what remains, with
        95% intervals.
    """
    main = corpus.axes[0]
    split = read_table(paths.split, SPLIT, ["post_id", "fold", "round"])
    is_used = pc.and_(pc.equal(split["fold"], "test"), pc.equal(split["round"], FIRST_ROUND))
    test = split.filter(is_used)["post_id"].combine_chunks()
    is_test = pc.is_in(corpus.table["post_id"], value_set=test).to_numpy()
    rows = np.flatnonzero(is_test & np.isfinite(corpus.labels[main.name]))
    if not len(rows):
        return {"posts": 0, "points": []}
    labels, scores = corpus.labels[main.name][rows], corpus.scores[main.name][rows]
    picked = corpus.table.select(["author", "post_id"]).take(pa.array(rows))
    authors = [row["author"] or row["post_id"] for row in picked.to_pylist()]
    resamples = resample_authors(authors, replications, rng)
    errors = {
        "band_errors": (band_indices(labels, main) != band_indices(scores, main)).astype(float),
        "absolute_error": np.abs(labels - scores),
    }
    points = []
    for share in _SHARES:
        remaining = {
            name: summarize_replicates(
                remaining_error(error, priority[rows], share, resamples)
            ).as_dict()
            for name, error in errors.items()
        }
        points.append({"share": share, **remaining})
    return {"posts": len(rows), "points": points}
