"""Describe the scores of posts that no estimate covers, because they could not be sampled."""

from __future__ import annotations

from typing import Any

import numpy as np

from postbias.axes import BAND_NAMES
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.authorship import count_authors
from postbias.stats.metrics import band_indices


def describe_later_posts(corpus: ScoredCorpus) -> dict[str, Any]:
    """Describe the posts of imports that the sample was not drawn from.

    Their scores are as biased as those of other posts, and labels of other posts correct them only
    if the student's errors are the same; so there is neither a correction nor an interval.

    Args:
        corpus: All scored posts; some of them are of later imports.

    Returns:
        `posts`, `scored`, `authors`, `posts_without_author`, and `uncorrected`: the mean of the
        scores by axis, and the share of scores in each band (`share_<band>`); null without scores.
    """
    main, later = corpus.axes[0], corpus.later
    values = {axis.name: later[axis.name].to_numpy().astype(np.float64) for axis in corpus.axes}
    bands = band_indices(values[main.name], main)
    values |= {f"share_{name}": (bands == i).astype(float) for i, name in enumerate(BAND_NAMES)}
    return {
        "posts": corpus.n_later,
        "scored": later.num_rows,
        **count_authors(later["author"], later["post_id"]).as_dict(),
        "uncorrected": {
            name: float(scores.mean()) if len(scores) else None for name, scores in values.items()
        },
    }
