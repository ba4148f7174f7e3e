"""For any posts: each has one fold, groups stay whole, and added posts move no old ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from postbias.params import FoldShares, Params, load_params
from postbias.posts.captions import make_shingles
from postbias.posts.duplicates import PostFeatures, jaccard_similarity
from postbias.posts.schema import EXCLUDED, FOLDS
from postbias.posts.split import split_posts

SHARES = FoldShares(train=0.4, valid=0.2, calib=0.2, test=0.2)
Posts = dict[str, tuple[str, str]]  # post id to author and caption

POSTS = st.dictionaries(
    st.integers(0, 10**6).map(str),
    st.tuples(
        st.integers(0, 40).map(str),
        st.one_of(st.just(""), st.text("ab", min_size=4, max_size=12), st.text(max_size=30)),
    ),
    min_size=1,
    max_size=40,
)


def params() -> Params:
    settings = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
    changed = settings.split.model_copy(update={"shares": SHARES, "caption_similarity": 0.6})
    return settings.model_copy(update={"seed": 7, "split": changed})


SETTINGS = params()


def features_of(posts: Posts) -> PostFeatures:
    return PostFeatures(
        authors=tuple(author for author, _ in posts.values()),
        captions=tuple(make_shingles(caption) for _, caption in posts.values()),
        image_post=np.array([], dtype=np.int64),
        hashes=np.array([], dtype=np.uint64),
        colours=np.zeros((0, 48), dtype=np.float32),
        shapes=np.zeros((0, 256), dtype=np.float32),
        unreadable=0,
    )


def fold_of(posts: Posts, given_folds: np.ndarray | None = None) -> dict[str, str]:
    folds = split_posts(list(posts), features_of(posts), SETTINGS, given_folds).folds
    return dict(zip(posts, folds.tolist(), strict=True))


def brute_force_groups(posts: Posts) -> list[set[str]]:
    """Group posts that share an author or have similar captions, transitively."""
    shingles = {k: make_shingles(caption) for k, (_, caption) in posts.items()}
    groups: list[set[str]] = []
    for k, (author, _) in posts.items():
        mine = {k}
        for group in list(groups):
            if any(
                posts[o][0] == author
                or (
                    shingles[o]
                    and shingles[k]
                    and jaccard_similarity(shingles[o], shingles[k]) >= 0.6
                )
                for o in group
            ):
                mine |= group
                groups.remove(group)
        groups.append(mine)
    return groups


@settings(deadline=None, max_examples=100)
@given(POSTS)
def test_each_group_is_in_exactly_one_fold(posts: Posts) -> None:
    folds = fold_of(posts)
    assert folds.keys() == posts.keys()
    assert set(folds.values()) <= set(FOLDS)
    for group in brute_force_groups(posts):
        assert len({folds[k] for k in group}) == 1


@settings(deadline=None, max_examples=100)
@given(POSTS, st.randoms(use_true_random=False))
def test_the_order_of_posts_has_no_effect(posts: Posts, random: object) -> None:
    order = list(posts)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert fold_of({k: posts[k] for k in order}) == fold_of(posts)


@settings(deadline=None, max_examples=100)
@given(POSTS, POSTS)
def test_added_posts_do_not_change_the_fold_of_a_post_unless_they_merge_its_group_with_another(
    posts: Posts, added: Posts
) -> None:
    more = posts | {f"{k}n": post for k, post in added.items()}
    # Groups larger than their fold are the documented exception.
    assume(all(len(g) <= 0.2 * len(posts) for g in brute_force_groups(posts)))
    before, after = fold_of(posts), fold_of(more)
    for group in brute_force_groups(more):
        if len(group) > 0.2 * len(more) or len({more[k][0] for k in group}) > len(
            {posts[k][0] for k in group if k in posts}
        ):
            continue  # too large, or merged with an author of another group or a new one
        for k in group & posts.keys():
            olds = [g for g in brute_force_groups(posts) if g <= group]
            if len(olds) == 1:
                assert after[k] == before[k]


@settings(deadline=None, max_examples=100)
@given(POSTS, st.randoms(use_true_random=False))
def test_given_folds_lose_no_test_post_and_leak_nothing(posts: Posts, random: object) -> None:
    given_folds = np.array(
        [random.choice(["train", "valid", "test"]) for _ in posts],  # type: ignore[attr-defined]
        dtype=object,
    )
    folds = fold_of(posts, given_folds)
    for (k, fold), was in zip(folds.items(), given_folds, strict=True):
        assert (fold == "test") == (was == "test"), k
        assert fold in {was, EXCLUDED} or (was != "test" and fold in {"valid", "calib"})
    for group in brute_force_groups(posts):
        assert len({folds[k] for k in group} - {EXCLUDED}) == 1
