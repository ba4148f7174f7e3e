"""Dealing pictures and captions out anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from postbias.evaluation.ablation import BRANCHES, deal, rows_with_both
from postbias.evaluation.labelled_folds import Scored
from postbias.scoring.scorer import PostInput


@given(n=st.integers(2, 40), seed=st.integers(0, 2**32 - 1), branch=st.sampled_from(BRANCHES))
def test_every_post_gets_another_ones_branch_and_keeps_the_other(
    n: int, seed: int, branch: str
) -> None:
    posts = {3 * i: PostInput(f"caption {i}", (bytes([i]),)) for i in range(n)}
    dealt = deal(posts, branch, np.random.default_rng(seed))
    assert list(dealt) == list(posts)
    for row, post in posts.items():
        changed, kept = ("images", "caption") if branch == "image" else ("caption", "images")
        assert getattr(dealt[row], kept) == getattr(post, kept)
        assert getattr(dealt[row], changed) != getattr(post, changed)
    assert sorted(one.caption for one in dealt.values()) == sorted(
        one.caption for one in posts.values()
    )


def test_nothing_and_a_single_post_are_dealt_as_they_are() -> None:
    rng = np.random.default_rng(0)
    assert deal({}, "image", rng) == {}
    one = {7: PostInput("caption", (b"x",))}
    assert deal(one, "caption", rng) == one


def test_only_posts_scored_from_both_are_chosen_and_no_more_than_asked_for() -> None:
    groups = ("image+text", "text", None, "image", "image+text", "image+text")
    scored = Scored({}, {}, groups)
    rng = np.random.default_rng(0)
    assert rows_with_both(scored, 9, rng).tolist() == [0, 4, 5]
    two = rows_with_both(scored, 2, rng).tolist()
    assert len(two) == 2
    assert set(two) < {0, 4, 5}
    assert two == sorted(two)
