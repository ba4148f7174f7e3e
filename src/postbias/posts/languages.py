"""Which language a caption is in. Knows text only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

#: What is empty, too short or mixed.
UNKNOWN = "unknown"

# Below this the identifier guesses: a short caption may be of any language.
_MIN_PROBABILITY = 0.9


def identify_languages(captions: Sequence[str]) -> list[str]:
    """Identify the language of each caption; the same caption always gets the same answer.

    Args:
        captions: Any captions.

    Returns:
        Codes of ISO 639-1; `unknown` for what is empty, too short or mixed.
    """
    identifier = _identifier()
    found = [identifier.classify(caption) for caption in captions]
    return [
        str(language) if caption.strip() and probability >= _MIN_PROBABILITY else UNKNOWN
        for caption, (language, probability) in zip(captions, found, strict=True)
    ]


@cache
def _identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    """Load the identifier once: it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
