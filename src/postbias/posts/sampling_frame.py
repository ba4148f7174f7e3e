"""Read the sampling frame: author, stratum and random numbers of every post.

The random numbers are keyed hashes of the post id, so they depend neither on the order of posts nor
on other posts. Image bytes are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CorpusError, ParamsError
from postbias.params import SampleParams
from postbias.posts.captions import normalise_caption
from postbias.posts.shards import IMAGE_PATHS, iter_posts

_BATCH_POSTS = 10_000


@dataclass(frozen=True, slots=True)
class SamplingFrame:
    """All posts of a corpus, one entry per post in every array.

    Attributes:
        post_id: Distinct post ids.
        author: Authors, dictionary-encoded.
        stratum: Names of strata, dictionary-encoded.
        caption: Hash of the normalised caption; unique for posts without one, uint64, (N,).
        random: Three independent uniform random numbers per post, uint64, (N, 3).
    """

    post_id: pa.Array
    author: pa.DictionaryArray
    stratum: pa.DictionaryArray
    caption: np.ndarray
    random: np.ndarray


def read_sampling_frame(shards: Sequence[Path], params: SampleParams, seed: int) -> SamplingFrame:
    """Read the frame; of images only their number is read.

    Args:
        shards: The shards of the posts that can be sampled.
        params: Method and stratifying columns.
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
            do="name a column in sample.stratify_by, or set sample.method to simple",
        )
    columns = [
        "post_id",
        "author",
        "caption",
        *(IMAGE_PATHS if c == "has_image" else c for c in by),
    ]
    ids, authors, strata, random, captions = [], [], [], [], []
    n_known: dict[str, int] = dict.fromkeys(by, 0)
    for batch in iter_posts(shards, columns, _BATCH_POSTS):
        ids.append(batch["post_id"])
        authors.append(batch["author"])
        strata.append(_name_strata(batch, by, n_known))
        numbers = _hash_ids(batch["post_id"], seed)
        random.append(numbers[:, :3])
        captions.append(_hash_captions(batch["caption"], numbers[:, 3]))
    _check_values(n_known, sum(map(len, ids)))
    return SamplingFrame(
        post_id=_check_unique(pa.chunked_array(ids).combine_chunks()),
        author=pa.chunked_array(authors).dictionary_encode().combine_chunks(),
        stratum=pa.chunked_array(strata).dictionary_encode().combine_chunks(),
        caption=np.concatenate(captions),
        random=np.concatenate(random),
    )


def _hash_ids(ids: pa.Array, seed: int) -> np.ndarray:
    """Hash each id to four independent uniform random numbers, uint64, (N, 4)."""
    key = str(seed).encode()
    digests = [blake2b(i.encode(), digest_size=32, key=key).digest() for i in ids.to_pylist()]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 4)


def _hash_captions(captions: pa.Array, default: np.ndarray) -> np.ndarray:
    """Hash normalised captions; an empty one gets its default instead, uint64, (N,)."""
    # 64 bits: a collision is likely only among billions of captions, and merely drops one post.
    texts = [normalise_caption(caption) for caption in captions.to_pylist()]
    digests = [blake2b(text.encode(), digest_size=8).digest() for text in texts]
    hashed = np.frombuffer(b"".join(digests), dtype="<u8")
    return np.where(np.fromiter(map(bool, texts), dtype=bool, count=len(texts)), hashed, default)


def _name_strata(batch: pa.RecordBatch, by: tuple[str, ...], n_known: dict[str, int]) -> pa.Array:
    """Name each post's stratum, and add the non-null values of each column to `n_known`."""
    if not by:
        return pa.repeat("all", len(batch))
    parts = []
    for column in by:
        values = batch["images" if column == "has_image" else column]
        if column == "has_image":
            values = pc.greater(pc.list_value_length(values), 0)
        n_known[column] += len(values) - values.null_count
        text = pc.fill_null(values.cast(pa.string()), "unknown")
        parts.append(pc.binary_join_element_wise(column, text, "="))
    return pc.binary_join_element_wise(*parts, "|")


def _check_values(n_known: dict[str, int], n_posts: int) -> None:
    if not n_posts:
        raise CorpusError("the corpus has no posts", do="import posts, or run `dvc pull`")
    for column, count in n_known.items():
        if not count:
            raise CorpusError(
                f"no post has a value in column {column!r} of sample.stratify_by",
                do="remove it from sample.stratify_by, or import posts that have it",
            )


def _check_unique(ids: pa.Array) -> pa.Array:
    repeats = len(ids) - pc.count_distinct(ids).as_py()
    if repeats:
        counts = pc.value_counts(ids)
        example = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))[0]["values"]
        raise CorpusError(
            f"{repeats} post ids occur more than once",
            seen=example.as_py(),
            do="import into an empty folder; within one import, repeated ids become rejects",
        )
    return ids
