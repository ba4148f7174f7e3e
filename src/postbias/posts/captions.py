"""What makes two captions the same, and how alike two different ones are.

Knows text only. `sampling` asks which captions are identical, `duplicates` which are nearly so;
the text that students and teachers see is never changed by this.
"""

from __future__ import annotations

import re
import unicodedata

#: Characters per shingle. Works without word borders (Chinese, Japanese, Thai) and is long enough
#: that two unrelated captions of one language share few.
SHINGLE = 5

# Soft hyphen, zero-width and direction marks, variation selectors: not seen, often copied along.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_MENTION = re.compile(r"(?<![\w.])@[\w.]+")


def normalise(caption: str) -> str:
    """Reduce a caption to what must be equal for two captions to count as identical.

    Compatibility forms, case, white space and invisible characters make no difference; nor do
    links and mentions: the same text with other friends tagged or another tracking link says the
    same. Hashtags, emoji and punctuation stay.

    Args:
        caption: Any caption.

    Returns:
        The reduced caption; empty if nothing but links, mentions and white space was there.
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


def shingles(caption: str) -> frozenset[str]:
    """Cut a caption into its overlapping runs of `SHINGLE` characters, after normalising.

    Args:
        caption: Any caption.

    Returns:
        The distinct runs; the whole text if it is shorter than one, nothing if it is empty.
    """
    text = normalise(caption)
    if len(text) <= SHINGLE:
        return frozenset({text} if text else ())
    return frozenset(text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1))
