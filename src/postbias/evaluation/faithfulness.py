"""Faithfulness of explanations, measured on posts of the test fold.

Does removing words or image regions in the order of their contributions change the score faster
than in random order? On the demo corpus: do they point at the planted cues?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.explained_posts import ExplainedPosts
from postbias.evaluation.planted_cues import CueHit, find_planted_objects, find_words
from postbias.explanation.explain import (
    describe_regions,
    describe_words,
    list_read_words,
    occlude_post,
)
from postbias.explanation.post_variants import VariantScorer, read_post_parts
from postbias.explanation.removal_curves import (
    OrderComparison,
    compare_region_order,
    compare_word_order,
)
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import Array, one_sided_p_value
from postbias.stats.metrics import resampled_mean

#: With fewer posts nothing is said about faithfulness.
MIN_EXPLAINED_POSTS = 20


@dataclass(frozen=True, slots=True)
class OrderResult:
    """Faithfulness of one part of explanations: words or regions.

    Attributes:
        n: Posts with at least two words or regions.
        deletion: Replicates of the mean of `OrderComparison.deletion`. (1 + R,)
        insertion: Replicates of the mean of `OrderComparison.insertion`. (1 + R,)
        is_faithful: Whether `deletion` is significantly above 0; None with too few posts.
    """

    n: int
    deletion: Array
    insertion: Array
    is_faithful: bool | None


@dataclass(frozen=True, slots=True)
class CueResult:
    """How often a planted cue was found.

    Attributes:
        n: Posts with the cue.
        found: Replicates of the share of posts in which it was found. (1 + R,)
        chance: Share that chance would find.
    """

    n: int
    found: Array
    chance: float


@dataclass(frozen=True, slots=True)
class FaithfulnessResult:
    """Faithfulness of the explanations of one student.

    Attributes:
        n: Posts that were explained.
        orders: Results for `words` and `regions`, those that the student reads.
        cues: Results for planted `words` and `objects`; empty unless the corpus is the demo.
    """

    n: int
    orders: Mapping[str, OrderResult]
    cues: Mapping[str, CueResult]


def measure_faithfulness(
    test: EvaluationSet,
    scorer: Scorer,
    sample: ExplainedPosts,
    settings: tuple[np.random.Generator, float],
) -> FaithfulnessResult:
    """Explain posts on the main axis, and test the explanations.

    Args:
        scorer: The student, as shipped.
        sample: Posts of the test fold.
        settings: Draws the random orders; and the significance level.

    Returns:
        Results with intervals over authors. A post that the student does not read has no part in
        them.
    """
    rng, alpha = settings
    tests: dict[str, dict[int, OrderComparison]] = {"words": {}, "regions": {}}
    hits: dict[str, dict[int, CueHit]] = {"words": {}, "objects": {}}
    for row, post in sample.posts.items():
        read = read_post_parts(scorer, post)
        variants = VariantScorer(scorer, read)
        words = list_read_words(scorer, read)
        text_parts, image_parts = occlude_post(variants, words, 0)
        tested = {
            "words": compare_word_order(variants, words, text_parts, 0, rng),
            "regions": compare_region_order(variants, image_parts, 0, rng),
        }
        for part, result in tested.items():
            if result is not None:
                tests[part][row] = result
        if row in sample.planted:
            found = {
                "words": find_words(describe_words(read, words, text_parts), sample.planted[row]),
                "objects": find_planted_objects(
                    describe_regions(read, image_parts), sample.planted[row]
                ),
            }
            for cue, hit in found.items():
                if hit is not None:
                    hits[cue][row] = hit
    return FaithfulnessResult(
        n=len(sample.posts),
        orders={
            part: _summarize_order(test, compared, alpha)
            for part, compared in tests.items()
            if compared
        },
        cues={cue: _summarize_cues(test, each) for cue, each in hits.items() if each},
    )


def _summarize_order(
    test: EvaluationSet, compared: Mapping[int, OrderComparison], alpha: float
) -> OrderResult:
    deletion, insertion = (
        _mean_by_author(test, {row: getattr(each, name) for row, each in compared.items()})
        for name in ("deletion", "insertion")
    )
    is_enough = len(compared) >= MIN_EXPLAINED_POSTS
    is_better = one_sided_p_value(deletion) < alpha
    return OrderResult(len(compared), deletion, insertion, is_better if is_enough else None)


def _summarize_cues(test: EvaluationSet, hits: Mapping[int, CueHit]) -> CueResult:
    found = _mean_by_author(test, {row: float(hit.is_found) for row, hit in hits.items()})
    return CueResult(len(hits), found, float(np.mean([hit.chance for hit in hits.values()])))


def _mean_by_author(test: EvaluationSet, values: Mapping[int, float]) -> Array:
    """Return replicates (1 + R,) of the mean over some posts, given by row number."""
    by_post = np.full(len(test.fold), np.nan)
    by_post[list(values)] = list(values.values())
    return resampled_mean(by_post, test.resamples)
