"""Keep the profile rows of single posts, so that only new posts are profiled again.

The posts that drift is measured on are those with the smallest hashes of their ids. After an append
these are posts that were profiled before, and new ones in proportion to their number.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.remote_files import AnyPath
from postbias.posts.shards import iter_posts, read_selected_posts, read_table, write_table
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.reference_profile import CONTENT_COLUMNS, answer_rows, content_rows
from postbias.scoring.score_store import store_key
from postbias.scoring.scorer import Scorer

# To be raised if the bins of a profile change.
_FORMAT = 1

# Hashing the ids of a corpus takes longer than scoring 1% of its captions.
_CANDIDATES = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("hash", pa.binary(32), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class ProfileStore:
    """The profile rows of the posts of a student's earlier drift measurements.

    Attributes:
        scorer: The student.
        folder: The folder of finished shards.
        digests: Content digest of each post shard.
    """

    scorer: Scorer
    folder: AnyPath
    digests: Mapping[AnyPath, str]

    def choose(self, shards: Sequence[AnyPath], max_ids: int) -> dict[AnyPath, list[str]]:
        """Sample the posts with the smallest hashes of their ids.

        Args:
            shards: Post shards; their order does not matter.
            max_ids: Number of posts to sample.

        Returns:
            The sampled ids, sorted, by shard; without the shards that have none.

        Raises:
            SchemaError: If a shard, or a file of the store, is damaged.
            StorageError: If the store cannot be written.
        """
        tables = [_CANDIDATES.empty_table().append_column("shard", pa.array([], pa.int64()))]
        for number, shard in enumerate(shards):
            candidates = self._candidates(shard, max_ids)
            numbers = pa.repeat(pa.scalar(number, pa.int64()), len(candidates))
            tables.append(candidates.append_column("shard", numbers))
        rows = pa.concat_tables(tables).sort_by([("hash", "ascending"), ("shard", "ascending")])
        chosen: dict[AnyPath, list[str]] = {}
        for row in rows.slice(0, max_ids).to_pylist():
            chosen.setdefault(shards[row["shard"]], []).append(row["post_id"])
        return {shard: sorted(ids) for shard, ids in chosen.items()}

    def _candidates(self, shard: AnyPath, max_ids: int) -> pa.Table:
        """Return the posts of a shard with the smallest hashes, which do not depend on others."""
        kind = f"samples-{_FORMAT}-{max_ids}"
        path = self.folder / kind / f"{self.digests[shard]}.parquet"
        if path.is_file():
            return read_table(path, _CANDIDATES)
        hashed = (
            (hashlib.sha256(post_id.encode()).digest(), post_id)
            for batch in iter_posts([shard], ["post_id"], 10_000)
            for post_id in batch["post_id"].to_pylist()
        )
        smallest = heapq.nsmallest(max_ids, hashed)
        rows = [{"post_id": post_id, "hash": digest} for digest, post_id in smallest]
        table = pa.Table.from_pylist(rows, _CANDIDATES)
        write_table(table, path, _CANDIDATES)
        return table

    def profile(self, chosen: Mapping[AnyPath, Sequence[str]]) -> pa.Table:
        """Profile posts; only those without a row in the store are scored.

        Args:
            chosen: Ids by shard; at least one.

        Returns:
            The columns of `content_rows` and `answer_rows`, sorted by post id.

        Raises:
            CorpusError: If a post is not in its shard.
            SchemaError: If a shard, or a file of the store, is damaged.
            StorageError: If the store cannot be written.
        """
        # The language of a caption depends on the version of the identifier.
        kind = f"profiles-{_FORMAT}-{version('py3langid')}"
        folder = self.folder / store_key(self.scorer) / kind
        tables = [self._profile_shard(folder, shard, ids) for shard, ids in chosen.items()]
        return pa.concat_tables(tables).sort_by("post_id")

    def _profile_shard(self, folder: AnyPath, shard: AnyPath, ids: Sequence[str]) -> pa.Table:
        path = folder / f"{self.digests[shard]}.parquet"
        tables = [read_table(path)] if path.is_file() else []
        missing = sorted({*ids}.difference(*(table["post_id"].to_pylist() for table in tables)))
        chunks = (missing[i : i + BATCH_SIZE] for i in range(0, len(missing), BATCH_SIZE))
        tables += [self._compute(shard, chunk) for chunk in chunks]
        rows = pa.concat_tables(tables)
        if missing:
            write_table(rows, path, rows.schema)
        return rows.filter(pc.is_in(rows["post_id"], value_set=pa.array(ids, pa.string())))

    def _compute(self, shard: AnyPath, ids: Sequence[str]) -> pa.Table:
        posts = read_selected_posts([shard], ids, CONTENT_COLUMNS)
        rows = content_rows(posts)
        if not self.scorer.manifest.reads_images:
            posts = posts.drop_columns(["images"])
        answers = answer_rows(self.scorer, posts)
        for name in answers.column_names[1:]:
            rows = rows.append_column(name, answers[name])
        return rows
