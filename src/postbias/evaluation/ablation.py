"""Modality ablation of a fusion student: shuffle or remove the images or the captions of posts.

A fusion student that uses an input is significantly worse when that input is shuffled among posts;
otherwise it is in effect a text-only or image-only student. With an input removed, it is compared
with the student that was trained on the remaining one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.labelled_folds import FoldPredictions, to_predictions
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import PostInput, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions

#: Inputs that are shuffled or removed.
INPUTS = ("image", "caption")

#: The single-modality student that is compared when an input is removed.
STUDENT_WITHOUT = {"image": "text", "caption": "image"}

_BOTH = "image+text"


@dataclass(frozen=True, slots=True)
class ShuffledInputResult:
    """The main metric of a fusion student on the main axis, with and without one input shuffled.

    Attributes:
        n: Posts with caption and image that were scored.
        intact: Replicates of the metric on these posts as they are. (1 + R,)
        shuffled: Replicates of the metric with the input shuffled among them. (1 + R,)
    """

    n: int
    intact: Array
    shuffled: Array


@dataclass(frozen=True, slots=True)
class MissingInputResult:
    """The main metric on the main axis for posts from which one input was removed.

    Attributes:
        n: Posts with caption and image from which the input was removed.
        fusion: Replicates of the fusion student's metric. (1 + R,)
        single: Replicates of the metric of the student trained for the remaining input. (1 + R,)
    """

    n: int
    fusion: Array
    single: Array


def sample_posts_with_both(
    predictions: FoldPredictions, max_posts: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Sample posts that were scored from both caption and image.

    Args:
        predictions: The fusion student's predictions of the fold.

    Returns:
        Row numbers in the fold, ascending.
    """
    rows = np.flatnonzero([used == _BOTH for used in predictions.modalities])
    return np.sort(rng.permutation(rows)[:max_posts])


def measure_shuffled_inputs(
    test: EvaluationSet,
    scorer: Scorer,
    predictions: FoldPredictions,
    shuffled: Mapping[str, Mapping[int, PostInput]],
    metric: str,
) -> dict[str, ShuffledInputResult]:
    """Measure a fusion student on posts with one input shuffled.

    Args:
        scorer: The student, as shipped.
        predictions: Its predictions of the fold as it is.
        shuffled: By shuffled input the result of `shuffle_input`: posts by row number.
        metric: The main metric.

    Returns:
        Results by shuffled input.
    """
    main = test.axes[0].name
    results = {}
    for name, posts in shuffled.items():
        without = _score_main_axis(test, scorer, posts)
        intact = predictions.by_axis[main].restrict(without.is_scored)
        results[name] = ShuffledInputResult(
            n=int(without.is_scored.sum()),
            intact=test.measure_axis(0, intact)[metric],
            shuffled=test.measure_axis(0, without)[metric],
        )
    return results


def measure_missing_inputs(
    test: EvaluationSet,
    scorer: Scorer,
    by_student: Mapping[str, FoldPredictions],
    posts: Mapping[int, PostInput],
    metric: str,
) -> dict[str, MissingInputResult]:
    """Compare a fusion student without one input to the student trained for the other input.

    Args:
        scorer: The fusion student, as shipped.
        by_student: Predictions of the test fold by student.
        posts: Posts with caption and image, by row number.
        metric: The main metric.

    Returns:
        Results by removed input; only those for which there is another student.
    """
    main = test.axes[0].name
    results = {}
    for name in INPUTS:
        if STUDENT_WITHOUT[name] not in by_student:
            continue
        reduced = {row: _remove_input(post, name) for row, post in posts.items()}
        fusion = _score_main_axis(test, scorer, reduced)
        single = by_student[STUDENT_WITHOUT[name]].by_axis[main]
        fusion = fusion.restrict(single.is_scored)
        results[name] = MissingInputResult(
            n=int(fusion.is_scored.sum()),
            fusion=test.measure_axis(0, fusion)[metric],
            single=test.measure_axis(0, single.restrict(fusion.is_scored))[metric],
        )
    return results


def shuffle_input(
    posts: Mapping[int, PostInput], name: str, rng: np.random.Generator
) -> dict[int, PostInput]:
    """Give every post the images or the caption of another post.

    Args:
        posts: Posts with caption and image, by row number.
        name: `image` or `caption`.

    Returns:
        The posts with one input permuted; of two or more posts, none keeps its own.
    """
    order = rng.permutation(sorted(posts)).tolist()
    donors = {
        row: posts[donor] for row, donor in zip(order, [*order[-1:], *order[:-1]], strict=True)
    }
    if name == "image":
        return {row: replace(posts[row], images=donors[row].images) for row in sorted(posts)}
    return {row: replace(posts[row], caption=donors[row].caption) for row in sorted(posts)}


def _remove_input(post: PostInput, name: str) -> PostInput:
    return replace(post, images=()) if name == "image" else replace(post, caption="")


def _score_main_axis(
    test: EvaluationSet, scorer: Scorer, posts: Mapping[int, PostInput]
) -> Predictions:
    """Score posts, given by row number; NaN for all other posts of the fold."""
    inputs: Sequence[PostInput] = list(posts.values())
    results = [
        result
        for start in range(0, len(inputs), BATCH_SIZE)
        for result in scorer.score(inputs[start : start + BATCH_SIZE])
    ]
    scored = to_predictions(results, test.axes[0].name)
    columns = np.full((3, len(test.fold)), np.nan)
    columns[:, np.array(list(posts), np.intp)] = scored.values, scored.lo, scored.hi
    return Predictions(*columns)
