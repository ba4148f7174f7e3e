"""Hold a scored corpus in memory, column by column, to filter and sort a million posts at once.

Images stay in the shards. A post takes about 60 bytes and its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import BAND_NAMES
from postbias.errors import CorpusError, InputError, SchemaError
from postbias.posts.schema import POSTS, axes_in_schema
from postbias.posts.shards import count_rows, list_shards, read_table
from postbias.scoring.post_scores import OK

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]

MODALITIES = ("image+text", "text", "image")
#: Codes of `sponsored`.
SPONSORSHIP = ("unknown", "no", "yes")


@dataclass(frozen=True, slots=True)
class CorpusFiles:
    """The files of a scored corpus.

    Attributes:
        name: Its name, to show.
        scores: Score shards, or one file of scores.
        posts: Post shards, in the order of the scores.
        labels: Labels of some posts by the teacher; None if there are none.
        brands: Table of brands; None for the accounts that posts mention most.
    """

    name: str
    scores: tuple[Path, ...]
    posts: tuple[Path, ...]
    labels: Path | None = None
    brands: Path | None = None


@dataclass(frozen=True)
class ExploredCorpus:
    """A scored corpus in memory; rows are posts in input order. (N,).

    Attributes:
        files: Where it comes from.
        axes: Names of the axes, the main one first.
        ids: Ids of the posts.
        captions: Captions of the posts.
        authors: Authors of the posts.
        values: Scores by axis; NaN without one.
        lows: Lower ends of the 90% intervals by axis; NaN without one.
        highs: Upper ends by axis.
        bands: Number of the band; -1 without a score.
        modalities: Number in `MODALITIES`; -1 without a score.
        sponsored: Number in `SPONSORSHIP`.
        posted: Time of publication; NaT if unknown.
        n_images: Number of images that the student read.
        statuses: `ok`, or why there is no score.
        labels: The teacher's label on the main axis; NaN without one.
        starts: First row of each post shard, and the number of rows.
        champion: Digest of the student that scored the first post.
    """

    files: CorpusFiles
    axes: tuple[str, ...]
    ids: pa.Array
    captions: pa.Array
    authors: pa.Array
    values: Mapping[str, Floats]
    lows: Mapping[str, Floats]
    highs: Mapping[str, Floats]
    bands: Codes
    modalities: Codes
    sponsored: Codes
    posted: npt.NDArray[np.datetime64]
    n_images: npt.NDArray[np.int32]
    statuses: pa.DictionaryArray
    labels: Floats
    starts: npt.NDArray[np.int64]
    champion: str

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.ids)

    @property
    def main(self) -> str:
        """Name of the main axis."""
        return self.axes[0]

    @cached_property
    def widths(self) -> Floats:
        """Width of the interval on the main axis; NaN without one, (N,)."""
        return np.asarray(self.highs[self.main] - self.lows[self.main])

    @cached_property
    def disagreements(self) -> Floats:
        """Distance of score and label on the main axis; NaN without both, (N,)."""
        return np.asarray(np.abs(self.values[self.main] - self.labels))

    @cached_property
    def months(self) -> npt.NDArray[np.int32]:
        """Month of publication since 1970-01; a large negative number if unknown, (N,)."""
        return self.posted.astype("datetime64[M]").astype(np.int64).clip(-(2**30)).astype(np.int32)


def load_explored_corpus(files: CorpusFiles) -> ExploredCorpus:
    """Read scores and posts, without images.

    Args:
        files: Where they are.

    Returns:
        The corpus.

    Raises:
        CorpusError: If there are no posts.
        SchemaError: If a file is damaged, or scores and posts do not belong together.
    """
    scores = pa.concat_tables([read_table(shard) for shard in files.scores])
    if not scores.num_rows:
        raise CorpusError("there are no scored posts", seen=files.name)
    texts = pa.concat_tables([read_table(s, POSTS, ["post_id", "caption"]) for s in files.posts])
    ids = scores["post_id"].combine_chunks()
    if not texts["post_id"].combine_chunks().equals(ids):
        raise SchemaError(
            "the scores are not those of the posts",
            seen=f"{scores.num_rows} scores, {texts.num_rows} posts",
            do="name the folder of the posts that were scored, with --posts",
        )
    axes = axes_in_schema(scores.schema, companion="_lo")
    columns = {end: {a: _floats(scores[f"{a}{end}"]) for a in axes} for end in ("", "_lo", "_hi")}
    lengths = [count_rows([shard]) for shard in files.posts]
    return ExploredCorpus(
        files=files,
        axes=axes,
        ids=ids,
        captions=_combine(texts["caption"]),
        authors=scores["author"].dictionary_encode().combine_chunks(),
        values=columns[""],
        lows=columns["_lo"],
        highs=columns["_hi"],
        bands=_codes(scores["band"], BAND_NAMES),
        modalities=_codes(scores["modalities"], MODALITIES),
        sponsored=_flags(scores["sponsored"]),
        posted=np.asarray(scores["posted_at"].cast(pa.timestamp("us")).to_numpy()),
        n_images=scores["n_images"].to_numpy().astype(np.int32),
        statuses=scores["status"].dictionary_encode().combine_chunks(),
        labels=_read_labels(files.labels, axes[0], ids),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        champion=scores["champion"][0].as_py(),
    )


def find_corpus_files(
    name: str, scores: Path, posts: Path, labels: Path | None = None, brands: Path | None = None
) -> CorpusFiles:
    """Find the shards of a scored corpus.

    Args:
        name: Its name, to show.
        scores: Folder of score shards, or one Parquet file of scores.
        posts: Folder of post shards.
        labels: Table of labels; may be missing.
        brands: Table of brands; may be missing.

    Raises:
        CorpusError: If a folder has no shards.
        InputError: If a file or folder does not exist.
    """
    for path in (scores, posts):
        if not path.exists():
            raise InputError("no such file or folder", seen=str(path))
    return CorpusFiles(
        name,
        (scores,) if scores.is_file() else tuple(list_shards(scores)),
        (posts,) if posts.is_file() else tuple(list_shards(posts)),
        labels if labels is not None and labels.is_file() else None,
        brands if brands is not None and brands.is_file() else None,
    )


def _combine(column: pa.ChunkedArray) -> pa.Array:
    """Return one array of text, whatever its size."""
    return column.cast(pa.large_string()).combine_chunks()


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float32)


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> Codes:
    places = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(), dtype=np.int8)


def _flags(column: pa.ChunkedArray) -> Codes:
    return np.asarray(pc.fill_null(pc.add(column.cast(pa.int8()), 1), 0).to_numpy(), dtype=np.int8)


def _read_labels(path: Path | None, axis: str, ids: pa.Array) -> Floats:
    labels = np.full(len(ids), np.nan, np.float32)
    if path is None:
        return labels
    table: Any = read_table(path)
    if axis not in table.column_names:
        return labels
    table = table.filter(pc.equal(table["status"], OK))
    places = pc.index_in(table["post_id"].combine_chunks(), value_set=ids)
    is_known = pc.is_valid(places)
    rows = places.filter(is_known).to_numpy()
    labels[rows] = table[axis].filter(is_known).to_numpy()
    return labels
