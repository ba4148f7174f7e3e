"""Normalise captions to find identical ones, and cut them into shingles to find similar ones.

Used for comparison only: teachers and students always see the original caption.
"""

from __future__ import annotations

import re
import unicodedata

#: Characters per shingle. Character shingles need no word boundaries (Chinese, Japanese, Thai), and
#: five characters are long enough that two unrelated captions of one language share few.
SHINGLE_LENGTH = 5

# Soft hyphen, zero-width and direction marks, variation selectors: invisible, often pasted along.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_MENTION = re.compile(r"(?<![\w.])@[\w.]+")


def normalise_caption(caption: str) -> str:
    """Remove the differences that two identical captions may have.

    Ignores Unicode compatibility forms, case, white space and invisible characters. Also ignores
    links and mentions, because reposts of one text often differ in tagged friends or tracking
    links. Keeps hashtags, emoji and punctuation.

    Returns:
        The normalised caption; empty if it held only links, mentions and white space.
    """
    text = caption
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = text.casefold()
    if "http" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if "@" in text:
        text = _MENTION.sub(" ", text)
    return " ".join(text.split())


def make_shingles(caption: str) -> frozenset[str]:
    """Cut a normalised caption into its overlapping substrings of `SHINGLE_LENGTH` characters.

    Returns:
        The distinct substrings; the whole text if it is shorter, nothing if it is empty.
    """
    text = normalise_caption(caption)
    if len(text) <= SHINGLE_LENGTH:
        return frozenset({text} if text else ())
    return frozenset(text[i : i + SHINGLE_LENGTH] for i in range(len(text) - SHINGLE_LENGTH + 1))
