"""Which authors are strata of their own in the estimates for all posts."""

from __future__ import annotations

from typing import Any

import numpy as np

from postbias.population.scored_corpus import ScoredCorpus
from postbias.stats.label_design import UNLABELLED
from postbias.stats.strata import ANY_FOLD, DOMINANT_SHARE, NEVER_HELD_OUT


def describe_strata(corpus: ScoredCorpus) -> dict[str, Any]:
    """Describe the strata of all posts.

    Args:
        corpus: All scored posts.

    Returns:
        `dominant_share`: share of the posts above which an author is dominant; `dominant_authors`:
        `author`, `posts`, `labels`, `share` and `is_stratum` of each, the largest first (one
        without a label counts as one of the other authors); `never_held_out`: `authors` and `posts`
        of the stratum of authors whose labels cannot be held out.
    """
    codes, index = corpus.design.authors, corpus.design.strata.index
    n_posts = np.bincount(codes)
    n_labels = np.bincount(codes[corpus.design.roles != UNLABELLED], minlength=len(n_posts))
    dominant = np.flatnonzero(n_posts / len(corpus) > DOMINANT_SHARE)
    first = {int(code): int(np.flatnonzero(codes == code)[0]) for code in dominant}
    is_never_held_out = index == NEVER_HELD_OUT
    return {
        "dominant_share": DOMINANT_SHARE,
        "dominant_authors": [
            {
                "author": corpus.table["author"][row].as_py(),
                "posts": int(n_posts[code]),
                "labels": int(n_labels[code]),
                "share": float(n_posts[code] / len(corpus)),
                "is_stratum": bool(index[row] not in {ANY_FOLD, NEVER_HELD_OUT}),
            }
            for code, row in sorted(first.items(), key=lambda item: (-n_posts[item[0]], item[0]))
        ],
        "never_held_out": {
            "authors": len(np.unique(codes[is_never_held_out])),
            "posts": int(is_never_held_out.sum()),
        },
    }
