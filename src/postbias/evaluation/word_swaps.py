"""Swap gender words in captions: she for he, mujeres for hombres.

The word pairs are in a CSV file that users can extend. Within a language every word has one
partner, so that a swap can be undone by swapping again. A row with the same word twice protects it:
in `il faut` and `其他`, no person is meant.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError

COLUMNS = ("language", "masculine", "feminine")

# Languages whose words are not separated: the longest word in the list that fits is taken.
_UNSEPARATED = frozenset({"ja", "km", "lo", "my", "th", "zh"})
# A letter before a word, or an @, is not a border; the apostrophe of `l'homme` is.
_BORDERS = r"(?<![\w@])", r"(?!\w)"
_MENTION = r"@[\w.]+"
# The apostrophe that phones type; words are listed with the plain one.
_CURLY = "\u2019"


@dataclass(frozen=True, slots=True)
class SwappedCaption:
    """A caption with its gender words swapped.

    Attributes:
        text: The new text.
        to_feminine: Number of words that became feminine.
        to_masculine: Number of words that became masculine.
    """

    text: str
    to_feminine: int
    to_masculine: int

    @property
    def direction(self) -> int:
        """1 if the caption became more feminine, -1 if more masculine, 0 if neither."""
        return (self.to_feminine > self.to_masculine) - (self.to_feminine < self.to_masculine)


@dataclass(frozen=True, slots=True)
class WordPairs:
    """The word pairs of one language.

    Attributes:
        partner: Partner of each word or phrase, in both directions, in lower case.
        masculine: The masculine words.
        pattern: Matches these words and protected ones, the longest first: as whole words if the
            language separates them; not in a mention.
    """

    partner: Mapping[str, str]
    masculine: frozenset[str]
    pattern: re.Pattern[str]

    @classmethod
    def from_masculine(cls, language: str, pairs: Mapping[str, str]) -> WordPairs:
        """Build the pairs.

        Args:
            language: ISO 639-1 code.
            pairs: Feminine word by masculine word, in lower case; a protected word by itself.
        """
        swapped = {one: other for one, other in pairs.items() if one != other}
        partner = swapped | {feminine: masculine for masculine, feminine in swapped.items()}
        longest_first = sorted({*partner, *pairs}, key=lambda word: (-len(word), word))
        words = "|".join(re.escape(word).replace("'", f"['{_CURLY}]") for word in longest_first)
        before, after = (f"{_MENTION}|", "") if language in _UNSEPARATED else _BORDERS
        pattern = re.compile(rf"{before}(?:{words}){after}", re.IGNORECASE)
        return cls(partner, frozenset(swapped), pattern)

    def swap(self, caption: str) -> SwappedCaption | None:
        """Swap every word that has a partner, keeping capitals.

        Returns:
            The swapped caption; `None` if there was no word to swap, or if swapping again would not
            restore the caption (as with `los mujeres`, where the article has no partner).
        """
        swapped = self._swap_once(caption)
        if swapped is None:
            return None
        restored = self._swap_once(swapped.text)
        return swapped if restored is not None and restored.text == caption else None

    def _swap_once(self, caption: str) -> SwappedCaption | None:
        counts = [0, 0]

        def replace(match: re.Match[str]) -> str:
            matched = match.group()
            word = matched.lower().replace(_CURLY, "'")
            # A protected word, a mention, or a variant of a letter such as the long s.
            if word not in self.partner:
                return matched
            counts[word in self.masculine] += 1
            partner = _copy_case(matched, self.partner[word])
            return partner.replace("'", _CURLY) if _CURLY in matched else partner

        text = self.pattern.sub(replace, caption)
        return SwappedCaption(text, counts[1], counts[0]) if any(counts) else None


def load_word_pairs(path: Path) -> dict[str, WordPairs]:
    """Read word pairs.

    Args:
        path: CSV file with the columns `language`, `masculine` and `feminine`.

    Returns:
        The pairs by language code; empty if the file has no rows.

    Raises:
        InputError: If the file cannot be read, has other columns, or has a word without a partner
            or with two; a protected word must have no other row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(
                    f"{path} does not have the columns of word pairs",
                    seen=list(reader.fieldnames or ()),
                    allowed=list(COLUMNS),
                )
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            "cannot read the word pairs", seen=str(path), do="set evaluate.audit.word_pairs"
        ) from error
    pairs: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        language, masculine, feminine = ((row[name] or "").strip().lower() for name in COLUMNS)
        known = pairs.setdefault(language, {})
        taken = {*known, *known.values()}
        if not (language and masculine and feminine) or {masculine, feminine} & taken:
            raise InputError(
                f"{path}, line {number}: a word is missing or already has a partner",
                seen=f"{language},{masculine},{feminine}",
                do="give every word exactly one partner per language, so that swaps can be undone",
            )
        known[masculine] = feminine
    return {
        language: WordPairs.from_masculine(language, known)
        for language, known in sorted(pairs.items())
    }


def _copy_case(model: str, word: str) -> str:
    """Capitalise a word or phrase like the one that it replaces."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    parts, models = word.split(" "), model.split(" ")
    if len(parts) != len(models):
        models = [models[0], *parts[1:]]
    return " ".join(
        part[0].upper() + part[1:] if original[:1].isupper() else part
        for part, original in zip(parts, models, strict=True)
    )
