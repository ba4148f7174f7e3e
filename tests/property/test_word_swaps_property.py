"""Swapping gender words twice restores any caption."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT

from postbias.evaluation.word_swaps import load_word_pairs

PAIRS = load_word_pairs(ROOT / "rubrics" / "gender_words.csv")
WORDS = [word for pairs in PAIRS.values() for word in pairs.partner]
ARTICLES = [
    "los",
    "las",
    "el",
    "la",
    "der",
    "die",
    "das",
    "mein",
    "l'",
    "un",
    "une",
    "il",
    "o",
    "a",
]
PARTS = ["s'il", "l\u2019", "其", "吉他", "女", "们", "@", "la obra", "faut"]
UNSEPARATED = {"zh"}

pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS).map(str.title),
    st.sampled_from(WORDS).map(str.upper),
    st.sampled_from(WORDS).map(str.swapcase),
    st.sampled_from([*ARTICLES, *PARTS]),
    st.text(max_size=4),
)
captions = st.lists(pieces, max_size=8).flatmap(
    lambda words: st.sampled_from([" ", ", ", "\n", "", "'s "]).map(lambda gap: gap.join(words))
)


@pytest.mark.parametrize("language", sorted(PAIRS))
@settings(max_examples=150, deadline=None)
@given(caption=captions)
def test_a_swap_is_undone_by_swapping_again(language: str, caption: str) -> None:
    swapped = PAIRS[language].swap(caption)
    if swapped is None:
        return
    back = PAIRS[language].swap(swapped.text)
    assert back is not None
    assert back.text == caption
    assert (back.to_feminine, back.to_masculine) == (swapped.to_masculine, swapped.to_feminine)
    assert back.direction == -swapped.direction


@pytest.mark.parametrize("language", sorted(PAIRS))
@settings(max_examples=150, deadline=None)
@given(caption=captions)
def test_text_between_swapped_words_and_the_case_of_letters_are_kept(
    language: str, caption: str
) -> None:
    pairs = PAIRS[language]
    swapped = pairs.swap(caption)
    if swapped is None:
        return
    kept = [pairs.pattern.sub("\0", text) for text in (caption, swapped.text)]
    assert kept[0] == kept[1]
    for before, after in zip(
        pairs.pattern.findall(caption), pairs.pattern.findall(swapped.text), strict=True
    ):
        assert before[:1].isupper() == after[:1].isupper()
        if len(before) > 1 and before.isupper():
            assert after.isupper()


@pytest.mark.parametrize("language", sorted(set(PAIRS) - UNSEPARATED))
@settings(max_examples=100, deadline=None)
@given(data=st.data(), letter=st.sampled_from("aéßжx1_"))
def test_a_word_within_a_longer_word_is_not_swapped(
    language: str, data: st.DataObject, letter: str
) -> None:
    pairs = PAIRS[language]
    single = sorted(word for word in pairs.partner if word.isalpha())
    word = data.draw(st.sampled_from(single))
    for longer in (f"{letter}{word}", f"{word}{letter}"):
        if longer not in pairs.partner:
            assert pairs.swap(f"({longer})") is None


@pytest.mark.parametrize("language", sorted(PAIRS))
def test_every_word_in_the_file_is_swapped_with_its_partner_in_any_case(language: str) -> None:
    pairs = PAIRS[language]
    for masculine in pairs.masculine:
        feminine = pairs.partner[masculine]
        for write in (str, str.upper, lambda text: text[0].upper() + text[1:]):
            if write(masculine + feminine).lower() != masculine + feminine:
                continue  # the capital of the sharp s is written with two letters
            swapped = pairs.swap(f"x {write(masculine)}.")
            assert swapped is not None, masculine
            assert swapped.text == f"x {write(feminine)}."
            assert (swapped.to_feminine, swapped.direction) == (1, 1)
            assert pairs.swap(swapped.text).text == f"x {write(masculine)}."  # type: ignore[union-attr]
