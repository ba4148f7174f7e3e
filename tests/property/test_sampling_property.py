"""For any corpus: the sample does not depend on order, and little on added posts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from postbias.params import SampleParams
from postbias.posts.captions import normalise_caption
from postbias.posts.sampling import sample_posts
from postbias.posts.schema import POSTS
from postbias.posts.shards import list_shards, write_table

Post = tuple[str, str, bool | None]  # author, caption, sponsored

CORPUS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["", "x", "X ", "y", "z", "long caption", "w"]),
        st.sampled_from([True, False, None]),
    ),
    min_size=1,
    max_size=30,
)


def sampled(posts: dict[str, Post], order: list[str], params: SampleParams) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        half = len(order) // 2
        for i, ids in enumerate((order[:half], order[half:])):
            full = [
                dict.fromkeys(POSTS.names)
                | {"post_id": k, "images": [], "platform": "t", "source": "t"}
                | dict(zip(("author", "caption", "sponsored"), posts[k], strict=True))
                for k in ids
            ]
            table = pa.Table.from_pylist(full, schema=POSTS)
            write_table(table, Path(folder) / f"{i}.parquet", POSTS)
        return sample_posts(list_shards(Path(folder)), params, seed=9)[0]


@settings(deadline=None, max_examples=60)
@given(CORPUS, st.randoms(use_true_random=False), st.integers(3, 40), st.integers(1, 4))
def test_the_order_of_rows_and_shards_has_no_effect(
    corpus: list[Post], random: object, n: int, cap: int
) -> None:
    posts = {f"p{i}": post for i, post in enumerate(corpus)}
    params = SampleParams(n=n, method="simple", stratify_by=(), max_per_author=cap, imports=1)
    order = list(posts)
    first = sampled(posts, order, params)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert sampled(posts, order, params) == first


@st.composite
def _corpus_and_additions(draw: st.DrawFn) -> tuple[dict[str, Post], dict[str, Post], int]:
    """Draw a corpus, added posts that share no caption with it, and a smaller sample size."""
    corpus = {f"p{i}": post for i, post in enumerate(draw(CORPUS))}
    captions = st.sampled_from(["", "new", "New ", "newer", "newest"])
    post = st.tuples(st.sampled_from("abcdef"), captions, st.sampled_from([True, False, None]))
    added = draw(st.lists(post, min_size=1, max_size=30))
    return corpus, {f"q{i}": post for i, post in enumerate(added)}, draw(st.integers(1, 8))


@settings(deadline=None, max_examples=150)
@given(_corpus_and_additions())
def test_a_sampled_post_leaves_only_for_an_added_one(
    case: tuple[dict[str, Post], dict[str, Post], int],
) -> None:
    posts, added, n = case
    more = posts | added
    params = SampleParams(n=n, method="simple", stratify_by=(), max_per_author=None, imports=1)
    before = set(sampled(posts, list(posts), params)["post_id"].to_pylist())
    after = set(sampled(more, list(more), params)["post_id"].to_pylist())
    entered = after - before
    assert entered <= added.keys()  # no old post enters
    assert len(after) - len(before) == len(entered) - len(before - after)
    if len(before) == n:
        assert len(before - after) == len(entered)
    else:
        assert before <= after or len(after) == n  # no post leaves while the sample is not full


@settings(deadline=None, max_examples=100)
@given(CORPUS, CORPUS)
def test_an_added_post_never_makes_another_old_post_represent_its_caption(
    corpus: list[Post], added: list[Post]
) -> None:
    posts = {f"p{i}": post for i, post in enumerate(corpus)}
    new = {f"q{i}": post for i, post in enumerate(added)}
    more = posts | new
    params = SampleParams(n=None, method="simple", stratify_by=(), max_per_author=None, imports=1)
    before = set(sampled(posts, list(posts), params)["post_id"].to_pylist())
    after = set(sampled(more, list(more), params)["post_id"].to_pylist())
    assert after - before <= new.keys()
    normalised = {k: normalise_caption(caption) for k, (_, caption, _) in more.items()}
    for left in before - after:
        assert any(normalised[k] == normalised[left] for k in after & new.keys())


@settings(deadline=None, max_examples=60)
@given(CORPUS, st.integers(3, 40))
def test_without_cap_or_strata_the_weights_of_all_groups_sum_to_the_corpus(
    corpus: list[Post], n: int
) -> None:
    posts = {f"p{i}": post for i, post in enumerate(corpus)}
    params = SampleParams(n=None, method="simple", stratify_by=(), max_per_author=None, imports=1)
    table = sampled(posts, list(posts), params)
    assert sum(1 / p for p in table["probability"].to_pylist()) == len(posts)
    capped = params.model_copy(update={"n": n})
    drawn = sampled(posts, list(posts), capped)
    assert drawn.num_rows == min(n, table.num_rows)
