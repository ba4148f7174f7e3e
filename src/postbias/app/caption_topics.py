"""Languages and brands of captions, found by a process of its own, because that takes minutes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from postbias.json_files import write_json
from postbias.population.brand_mentions import (
    find_brand_posts,
    find_frequent_accounts,
    read_brands,
)
from postbias.posts.languages import identify_languages
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table
from postbias.stats.strata import Bools

_CHUNK_POSTS = 2_000
_MAX_BRANDS = 200
_MIN_BRAND_POSTS = 2
_NAMES_FILE, _CODES_FILE, _ROWS_FILE = "topics.json", "languages.npy", "brands.npz"

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class CaptionTopics:
    """Languages and brands of the posts of a corpus. (N,).

    Attributes:
        languages: Languages in order of decreasing number of posts.
        codes: Number of each post's language.
        brands: Rows of the posts that name each brand, in order of decreasing number.
    """

    languages: tuple[str, ...]
    codes: npt.NDArray[np.uint8]
    brands: Mapping[str, npt.NDArray[np.int32]]

    def match(self, languages: Sequence[str], brands: Sequence[str]) -> Bools:
        """Return a mask of the posts in one of the languages that name one of the brands."""
        keep = np.ones(len(self.codes), dtype=bool)
        if languages:
            wanted = [place for place, name in enumerate(self.languages) if name in languages]
            keep &= np.isin(self.codes, wanted)
        if brands:
            named = np.zeros(len(self.codes), dtype=bool)
            for brand in brands:
                named[self.brands.get(brand, np.empty(0, np.int32))] = True
            keep &= named
        return keep

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of posts by language and by brand."""
        numbers = np.bincount(self.codes, minlength=len(self.languages)).tolist()
        return {
            "languages": dict(zip(self.languages, numbers, strict=True)),
            "brands": {name: len(rows) for name, rows in self.brands.items()},
        }


def write_topics(
    shards: Sequence[Path], brands: Path | None, output: Path, report: Report
) -> dict[str, Any]:
    """Identify languages and brands, and write them to files that `read_topics` reads.

    Args:
        shards: Post shards.
        brands: Table of brands; None for the accounts that posts mention most.
        output: Folder for the files.
        report: Called with the progress: `done` of `total` posts.

    Returns:
        An empty result.

    Raises:
        InputError: If the table of brands is not valid.
        SchemaError: If a shard is damaged.
    """
    captions: list[str] = []
    for shard in shards:
        captions += read_table(shard, POSTS, ["caption"])["caption"].to_pylist()
    aliases = read_brands(brands) if brands is not None else _find_accounts(captions)
    codes: list[str] = []
    for start in range(0, len(captions), _CHUNK_POSTS):
        codes += identify_languages(captions[start : start + _CHUNK_POSTS])
        report({"phase": "topics", "done": len(codes), "total": len(captions)})
    names, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty(len(names), np.uint8)
    ranks[order] = np.arange(len(names))
    found = find_brand_posts(captions, aliases, in_words=brands is not None)
    kept = dict(list(found.items())[:_MAX_BRANDS])
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / _CODES_FILE, ranks[places])
    rows = {f"b{n}": np.flatnonzero(mask).astype(np.int32) for n, mask in enumerate(kept.values())}
    np.savez(output / _ROWS_FILE, **rows)  # type: ignore[arg-type] # its stub takes a flag, too
    write_json(output / _NAMES_FILE, {"languages": names[order].tolist(), "brands": list(kept)})
    return {}


def read_topics(folder: Path) -> CaptionTopics:
    """Read what `write_topics` wrote.

    Args:
        folder: Its output.
    """
    names = json.loads((folder / _NAMES_FILE).read_text(encoding="utf-8"))
    codes = np.load(folder / _CODES_FILE, allow_pickle=False)
    with np.load(folder / _ROWS_FILE, allow_pickle=False) as rows:
        brands = {name: rows[f"b{n}"] for n, name in enumerate(names["brands"])}
    return CaptionTopics(tuple(names["languages"]), codes, brands)


def _find_accounts(captions: Sequence[str]) -> dict[str, str]:
    return find_frequent_accounts(captions, _MIN_BRAND_POSTS, _MAX_BRANDS)
