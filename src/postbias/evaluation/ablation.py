"""Whether a fusion student looks at both caption and pictures, and what it makes of one alone.

Among test posts that have both, the pictures (or the captions) are dealt out anew, each post
getting another one's. A student that uses them must then be worse, beyond chance; one that does not
would be a text or an image student in disguise. The same posts without their pictures (or captions)
show how it does beside the student that was trained for such posts. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from postbias.evaluation.labelled_folds import Scored, predictions_of
from postbias.evaluation.measure import Bench
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import PostInput, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions

#: What is dealt out anew.
BRANCHES = ("image", "caption")

#: The student that was trained for posts without it.
ALONE = {"image": "text", "caption": "image"}

_BOTH = "image+text"


@dataclass(frozen=True, slots=True)
class Shuffled:
    """What a fusion student does without one branch, by the main metric on the main axis.

    Replicates are the metric on the data, then one value per draw of authors.

    Attributes:
        n: Posts with caption and picture that were tried.
        intact: The metric on these posts as they are. (1 + R,)
        shuffled: The metric with the branch shuffled among them. (1 + R,)
    """

    n: int
    intact: Array
    shuffled: Array


@dataclass(frozen=True, slots=True)
class Missing:
    """What a fusion student makes of posts without one branch, by the main metric on the main axis.

    Replicates are the metric on the data, then one value per draw of authors.

    Attributes:
        n: Posts with caption and picture from which the branch was taken.
        fusion: The metric of the fusion student. (1 + R,)
        alone: The metric of the student that was trained for what is left. (1 + R,)
    """

    n: int
    fusion: Array
    alone: Array


def rows_with_both(scored: Scored, most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Choose posts that were scored from caption and picture.

    Args:
        scored: What the student said of the fold.
        most: How many to choose at most.
        rng: Where the randomness comes from.

    Returns:
        Their positions in the fold, ascending.
    """
    rows = np.flatnonzero([group == _BOTH for group in scored.groups])
    return np.sort(rng.permutation(rows)[:most])


def check_branches(
    bench: Bench,
    scorer: Scorer,
    scored: Scored,
    dealt: Mapping[str, Mapping[int, PostInput]],
    metric: str,
) -> dict[str, Shuffled]:
    """See what a student makes of posts of which one branch was shuffled.

    Args:
        bench: The test fold and its draws.
        scorer: The student, as it ships.
        scored: What it said of the fold.
        dealt: By branch what `deal` made of the posts, by position in the fold.
        metric: The main metric.

    Returns:
        By branch.
    """
    main = bench.axes[0].name
    found = {}
    for branch, posts in dealt.items():
        said = _say(bench, scorer, posts)
        intact = scored.by_axis[main].only(said.is_scored)
        found[branch] = Shuffled(
            n=int(said.is_scored.sum()),
            intact=bench.measure_axis(0, intact)[metric],
            shuffled=bench.measure_axis(0, said)[metric],
        )
    return found


def check_missing(
    bench: Bench,
    scorer: Scorer,
    alone: Mapping[str, Scored],
    posts: Mapping[int, PostInput],
    metric: str,
) -> dict[str, Missing]:
    """See what a student makes of posts without one branch, beside the student trained for that.

    Args:
        bench: The test fold and its draws.
        scorer: The fusion student, as it ships.
        alone: What the students of one modality said of the fold, by modality.
        posts: Posts with both, by position in the fold.
        metric: The main metric.

    Returns:
        By the branch that was taken away; without those for which there is no other student.
    """
    main = bench.axes[0].name
    found = {}
    for branch in BRANCHES:
        if ALONE[branch] not in alone:
            continue
        taken = {row: _without(post, branch) for row, post in posts.items()}
        said, other = _say(bench, scorer, taken), alone[ALONE[branch]].by_axis[main]
        said = said.only(other.is_scored)
        found[branch] = Missing(
            n=int(said.is_scored.sum()),
            fusion=bench.measure_axis(0, said)[metric],
            alone=bench.measure_axis(0, other.only(said.is_scored))[metric],
        )
    return found


def deal(
    posts: Mapping[int, PostInput], branch: str, rng: np.random.Generator
) -> dict[int, PostInput]:
    """Give every post the picture or the caption of another one.

    Args:
        posts: Posts with both, by position in the fold.
        branch: `image` or `caption`.
        rng: Where the randomness comes from.

    Returns:
        The posts with one branch dealt out anew; with two posts or more none keeps its own.
    """
    order = rng.permutation(sorted(posts)).tolist()
    donors = {
        row: posts[donor] for row, donor in zip(order, [*order[-1:], *order[:-1]], strict=True)
    }
    if branch == "image":
        return {row: replace(posts[row], images=donors[row].images) for row in sorted(posts)}
    return {row: replace(posts[row], caption=donors[row].caption) for row in sorted(posts)}


def _without(post: PostInput, branch: str) -> PostInput:
    return replace(post, images=()) if branch == "image" else replace(post, caption="")


def _say(bench: Bench, scorer: Scorer, posts: Mapping[int, PostInput]) -> Predictions:
    """Score posts, by position in the fold, and lay the main axis out over the whole fold."""
    inputs: Sequence[PostInput] = list(posts.values())
    results = [
        result
        for start in range(0, len(inputs), BATCH_SIZE)
        for result in scorer.score(inputs[start : start + BATCH_SIZE])
    ]
    said = predictions_of(results, bench.axes[0].name)
    spread = np.full((3, len(bench.fold)), np.nan)
    spread[:, np.array(list(posts), np.intp)] = said.values, said.lo, said.hi
    return Predictions(*spread)
