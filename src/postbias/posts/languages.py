"""Identify the language of captions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

#: Returned for captions that are empty, too short or mixed.
UNKNOWN = "unknown"

# Below this probability the identifier is guessing: a short caption fits many languages.
_MIN_PROBABILITY = 0.9


def identify_languages(captions: Sequence[str]) -> list[str]:
    """Identify the language of each caption; deterministic.

    Returns:
        ISO 639-1 codes; `unknown` for captions that are empty, too short or mixed.
    """
    identifier = _load_identifier()
    guesses = [identifier.classify(caption) for caption in captions]
    return [
        str(language) if caption.strip() and probability >= _MIN_PROBABILITY else UNKNOWN
        for caption, (language, probability) in zip(captions, guesses, strict=True)
    ]


@cache
def _load_identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    """Load the model once: it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
