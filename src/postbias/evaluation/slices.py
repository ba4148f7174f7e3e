"""How students do on kinds of posts: paid or not, by language, by length, by what is there.

A student that is good on the whole may be bad on some posts. Each slice has its n and intervals
over the same draws of authors; a small one is marked, for its numbers are a guess. Knows nothing of
what follows from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.labelled_folds import Fold, Scored
from postbias.evaluation.measure import Bench
from postbias.paths import Paths
from postbias.posts.languages import UNKNOWN
from postbias.posts.shards import IMAGE_PATHS, ROW_GROUP_POSTS, iter_posts, list_shards
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import mean_absolute_error, mean_of
from postbias.stats.ranks import spearman

#: A slice with fewer posts or authors is marked as tiny.
MIN_POSTS, MIN_AUTHORS = 30, 10

#: Languages with fewer posts of the test fold are one slice, `other`.
MIN_LANGUAGE_POSTS = 10
OTHER = "other"

_LENGTHS = (0, 50, 150, 500)
_LENGTH_NAMES = ("none", "1-50 characters", "51-150", "151-500", "over 500")
_IMAGES = (0, 1, 4)
_IMAGES_NAMES = ("none", "1", "2-4", "over 4")


@dataclass(frozen=True, slots=True)
class Slice:
    """What one student does on one kind of post, on the main axis.

    Replicates are the number on the data, then one value per draw of authors.

    Attributes:
        dimension: By what posts are told apart, such as `language`.
        value: Which of them, such as `en`.
        n: Posts that the student can score.
        n_authors: Their authors.
        metrics: Replicates of `mae`, of `error` (mean score minus label: above 0 it scores such
            posts too high) and of the main metric. (1 + R,)
    """

    dimension: str
    value: str
    n: int
    n_authors: int
    metrics: Mapping[str, Array]

    @property
    def is_tiny(self) -> bool:
        """Whether it is too small to say much."""
        return self.n < MIN_POSTS or self.n_authors < MIN_AUTHORS


def describe_posts(paths: Paths, fold: Fold, languages: Sequence[str]) -> dict[str, list[str]]:
    """Say of which kind each post of a fold is.

    Args:
        paths: The repository; reads posts without their images.
        fold: The posts.
        languages: The language of each.

    Returns:
        By dimension the kind of each post.
    """
    wanted = set(fold.post_ids)
    rows = {}
    columns = ["post_id", "sponsored", "media_type", IMAGE_PATHS]
    for batch in iter_posts(list_shards(paths.posts), columns, ROW_GROUP_POSTS):
        for row in batch.to_pylist():
            if row["post_id"] in wanted:
                rows[row["post_id"]] = row
    posts = [rows[post_id] for post_id in fold.post_ids]
    counts = Counter(languages)
    yes_no = {True: "yes", False: "no", None: UNKNOWN}
    lengths = [len(caption.strip()) for caption in fold.captions]
    return {
        "sponsored": [yes_no[post["sponsored"]] for post in posts],
        "language": [
            language if counts[language] >= MIN_LANGUAGE_POSTS else OTHER for language in languages
        ],
        "media_type": [post["media_type"] or UNKNOWN for post in posts],
        "caption_length": [_LENGTH_NAMES[bisect_left(_LENGTHS, n)] for n in lengths],
        "n_images": [_IMAGES_NAMES[bisect_left(_IMAGES, len(post["images"]))] for post in posts],
    }


def measure_slices(
    bench: Bench, scored: Scored, kinds: Mapping[str, Sequence[str]], metric: str
) -> list[Slice]:
    """Measure one student on every kind of post, and by the modalities that it used.

    Args:
        bench: The test fold and its draws.
        scored: The student's scores.
        kinds: By dimension the kind of each post.
        metric: The main metric.

    Returns:
        Dimensions in the order given, `modalities` last; the largest slice of each first.
    """
    said = scored.by_axis[bench.axes[0].name]
    found = []
    groups = [group or "" for group in scored.groups]
    for dimension, values in {**kinds, "modalities": groups}.items():
        kind = np.asarray(values, dtype=object)
        counts = Counter(kind[said.is_scored])
        found += [
            _measure(bench, scored, (dimension, value, kind == value), metric)
            for value in sorted(counts, key=lambda value: (-counts[value], value))
        ]
    return found


def _measure(
    bench: Bench, scored: Scored, which: tuple[str, str, np.ndarray], metric: str
) -> Slice:
    dimension, value, rows = which
    labels = bench.fold.labels[:, 0]
    said = scored.by_axis[bench.axes[0].name].only(rows)
    rows = said.is_scored
    authors = bench.resamples.authors[rows]
    metrics = {
        "mae": mean_absolute_error(labels, said, bench.resamples),
        "error": mean_of(said.values - labels, bench.resamples),
    }
    if metric == "rmse":
        metrics["rmse"] = np.sqrt(mean_of((said.values - labels) ** 2, bench.resamples))
    elif metric == "spearman":
        metrics["spearman"] = spearman(labels[rows], said.values[rows], authors, bench.resamples)
    return Slice(dimension, value, int(rows.sum()), len(np.unique(authors)), metrics)
