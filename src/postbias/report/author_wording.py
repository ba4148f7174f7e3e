"""Wording of the report on authors: how many there are, which posts have none, and who dominates.

The English texts are those of `postbias.posts.authorship`, which tables for the terminal use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import join_sentences, ngettext
from postbias.localisation.number_formats import format_count
from postbias.report.wording import format_percent

Json = Mapping[str, Any]


def word_authors(counts: Json, prefix: str = "") -> str:
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
    authors = ngettext("{n} author", "{n} authors", n_authors).format(n=format_count(n_authors))
    if not n_without:
        return authors
    posts = ngettext(
        "{n} post (each its own author)", "{n} posts (each its own author)", n_without
    ).format(n=format_count(n_without))
    if not n_authors:
        return posts
    return _("{authors} and {posts}").format(authors=authors, posts=posts)


def warn_of_missing_authors(counts: Json, prefix: str = "") -> str:
    """Warn that posts have no given author; empty if all have one.

    Args:
        counts: A report with the counts of `AuthorCounts.as_dict`; a missing number is 0.
        prefix: Prefix of the names.

    Returns:
        A sentence.
    """
    if not int(counts.get(f"{prefix}posts_without_author", 0)):
        return ""
    return _(
        "Intervals are likely too narrow: posts without an author, or whose author is ignored, "
        "count as independent, although one author can have written several."
    )


def describe_dominant_authors(strata: Json) -> str:
    """Name the authors that are strata of their own, with their shares of the posts; may be empty.

    Args:
        strata: `strata` of `reports/population.json`.

    Returns:
        The sentences.
    """

    def names(*, is_stratum: bool) -> str:
        return _(", ").join(
            _("{author} ({share})").format(author=one["author"], share=format_percent(one["share"]))
            for one in strata["dominant_authors"]
            if one["is_stratum"] == is_stratum
        )

    limit = format_percent(strata["dominant_share"])
    sentences = []
    if own := names(is_stratum=True):
        sentences.append(
            _(
                "Authors with more than {limit} of the posts are strata of their own, each "
                "estimated from its own labels and weighted by its share of the posts: {authors}."
            ).format(limit=limit, authors=own)
        )
    if merged := names(is_stratum=False):
        sentences.append(
            _(
                "Authors with more than {limit} of the posts whose labels do not suffice for a "
                "stratum of their own count as authors like the others: {authors}."
            ).format(limit=limit, authors=merged)
        )
    if n := strata["never_held_out"]["authors"]:
        sentences.append(
            ngettext(
                "{n} author is linked to more posts than a held-out fold has, and forms a stratum "
                "that is estimated from labels alone.",
                "{n} authors are linked to more posts than a held-out fold has, and form a "
                "stratum that is estimated from labels alone.",
                n,
            ).format(n=format_count(n))
        )
    return join_sentences(sentences)
