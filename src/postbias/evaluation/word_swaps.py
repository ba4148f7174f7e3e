"""Swap gendered words in captions: she for he, mujeres for hombres.

The pairs come from a CSV file that anybody can read and extend. Within a language a word has one
partner, so that swapping twice gives back what there was; a caption for which it would not is left
alone. Knows nothing of students.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError

COLUMNS = ("language", "masculine", "feminine")


@dataclass(frozen=True, slots=True)
class Swapped:
    """A caption with its gendered words swapped.

    Attributes:
        caption: The new wording.
        to_feminine: How many words became feminine.
        to_masculine: How many became masculine.
    """

    caption: str
    to_feminine: int
    to_masculine: int

    @property
    def direction(self) -> int:
        """1 if the caption became more feminine, -1 if more masculine, 0 if neither."""
        return (self.to_feminine > self.to_masculine) - (self.to_feminine < self.to_masculine)


@dataclass(frozen=True, slots=True)
class WordPairs:
    """The pairs of one language.

    Attributes:
        partner: The partner of each word or phrase, both ways, in lower case.
        masculine: Which of them are masculine.
        pattern: Finds them as whole words, the longest first; not in a mention.
    """

    partner: Mapping[str, str]
    masculine: frozenset[str]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> WordPairs:
        """Prepare pairs for swapping.

        Args:
            pairs: Feminine word by masculine word, in lower case.

        Returns:
            The pairs, both ways.
        """
        partner = dict(pairs) | {feminine: masculine for masculine, feminine in pairs.items()}
        longest_first = sorted(partner, key=lambda word: (-len(word), word))
        either = "|".join(map(re.escape, longest_first))
        pattern = re.compile(rf"(?<![\w@])(?:{either})(?!\w)", re.IGNORECASE)
        return cls(partner, frozenset(pairs), pattern)

    def swap(self, caption: str) -> Swapped | None:
        """Swap every word that has a partner, keeping capitals.

        Args:
            caption: Any caption.

        Returns:
            The new wording; None if nothing was swapped, or if swapping once more would not give
            the caption back (as in `los mujeres`, which has no partner that leads back to it).
        """
        swapped = self._once(caption)
        if swapped is None:
            return None
        back = self._once(swapped.caption)
        return swapped if back is not None and back.caption == caption else None

    def _once(self, caption: str) -> Swapped | None:
        turned = [0, 0]

        def replace(match: re.Match[str]) -> str:
            seen = match.group()
            word = seen.lower()
            # Case-insensitive matching also finds the likes of a long s: no words of ours.
            if word not in self.partner:
                return seen
            turned[word in self.masculine] += 1
            return _cased(seen, self.partner[word])

        new = self.pattern.sub(replace, caption)
        return Swapped(new, turned[1], turned[0]) if any(turned) else None


def load_word_pairs(path: Path) -> dict[str, WordPairs]:
    """Read word pairs.

    Args:
        path: A CSV file with the columns `language`, `masculine` and `feminine`.

    Returns:
        The pairs by language code; empty if the file has no rows.

    Raises:
        InputError: If the file cannot be read, lacks a column, or gives a word two partners.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(
                    f"{path} has other columns than word pairs have",
                    seen=list(reader.fieldnames or ()),
                    allowed=list(COLUMNS),
                )
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            "word pairs cannot be read", seen=str(path), do="set evaluate.audit.word_pairs"
        ) from error
    pairs: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        language, masculine, feminine = ((row[name] or "").strip().lower() for name in COLUMNS)
        known = pairs.setdefault(language, {})
        taken = {*known, *known.values()}
        if not (language and masculine and feminine) or {masculine, feminine} & taken:
            raise InputError(
                f"{path}, line {number}: a word is missing or has a partner already",
                seen=f"{language},{masculine},{feminine}",
                do="give each word of a language one partner, so that swapping can be undone",
            )
        known[masculine] = feminine
    return {language: WordPairs.of(known) for language, known in sorted(pairs.items())}


def _cased(model: str, word: str) -> str:
    """Write a word or phrase in capitals where the one that it replaces has them."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    parts, models = word.split(" "), model.split(" ")
    if len(parts) != len(models):
        models = [models[0], *parts[1:]]
    return " ".join(
        part[0].upper() + part[1:] if seen[:1].isupper() else part
        for part, seen in zip(parts, models, strict=True)
    )
