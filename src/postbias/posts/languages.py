"""Identify the language of captions."""

# Ships inside the registered model.

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from functools import cache

from postbias.posts.language_model import LanguageModel

#: Returned for captions that are empty, too short or mixed.
UNKNOWN = "unknown"

#: Group of the languages that have too few posts for a group of their own.
OTHER_LANGUAGES = "other"

# Parts of single sentences in eight languages, 2 to 60 letters: of those identified with at least
# this probability 0.3% are wrong (none of those with more than 10 letters), with 0.5 it is 1.9%.
_MIN_PROBABILITY = 0.7

# The identifier splits the probability of a short text between a language and its varieties.
_VARIETY_OF = {
    "ary": "ar", "arz": "ar", "nn": "no", "sdh": "ku", "uzs": "uz", "wuu": "zh", "yue": "zh",
}  # fmt: skip

# Addresses and mentions are in no language, and decide that of a short caption.
_NOT_WORDS = re.compile(r"https?://\S+|@[\w.]+")


def identify_languages(captions: Sequence[str]) -> list[str]:
    """Identify the language of each caption; deterministic.

    Returns:
        ISO 639-1 codes, for a few languages ISO 639-3; varieties of Arabic, Chinese and Norwegian
        count as these. `unknown` for captions that are empty, too short or mixed.
    """
    texts = [_NOT_WORDS.sub(" ", caption) for caption in captions]
    codes, probabilities = _load_model().classify(texts)
    is_known = (probabilities >= _MIN_PROBABILITY).tolist()
    return [
        str(code) if sure and any(map(str.isalpha, text)) else UNKNOWN
        for text, code, sure in zip(texts, codes.tolist(), is_known, strict=True)
    ]


def choose_language_group(language: str, groups: Container[str]) -> str | None:
    """Choose the group that a post in a language belongs to.

    Args:
        language: Result of `identify_languages`.
        groups: Languages that have a group of their own, and possibly `OTHER_LANGUAGES`.

    Returns:
        The language itself, `OTHER_LANGUAGES`, or None for a post that is in no group.
    """
    if language in groups:
        return language
    return OTHER_LANGUAGES if language != UNKNOWN and OTHER_LANGUAGES in groups else None


@cache
def _load_model() -> LanguageModel:
    return LanguageModel(_VARIETY_OF)
