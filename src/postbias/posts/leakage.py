"""Prove that nothing crosses the folds, by other means than those that made them.

`duplicates` proposes pairs by MinHash and by bands of hash bits; here every pair of posts of two
different folds is compared, captions by a product of sparse matrices, pictures by brute force. So
the audit finds what a probabilistic or cleverly indexed search may have missed.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import csr_array

from postbias.errors import CorpusError
from postbias.params import SplitParams
from postbias.posts.duplicates import Content, look_alike
from postbias.posts.schema import FOLDS

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Audit:
    """What crosses the folds; all must be 0 but the last two.

    Attributes:
        shared_authors: Authors with posts in several folds.
        caption_pairs: Nearly equal captions in different folds.
        image_pairs: Nearly equal pictures in different folds.
        captions_compared: Pairs of captions in different folds.
        images_compared: Pairs of pictures in different folds.
    """

    shared_authors: int
    caption_pairs: int
    image_pairs: int
    captions_compared: int
    images_compared: int

    @property
    def leakage(self) -> int:
        """Everything that crosses."""
        return self.shared_authors + self.caption_pairs + self.image_pairs

    def report(self) -> dict[str, int]:
        """Return the audit as part of `reports/split.json`.

        Returns:
            All fields and `leakage`.
        """
        return asdict(self) | {"leakage": self.leakage}


def audit(content: Content, folds: np.ndarray, params: SplitParams) -> Audit:
    """Compare every pair of posts of two different folds; excluded posts are in none.

    Args:
        content: What is compared.
        folds: The fold of each post, (N,).
        params: The thresholds of likeness.

    Returns:
        What was found.

    Raises:
        CorpusError: If anything crosses the folds.
    """
    in_captions = [np.flatnonzero((folds == fold) & _told(content)) for fold in FOLDS]
    in_images = [np.flatnonzero(folds[content.owner] == fold) for fold in FOLDS]
    matrix = _matrix(content.captions)
    found = Audit(
        shared_authors=_shared(np.array(content.authors, dtype=object), folds),
        caption_pairs=sum(
            _caption_pairs(matrix[left], matrix[right], params.caption_similarity)
            for left, right in itertools.combinations(in_captions, 2)
        ),
        image_pairs=sum(
            _image_pairs(content, left, right, params.image_distance)
            for left, right in itertools.combinations(in_images, 2)
        ),
        captions_compared=_pairs(in_captions),
        images_compared=_pairs(in_images),
    )
    if found.leakage:
        raise CorpusError(
            "the folds leak",
            seen=found.report(),
            do="report this: it is a fault of postbias; another seed may avoid it",
        )
    return found


def _told(content: Content) -> np.ndarray:
    return np.fromiter(map(bool, content.captions), dtype=bool, count=len(content.captions))


def _pairs(members: list[np.ndarray]) -> int:
    return sum(len(left) * len(right) for left, right in itertools.combinations(members, 2))


def _shared(authors: np.ndarray, folds: np.ndarray) -> int:
    within = {(a, f) for a, f in zip(authors, folds, strict=True) if f in FOLDS}
    return len(within) - len({author for author, _ in within})


def _matrix(captions: tuple[frozenset[str], ...]) -> csr_array:
    """Return which caption (row) has which shingle (column), float32, (N, V)."""
    known: dict[str, int] = {}
    columns = [known.setdefault(one, len(known)) for caption in captions for one in caption]
    starts = np.cumsum([0, *map(len, captions)])
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_array((ones, columns, starts), shape=(len(captions), max(1, len(known))))


def _caption_pairs(left: csr_array, right: csr_array, threshold: float) -> int:
    """Count the pairs of rows whose Jaccard similarity reaches the threshold."""
    left_sizes, right_sizes = np.diff(left.indptr), np.diff(right.indptr)
    turned, count = right.T.tocsr(), 0
    for start in range(0, left.shape[0], _BLOCK):
        common = (left[start : start + _BLOCK] @ turned).tocoo()
        both = left_sizes[start + common.row] + right_sizes[common.col] - common.data
        count += int(np.count_nonzero(common.data / both >= threshold))
    return count


def _image_pairs(content: Content, left: np.ndarray, right: np.ndarray, most: int) -> int:
    """Count the pairs of pictures with like hashes, colours and shapes."""
    count = 0
    for start in range(0, len(left), _BLOCK):
        block = left[start : start + _BLOCK]
        differ = np.bitwise_count(content.bits[block][:, None] ^ content.bits[right])  # (b, R)
        rows, columns = np.nonzero(differ <= most)
        count += int(np.count_nonzero(look_alike(content, block[rows], right[columns])))
    return count
