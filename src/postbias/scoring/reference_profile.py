"""Profile a set of posts, small enough to be part of an artifact.

A profile has the shares of posts in fixed bins of caption length, language, images per post and
score, and the mean and standard deviation of each embedding dimension. It is computed from one row
per post, which depends on nothing but the post and the student: rows can be kept, and the same
posts give the same profile.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from postbias.posts.languages import identify_languages
from postbias.posts.shards import list_shards, read_selected_posts
from postbias.scoring.post_scores import BATCH_SIZE, OK, PostInput
from postbias.scoring.scorer import Scorer

#: Maximum number of posts in a reference profile.
REFERENCE_POSTS = 2000

#: Columns of posts that `content_rows` and `answer_rows` need.
CONTENT_COLUMNS = ("post_id", "caption", "images", "platform")
ANSWER_COLUMNS = ("post_id", "caption", "images")

_CONTENT = ("caption_length", "images_per_post", "language", "platform")
_SCORE, _EMBEDDING = "score.", "embedding_"

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


def describe_content(posts: Path, ids: Sequence[str]) -> Json:
    """Profile the content of posts.

    Args:
        posts: Folder of post shards.
        ids: Ids of the posts, sorted.

    Returns:
        The profile, as `summarize_content` returns it.

    Raises:
        CorpusError: If a post is in no shard.
        SchemaError: If a shard is damaged.
    """
    shards = list_shards(posts)
    chunks = (ids[start : start + BATCH_SIZE] for start in range(0, len(ids), BATCH_SIZE))
    rows = [content_rows(read_selected_posts(shards, ids, CONTENT_COLUMNS)) for ids in chunks]
    return summarize_content(pa.concat_tables(rows) if rows else content_rows(_no_posts()))


def describe_answers(scorer: Scorer, posts: Path, ids: Sequence[str]) -> Json:
    """Profile the scores and embeddings of posts.

    Args:
        scorer: The student.
        posts: Folder of post shards.
        ids: Ids of the posts, sorted.

    Returns:
        The profile, as `summarize_answers` returns it.

    Raises:
        CorpusError: If a post is in no shard.
        SchemaError: If a shard is damaged.
    """
    shards = list_shards(posts)
    columns = list(ANSWER_COLUMNS if scorer.manifest.reads_images else ANSWER_COLUMNS[:2])
    chunks = (ids[start : start + BATCH_SIZE] for start in range(0, len(ids), BATCH_SIZE))
    rows = [answer_rows(scorer, read_selected_posts(shards, ids, columns)) for ids in chunks]
    return summarize_answers(pa.concat_tables(rows) if rows else _no_answers(scorer.axes))


def content_rows(posts: pa.Table) -> pa.Table:
    """Find the bins of posts by their content.

    Args:
        posts: The columns `CONTENT_COLUMNS`.

    Returns:
        `post_id`, and the bin by feature: `caption_length`, `images_per_post`, `language` and
        `platform`.
    """
    captions = posts["caption"].to_pylist()
    n_images = [len(images) for images in posts["images"].to_pylist()]
    bins = {
        "caption_length": [_bin(len(text.strip()), _LENGTHS) for text in captions],
        "images_per_post": [_bin(n, _IMAGES) for n in n_images],
        "language": identify_languages(captions),
        "platform": posts["platform"].to_pylist(),
    }
    columns = [posts["post_id"], *(pa.array(bins[name], pa.string()) for name in _CONTENT)]
    return pa.table(columns, names=["post_id", *_CONTENT])


def answer_rows(scorer: Scorer, posts: pa.Table) -> pa.Table:
    """Score and embed posts.

    Args:
        scorer: The student.
        posts: The columns `ANSWER_COLUMNS`; without `images`, posts have none.

    Returns:
        `post_id`; the bin of the score by axis (`score.<axis>`), null without a score; and the
        embedding by encoder (`embedding_<encoder>`), NaN for a post without the modality.
    """
    results, embeddings = scorer.score_and_embed(
        [
            PostInput(row["caption"], tuple(i["bytes"] or b"" for i in row.get("images", ())))
            for row in posts.to_pylist()
        ]
    )
    columns = {"post_id": posts["post_id"]}
    for axis in scorer.manifest.axes:
        edges = np.linspace(axis.low, axis.high, _SCORE_BINS + 1)[1:-1].tolist()
        bins = [_bin(r.scores[axis.name].value, edges) if r.status == OK else None for r in results]
        columns[_SCORE + axis.name] = pa.array(bins, pa.string())
    for name, rows in sorted(embeddings.items()):
        flat = pa.array(rows.reshape(-1), pa.float32())
        columns[_EMBEDDING + name] = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    return pa.table(columns)


def summarize_content(rows: pa.Table) -> Json:
    """Summarize the content of posts.

    Args:
        rows: Result of `content_rows`.

    Returns:
        `n`, and by feature the share of each bin.
    """
    counts = {name: Counter(rows[name].to_pylist()) for name in _CONTENT}
    return {"n": len(rows), "features": {name: _shares(c) for name, c in counts.items()}}


def summarize_answers(rows: pa.Table) -> Json:
    """Summarize scores and embeddings.

    Args:
        rows: Result of `answer_rows`, sorted by post id.

    Returns:
        `n`: posts with a score; by `score.<axis>` the share of each bin; and by encoder `n`, `mean`
        and `sd` of the embeddings.
    """
    names = [name for name in rows.column_names if name.startswith(_SCORE)]
    encoders = [name for name in rows.column_names if name.startswith(_EMBEDDING)]
    counts = {name: Counter(rows[name].drop_null().to_pylist()) for name in names}
    return {
        "n": counts[names[0]].total(),
        "features": {name: _shares(counter) for name, counter in counts.items()},
        "embeddings": {
            name.removeprefix(_EMBEDDING): _describe_embeddings(rows[name]) for name in encoders
        },
    }


def _describe_embeddings(column: pa.ChunkedArray) -> Json:
    """Return number, mean and standard deviation of the embeddings that are not NaN."""
    dim = column.type.list_size
    n, total, squares = 0, np.zeros(dim), np.zeros(dim)
    for start in range(0, len(column), BATCH_SIZE):
        flat = column.slice(start, BATCH_SIZE).combine_chunks().flatten()
        rows = flat.to_numpy().reshape(-1, dim).astype(np.float64)
        rows = rows[~np.isnan(rows).all(axis=1)]
        n += len(rows)
        total += rows.sum(axis=0)
        squares += (rows**2).sum(axis=0)
    mean = total / max(1, n)
    variance = np.maximum(squares / max(1, n) - mean**2, 0)
    return {"n": n, "mean": _rounded(mean), "sd": _rounded(np.sqrt(variance))}


def _no_posts() -> pa.Table:
    empty = pa.array([], pa.string())
    return pa.table([empty, empty, pa.array([], pa.list_(pa.string())), empty], CONTENT_COLUMNS)


def _no_answers(axes: Sequence[str]) -> pa.Table:
    return pa.table({_SCORE + axis: pa.array([], pa.string()) for axis in axes})


def _bin(value: float, edges: Sequence[float]) -> str:
    """Return the name of a value's bin, by its lower edge."""
    position = bisect_right(edges, value)
    return f"{edges[position - 1]:g}+" if position else f"under {edges[0]:g}"


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: float(f"{count / total:.6g}") for name, count in sorted(counts.items())}


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
