"""Catalogues are complete and agree with the code, and no text of a template escapes them."""

from __future__ import annotations

import importlib.util
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from tests.conftest import ROOT

from postbias.evaluation.results_table import MODEL_NAMES
from postbias.localisation.messages import (
    CATALOGUES,
    LANGUAGES,
    gettext,
    join_sentences,
    list_translations,
    ngettext,
    use_language,
)
from postbias.localisation.number_formats import (
    format_count,
    format_day,
    format_fixed,
    format_period,
    format_share,
    format_usd,
    name_language,
)
from postbias.posts.authorship import describe_authors, describe_missing_authors
from postbias.report import wording
from postbias.report.author_wording import warn_of_missing_authors, word_authors
from postbias.report.wording import describe_gate_line, model_title, slice_title

PACKAGE = ROOT / "src" / "postbias"
TEMPLATES = sorted(PACKAGE.glob("*/templates/*.html.j2"))
# The page without a server is copied without the catalogues, and is in English only.
SCRIPTS = [
    path
    for path in sorted((PACKAGE / "app" / "static").rglob("*.js"))
    if path.parent.name != "offline"
]
OTHERS = [language for language in LANGUAGES if language != "en"]


def _load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_messages", ROOT / "docs" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def _read(language: str) -> Catalog:
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def _forms(text: str | tuple[str, ...] | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _messages(language: str) -> Iterator[Message]:
    return (message for message in _read(language) if message.id)


def test_there_is_one_catalogue_per_language() -> None:
    assert sorted(path.stem for path in CATALOGUES.iterdir()) == sorted(OTHERS)


def test_the_catalogues_have_exactly_the_messages_of_the_code() -> None:
    assert _load_tool().stale_catalogues() == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated_and_checked(language: str) -> None:
    messages = list(_messages(language))
    assert len(messages) > 400
    assert [m.id for m in messages if m.fuzzy or not all(_forms(m.string))] == []


def _placeholders(text: str) -> set[str]:
    named = set(re.findall(r"%\((\w+)\)s", text))
    return named | {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_placeholders_of_their_messages(language: str) -> None:
    wrong = {}
    for message in _messages(language):
        expected = set().union(*map(_placeholders, _forms(message.id)))
        for form in _forms(message.string):
            if _placeholders(form) != expected:
                wrong[form] = expected
    assert wrong == {}


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_tags_and_percent_signs_of_their_messages(language: str) -> None:
    def marks(text: str) -> list[str]:
        return sorted(re.findall(r"</?\w+(?: [^>]*)?>|%%", text))

    wrong = [
        form
        for message in _messages(language)
        for form in _forms(message.string)
        if marks(form) != marks(_forms(message.id)[-1])
    ]
    assert wrong == []


def test_chinese_text_uses_chinese_punctuation_and_spaces_around_words_of_other_scripts() -> None:
    han = "[\u4e00-\u9fff]"
    wrong = [
        form
        for message in _messages("zh")
        for form in _forms(message.string)
        if re.search(rf"{han}[,;:?!.](?!\w)|{han}\w*[A-Za-z0-9]|[A-Za-z0-9]{han}", _plain(form))
    ]
    assert wrong == []


def _plain(text: str) -> str:
    """Remove tags and placeholders, which a space may or may not surround."""
    return re.sub(r"<[^>]*>|%\(\w+\)s|\{\w+\}|%%", "", text)


def _untranslated(template: str) -> list[str]:
    """List the words between the tags of a template that no message contains."""
    text = re.sub(r"\{% trans.*?endtrans %\}", "", template, flags=re.DOTALL)
    # What needs no translation: code, and the names of attributes inside of statements.
    text = re.sub(r"<code>.*?</code>|\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"<style>.*?</style>|<!doctype[^>]*>", "", text, flags=re.DOTALL)
    spoken = re.findall(r'(?:aria-label|alt|title)="([^"{]*[A-Za-z]{2}[^"{]*)"', text)
    expressions = re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text)
    for expression in expressions:
        bare = re.sub(r'(?:_|ngettext)\((?:"[^"]*"(?:, )?)+', "", expression)
        spoken += re.findall(r'"([A-Za-z]+ [^"]*)"', bare)
        text = text.replace(expression, "")
    return spoken + [t for t in re.findall(r">([^<>]*)<", text) if re.search(r"[A-Za-z]{2}", t)]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_the_pages_template_is_a_message(path: Path) -> None:
    # Commands, the name of a hash and of a key, and what is called so in every language.
    names = r"git (?:log|checkout) |\(sha256\)|^(?:Backspace|postbias| · postbias)$"
    commands = re.compile(names)
    found = [t for t in _untranslated(path.read_text("utf-8")) if not commands.search(t)]
    assert found == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_text_of_the_scripts_is_a_message(path: Path) -> None:
    text = re.sub(r"//.*", "", path.read_text("utf-8"))
    literals = re.findall(r'(?<!_\()(["`])((?:(?!\1).)*)\1', text)
    spoken = [
        text for _, text in literals if re.search(r"^[A-Z][a-z]+ [a-z]|[a-z] [a-z]+[.!?]", text)
    ]
    assert spoken == []


def test_text_outside_of_messages_is_found() -> None:
    template = '<p title="Some title">{{ _("A message") }} and text</p>{{ "two words" if x }}'
    assert _untranslated(template) == ["Some title", "two words", " and text"]


def test_a_language_is_used_within_its_block_only() -> None:
    with use_language("zh"):
        assert gettext("Brand") == "品牌"
        with use_language("en"):
            assert gettext("Brand") == "Brand"
        assert ngettext("{n} author", "{n} authors", 1) == "{n} 位作者"
        assert gettext("A text without a translation.") == "A text without a translation."
        assert join_sentences(["一。", "", "二。"]) == "一。二。"
    assert gettext("Brand") == "Brand"
    assert ngettext("{n} author", "{n} authors", 2) == "{n} authors"
    assert join_sentences(["One.", "", "Two."]) == "One. Two."


def test_names_in_reports_of_other_stages_are_translated() -> None:
    with use_language("zh"):
        same = [name for name in MODEL_NAMES if model_title(name) == MODEL_NAMES[name]]
    assert same == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_name_of_the_wording_is_marked_and_translated(language: str) -> None:
    tables = [
        value
        for name, value in vars(wording).items()
        if isinstance(value, dict) and not name.startswith("__")
    ]
    named = [text for table in tables for text in table.values() if isinstance(text, str)]
    assert len(named) > 50
    translated = list_translations(language)
    assert [text for text in named if text not in translated] == []


def test_gate_lines_and_slices_of_the_committed_run_have_chinese_names() -> None:
    run = json.loads((ROOT / "reports" / "evaluate.json").read_text("utf-8"))
    with use_language("zh"):
        names = [describe_gate_line(name) for name in run["gate"]]
        names += [slice_title(dimension) for dimension in run["slices"][run["chosen"]]]
    assert len(names) > 10
    assert [name for name in names if not re.search("[\u4e00-\u9fff]", name)] == []


@pytest.mark.parametrize("counts", [(1, 0), (1200, 0), (0, 1), (0, 766), (2, 3), (0, 0)])
def test_english_counts_of_authors_are_those_of_the_terminal(counts: tuple[int, int]) -> None:
    report = {"test_authors": counts[0], "test_posts_without_author": counts[1]}
    assert word_authors(report, "test_") == describe_authors(report, "test_")
    assert warn_of_missing_authors(report, "test_") == describe_missing_authors(report, "test_")


def test_numbers_and_dates_are_those_of_the_language() -> None:
    def formatted() -> list[str]:
        return [
            format_fixed(-0.005, 1), format_fixed(2.675, 2), format_share(0.0123, 1),
            format_count(1234567), format_usd(1234.5), format_usd(0.00125, 4),
            format_day("2025-01-31"), format_period("2025-03"), format_period("2024 Q2"),
            format_period("2024"), name_language("es"), name_language("xx"),
        ]  # fmt: skip

    assert formatted() == [
        "0.0", "2.67", "1.2%", "1,234,567", "$1,234.50", "$0.0013",
        "2025-01-31", "2025-03", "2024 Q2", "2024", "Spanish", "xx",
    ]  # fmt: skip
    with use_language("zh"):
        assert formatted() == [
            "0.0", "2.67", "1.2%", "1,234,567", "US$1,234.50", "US$0.0013",
            "2025年1月31日", "2025年3月", "2024年第2季度", "2024年", "西班牙语", "xx",
        ]  # fmt: skip
