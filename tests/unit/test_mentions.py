"""Brands are found exactly where they are mentioned."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import ROOT

from postbias.demo.ground_truth import BRANDS
from postbias.errors import InputError
from postbias.population import brand_mentions
from postbias.population.brand_mentions import (
    find_brand_posts,
    find_frequent_accounts,
    normalize_name,
    read_brands,
)

_ALIASES = {"casalume": "Casa Lume", "mirabelle": "Mirabelle", "mirabelleco": "Mirabelle"}


@pytest.mark.parametrize(
    "caption",
    [
        "with @casalume today",
        "#CasaLume",
        "my Casa Lume lamp",
        "CASA LUME!",
        "(casalume)",
        "thanks @casalume.",
        "感谢 @casalume的支持",
        "@mirabelle.co and @casalume",
    ],
)
def test_mentions_hashtags_and_words_are_found(caption: str) -> None:
    assert find_brand_posts([caption], _ALIASES, in_words=True)["Casa Lume"].tolist() == [True]


@pytest.mark.parametrize(
    "caption", ["casa de lume", "someone@casalume", "casalumen", "#casalumeshop", "", "casa"]
)
def test_similar_words_are_not_mentions(caption: str) -> None:
    assert find_brand_posts([caption], _ALIASES, in_words=True) == {}


def test_plain_words_count_only_if_requested() -> None:
    captions = ["Casa Lume lamp", "@casalume"]
    assert find_brand_posts(captions, _ALIASES, in_words=False)["Casa Lume"].tolist() == [
        False,
        True,
    ]


def test_words_that_are_not_remembered_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["a Casa Lume lamp", "no lamp", "Casa Lume", "casa, no lume"] * 2
    remembered = find_brand_posts(captions, _ALIASES, in_words=True)
    monkeypatch.setattr(brand_mentions, "_MAX_WORDS", 0)
    for found in (remembered, find_brand_posts(captions, _ALIASES, in_words=True)):
        assert found["Casa Lume"].tolist() == [True, False, True, False] * 2


def test_a_post_counts_for_each_brand_that_it_mentions_and_brands_are_sorted_by_size() -> None:
    found = find_brand_posts(["@casalume @mirabelle", "@mirabelle.co"], _ALIASES, in_words=True)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "Mirabelle": [True, True],
        "Casa Lume": [True, False],
    }
    assert list(found) == ["Mirabelle", "Casa Lume"]


def test_the_shipped_table_contains_the_brands_of_the_demo() -> None:
    aliases = read_brands(ROOT / "brands" / "example.csv")
    assert {normalize_name(brand) for brand in BRANDS} <= aliases.keys()
    assert len(set(aliases.values())) == len(BRANDS)


def test_frequent_accounts_are_counted_by_post() -> None:
    captions = ["@A @a", "@a x@b.org", "@b.", "@B and @c"]
    assert find_frequent_accounts(captions, min_posts=2, max_accounts=9) == {"a": "@a", "b": "@b"}
    assert list(find_frequent_accounts(captions, min_posts=1, max_accounts=1)) == ["a"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("brand,alias\nA,a\n", "not a valid table of brands"),
        ("name,aliases\n", "no row"),
        ("name,aliases\n,a\n", "without a name"),
        ("name,aliases\nA,x\nB,X\n", "one alias to two brands"),
        ("name,aliases\nA,a,b,c\n", "not a valid table of brands"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "brands.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_brands(file)


def test_a_missing_table_names_the_parameter_to_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.brands"):
        read_brands(tmp_path / "none.csv")
