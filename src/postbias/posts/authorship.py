"""Posts with and without a given author: who counts as an author, and how counts are worded.

An export need not give authors. Each post without one then counts as its own author, and importers
write `post:<its id>`. Counts keep these posts apart, since their true authors may be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_PREFIX = "post:"


@dataclass(frozen=True, slots=True)
class AuthorCounts:
    """Authors of some posts.

    Attributes:
        authors: Distinct given authors.
        posts_without_author: Posts without a given author.
    """

    authors: int
    posts_without_author: int

    @property
    def n_units(self) -> int:
        """Number of units that statistics treat as independent."""
        return self.authors + self.posts_without_author

    def as_dict(self, prefix: str = "") -> dict[str, int]:
        """Return the counts as they are written to JSON reports, under prefixed names."""
        return {
            f"{prefix}authors": self.authors,
            f"{prefix}posts_without_author": self.posts_without_author,
        }


def make_own_author(post_id: str) -> str:
    """Return the author of a post whose export gives none: the post itself."""
    return f"{_PREFIX}{post_id}"


def find_authorless_posts(
    authors: Sequence[str] | pa.ChunkedArray, post_ids: Sequence[str] | pa.ChunkedArray
) -> npt.NDArray[np.bool_]:
    """Find the posts without a given author.

    Args:
        authors: Author of each post. (n,)
        post_ids: Id of each post. (n,)

    Returns:
        Mask of the posts that are their own author. (n,)
    """
    names, ids = (_to_strings(column) for column in (authors, post_ids))
    own = pc.binary_join_element_wise(_PREFIX, ids, "")
    return np.asarray(pc.equal(names, own).to_numpy(zero_copy_only=False), dtype=bool)


def count_authors(
    authors: Sequence[str] | pa.ChunkedArray, post_ids: Sequence[str] | pa.ChunkedArray
) -> AuthorCounts:
    """Count the distinct authors of some posts, and the posts without one.

    Args:
        authors: Author of each post. (n,)
        post_ids: Id of each post. (n,)

    Returns:
        The counts.
    """
    is_authorless = find_authorless_posts(authors, post_ids)
    given = _to_strings(authors).filter(pa.array(~is_authorless))
    return AuthorCounts(int(pc.count_distinct(given).as_py()), int(is_authorless.sum()))


def describe_authors(counts: Mapping[str, Any], prefix: str = "") -> str:
    """Describe counts in words, such as `73 authors` or `766 posts (each its own author)`.

    Args:
        counts: A report with the counts of `AuthorCounts.as_dict`; a missing number is 0.
        prefix: Prefix of the names.

    Returns:
        The counts of authors, of posts without an author, or of both.
    """
    n_authors, n_without = (
        int(counts.get(f"{prefix}{name}", 0)) for name in ("authors", "posts_without_author")
    )
    authors = f"{n_authors:,} author{'' if n_authors == 1 else 's'}"
    posts = f"{n_without:,} post{'' if n_without == 1 else 's'}"
    if not n_without:
        return authors
    posts = f"{posts} (each its own author)"
    return f"{authors} and {posts}" if n_authors else posts


def describe_missing_authors(counts: Mapping[str, Any], prefix: str = "") -> str:
    """Warn that posts have no given author; empty if all have one.

    Args:
        counts: A report with the counts of `AuthorCounts.as_dict`; a missing number is 0.
        prefix: Prefix of the names.

    Returns:
        A sentence.
    """
    n_without = int(counts.get(f"{prefix}posts_without_author", 0))
    if not n_without:
        return ""
    return (
        "Intervals are likely too narrow: posts without an author, or whose author is ignored, "
        "count as independent, although one author can have written several."
    )


def _to_strings(column: Sequence[str] | pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column, pa.ChunkedArray):
        return column.cast(pa.string())
    return pa.chunked_array([pa.array(column, pa.string())])
