"""Identify the language of captions."""

from __future__ import annotations

from collections.abc import Sequence

from postbias.posts.language_model import load_language_model

#: Returned for captions that are empty, too short or mixed.
UNKNOWN = "unknown"

# Below this probability the identifier is guessing: a short caption fits many languages.
_MIN_PROBABILITY = 0.9


def identify_languages(captions: Sequence[str]) -> list[str]:
    """Identify the language of each caption; deterministic.

    Returns:
        ISO 639-1 codes; `unknown` for captions that are empty, too short or mixed.
    """
    codes, probabilities = load_language_model().classify(captions)
    is_known = (probabilities >= _MIN_PROBABILITY).tolist()
    return [
        str(code) if sure and caption.strip() else UNKNOWN
        for caption, code, sure in zip(captions, codes.tolist(), is_known, strict=True)
    ]
