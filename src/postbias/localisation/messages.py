"""Messages in the language in use: gettext with catalogues that are read as their source, `.po`.

A message is a whole sentence with named placeholders: languages order words differently, and a
sentence that is put together from parts cannot be translated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

#: Languages of the report and the pages; English is the language of the messages in the code.
LANGUAGES = ("en", "zh")
#: The value of the attribute `lang` of a page; fonts and line breaking depend on it.
HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}

CATALOGUES = Path(__file__).with_name("catalogues")

# Languages that write no space between sentences.
_UNSPACED = ("zh",)

_language: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Use a language for all messages, numbers and dates within a `with` block.

    Args:
        language: One of `LANGUAGES`.

    Yields:
        Nothing.
    """
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def current_language() -> str:
    """Return the language in use."""
    return _language.get()


def translatable(message: str) -> str:
    """Mark a message of a constant for extraction; it is translated where it is used."""
    return message


def gettext(message: str) -> str:
    """Translate a message; without a translation, it stays English."""
    return load_translations(_language.get()).gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """Translate a message that depends on a number."""
    return load_translations(_language.get()).ngettext(singular, plural, n)


def join_sentences(sentences: Sequence[str]) -> str:
    """Join sentences as the language in use does; empty ones are left out."""
    return sentence_space().join(filter(None, sentences))


def sentence_space() -> str:
    """Return what stands between two sentences in the language in use."""
    return "" if _language.get() in _UNSPACED else " "


@cache
def load_translations(language: str) -> NullTranslations:
    """Load the catalogue of a language.

    Args:
        language: One of `LANGUAGES`.

    Returns:
        Its translations; those of English return the messages as they are.
    """
    if language == "en":
        return NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.support import Translations

    compiled = BytesIO()
    write_mo(compiled, _read_catalogue(language))
    compiled.seek(0)
    return Translations(compiled)


@cache
def list_translations(language: str) -> dict[str, str]:
    """List the translation of each message that does not depend on a number.

    Args:
        language: One of `LANGUAGES`.

    Returns:
        Translations by message; empty for English.
    """
    if language == "en":
        return {}
    return {
        message.id: message.string
        for message in _read_catalogue(language)
        if message.id and isinstance(message.id, str) and isinstance(message.string, str)
    }


@cache
def _read_catalogue(language: str) -> Catalog:
    # Babel reads catalogues as translators write them, so that no compiled copy can be stale.
    from babel.messages.pofile import read_po

    with (CATALOGUES / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)
