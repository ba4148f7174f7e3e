"""Platforms of posts: which ones a student was trained on, and which ones it scores."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from postbias.posts.remote_files import AnyPath
from postbias.posts.shards import iter_posts, iter_selected_posts, list_shards
from postbias.scoring.manifest import Manifest

logger = logging.getLogger(__name__)

#: The platform of a table that does not name one; it says nothing about the posts.
UNNAMED_PLATFORM = "table"

_BATCH_POSTS = 10_000


def count_platforms(posts: Path, ids: Sequence[str]) -> Counter[str]:
    """Count selected posts by platform.

    Args:
        posts: Folder of post shards.
        ids: Ids of the posts.

    Raises:
        CorpusError: If there is no shard.
        SchemaError: If a shard is damaged.
    """
    counts: Counter[str] = Counter()
    for batch in iter_selected_posts(list_shards(posts), ids, ["platform"]):
        counts.update(batch["platform"].to_pylist())
    return counts


def find_new_platforms(shards: Sequence[AnyPath], manifest: Manifest) -> dict[str, int]:
    """Find platforms that a student has not seen in training.

    Args:
        shards: Post shards; only one column is read.
        manifest: The student; one that does not record its platforms has none that are new.

    Returns:
        The number of posts by new platform.

    Raises:
        SchemaError: If a shard is damaged.
    """
    known = set(manifest.reference.get("platforms", ())) - {UNNAMED_PLATFORM}
    if not known:
        return {}
    counts: Counter[str] = Counter()
    for batch in iter_posts(shards, ["platform"], _BATCH_POSTS):
        for entry in pc.value_counts(batch["platform"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return {name: counts[name] for name in sorted(counts.keys() - known - {UNNAMED_PLATFORM})}


def warn_of_new_platforms(shards: Sequence[AnyPath], manifest: Manifest) -> None:
    """Log a warning for every platform that a student has not seen in training.

    Args:
        shards: Post shards.
        manifest: The student.

    Raises:
        SchemaError: If a shard is damaged.
    """
    for name, n_posts in find_new_platforms(shards, manifest).items():
        logger.warning(
            "%d posts are of the platform %r, which the student has not seen in training (%s);"
            " label a sample of them before you rely on their scores",
            n_posts, name, ", ".join(manifest.reference["platforms"]),
        )  # fmt: skip
