"""Profile a set of posts, small enough to be part of an artifact.

A profile has the shares of posts in fixed bins of caption length, language, images per post and
score, and the mean and standard deviation of each embedding dimension. Ids are sorted before posts
are read, so the same posts give the same profile.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postbias.posts.languages import identify_languages
from postbias.posts.shards import iter_posts, list_shards, read_selected_posts
from postbias.scoring.platforms import count_platforms
from postbias.scoring.post_scores import BATCH_SIZE, OK, PostInput
from postbias.scoring.scorer import Scorer

#: Maximum number of posts in a reference profile.
REFERENCE_POSTS = 2000

_LENGTHS = (1, 20, 40, 80, 120, 200, 300, 500, 1000)
_IMAGES = (1, 2, 3, 4, 6, 10)
_SCORE_BINS = 10

Json = dict[str, Any]


def sample_ids(ids: Iterable[str], max_ids: int) -> list[str]:
    """Sample the ids with the smallest hashes; the order of the ids does not matter.

    Args:
        ids: Distinct ids; `max_ids` of them are in memory at a time.

    Returns:
        The sampled ids, sorted.
    """
    return sorted(heapq.nsmallest(max_ids, ids, key=lambda i: hashlib.sha256(i.encode()).digest()))


def choose_profile_posts(posts: Path, max_ids: int) -> list[str]:
    """Sample post ids from a folder of shards, in constant memory.

    Args:
        posts: Folder of post shards.

    Returns:
        The sampled ids, sorted.

    Raises:
        CorpusError: If there is no shard.
        SchemaError: If a shard is damaged.
    """
    batches = iter_posts(list_shards(posts), ["post_id"], 10_000)
    return sample_ids((i for batch in batches for i in batch["post_id"].to_pylist()), max_ids)


def describe_content(posts: Path, ids: Sequence[str]) -> Json:
    """Profile the content of posts.

    Args:
        posts: Folder of post shards.
        ids: Ids of the posts.

    Returns:
        `n`, and by feature (`caption_length`, `language`, `images_per_post`, `platform`) the share
        of each bin.

    Raises:
        CorpusError: If a post is in no shard.
        SchemaError: If a shard is damaged.
    """
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("caption_length", "images_per_post", "language")
    }
    counts["platform"] = count_platforms(posts, ids)
    for chunk in _read(posts, ids, ["caption", "images"]):
        captions = [post.caption for post in chunk]
        counts["caption_length"].update(_bin(len(text.strip()), _LENGTHS) for text in captions)
        counts["images_per_post"].update(_bin(len(post.images), _IMAGES) for post in chunk)
        counts["language"].update(identify_languages(captions))
    return {"n": len(ids), "features": {name: _shares(counter) for name, counter in counts.items()}}


def describe_answers(scorer: Scorer, posts: Path, ids: Sequence[str]) -> Json:
    """Profile the scores and embeddings of posts.

    Args:
        scorer: The student.
        posts: Folder of post shards.
        ids: Ids of the posts.

    Returns:
        `n`, by `score.<axis>` the share of each bin, and by encoder `n`, `mean` and `sd` of the
        embeddings.

    Raises:
        CorpusError: If a post is in no shard.
        SchemaError: If a shard is damaged.
    """
    counts: dict[str, Counter[str]] = {f"score.{axis}": Counter() for axis in scorer.axes}
    moments: dict[str, _Moments] = {}
    columns = ["caption", "images"] if scorer.manifest.reads_images else ["caption"]
    n = 0
    for chunk in _read(posts, ids, columns):
        results, embeddings = scorer.score_and_embed(chunk)
        scored = [result for result in results if result.status == OK]
        n += len(scored)
        for axis in scorer.manifest.axes:
            edges = np.linspace(axis.low, axis.high, _SCORE_BINS + 1)[1:-1].tolist()
            values = (result.scores[axis.name].value for result in scored)
            counts[f"score.{axis.name}"].update(_bin(value, edges) for value in values)
        for name, rows in embeddings.items():
            moments.setdefault(name, _Moments(rows.shape[1])).add(rows)
    return {
        "n": n,
        "features": {name: _shares(counter) for name, counter in counts.items()},
        "embeddings": {name: part.describe() for name, part in sorted(moments.items())},
    }


class _Moments:
    """Running mean and standard deviation of rows."""

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.total = np.zeros(dim)
        self.squares = np.zeros(dim)

    def add(self, rows: NDArray[np.float32]) -> None:
        exact = rows.astype(np.float64)
        self.n += len(rows)
        self.total += exact.sum(axis=0)
        self.squares += (exact**2).sum(axis=0)

    def describe(self) -> Json:
        mean = self.total / max(1, self.n)
        variance = np.maximum(self.squares / max(1, self.n) - mean**2, 0)
        return {"n": self.n, "mean": _rounded(mean), "sd": _rounded(np.sqrt(variance))}


def _read(posts: Path, ids: Sequence[str], columns: list[str]) -> Iterator[list[PostInput]]:
    for start in range(0, len(ids), BATCH_SIZE):
        rows = read_selected_posts(posts, ids[start : start + BATCH_SIZE], columns).to_pylist()
        yield [
            PostInput(row["caption"], tuple(i["bytes"] or b"" for i in row.get("images", ())))
            for row in rows
        ]


def _bin(value: float, edges: Sequence[float]) -> str:
    """Return the name of a value's bin, by its lower edge."""
    position = bisect_right(edges, value)
    return f"{edges[position - 1]:g}+" if position else f"under {edges[0]:g}"


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: float(f"{count / total:.6g}") for name, count in sorted(counts.items())}


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
