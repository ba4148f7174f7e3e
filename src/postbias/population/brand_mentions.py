"""Find the brands that captions name in @mentions, #hashtags and plain words.

A table of brands has two columns, `name` and `aliases` (separated by `;`). A one-word alias matches
a mention, a hashtag or a word, ignoring case. An alias of several words matches these words in
sequence, or joined in a mention or hashtag. Without a table, the most frequently mentioned accounts
are treated as brands and also match as hashtags.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from postbias.errors import InputError
from postbias.stats.strata import Bools

# Account names are ASCII on every platform: text that follows without a space, as in Chinese, is
# not part of the name. An email address such as someone@example.org is not a mention.
# Both alternatives start with their sign, so that the search jumps from sign to sign.
_TAG = re.compile(r"@(?<![A-Za-z0-9_.]@)([A-Za-z0-9_][A-Za-z0-9_.]*)|#(\w+)")
# Of the remembered words; 10 MB.
_MAX_WORDS = 1 << 17
_NON_WORD = re.compile(r"[\W_]+")


def read_brands(path: Path) -> dict[str, str]:
    """Read a table of brands.

    Args:
        path: CSV file with the columns `name` and `aliases`.

    Returns:
        Brand name by normalized alias.

    Raises:
        InputError: If the table cannot be read, lacks a column or rows, has a brand without a name,
            or assigns one alias to two brands.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"cannot read the table of brands: {error}",
            seen=str(path),
            do="set report.brands in params.yaml to a CSV file, or to null",
        ) from error
    if not rows or None in rows[0] or not {"name", "aliases"} <= rows[0].keys():
        raise InputError(
            f"{path} is not a valid table of brands",
            seen=sorted(map(str, rows[0])) if rows else "no rows",
            allowed="a CSV file with the columns name and aliases and at least one row",
        )
    aliases: dict[str, str] = {}
    for row in rows:
        name = (row["name"] or "").strip()
        if not name:
            raise InputError(f"{path} has a brand without a name", seen=row["aliases"])
        parts = (name, *(row["aliases"] or "").split(";"))
        for alias in {normalize_name(part) for part in parts} - {""}:
            if aliases.setdefault(alias, name) != name:
                raise InputError(
                    f"{path} assigns one alias to two brands",
                    seen=f"{alias}: {aliases[alias]} and {name}",
                    do="remove the alias from one of them",
                )
    return aliases


def find_frequent_accounts(
    captions: Iterable[str], min_posts: int, max_accounts: int
) -> dict[str, str]:
    """Find the most frequently mentioned accounts, to use as brands.

    Args:
        captions: Captions. (N,)
        min_posts: Minimum number of posts that mention an account.

    Returns:
        Account by its normalized name, in order of decreasing frequency.
    """
    n_posts: Counter[str] = Counter()
    spellings: dict[str, str] = {}
    for caption in captions:
        accounts = {name.rstrip(".").casefold() for name, _ in _TAG.findall(caption)} - {""}
        for account in accounts:
            spellings.setdefault(_normalize_word(account), account)
        n_posts.update({_normalize_word(account) for account in accounts} - {""})
    ranked = sorted(n_posts, key=lambda alias: (-n_posts[alias], alias))[:max_accounts]
    return {alias: f"@{spellings[alias]}" for alias in ranked if n_posts[alias] >= min_posts}


def find_brand_posts(
    captions: Iterable[str], aliases: Mapping[str, str], *, in_words: bool
) -> dict[str, Bools]:
    """Find the posts that name each brand.

    Args:
        captions: Captions. (N,)
        aliases: Brand by normalized alias.
        in_words: Whether to match plain words too, not only mentions and hashtags.

    Returns:
        Mask of posts by brand, in order of decreasing number of posts; brands without posts are
        left out. (N,)
    """
    rows: dict[str, array[int]] = {}
    n_captions = 0
    words = _AliasWords(aliases if in_words else ())
    for row, caption in enumerate(captions):
        for brand in sorted(_match_brands(caption, aliases, words)):
            rows.setdefault(brand, array("q")).append(row)
        n_captions = row + 1
    masks = {}
    for brand in sorted(rows, key=lambda brand: (-len(rows[brand]), brand)):
        masks[brand] = np.zeros(n_captions, dtype=bool)
        masks[brand][rows[brand]] = True
    return masks


def normalize_name(text: str) -> str:
    """Reduce an alias, mention or hashtag to lower-case letters and digits, for comparison."""
    return _NON_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


class _AliasWords:
    """Recognises the words that an alias starts with; remembers frequent words as written."""

    def __init__(self, aliases: Iterable[str]) -> None:
        """Remember no word yet.

        Args:
            aliases: Normalized aliases; empty to recognise no word.
        """
        self.prefixes = frozenset(
            alias[:end] for alias in aliases for end in range(1, len(alias) + 1)
        )
        self._others: set[str] = set()

    def has_start(self, words: Sequence[str]) -> bool:
        """Tell whether an alias may start with one of the words, as written."""
        # Sets compare in C: most captions consist of remembered words only.
        unknown = set(words).difference(self._others)
        if not unknown:
            return False
        is_found = False
        for word in unknown:
            if _normalize_word(word) in self.prefixes:
                is_found = True
            elif len(self._others) < _MAX_WORDS:
                self._others.add(word)
        return is_found


def _match_brands(caption: str, aliases: Mapping[str, str], known: _AliasWords) -> Iterable[str]:
    """Return the brands in one caption; words are joined while an alias starts with them."""
    # Text, account, hashtag, text, account, ...: one of account and hashtag is None.
    parts = _TAG.split(caption)
    names = [_normalize_word(a or b) for a, b in zip(parts[1::3], parts[2::3], strict=True)]
    brands = {aliases[name] for name in names if name in aliases}
    if known.prefixes:
        written = " ".join(parts[::3]).split()
        if known.has_start(written):
            brands |= _match_words(written, aliases, known.prefixes)
    return brands


def _match_words(
    written: Sequence[str], aliases: Mapping[str, str], prefixes: frozenset[str]
) -> set[str]:
    brands = set()
    words = [word for word in map(_normalize_word, written) if word]
    for start, first in enumerate(words):
        if first not in prefixes:
            continue
        joined = ""
        for word in words[start:]:
            joined += word
            if joined not in prefixes:
                break
            if joined in aliases:
                brands.add(aliases[joined])
    return brands


# Most words are frequent ones.
_normalize_word = lru_cache(maxsize=1 << 16)(normalize_name)
