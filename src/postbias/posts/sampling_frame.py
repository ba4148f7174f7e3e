"""What sampling must know of every post, and each post's random numbers.

The numbers are keyed hashes of the post's id: the same in whatever order the posts are read and
whatever others there are. Of images only their number is read. Knows nothing of how a sample is
drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CorpusError, ParamsError
from postbias.params import SampleParams
from postbias.posts.captions import normalise
from postbias.posts.shards import IMAGE_PATHS, iter_posts, list_shards

_BATCH_POSTS = 10_000


@dataclass(frozen=True, slots=True)
class Frame:
    """All posts of a corpus, as far as sampling looks at them: one entry per post and array.

    Attributes:
        post_id: Their ids.
        author: Their authors, dictionary-encoded.
        stratum: Their strata, dictionary-encoded.
        group: Equal numbers for equal normalised captions, uint64, (N,).
        luck: Three independent random numbers per post, uint64, (N, 3).
    """

    post_id: pa.Array
    author: pa.DictionaryArray
    stratum: pa.DictionaryArray
    group: np.ndarray
    luck: np.ndarray


def read_frame(folder: Path, params: SampleParams, seed: int) -> Frame:
    """Read what sampling must know of every post; of images only how many there are.

    Args:
        folder: A folder of post shards.
        params: Names the stratifying columns.
        seed: Key of the random numbers.

    Returns:
        The frame, in shard and row order.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        ParamsError: If `method` is stratified and `stratify_by` empty.
        SchemaError: If a shard is damaged.
    """
    by = params.stratify_by if params.method == "stratified" else ()
    if params.method == "stratified" and not by:
        raise ParamsError(
            "sample.method is stratified but sample.stratify_by is empty",
            do="name a column there, or set sample.method to simple",
        )
    columns = [
        "post_id",
        "author",
        "caption",
        *(IMAGE_PATHS if c == "has_image" else c for c in by),
    ]
    ids, authors, strata, luck, groups = [], [], [], [], []
    known: dict[str, int] = dict.fromkeys(by, 0)
    for batch in iter_posts(list_shards(folder), columns, _BATCH_POSTS):
        ids.append(batch["post_id"])
        authors.append(batch["author"])
        strata.append(_strata(batch, by, known))
        numbers = _luck(batch["post_id"], seed)
        luck.append(numbers[:, :3])
        groups.append(_groups(batch["caption"], numbers[:, 3]))
    _check_known(known, sum(map(len, ids)), folder)
    return Frame(
        post_id=_unique(pa.chunked_array(ids).combine_chunks()),
        author=pa.chunked_array(authors).dictionary_encode().combine_chunks(),
        stratum=pa.chunked_array(strata).dictionary_encode().combine_chunks(),
        group=np.concatenate(groups),
        luck=np.concatenate(luck),
    )


def _luck(ids: pa.Array, seed: int) -> np.ndarray:
    """Hash ids to four independent uniform numbers each, uint64, (N, 4)."""
    key = str(seed).encode()
    digests = [blake2b(i.encode(), digest_size=32, key=key).digest() for i in ids.to_pylist()]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 4)


def _groups(captions: pa.Array, own: np.ndarray) -> np.ndarray:
    """Hash normalised captions; a post without one gets its own number, uint64, (N,)."""
    # 64 bits: among a billion captions two different ones may meet; they merely count as the same.
    texts = [normalise(caption) for caption in captions.to_pylist()]
    digests = [blake2b(text.encode(), digest_size=8).digest() for text in texts]
    hashed = np.frombuffer(b"".join(digests), dtype="<u8")
    return np.where(np.fromiter(map(bool, texts), dtype=bool, count=len(texts)), hashed, own)


def _strata(batch: pa.RecordBatch, by: tuple[str, ...], known: dict[str, int]) -> pa.Array:
    """Name each post's stratum, and count the known values of each column in `known`."""
    if not by:
        return pa.repeat("all", len(batch))
    parts = []
    for column in by:
        values = batch["images" if column == "has_image" else column]
        if column == "has_image":
            values = pc.greater(pc.list_value_length(values), 0)
        known[column] += len(values) - values.null_count
        text = pc.fill_null(values.cast(pa.string()), "unknown")
        parts.append(pc.binary_join_element_wise(column, text, "="))
    return pc.binary_join_element_wise(*parts, "|")


def _check_known(known: dict[str, int], posts: int, folder: Path) -> None:
    if not posts:
        raise CorpusError(
            "the corpus has no posts", seen=str(folder), do="import posts, or run `dvc pull`"
        )
    for column, count in known.items():
        if not count:
            raise CorpusError(
                f"no post has a value in column {column!r}, by which to stratify",
                do="take it out of sample.stratify_by, or import it",
            )


def _unique(ids: pa.Array) -> pa.Array:
    repeats = len(ids) - pc.count_distinct(ids).as_py()
    if repeats:
        counts = pc.value_counts(ids)
        example = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))[0]["values"]
        raise CorpusError(
            f"{repeats} post ids occur more than once",
            seen=example.as_py(),
            do="import into an empty folder; one import names repeated ids as rejects",
        )
    return ids
