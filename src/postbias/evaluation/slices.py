"""Metrics of students by slice, such as sponsorship, language, platform and modalities used."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.labelled_folds import FoldPredictions, LabelledFold
from postbias.paths import Paths
from postbias.posts.authorship import AuthorCounts
from postbias.posts.frame_paths import frame_time_s
from postbias.posts.languages import UNKNOWN
from postbias.posts.shards import IMAGE_PATHS, ROW_GROUP_POSTS, iter_posts, list_shards
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions, mean_absolute_error, resampled_mean
from postbias.stats.ranks import spearman_correlation

#: A slice with fewer posts or authors is marked as tiny.
MIN_SLICE_POSTS, MIN_SLICE_AUTHORS = 30, 10

#: Languages with fewer posts in the test fold are merged into one slice, `other`.
MIN_LANGUAGE_POSTS = 10
OTHER = "other"

_LENGTHS = (0, 50, 150, 500)
_LENGTH_NAMES = ("none", "1-50 characters", "51-150", "151-500", "over 500")
_IMAGES = (0, 1, 4)
_IMAGES_NAMES = ("none", "1", "2-4", "over 4")


@dataclass(frozen=True, slots=True)
class SliceResult:
    """Metrics of one student on one slice of the test fold, on the main axis.

    Attributes:
        dimension: Dimension of the slice, such as `language`.
        value: Its value, such as `en`.
        n: Posts that the student can score.
        authors: Their authors.
        metrics: Replicates of `mae`, of `error` (mean of score minus label) and of the main metric.
            (1 + R,)
    """

    dimension: str
    value: str
    n: int
    authors: AuthorCounts
    metrics: Mapping[str, Array]

    @property
    def is_tiny(self) -> bool:
        """Whether there are too few posts or authors for a reliable result."""
        return self.n < MIN_SLICE_POSTS or self.authors.n_units < MIN_SLICE_AUTHORS


def classify_posts(
    paths: Paths, fold: LabelledFold, languages: Sequence[str]
) -> dict[str, list[str]]:
    """Classify the posts of a fold by every dimension of slices; reads no images.

    Args:
        languages: Language of each post. (n,)

    Returns:
        The value of each post, by dimension; `video` only if a post has frames of a video.
    """
    wanted = set(fold.post_ids)
    rows = {}
    columns = ["post_id", "sponsored", "media_type", "platform", IMAGE_PATHS]
    for batch in iter_posts(list_shards(paths.sampled_posts), columns, ROW_GROUP_POSTS):
        for row in batch.to_pylist():
            if row["post_id"] in wanted:
                rows[row["post_id"]] = row
    posts = [rows[post_id] for post_id in fold.post_ids]
    counts = Counter(languages)
    yes_no = {True: "yes", False: "no", None: UNKNOWN}
    lengths = [len(caption.strip()) for caption in fold.captions]
    has_frames = [
        any(frame_time_s(image["path"]) is not None for image in post["images"]) for post in posts
    ]
    platforms = [post["platform"] for post in posts]
    # With one platform, its slice would be the whole fold again.
    by_platform = {"platform": platforms} if len(set(platforms)) > 1 else {}
    return by_platform | {
        "sponsored": [yes_no[post["sponsored"]] for post in posts],
        "language": [
            language if counts[language] >= MIN_LANGUAGE_POSTS else OTHER for language in languages
        ],
        "media_type": [post["media_type"] or UNKNOWN for post in posts],
        "caption_length": [_LENGTH_NAMES[bisect_left(_LENGTHS, n)] for n in lengths],
        "n_images": [_IMAGES_NAMES[bisect_left(_IMAGES, len(post["images"]))] for post in posts],
        **({"video": [yes_no[has] for has in has_frames]} if any(has_frames) else {}),
    }


def measure_slices(
    test: EvaluationSet,
    predictions: FoldPredictions,
    dimensions: Mapping[str, Sequence[str]],
    metric: str,
) -> list[SliceResult]:
    """Measure one student on every slice, including those by the modalities that it used.

    Args:
        predictions: The student's predictions.
        dimensions: Result of `classify_posts`.
        metric: The main metric.

    Returns:
        Slices in the order of the dimensions, `modalities` last; the largest slice of each first.
    """
    main = predictions.by_axis[test.axes[0].name]
    results = []
    modalities = [used or "" for used in predictions.modalities]
    for dimension, values in {**dimensions, "modalities": modalities}.items():
        value_of = np.asarray(values, dtype=object)
        counts = Counter(value_of[main.is_scored])
        results += [
            _measure_slice(test, main, (dimension, value, value_of == value), metric)
            for value in sorted(counts, key=lambda value: (-counts[value], value))
        ]
    return results


def _measure_slice(
    test: EvaluationSet, main: Predictions, definition: tuple[str, str, np.ndarray], metric: str
) -> SliceResult:
    dimension, value, rows = definition
    labels = test.fold.labels[:, 0]
    scored = main.restrict(rows)
    rows = scored.is_scored
    metrics = {
        "mae": mean_absolute_error(labels, scored, test.resamples),
        "error": resampled_mean(scored.values - labels, test.resamples),
    }
    if metric == "rmse":
        metrics["rmse"] = np.sqrt(resampled_mean((scored.values - labels) ** 2, test.resamples))
    elif metric == "spearman":
        metrics["spearman"] = spearman_correlation(
            labels[rows], scored.values[rows], test.resamples.authors[rows], test.resamples
        )
    authors = test.fold.count_authors(np.flatnonzero(rows))
    return SliceResult(dimension, value, int(rows.sum()), authors, metrics)
