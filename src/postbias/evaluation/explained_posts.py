"""The posts of the test fold whose explanations are tested, with the cues planted in the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.labelled_folds import LabelledFold, read_inputs
from postbias.evaluation.planted_cues import PlantedCues, read_planted_cues
from postbias.paths import Paths
from postbias.scoring.scorer import PostInput
from postbias.scoring.text_inputs import read_caption

#: Maximum number of posts; bounds time.
MAX_EXPLAINED_POSTS = 100


@dataclass(frozen=True, slots=True)
class ExplainedPosts:
    """Posts by row number in the test fold.

    Attributes:
        posts: The posts.
        planted: Their planted cues; empty unless the corpus is the demo.
    """

    posts: Mapping[int, PostInput]
    planted: Mapping[int, PlantedCues]


def draw_explained_posts(
    paths: Paths, fold: LabelledFold, rng: np.random.Generator
) -> ExplainedPosts:
    """Draw posts of a fold at random; all students are tested on the same."""
    rows = np.sort(rng.permutation(len(fold))[:MAX_EXPLAINED_POSTS])
    posts = dict(sorted(read_inputs(paths, fold, rows).items()))
    ids = [fold.post_ids[row] for row in posts]
    planted = read_planted_cues(paths, ids, [read_caption(post) for post in posts.values()])
    return ExplainedPosts(posts, {} if planted is None else dict(zip(posts, planted, strict=True)))
