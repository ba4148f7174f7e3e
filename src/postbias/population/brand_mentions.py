"""Which brands a post names: in @mentions, #hashtags and, by a table of brands, in plain words.

Knows captions only. A table has two columns, `name` and `aliases` (separated by `;`); an alias of
one word is found as mention, hashtag or word, in any case; one of several words as these words, or
joined as a mention or hashtag. Without a table, the accounts that are mentioned most are taken for
brands, and count as hashtags too.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from postbias.errors import InputError
from postbias.stats.ppi import Bools

# Accounts are ASCII on every platform: what follows without a space, as in Chinese, is text.
# The address someone@example.org mentions nobody.
_TAG = re.compile(r"(?<![A-Za-z0-9_.])@([A-Za-z0-9_][A-Za-z0-9_.]*)|#(\w+)")
_PLAIN = re.compile(r"[\W_]+")


def read_brands(path: Path) -> dict[str, str]:
    """Read a table of brands.

    Args:
        path: CSV with the columns `name` and `aliases`.

    Returns:
        Brand name by alias, as `normalize_name` writes it.

    Raises:
        InputError: If the table cannot be read, lacks a column, has no row, or gives one alias to
            two brands.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"no table of brands: {error}", seen=str(path), do="set report.brands in params.yaml"
        ) from error
    if not rows or None in rows[0] or not {"name", "aliases"} <= rows[0].keys():
        raise InputError(
            f"{path} is no table of brands",
            seen=sorted(map(str, rows[0])) if rows else "no row",
            allowed="columns name and aliases",
        )
    aliases: dict[str, str] = {}
    for row in rows:
        name = (row["name"] or "").strip()
        if not name:
            raise InputError(f"{path} has a brand without a name")
        for alias in {normalize_name(part) for part in (name, *(row["aliases"] or "").split(";"))} - {""}:
            if aliases.setdefault(alias, name) != name:
                raise InputError(f"{path} gives one alias to two brands", seen=alias)
    return aliases


def find_frequent_accounts(captions: Sequence[str], min_posts: int, most: int) -> dict[str, str]:
    """Take the accounts that are mentioned most for brands.

    Args:
        captions: Captions. (N,)
        min_posts: In how many posts an account must be mentioned.
        most: How many at most.

    Returns:
        Account by its normal form, the most frequent first.
    """
    posts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for caption in captions:
        accounts = {name.rstrip(".").casefold() for name, _ in _TAG.findall(caption)} - {""}
        for account in accounts:
            shown.setdefault(normalize_name(account), account)
        posts.update({normalize_name(account) for account in accounts} - {""})
    ranked = sorted(posts, key=lambda alias: (-posts[alias], alias))[:most]
    return {alias: f"@{shown[alias]}" for alias in ranked if posts[alias] >= min_posts}


def find_brand_posts(
    captions: Sequence[str], aliases: Mapping[str, str], *, in_words: bool
) -> dict[str, Bools]:
    """Find the posts of each brand.

    Args:
        captions: Captions. (N,)
        aliases: Brand by alias.
        in_words: Whether plain words count too, beside mentions and hashtags.

    Returns:
        By brand the posts that name it, the brand with most posts first; brands that nobody names
        are left out. (N,)
    """
    rows: dict[str, list[int]] = {}
    longest = max((len(alias) for alias in aliases), default=0)
    for row, caption in enumerate(captions):
        for name in sorted(_named(caption, aliases, longest if in_words else 0)):
            rows.setdefault(name, []).append(row)
    found = {}
    for name in sorted(rows, key=lambda name: (-len(rows[name]), name)):
        found[name] = np.zeros(len(captions), dtype=bool)
        found[name][rows[name]] = True
    return found


def normalize_name(text: str) -> str:
    """Reduce a name to letters and digits in lower case.

    Args:
        text: An alias, a mention or a hashtag.

    Returns:
        What must be equal for two of them to be one.
    """
    return _PLAIN.sub("", unicodedata.normalize("NFKC", text).casefold())


def _named(caption: str, aliases: Mapping[str, str], longest: int) -> set[str]:
    """Return the brands of one caption."""
    tags = {normalize_name(account or hashtag) for account, hashtag in _TAG.findall(caption)}
    found = {aliases[tag] for tag in tags & aliases.keys()}
    if longest:
        words = [w for w in map(normalize_name, _TAG.sub(" ", caption).split()) if w]
        for start in range(len(words)):
            joined = ""
            for word in words[start:]:
                joined += word
                if len(joined) > longest:
                    break
                if joined in aliases:
                    found.add(aliases[joined])
    return found
