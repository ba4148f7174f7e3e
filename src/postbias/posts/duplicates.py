"""Find posts that are nearly the same, by caption or by picture.

Captions are alike if the Jaccard similarity of their character shingles is at least a threshold:
MinHash proposes pairs, exact similarity decides. Pictures are alike if their 64-bit perceptual
hashes differ in few bits, and colours and shapes agree. The hash alone will not do: at a distance
of 6 it chains 480 of 2,000 drawn pictures into one cluster; with colours none, and with shapes
slides of black text on white come apart too. Empty captions, pictures of one plain colour and
unreadable ones are like nothing. Knows nothing of folds.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from postbias.errors import CorpusError, UnreadableImageError
from postbias.params import SplitParams
from postbias.posts.captions import shingles
from postbias.posts.images import open_upright
from postbias.posts.shards import iter_wanted

#: Longer side to which pictures are decoded before hashing; JPEG decodes faster below its size.
HASH_SIDE_PX = 128

#: Two pictures are alike only if the mean colours of their 4 x 4 tiles differ by no more than this
#: on average, of 255. Recompressing, resizing and mild filters stay below.
COLOUR_DISTANCE = 8.0

#: ... and only if their greys at 16 x 16 correlate as much. Cutting 2.5% off each edge leaves 0.97.
SHAPE_CORRELATION = 0.95

#: A picture whose greys at 16 x 16 vary less (standard deviation, of 255) has no shape.
MIN_CONTRAST = 2.0

_TILES = 4
_SHAPE = 16
_PERMUTATIONS = 128


@dataclass(frozen=True, slots=True)
class Content:
    """What is compared of each post.

    Attributes:
        authors: Who published it, one entry per post.
        captions: Shingles of each caption, one entry per post.
        owner: Position of the post that each picture belongs to, int64, (M,).
        bits: Perceptual hash of each picture, uint64, (M,).
        colours: Mean RGB of each picture's tiles, float32, (M, 48).
        shapes: Standardised greys of each picture, 0 if it has no shape, float32, (M, 256).
        unreadable: Pictures that could not be decoded.
    """

    authors: tuple[str, ...]
    captions: tuple[frozenset[str], ...]
    owner: np.ndarray
    bits: np.ndarray
    colours: np.ndarray
    shapes: np.ndarray
    unreadable: int


def read_content(folder: Path, post_ids: Sequence[str]) -> Content:
    """Read and hash captions and pictures of some posts, one row group in memory at a time.

    Args:
        folder: A folder of post shards.
        post_ids: The posts, each once.

    Returns:
        Their content, in the order of `post_ids`.

    Raises:
        CorpusError: If the folder has no shard, or a post is in none.
        SchemaError: If a shard is damaged.
    """
    position = {post_id: i for i, post_id in enumerate(post_ids)}
    authors: list[str | None] = [None] * len(position)
    captions = [frozenset[str]()] * len(position)
    hashed: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    unreadable = 0
    columns = ["post_id", "author", "caption", "images"]
    with tqdm(total=len(position), desc="hash", unit="post", disable=None) as progress:
        for batch in iter_wanted(folder, post_ids, columns):
            for post in batch.to_pylist():
                row = position[post["post_id"]]
                authors[row] = post["author"]
                captions[row] = shingles(post["caption"])
                for image in post["images"]:
                    try:
                        hashed.append((row, *hash_image(image["bytes"] or b"")))
                    except UnreadableImageError:
                        unreadable += 1
                progress.update()
    hashed.sort(key=lambda one: one[0])
    if None in authors:
        raise CorpusError(
            f"{authors.count(None)} labelled posts are not in {folder}",
            seen=post_ids[authors.index(None)],
            do="run `dvc repro` so that labels and posts match",
        )
    return Content(
        authors=tuple(author or "" for author in authors),
        captions=tuple(captions),
        owner=np.array([row for row, *_ in hashed], dtype=np.int64),
        bits=np.array([bits for _, bits, _, _ in hashed], dtype=np.uint64),
        colours=np.array([c for _, _, c, _ in hashed], dtype=np.float32).reshape(-1, 3 * _TILES**2),
        shapes=np.array([s for _, _, _, s in hashed], dtype=np.float32).reshape(-1, _SHAPE**2),
        unreadable=unreadable,
    )


def hash_image(data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    """Reduce a picture to what is compared of it.

    Args:
        data: The bytes of a file.

    Returns:
        64 bits; mean RGB per tile, float32, (48,); standardised greys, float32, (256,).

    Raises:
        UnreadableImageError: If it cannot be decoded.
    """
    picture = open_upright(data, max_side_px=HASH_SIDE_PX)
    bits = np.packbits(imagehash.phash(picture).hash)  # (8,) bytes
    tiles = picture.resize((_TILES, _TILES), Image.Resampling.BOX)
    small = picture.convert("L").resize((_SHAPE, _SHAPE), Image.Resampling.BOX)
    greys = np.asarray(small, dtype=np.float32).ravel()
    spread = greys.std()
    shape = (greys - greys.mean()) / spread if spread >= MIN_CONTRAST else np.zeros_like(greys)
    colours = np.asarray(tiles, dtype=np.float32).ravel()
    return int.from_bytes(bits.tobytes(), "big"), colours, shape


def look_alike(content: Content, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Tell which pairs of pictures agree in colours and shapes, whatever their hashes say.

    Args:
        content: The pictures.
        left: Positions of pictures, (P,).
        right: Positions of those to compare them with, (P,).

    Returns:
        Whether they do, bool, (P,).
    """
    apart = np.abs(content.colours[left] - content.colours[right]).mean(axis=1)
    correlation = (content.shapes[left] * content.shapes[right]).mean(axis=1)
    alike: npt.NDArray[np.bool_] = (apart <= COLOUR_DISTANCE) & (correlation >= SHAPE_CORRELATION)
    return alike


def near_pairs(content: Content, params: SplitParams) -> np.ndarray:
    """Find pairs of nearly equal posts; enough of them to connect all that are nearly equal.

    Args:
        content: What to compare.
        params: The thresholds.

    Returns:
        Positions of posts, int64, (P, 2).
    """
    captions = caption_pairs(content.captions, params.caption_similarity)
    pictures = image_pairs(content, params.image_distance)
    return np.concatenate([captions, pictures])


def caption_pairs(captions: Sequence[frozenset[str]], threshold: float) -> np.ndarray:
    """Find captions of at least a Jaccard similarity.

    Args:
        captions: Shingles of each caption.
        threshold: The similarity.

    Returns:
        Positions, int64, (P, 2). Of equal captions, only the first is paired with the others.
    """
    copies: dict[frozenset[str], list[int]] = {}
    for row, caption in enumerate(captions):
        if caption:
            copies.setdefault(caption, []).append(row)
    pairs = [(rows[0], row) for rows in copies.values() for row in rows[1:]]
    bands, depth = _bands(threshold)
    lsh = MinHashLSH(params=(bands, depth), num_perm=_PERMUTATIONS)
    for caption, rows in tqdm(copies.items(), desc="compare", unit="caption", disable=None):
        signature = MinHash(num_perm=_PERMUTATIONS, hashfunc=zlib.crc32)
        # Sorted: sets of text come in another order in every process.
        signature.update_batch([one.encode() for one in sorted(caption)])
        others = (k for k in lsh.query(signature) if jaccard(caption, captions[k]) >= threshold)
        pairs += [(other, rows[0]) for other in others]
        lsh.insert(rows[0], signature)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the share of common members.

    Args:
        left: A set.
        right: Another; one of them is not empty.

    Returns:
        Members of both over members of any.
    """
    common = len(left & right)
    return common / (len(left) + len(right) - common)


def image_pairs(content: Content, most: int) -> np.ndarray:
    """Find posts with a picture in common.

    Args:
        content: The hashed pictures.
        most: Bits in which two hashes may differ.

    Returns:
        Positions of posts, int64, (P, 2).
    """
    shaped = np.flatnonzero(content.shapes.any(axis=1))
    looks = np.column_stack([content.colours, content.shapes])[shaped]
    keys = zip(content.bits[shaped].tolist(), map(np.ndarray.tobytes, looks), strict=True)
    first: dict[tuple[int, bytes], int] = {}
    same = [first.setdefault(key, one) for key, one in zip(keys, shaped.tolist(), strict=True)]
    found = [np.column_stack([content.owner[same], content.owner[shaped]])]  # copies
    distinct = np.array([*first.values()], dtype=np.int64)
    for left, right in _near_bits(content.bits[distinct], most):
        left, right = distinct[left], distinct[right]
        alike = look_alike(content, left, right)
        found.append(content.owner[np.column_stack([left[alike], right[alike]])])
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs.compress(pairs[:, 0] != pairs[:, 1], axis=0)


def components(pairs: np.ndarray, n: int) -> npt.NDArray[np.int32]:
    """Number the connected components of a graph.

    Args:
        pairs: Its edges, (P, 2).
        n: How many nodes it has.

    Returns:
        The component of each node, numbered from 0, (n,).
    """
    ones = np.ones(len(pairs), dtype=bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def _bands(threshold: float) -> tuple[int, int]:
    """Choose the deepest bands that miss a pair at the threshold less than once in a million."""
    for depth in range(16, 1, -1):
        bands = _PERMUTATIONS // depth
        if (1 - threshold**depth) ** bands < 1e-6:
            return bands, depth
    return _PERMUTATIONS, 1


def _near_bits(bits: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through the pairs of 64-bit numbers that differ in at most so many bits.

    Cut into `most` + 1 bands, such two agree in at least one band (pigeonhole), so that sorting by
    each band brings them together; a pair may come several times.
    """
    edges = np.linspace(0, 64, most + 2).astype(int)
    for low, high in itertools.pairwise(edges.tolist()):
        band = (bits >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, step, start = band[order], 1, np.arange(len(bits))
        while (start := start[start + step < len(bits)]).size:
            start = start[band[start] == band[start + step]]
            left, right = order[start], order[start + step]
            near = np.bitwise_count(bits[left] ^ bits[right]) <= most
            yield left[near], right[near]
            step += 1
