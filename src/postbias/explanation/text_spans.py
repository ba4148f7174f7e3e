"""Split text into words and phrases in any script, and mask some of them."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

#: Replaces a masked word. In a shorter text the other words would weigh more, so that removing an
#: innocent word would change the score too; see docs/experiments.md.
PLACEHOLDER = "-"

# Inside a word: "don't", "make-up", "sunny.co".
_JOINERS = frozenset("'\u2019.-_\u00b7&")
_TAG_SIGNS = frozenset("#@\uff03\uff20")
# Joiners of emoji and of letters, variation selectors, keycaps.
_INVISIBLE = frozenset("\u200c\u200d\ufe0e\ufe0f\u20e3")

# Scripts without spaces between words: a run is cut into pieces of this many characters.
_PIECE = 2
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Span(NamedTuple):
    """A part of a text: the characters from `start` up to `end`."""

    start: int
    end: int


def split_words(text: str) -> list[Span]:
    """Split a text into words.

    A hashtag or a mention is one word, and so is an emoji. Scripts without spaces are cut into
    pieces of two characters. A text without words (such as "?!") is split at white space.

    Args:
        text: Any text.

    Returns:
        Non-empty spans without white space, in order, which do not overlap; punctuation between
        words belongs to none. Empty for a blank text.
    """
    words = []
    position = 0
    while position < len(text):
        end = _word_end(text, position)
        if end > position:
            words.append(Span(position, end))
        position = max(end, position + 1)
    return words or _split_at_space(text)


def split_phrases(text: str, words: Sequence[Span], max_phrases: int) -> list[list[int]]:
    """Group words into phrases, at punctuation where possible.

    Args:
        words: Words of the text.
        max_phrases: Maximum number of phrases, at least 1.

    Returns:
        Consecutive positions in `words`, each in one phrase; no phrase has more words than it must.
    """
    if not words:
        return []
    size = -(-len(words) // max_phrases)
    phrases: list[list[int]] = []
    closed = True
    for position, word in enumerate(words):
        if closed or len(phrases[-1]) >= 2 * size:
            phrases.append([])
        phrases[-1].append(position)
        following = words[position + 1].start if position + 1 < len(words) else len(text)
        closed = any(map(_ends_phrase, text[word.end : following]))
    return _merge_shortest(phrases, max_phrases)


def mask_spans(text: str, spans: Iterable[Span]) -> str:
    """Replace parts of a text with placeholders.

    Args:
        spans: Parts that do not overlap.

    Returns:
        The text with a placeholder in the place of each part.
    """
    kept = []
    position = 0
    for span in sorted(spans):
        kept += [text[position : span.start], PLACEHOLDER]
        position = span.end
    return "".join([*kept, text[position:]])


def _word_end(text: str, start: int) -> int:
    """Return the end of the word that starts at a position; the position itself if none does."""
    first = text[start]
    if _is_unspaced(first):
        return _unspaced_end(text, start)
    if _is_symbol(first):
        return _emoji_end(text, start)
    position = start + (first in _TAG_SIGNS)
    if position >= len(text) or not _is_letter(text[position]):
        return start
    while position < len(text):
        character = text[position]
        follows = text[position + 1] if position + 1 < len(text) else ""
        is_joined = character in _JOINERS and follows != "" and _is_letter(follows)
        if _is_unspaced(character) or not (
            _is_letter(character) or character in _INVISIBLE or is_joined
        ):
            break
        position += 1
    return position


def _unspaced_end(text: str, start: int) -> int:
    position = start
    for _ in range(_PIECE):
        if position >= len(text) or not _is_unspaced(text[position]):
            break
        position += 1
        while position < len(text) and unicodedata.category(text[position])[0] == "M":
            position += 1
    return position


def _emoji_end(text: str, start: int) -> int:
    """Return the end of an emoji with its skin tone, selectors and joined emoji."""
    position = start + 1
    if _is_flag_half(text[start]) and position < len(text) and _is_flag_half(text[position]):
        return position + 1
    while position < len(text):
        is_joined = text[position - 1] == "\u200d" and _is_symbol(text[position])
        is_modifier = unicodedata.category(text[position]) in {"Sk", "Mn", "Me"}
        if not (text[position] in _INVISIBLE or is_joined or is_modifier):
            break
        position += 1
    return position


def _ends_phrase(character: str) -> bool:
    return character == "\n" or unicodedata.category(character)[0] == "P"


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character == "_"


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "So"


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return (
        code >= _UNSPACED[0][0]
        and any(low <= code <= high for low, high in _UNSPACED)
        and unicodedata.category(character)[0] in "LM"
    )


def _split_at_space(text: str) -> list[Span]:
    spans = []
    position = 0
    for part in text.split():
        start = text.index(part, position)
        position = start + len(part)
        spans.append(Span(start, position))
    return spans


def _merge_shortest(phrases: list[list[int]], max_phrases: int) -> list[list[int]]:
    """Merge the two neighbours that are shortest together until there are few enough phrases."""
    while len(phrases) > max_phrases:
        lengths = [len(a) + len(b) for a, b in pairwise(phrases)]
        at = lengths.index(min(lengths))
        phrases[at : at + 2] = [phrases[at] + phrases[at + 1]]
    return phrases
