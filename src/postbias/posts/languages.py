"""Identify the language of captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

#: Returned for captions that are empty, too short or mixed.
UNKNOWN = "unknown"

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
    return [_identify(_NOT_WORDS.sub(" ", caption)) for caption in captions]


def _identify(text: str) -> str:
    if not any(map(str.isalpha, text)):
        return UNKNOWN
    identifier = _load_identifier()
    language, probability = identifier.classify(text)
    language = _VARIETY_OF.get(language, language)
    if probability < _MIN_PROBABILITY:
        total: Counter[str] = Counter()
        for code, share in identifier.rank(text):
            total[_VARIETY_OF.get(code, code)] += share
        ((language, probability),) = total.most_common(1)
    return str(language) if probability >= _MIN_PROBABILITY else UNKNOWN


@cache
def _load_identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    """Load the model once: it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
