"""Find near-duplicate posts, by caption or by image.

Captions are similar if the Jaccard similarity of their character shingles reaches a threshold:
MinHash LSH proposes candidate pairs, the exact similarity decides. Images are similar if their
64-bit perceptual hashes differ in few bits and their colours and shapes match. Empty captions,
single-colour images and unreadable images are similar to nothing.
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
from tqdm import tqdm

from postbias.errors import CorpusError, UnreadableImageError
from postbias.params import SplitParams
from postbias.posts.captions import make_shingles
from postbias.posts.images import decode_upright
from postbias.posts.shards import iter_selected_posts, list_shards

#: Longer side to which images are decoded before hashing; JPEG decodes faster below full size.
HASH_SIDE_PX = 128

# A perceptual hash alone is not enough: at a distance of 6 bits it chains 480 of 2,000 synthetic
# images into one cluster. The colour check breaks that chain, and the shape check keeps slides of
# black text on white apart.

#: Maximum mean absolute difference (of 255) between the tile colours of two similar images.
#: Recompression, resizing and mild filters stay below it.
COLOUR_DISTANCE = 8.0

#: Minimum correlation between the 16 x 16 greyscale versions of two similar images. Cropping 2.5%
#: off each edge leaves 0.97.
SHAPE_CORRELATION = 0.95

#: Below this standard deviation (of 255) of its 16 x 16 greyscale version, an image has no shape.
MIN_CONTRAST = 2.0

_TILES = 4
_SHAPE = 16
_PERMUTATIONS = 128


@dataclass(frozen=True, slots=True)
class PostFeatures:
    """What near-duplicate detection compares, for N posts with M readable images.

    Attributes:
        authors: Author of each post, length N.
        captions: Shingles of each caption, length N.
        image_post: Position of the post that each image belongs to, int64, (M,).
        hashes: Perceptual hash of each image, uint64, (M,).
        colours: Mean RGB of each image's 4 x 4 tiles, float32, (M, 48).
        shapes: Standardised greys of each image, all 0 if it has no shape, float32, (M, 256).
        unreadable: Number of images that could not be decoded.
    """

    authors: tuple[str, ...]
    captions: tuple[frozenset[str], ...]
    image_post: np.ndarray
    hashes: np.ndarray
    colours: np.ndarray
    shapes: np.ndarray
    unreadable: int


def read_features(folder: Path, post_ids: Sequence[str]) -> PostFeatures:
    """Read posts and compute their features, holding one row group in memory at a time.

    Args:
        post_ids: Distinct post ids.

    Returns:
        The features, in the order of `post_ids`.

    Raises:
        CorpusError: If the folder has no shard, or a post is in none of them.
        SchemaError: If a shard is damaged.
    """
    position = {post_id: i for i, post_id in enumerate(post_ids)}
    authors: list[str | None] = [None] * len(position)
    captions = [frozenset[str]()] * len(position)
    hashed: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    unreadable = 0
    columns = ["post_id", "author", "caption", "images"]
    with tqdm(total=len(position), desc="hash", unit="post", disable=None) as progress:
        for batch in iter_selected_posts(list_shards(folder), post_ids, columns):
            for post in batch.to_pylist():
                row = position[post["post_id"]]
                authors[row] = post["author"]
                captions[row] = make_shingles(post["caption"])
                for image in post["images"]:
                    try:
                        hashed.append((row, *hash_image(image["bytes"] or b"")))
                    except UnreadableImageError:
                        unreadable += 1
                progress.update()
    hashed.sort(key=lambda entry: entry[0])
    if None in authors:
        raise CorpusError(
            f"{authors.count(None)} labelled posts are not in {folder}",
            seen=post_ids[authors.index(None)],
            do="run `dvc repro` so that labels and posts match",
        )
    return PostFeatures(
        authors=tuple(author or "" for author in authors),
        captions=tuple(captions),
        image_post=np.array([row for row, *_ in hashed], dtype=np.int64),
        hashes=np.array([bits for _, bits, _, _ in hashed], dtype=np.uint64),
        colours=np.array([c for _, _, c, _ in hashed], dtype=np.float32).reshape(-1, 3 * _TILES**2),
        shapes=np.array([s for _, _, _, s in hashed], dtype=np.float32).reshape(-1, _SHAPE**2),
        unreadable=unreadable,
    )


def hash_image(data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    """Compute the perceptual hash, tile colours and shape of one image file.

    Returns:
        64-bit hash; mean RGB per tile, float32, (48,); standardised greys, float32, (256,).

    Raises:
        UnreadableImageError: If the image cannot be decoded.
    """
    image = decode_upright(data, max_side_px=HASH_SIDE_PX)
    bits = np.packbits(imagehash.phash(image).hash)  # (8,) bytes
    tiles = image.resize((_TILES, _TILES), Image.Resampling.BOX)
    small = image.convert("L").resize((_SHAPE, _SHAPE), Image.Resampling.BOX)
    greys = np.asarray(small, dtype=np.float32).ravel()
    contrast = greys.std()
    shape = (greys - greys.mean()) / contrast if contrast >= MIN_CONTRAST else np.zeros_like(greys)
    colours = np.asarray(tiles, dtype=np.float32).ravel()
    return int.from_bytes(bits.tobytes(), "big"), colours, shape


def match_appearance(features: PostFeatures, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Check which pairs of images match in colours and shapes, regardless of their hashes.

    Args:
        features: Features that hold the images.
        left: Positions of the first images, (P,).
        right: Positions of the second images, (P,).

    Returns:
        Whether each pair matches, bool, (P,).
    """
    difference = np.abs(features.colours[left] - features.colours[right]).mean(axis=1)
    correlation = (features.shapes[left] * features.shapes[right]).mean(axis=1)
    is_match: npt.NDArray[np.bool_] = (difference <= COLOUR_DISTANCE) & (
        correlation >= SHAPE_CORRELATION
    )
    return is_match


def find_near_duplicates(features: PostFeatures, params: SplitParams) -> np.ndarray:
    """Find pairs of posts with similar captions or a similar image.

    Returns positions of posts, int64, (P, 2). Not every similar pair is listed, but the connected
    components of the list are those of all similar pairs.
    """
    by_caption = find_similar_captions(features.captions, params.caption_similarity)
    by_image = find_similar_images(features, params.image_distance)
    return np.concatenate([by_caption, by_image])


def find_similar_captions(captions: Sequence[frozenset[str]], threshold: float) -> np.ndarray:
    """Find pairs of captions whose Jaccard similarity reaches a threshold.

    Args:
        captions: Shingles of each caption.
        threshold: Minimum similarity.

    Returns:
        Positions, int64, (P, 2). Of identical captions, only the first is paired with the others.
    """
    copies: dict[frozenset[str], list[int]] = {}
    for row, caption in enumerate(captions):
        if caption:
            copies.setdefault(caption, []).append(row)
    pairs = [(rows[0], row) for rows in copies.values() for row in rows[1:]]
    bands, depth = _choose_bands(threshold)
    lsh = MinHashLSH(params=(bands, depth), num_perm=_PERMUTATIONS)
    for caption, rows in tqdm(copies.items(), desc="compare", unit="caption", disable=None):
        signature = MinHash(num_perm=_PERMUTATIONS, hashfunc=zlib.crc32)
        # Sorted, because the iteration order of a set of strings differs between processes.
        signature.update_batch([shingle.encode() for shingle in sorted(caption)])
        similar = (
            row
            for row in lsh.query(signature)
            if jaccard_similarity(caption, captions[row]) >= threshold
        )
        pairs += [(row, rows[0]) for row in similar]
        lsh.insert(rows[0], signature)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def jaccard_similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """Divide the size of the intersection by that of the union; one set must not be empty."""
    common = len(left & right)
    return common / (len(left) + len(right) - common)


def find_similar_images(features: PostFeatures, max_distance: int) -> np.ndarray:
    """Find pairs of posts that have a similar image.

    Args:
        features: Features that hold the images.
        max_distance: Maximum number of bits in which two hashes differ.

    Returns:
        Distinct positions of posts, int64, (P, 2).
    """
    shaped = np.flatnonzero(features.shapes.any(axis=1))
    looks = np.column_stack([features.colours, features.shapes])[shaped]
    keys = zip(features.hashes[shaped].tolist(), map(np.ndarray.tobytes, looks), strict=True)
    first: dict[tuple[int, bytes], int] = {}
    same = [first.setdefault(key, image) for key, image in zip(keys, shaped.tolist(), strict=True)]
    post = features.image_post
    pairs = [np.column_stack([post[same], post[shaped]])]  # exact copies
    distinct = np.array([*first.values()], dtype=np.int64)
    for left, right in _iter_close_hashes(features.hashes[distinct], max_distance):
        left, right = distinct[left], distinct[right]
        is_match = match_appearance(features, left, right)
        pairs.append(post[np.column_stack([left[is_match], right[is_match]])])
    unique = np.unique(np.concatenate(pairs), axis=0)
    return unique.compress(unique[:, 0] != unique[:, 1], axis=0)


def _choose_bands(threshold: float) -> tuple[int, int]:
    """Choose the deepest LSH bands that miss a pair at the threshold with p < 1e-6."""
    for depth in range(16, 1, -1):
        bands = _PERMUTATIONS // depth
        if (1 - threshold**depth) ** bands < 1e-6:
            return bands, depth
    return _PERMUTATIONS, 1


def _iter_close_hashes(
    hashes: np.ndarray, max_distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over the pairs of 64-bit hashes that differ in at most `max_distance` bits.

    Cut into `max_distance` + 1 bands, two such hashes agree in at least one band (pigeonhole
    principle), so sorting by each band makes them neighbours. A pair may occur several times.
    """
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    for low, high in itertools.pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, step, start = band[order], 1, np.arange(len(hashes))
        while (start := start[start + step < len(hashes)]).size:
            start = start[band[start] == band[start + step]]
            left, right = order[start], order[start + step]
            is_close = np.bitwise_count(hashes[left] ^ hashes[right]) <= max_distance
            yield left[is_close], right[is_close]
            step += 1
