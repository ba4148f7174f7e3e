"""Explanations of any post: exact sums, words that divide the text, no effect of no change."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

from postbias.explanation.explain import MAX_CALLS, explain_post
from postbias.explanation.image_regions import Region, fill_regions
from postbias.explanation.post_variants import Variant, VariantScorer, read_post_parts
from postbias.explanation.text_spans import (
    PLACEHOLDER,
    mask_spans,
    split_phrases,
    split_words,
)
from postbias.scoring.scorer import PostInput, Scorer

_RNG = np.random.default_rng(0)
_IMAGES = [*(jpeg(_RNG) for _ in range(4)), b"", b"not an image"]

texts = st.one_of(
    st.text(max_size=120),
    st.text("ab c.d'#@\n", max_size=300),
    st.text("女は料理 がة مرأ👩\u200d✨é", max_size=120),
)
posts = st.builds(PostInput, texts, st.lists(st.sampled_from(_IMAGES), max_size=5).map(tuple))
quick = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=["fusion", "text", "image"])
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder: Path = tmp_path_factory.mktemp("student") / "artifact"
    write_tiny_artifact(folder, request.param)
    return Scorer.open(folder, threads=2)


@quick
@given(post=posts)
def test_shares_sum_to_the_score_minus_the_empty_baseline(scorer: Scorer, post: PostInput) -> None:
    explanation = explain_post(scorer, post)
    assert explanation.n_calls <= MAX_CALLS
    if explanation.shares is None:
        assert not explanation.is_scored
        return
    shares, score = explanation.shares, explanation.score.scores["bias"].value
    assert shares.baseline + shares.caption + shares.image == pytest.approx(score, abs=1e-5)
    if explanation.score.modalities == "text":
        assert shares.image == pytest.approx(0, abs=1e-6)
    if explanation.score.modalities == "image":
        assert shares.caption == pytest.approx(0, abs=1e-6)


@quick
@given(post=posts)
def test_occluding_nothing_changes_nothing(scorer: Scorer, post: PostInput) -> None:
    (score,) = scorer.score([post])
    if score.status != "ok":
        return
    read = read_post_parts(scorer, post)
    variants = VariantScorer(scorer, read)
    empty = Region(3, 3, 3, 3)
    nothing_filled = Variant(
        mask_spans(read.text, []), tuple((i, (empty,)) for i, _ in read.whole.images)
    )
    for row in variants.score([read.whole, nothing_filled]):
        for column, axis in enumerate(scorer.manifest.axes):
            clipped = min(max(float(row[column]), axis.low), axis.high)
            assert clipped == score.scores[axis.name].value


@quick
@given(text=texts, most=st.integers(1, 12))
def test_words_and_phrases_divide_a_text(text: str, most: int) -> None:
    words = split_words(text)
    assert all(text[a:b].strip() == text[a:b] != "" for a, b in words)
    assert all(one.end <= two.start for one, two in pairwise(words))
    assert bool(words) == bool(text.strip())
    phrases = split_phrases(text, words, most)
    assert [i for phrase in phrases for i in phrase] == list(range(len(words)))
    assert len(phrases) <= most
    assert all(phrases)


@quick
@given(text=texts, data=st.data())
def test_what_is_not_masked_stays(text: str, data: st.DataObject) -> None:
    words = split_words(text)
    masked = data.draw(st.sets(st.sampled_from(words))) if words else set()
    rest = mask_spans(text, masked)
    assert len(rest) == len(text) + sum(len(PLACEHOLDER) - (b - a) for a, b in masked)
    shift = 0
    for word in words:
        start = word.start + shift
        if word in masked:
            assert rest.startswith(PLACEHOLDER, start)
            shift += len(PLACEHOLDER) - (word.end - word.start)
        else:
            assert rest.startswith(text[word.start : word.end], start)
    if not masked:
        assert rest == text


@quick
@given(side=st.integers(1, 40), n=st.integers(1, 6))
def test_a_grid_covers_every_pixel_once(side: int, n: int) -> None:
    counts = np.zeros((side, side), np.int64)
    for left, top, right, bottom in Region(0, 0, side, side).divide(n):
        counts[top:bottom, left:right] += 1
    assert (counts == 1).all()


def test_filling_changes_the_region_only() -> None:
    pixels = _RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8)
    filled = fill_regions(pixels, np.full_like(pixels, 7), [Region(2, 1, 5, 4)])
    inside = np.zeros((8, 8), bool)
    inside[1:4, 2:5] = True
    assert (filled[inside] == 7).all()
    assert (filled[~inside] == pixels[~inside]).all()
