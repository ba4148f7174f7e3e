"""Shuffling of images and captions among posts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from postbias.evaluation.ablation import INPUTS, sample_posts_with_both, shuffle_input
from postbias.evaluation.labelled_folds import FoldPredictions
from postbias.scoring.scorer import PostInput


@given(n=st.integers(2, 40), seed=st.integers(0, 2**32 - 1), name=st.sampled_from(INPUTS))
def test_every_post_gets_the_input_of_another_post_and_keeps_its_other_input(
    n: int, seed: int, name: str
) -> None:
    posts = {3 * i: PostInput(f"caption {i}", (bytes([i]),)) for i in range(n)}
    shuffled = shuffle_input(posts, name, np.random.default_rng(seed))
    assert list(shuffled) == list(posts)
    for row, post in posts.items():
        changed, kept = ("images", "caption") if name == "image" else ("caption", "images")
        assert getattr(shuffled[row], kept) == getattr(post, kept)
        assert getattr(shuffled[row], changed) != getattr(post, changed)
    assert sorted(post.caption for post in shuffled.values()) == sorted(
        post.caption for post in posts.values()
    )


def test_no_post_and_a_single_post_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    assert shuffle_input({}, "image", rng) == {}
    single = {7: PostInput("caption", (b"x",))}
    assert shuffle_input(single, "caption", rng) == single


def test_only_posts_scored_from_both_are_sampled_and_no_more_than_the_maximum() -> None:
    groups = ("image+text", "text", None, "image", "image+text", "image+text")
    predictions = FoldPredictions({}, {}, groups)
    rng = np.random.default_rng(0)
    assert sample_posts_with_both(predictions, 9, rng).tolist() == [0, 4, 5]
    two = sample_posts_with_both(predictions, 2, rng).tolist()
    assert len(two) == 2
    assert set(two) < {0, 4, 5}
    assert two == sorted(two)
