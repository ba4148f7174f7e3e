"""Gender words that are swapped, and captions that are left unchanged."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.conftest import ROOT

from postbias.errors import InputError
from postbias.evaluation.word_swaps import load_word_pairs

PAIRS = load_word_pairs(ROOT / "rubrics" / "gender_words.csv")


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("en", "Gentlemen, HE did his best", "Ladies, SHE did her best"),
        ("en", "Dad's day #dad", "Mom's day #mom"),
        ("es", "Las mujeres deben", "Los hombres deben"),
        ("de", "Der Mann und die Frau", "Die Frau und der Mann"),
        ("fr", "L'homme est là", "La femme est là"),
        ("fr", "LA FEMME", "L'HOMME"),
        ("fr", "Il dort chez elle", "Elle dort chez lui"),
        ("es", "La vida de la mujer y del hombre", "La vida del hombre y de la mujer"),
        ("de", "Junge Frauen, zur Mutter", "Junge Männer, zum Vater"),
        ("it", "L'uomo e un'amica", "La donna e un amico"),
        ("pt", "As mulheres dele e o filho da minha mãe", "Os homens dela e a filha do meu pai"),
        ("zh", "他和女朋友去看电影", "她和男朋友去看电影"),
        ("zh", "外孙女的妈妈", "外孙子的爸爸"),
        ("en", "He\u2019s here", "She\u2019s here"),
    ],
)
def test_words_and_their_articles_are_swapped_with_their_capitals(
    language: str, before: str, after: str
) -> None:
    swapped = PAIRS[language].swap(before)
    assert swapped is not None
    assert swapped.text == after


@pytest.mark.parametrize(
    "caption", ["", "no gendered word", "@king of nothing", "human boycott", "hE came"]
)
def test_captions_whose_swap_cannot_be_undone_are_left_unchanged(caption: str) -> None:
    assert PAIRS["en"].swap(caption) is None


@pytest.mark.parametrize(
    ("language", "caption"),
    [
        ("fr", "S'il vous plaît, il faut rire"),
        ("fr", "s\u2019il vous plaît"),
        ("de", "Die Rolle der Frau, für den Mann"),
        ("es", "Feliz noche de reyes, una obra maestra"),
        ("it", "Mamma mia"),
        ("pt", "Uma obra-prima"),
        ("zh", "弹吉他的其他人"),
        ("zh", "@女人帮"),
        ("pt", "elementar"),  # begins with `ele`
        ("it", "luird"),
    ],
)
def test_protected_words_parts_of_words_and_mentions_are_left_unchanged(
    language: str, caption: str
) -> None:
    assert PAIRS[language].swap(caption) is None


def test_the_longest_word_that_fits_is_swapped_where_nothing_separates_words() -> None:
    swapped = [PAIRS["zh"].swap(caption) for caption in ("老太太", "我太太", "男子汉和男子")]
    assert [found and found.text for found in swapped] == ["老先生", "我先生", "女汉子和女子"]


def test_a_protected_word_is_not_counted() -> None:
    swapped = PAIRS["fr"].swap("il faut une femme")
    assert swapped is not None
    assert (swapped.text, swapped.to_feminine, swapped.to_masculine) == ("il faut un homme", 0, 1)


def test_there_are_lists_for_seven_languages_and_no_pair_is_listed_in_two_ways() -> None:
    with (ROOT / "rubrics" / "gender_words.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for language in ("de", "en", "es", "fr", "it", "pt", "zh"):
        pairs = [{row["masculine"], row["feminine"]} for row in rows if row["language"] == language]
        words = [word for pair in pairs for word in pair]
        assert len(words) == len(set(words)), language
        n_swapped = sum(len(pair) == 2 for pair in pairs)
        assert n_swapped >= 60, language
        assert len(PAIRS[language].masculine) == n_swapped


def test_a_swap_that_cannot_be_undone_is_not_made() -> None:
    assert PAIRS["es"].swap("los mujeres") is None


def test_the_direction_is_that_of_the_majority_of_words() -> None:
    pairs = PAIRS["en"]
    directions = [pairs.swap(text) for text in ("man boy girl", "woman girl boy", "man woman")]
    assert [swapped and swapped.direction for swapped in directions] == [1, -1, 0]


def test_a_file_with_no_rows_swaps_nothing(tmp_path: Path) -> None:
    file = tmp_path / "none.csv"
    file.write_text("language,masculine,feminine\n")
    assert load_word_pairs(file) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "does not have the columns of word pairs"),
        (
            "language,masculine,feminine\nen,man,woman\nen,guy,woman\n",
            "line 3.*already has a partner",
        ),
        (
            "language,masculine,feminine\nen,man,woman\nen,woman,man\n",
            "line 3.*already has a partner",
        ),
        (
            "language,masculine,feminine\nen,man,man\nen,man,woman\n",
            "line 3.*already has a partner",
        ),
        ("language,masculine,feminine\nen,man,\n", "line 2: a word is missing"),
        ("language,masculine,feminine\nen,man\n", "line 2: a word is missing"),
        (None, "cannot read the word pairs.*evaluate.audit.word_pairs"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_the_fault_and_line(
    tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "pairs.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_word_pairs(file)


def test_a_word_may_have_another_partner_in_another_language(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("language,masculine,feminine\nde,papa,mama\nit,papa,papessa\n")
    assert set(load_word_pairs(file)) == {"de", "it"}
