"""Options of commands that read tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


def column_option(scope: str, example: str = "caption=text") -> Callable[[F], F]:
    """Return the option that names a column.

    Args:
        scope: When it applies, with its punctuation; "" if always.
        example: An assignment for the help text.
    """
    text = f"{scope}name of a column, e.g. {example}. Repeatable."
    return click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="FIELD=NAME",
        help=text[0].upper() + text[1:],
    )


def encoding_option(file: str, default: str) -> Callable[[F], F]:
    """Return the option that names an encoding, with the file it belongs to and its default."""
    return click.option(
        "--encoding", help=f"Encoding of {file}, e.g. windows-1251.  [default: {default}]"
    )


def transcripts_option() -> Callable[[F], F]:
    """Return the option that appends transcripts of videos to captions."""
    return click.option(
        "--transcripts", is_flag=True, help="Append transcripts of videos to the captions."
    )


def null_values_option(scope: str) -> Callable[[F], F]:
    """Return the option that names words for empty cells, with when it applies."""
    return click.option(
        "--null-values",
        multiple=True,
        metavar="WORD",
        help=f"{scope}read cells with this word as empty, e.g. nan. Repeatable.",
    )
