"""Verify that no author and no near-duplicate is in more than one fold.

`postbias.posts.duplicates` searches with MinHash and hash bands, which may miss pairs. This check
compares all pairs across folds exhaustively instead: captions by sparse matrix products, images
by brute force.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import csr_array

from postbias.errors import CorpusError
from postbias.params import SplitParams
from postbias.posts.duplicates import PostFeatures, match_appearance
from postbias.posts.schema import FOLDS

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class LeakageCheck:
    """Counts of what is shared between folds, and of the pairs compared.

    Attributes:
        shared_authors: Authors with posts in several folds.
        caption_pairs: Similar captions in different folds.
        image_pairs: Similar images in different folds.
        captions_compared: Pairs of captions in different folds.
        images_compared: Pairs of images in different folds.
    """

    shared_authors: int
    caption_pairs: int
    image_pairs: int
    captions_compared: int
    images_compared: int

    @property
    def leakage(self) -> int:
        """Total of shared authors, similar captions and similar images."""
        return self.shared_authors + self.caption_pairs + self.image_pairs

    def report(self) -> dict[str, int]:
        """Return all counts and `leakage`, for `reports/split.json`."""
        return asdict(self) | {"leakage": self.leakage}


def check_leakage(features: PostFeatures, folds: np.ndarray, params: SplitParams) -> LeakageCheck:
    """Compare every pair of posts in two different folds; excluded posts are in none.

    Args:
        features: Features of the posts.
        folds: Fold of each post, (N,).
        params: Similarity thresholds.

    Returns:
        The counts; leakage is 0.

    Raises:
        CorpusError: If an author, caption or image leaks between folds.
    """
    has_caption = np.fromiter(map(bool, features.captions), bool, count=len(features.captions))
    captions_of = [np.flatnonzero((folds == fold) & has_caption) for fold in FOLDS]
    images_of = [np.flatnonzero(folds[features.image_post] == fold) for fold in FOLDS]
    matrix = _shingle_matrix(features.captions)
    check = LeakageCheck(
        shared_authors=_count_shared_authors(np.array(features.authors, dtype=object), folds),
        caption_pairs=sum(
            _count_similar_captions(matrix[left], matrix[right], params.caption_similarity)
            for left, right in itertools.combinations(captions_of, 2)
        ),
        image_pairs=sum(
            _count_similar_images(features, left, right, params.image_distance)
            for left, right in itertools.combinations(images_of, 2)
        ),
        captions_compared=_count_pairs(captions_of),
        images_compared=_count_pairs(images_of),
    )
    if check.leakage:
        raise CorpusError(
            "the folds leak",
            seen=check.report(),
            do="report this bug in postbias; another seed may avoid it",
        )
    return check


def _count_pairs(members: list[np.ndarray]) -> int:
    return sum(len(left) * len(right) for left, right in itertools.combinations(members, 2))


def _count_shared_authors(authors: np.ndarray, folds: np.ndarray) -> int:
    author_folds = {(a, f) for a, f in zip(authors, folds, strict=True) if f in FOLDS}
    return len(author_folds) - len({author for author, _ in author_folds})


def _shingle_matrix(captions: tuple[frozenset[str], ...]) -> csr_array:
    """Mark which caption (row) has which shingle (column), float32, (N, V)."""
    column_of: dict[str, int] = {}
    columns = [
        column_of.setdefault(shingle, len(column_of)) for caption in captions for shingle in caption
    ]
    starts = np.cumsum([0, *map(len, captions)])
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_array((ones, columns, starts), shape=(len(captions), max(1, len(column_of))))


def _count_similar_captions(left: csr_array, right: csr_array, threshold: float) -> int:
    """Count the pairs of rows whose Jaccard similarity reaches the threshold."""
    left_sizes, right_sizes = np.diff(left.indptr), np.diff(right.indptr)
    transposed, count = right.T.tocsr(), 0
    for start in range(0, left.shape[0], _BLOCK):
        common = (left[start : start + _BLOCK] @ transposed).tocoo()
        union = left_sizes[start + common.row] + right_sizes[common.col] - common.data
        count += int(np.count_nonzero(common.data / union >= threshold))
    return count


def _count_similar_images(
    features: PostFeatures, left: np.ndarray, right: np.ndarray, max_distance: int
) -> int:
    """Count the pairs of images that are close in hash and match in colours and shapes."""
    count = 0
    for start in range(0, len(left), _BLOCK):
        block = left[start : start + _BLOCK]
        xor = features.hashes[block][:, None] ^ features.hashes[right]  # (b, R)
        rows, columns = np.nonzero(np.bitwise_count(xor) <= max_distance)
        count += int(np.count_nonzero(match_appearance(features, block[rows], right[columns])))
    return count
