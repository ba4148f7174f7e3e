"""Compare a staged export with the corpus: which posts are new, changed or no longer there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.import_history import MANIFEST, find_import, read_imports
from postbias.posts.importers.gained_images import has_gained
from postbias.posts.importers.import_summary import POSTS_FOLDER
from postbias.posts.post_updates import POST_UPDATES, apply_updates, read_updates
from postbias.posts.schema import POSTS
from postbias.posts.shards import IMAGE_PATHS, list_shards, read_table

_COLUMNS = ("post_id", "author", "caption", "posted_at", "likes", "comments")


@dataclass(slots=True)
class Comparison:
    """The difference between an export and the corpus.

    Attributes:
        digest: Digest of the export, its layout and options.
        imports: Entries of all earlier imports, the first one first.
        new_ids: Posts that the corpus does not have, in export order.
        updates: The new content of `updates.parquet`.
        gained_ids: Posts that the corpus has with fewer images than the export.
        n_known: Posts that the corpus has.
        n_updated: Those of them whose likes or comments changed.
        n_changed_captions: Those of them whose caption changed.
        changed_caption_example: Id of one of these; "" if there is none.
        n_vanished: Posts of the corpus that vanished now.
        n_returned: Posts of the export that had vanished before.
        n_unchecked: Posts of the corpus that may have vanished, but have no date.
    """

    digest: str
    imports: list[dict[str, Any]]
    new_ids: pa.Array
    updates: pa.Table
    gained_ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    n_known: int = 0
    n_updated: int = 0
    n_changed_captions: int = 0
    changed_caption_example: str = ""
    n_vanished: int = 0
    n_returned: int = 0
    n_unchecked: int = 0


def compare_with_corpus(dest: Path, export: Path, layout: str) -> Comparison:
    """Compare an imported export with the corpus, in the memory of one shard and of the export.

    Args:
        dest: The folder of the corpus.
        export: The folder of the imported export.
        layout: Layout of the export.

    Raises:
        InputError: If `import.json` of the corpus is damaged.
        SchemaError: If a shard is damaged.
    """
    imports = read_imports(dest)
    staged = _Staged.read(export)
    old = read_updates(dest)
    digest = json.loads((export / MANIFEST).read_text(encoding="utf-8"))["digest"]
    result = Comparison(digest, imports, staged.post_ids, old)
    found, changes, gained = [], [], []
    for shard in list_shards(dest / POSTS_FOLDER):
        posts = _Posts.read(shard, old, find_import(imports, shard))
        rows = pc.index_in(posts.table["post_id"], value_set=staged.post_ids).combine_chunks()
        found.append(posts.table["post_id"].filter(pc.is_valid(rows)).combine_chunks())
        changes.append(_compare_known(posts, rows, staged, result))
        gained.append(_list_gained(shard, posts, rows, staged))
        changes.append(_compare_missing(posts, rows, staged.filter_layout(layout, imports), result))
    is_found = pc.is_in(staged.post_ids, value_set=pa.concat_arrays(found))
    result.new_ids = staged.post_ids.filter(pc.invert(is_found))
    result.gained_ids = pa.concat_arrays(gained)
    changed = pa.concat_tables(changes)
    ids = changed["post_id"].combine_chunks()
    is_kept = pc.invert(pc.is_in(old["post_id"], value_set=ids))
    result.updates = pa.concat_tables([old.filter(is_kept), changed])
    return result


@dataclass(frozen=True, slots=True)
class _Staged:
    """The posts of the export.

    Attributes:
        table: All columns but the captions.
        captions: Digests of the captions, (N,).
        images: Names of the images of each post, (N,).
        authors: The posts by author: `author`, `posted_at_min`, `posted_at_max`.
        is_same_layout: Whether each earlier import had the layout of the export.
    """

    table: pa.Table
    captions: np.ndarray
    images: pa.Array
    authors: pa.Table
    is_same_layout: tuple[bool, ...] = field(default=())

    @classmethod
    def read(cls, export: Path) -> _Staged:
        tables, captions, images = [], [], []
        for shard in list_shards(export / POSTS_FOLDER):
            table = read_table(shard, POSTS, _COLUMNS)
            captions.append(_hash_captions(table["caption"]))
            images.append(_read_image_names(shard))
            tables.append(table.drop_columns(["caption"]))
        table = pa.concat_tables(tables).combine_chunks()
        authors = table.group_by("author").aggregate([("posted_at", "min"), ("posted_at", "max")])
        names = pa.concat_arrays(images)
        return cls(table, np.concatenate(captions), names, authors.combine_chunks())

    @property
    def post_ids(self) -> pa.Array:
        return self.table["post_id"].combine_chunks()

    def filter_layout(self, layout: str, imports: list[dict[str, Any]]) -> _Staged:
        is_same = tuple(entry.get("layout") == layout for entry in imports)
        return _Staged(self.table, self.captions, self.images, self.authors, is_same)


@dataclass(frozen=True, slots=True)
class _Posts:
    """The posts of one shard, with the latest likes and comments.

    Attributes:
        table: Their columns.
        first_seen: Number of the import that added them.
        last_seen: Number of the last import that had each of them, (N,).
        has_vanished: Whether each of them has vanished before, (N,).
    """

    table: pa.Table
    first_seen: int
    last_seen: np.ndarray
    has_vanished: np.ndarray

    @classmethod
    def read(cls, shard: Path, updates: pa.Table, first_seen: int) -> _Posts:
        table = apply_updates(read_table(shard, POSTS, _COLUMNS), updates)
        rows = pc.index_in(table["post_id"], value_set=updates["post_id"].combine_chunks())
        rows = rows.combine_chunks()
        last_seen = pc.fill_null(updates["last_seen"].combine_chunks().take(rows), first_seen)
        vanished_in = updates["vanished_in"].combine_chunks().take(rows)
        return cls(table, first_seen, _to_numpy(last_seen), _to_numpy(pc.is_valid(vanished_in)))


def _compare_known(posts: _Posts, rows: pa.Array, staged: _Staged, result: Comparison) -> pa.Table:
    """Count the posts that are in the export, and return their updates."""
    is_known = pc.is_valid(rows)
    known, rows = posts.table.filter(is_known), rows.filter(is_known)
    mask = _to_numpy(is_known)
    has_changed = np.zeros(len(rows), dtype=bool)
    counts = {}
    for name in ("likes", "comments"):
        before = known[name].combine_chunks()
        # A count that the later export lacks is not a count of zero: the known one is kept.
        counts[name] = pc.coalesce(staged.table[name].combine_chunks().take(rows), before)
        same = pc.fill_null(pc.equal(counts[name], before), pc.is_null(counts[name]))
        has_changed |= ~_to_numpy(same)
    new_captions = _hash_captions(known["caption"]) != staged.captions[_to_numpy(rows)]
    if new_captions.any() and not result.changed_caption_example:
        result.changed_caption_example = known["post_id"][int(np.argmax(new_captions))].as_py()
    result.n_known += len(rows)
    result.n_updated += int(has_changed.sum())
    result.n_changed_captions += int(new_captions.sum())
    result.n_returned += int(posts.has_vanished[mask].sum())
    number = len(result.imports)
    return pa.table(
        [
            known["post_id"],
            counts["likes"],
            counts["comments"],
            pa.array(np.full(len(rows), number), pa.int32()),
            pa.nulls(len(rows), pa.int32()),
        ],
        schema=POST_UPDATES,
    )


def _list_gained(shard: Path, posts: _Posts, rows: pa.Array, staged: _Staged) -> pa.Array:
    """List the posts of a shard that have more images in the export."""
    images = _read_image_names(shard)
    later = staged.images.take(rows)
    has_more = pc.greater(pc.list_value_length(later), pc.list_value_length(images))
    has_more = pc.fill_null(has_more, False)
    pairs = zip(
        images.filter(has_more).to_pylist(), later.filter(has_more).to_pylist(), strict=True
    )
    is_gained = pa.array([has_gained(before, after) for before, after in pairs], pa.bool_())
    return posts.table["post_id"].combine_chunks().filter(has_more).filter(is_gained)


def _read_image_names(shard: Path) -> pa.Array:
    images = read_table(shard, columns=[IMAGE_PATHS])["images"].combine_chunks()
    return pa.ListArray.from_arrays(
        pa.concat_arrays(
            [
                pa.array([0], pa.int32()),
                pc.cumulative_sum(pc.list_value_length(images)).cast(pa.int32()),
            ]
        ),
        images.flatten().field("path"),
    )


def _compare_missing(
    posts: _Posts, rows: pa.Array, staged: _Staged, result: Comparison
) -> pa.Table:
    """Count the posts that should be in the export and are not, and return their updates.

    An export may cover other authors, or only the time since the last one. So a post has vanished
    only if the export has posts of its author from before and after it, or from the same time.
    """
    is_same_layout = np.array(staged.is_same_layout)
    is_candidate = _to_numpy(pc.is_null(rows)) & ~posts.has_vanished
    is_candidate &= is_same_layout[posts.first_seen] | is_same_layout[posts.last_seen]
    author_rows = pc.index_in(
        posts.table["author"], value_set=staged.authors["author"].combine_chunks()
    )
    author_rows = author_rows.combine_chunks()
    is_candidate &= _to_numpy(pc.is_valid(author_rows))
    day = posts.table["posted_at"].combine_chunks()
    first, last = (
        staged.authors[name].combine_chunks().take(author_rows)
        for name in ("posted_at_min", "posted_at_max")
    )
    is_covered = pc.and_(pc.less_equal(first, day), pc.less_equal(day, last))
    has_vanished = is_candidate & _to_numpy(pc.fill_null(is_covered, False))
    result.n_vanished += int(has_vanished.sum())
    result.n_unchecked += int((is_candidate & _to_numpy(pc.is_null(is_covered))).sum())
    gone = posts.table.filter(pa.array(has_vanished))
    return pa.table(
        [
            gone["post_id"],
            gone["likes"],
            gone["comments"],
            pa.array(posts.last_seen[has_vanished], pa.int32()),
            pa.array(np.full(len(gone), len(result.imports)), pa.int32()),
        ],
        schema=POST_UPDATES,
    )


def _hash_captions(captions: pa.ChunkedArray) -> np.ndarray:
    digests = (
        hashlib.blake2b(caption.encode(), digest_size=8).digest()
        for caption in captions.to_pylist()
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _to_numpy(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    array: np.ndarray = (
        values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
    )
    return array
