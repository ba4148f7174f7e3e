"""Column names of a table, by default or from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from postbias.errors import InputError, SchemaError
from postbias.posts.importers.column_synonyms import COLUMN_SYNONYMS
from postbias.posts.importers.media_converter import DEFAULT_FRAMES


class ColumnsError(SchemaError):
    """A table lacks a required column, or has two of the same name.

    Attributes:
        names: The columns of the table.
        options: Options for the command line that name the missing columns, as far as others have
            common names; NAME stands for a required one that has none.
    """

    def __init__(
        self,
        what: str,
        names: Sequence[str],
        found: Mapping[str, str],
        missing: Iterable[str] = (),
    ) -> None:
        """Compose the message."""
        self.names = tuple(names)
        proposed = propose_columns(names, found)
        self.options = _complete(proposed, found)
        seen = f"columns {list(names)[:20]}" if is_text(names) else "no readable text"
        super().__init__(what, seen=seen, do=_advise(names, proposed, missing))


def is_text(names: Sequence[str]) -> bool:
    """Tell whether the names of columns can be text, rather than the bytes of another file."""
    characters = "".join(names)
    return all(each.isprintable() or each in "\t\r\n\u200b\xa0\xad\ufeff" for each in characters)


def _complete(proposed: str, found: Mapping[str, str]) -> str:
    """Add NAME for the required fields for which there is no proposal."""
    options = [proposed] if proposed else []

    def is_missing(field_name: str) -> bool:
        return field_name not in found and f"{field_name}=" not in proposed

    if is_missing("post_id"):
        options.append("--column post_id=NAME")
    if is_missing("caption") and is_missing("images"):
        options.append("--column caption=NAME")
    return " ".join(options)


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names of a table; columns that it does not have are left empty.

    Attributes:
        post_id: Required; "" numbers the rows, for tables without ids: `row-1`, `row-2`, ...
        caption: Required unless there are images.
        images: Paths, or Hugging Face `Image` values that contain the bytes.
        author: Without it, each post counts as its own author.
        sponsored: true/false, yes/no, 1/0.
        posted_at: ISO 8601 or seconds since 1970; UTC unless it has an offset.
        likes: A whole number.
        comments: A whole number.
        media_type: Any word.
        platform: Any word; the default is "table".
        duration_s: Seconds, `1:02:03` or `PT1H2M3S`.
        transcript: What is said in the video.
    """

    post_id: str = "post_id"
    caption: str = "caption"
    images: str = "images"
    author: str = "author"
    sponsored: str = "sponsored"
    posted_at: str = "posted_at"
    likes: str = "likes"
    comments: str = "comments"
    media_type: str = "media_type"
    platform: str = "platform"
    duration_s: str = "duration_s"
    transcript: str = "transcript"

    def find(self, names: Sequence[str]) -> dict[str, str]:
        """Find the columns of a table: exact names first, then without case, spaces and `_`.

        Args:
            names: The columns of the table.

        Returns:
            The column of each field that the table has.

        Raises:
            ColumnsError: If a column is missing or its name occurs twice.
        """
        wanted = {each.name: getattr(self, each.name) for each in fields(self)}
        is_default = {each.name: wanted[each.name] == each.default for each in fields(self)}
        matches = {name: _matches(column, names) for name, column in wanted.items()}
        found = {name: columns[0] for name, columns in matches.items() if columns}
        missing = {
            name: column
            for name, column in wanted.items()
            if column and name not in found and (name == "post_id" or not is_default[name])
        }
        if not {"caption", "images"} & set(found):
            missing |= {"caption": self.caption}
        twins = sorted({column for columns in matches.values() for column in columns[1:]})
        if missing or twins:
            raise ColumnsError(
                f"the table has no column {', '.join(missing.values())}"
                if missing
                else f"two columns have the same name: {', '.join(twins)}",
                names,
                found,
                missing,
            )
        return found


@dataclass(frozen=True, slots=True)
class ImageColumns(Columns):
    """Column names of a table of which only the images are read."""

    def find(self, names: Sequence[str]) -> dict[str, str]:
        """Find the column of the images, and that of the ids if there is one.

        Args:
            names: The columns of the table.

        Returns:
            The column of each of these fields.

        Raises:
            ColumnsError: If there is no column of images.
        """
        wanted = {"post_id": self.post_id, "images": self.images}
        matches = {name: _matches(column, names) for name, column in wanted.items()}
        found = {name: columns[0] for name, columns in matches.items() if columns}
        if "images" not in found:
            raise ColumnsError(f"the table has no column {self.images}", names, found)
        return found


def _normalise(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _matches(column: str, names: Sequence[str]) -> list[str]:
    if not column:  # of rows that are numbered: a column without a name is no match
        return []
    exact = [name for name in names if name == column]
    return exact or [name for name in names if _normalise(name) == _normalise(column) != ""]


def propose_columns(names: Sequence[str], found: Mapping[str, str]) -> str:
    """Propose columns with common names for the fields that a table lacks.

    Args:
        names: The columns of the table.
        found: The column of each field that it has.

    Returns:
        Options for the command line; "" if no other column has a common name.
    """
    guessed = guess_columns(names, found)
    return " ".join(f"--column {shlex.quote(f'{name}={guessed[name]}')}" for name in guessed)


def guess_columns(names: Sequence[str], found: Mapping[str, str]) -> dict[str, str]:
    """Guess the columns of the fields that a table lacks, by their common names.

    Args:
        names: The columns of the table.
        found: The column of each field that it has.

    Returns:
        A column of each further field for which one has a common name.
    """
    free = {_normalise(name): name for name in reversed(names) if name not in found.values()}
    guessed = {}
    for name, synonyms in COLUMN_SYNONYMS.items():
        if name in found:
            continue
        column = next((free.pop(synonym) for synonym in synonyms if synonym in free), None)
        if column is not None:
            guessed[name] = column
    return guessed


def choose_columns(names: Sequence[str]) -> dict[str, str]:
    """Choose a column for each field: default names first, then common ones.

    Args:
        names: The columns of the table.

    Returns:
        The column of each field for which there is one; to be confirmed by a person.
    """
    found = {}
    for each in fields(Columns):
        if matches := _matches(str(each.default), names):
            found[each.name] = matches[0]
    return found | guess_columns(names, found)


def _advise(names: Sequence[str], proposed: str, missing: Iterable[str]) -> str:
    if any("\udc80" <= character <= "\udcff" for name in names for character in name):
        return "leave out --encoding, or name another one: the header is not valid in this one"
    if not proposed:
        return f"name them: --column FIELD=NAME, with FIELD one of {', '.join(COLUMN_SYNONYMS)}"
    rest = [field for field in missing if f"{field}=" not in proposed]
    if "caption" in rest and "images=" in proposed:
        rest.remove("caption")
    others = "".join(f", and name the column of {field}: --column {field}=NAME" for field in rest)
    return f"if these are the right columns, add {proposed}{others}"


def format_options(options: ReadingOptions) -> str:
    """Format options as on the command line.

    Args:
        options: Column names, encoding and words for empty cells; others are left out.

    Returns:
        Those that differ from the default, quoted for a shell.
    """
    words = []
    for each in fields(Columns):
        if (name := getattr(options.columns, each.name)) != each.default:
            words += ["--column", f"{each.name}={name}"]
    if options.encoding is not None:
        words += ["--encoding", options.encoding]
    for word in options.null_values:
        words += ["--null-values", word]
    return shlex.join(words)


def parse_columns(assignments: Sequence[str]) -> Columns:
    """Parse column names from the command line.

    Args:
        assignments: `field=name` each; `field` is an attribute of `Columns`.

    Returns:
        The default names, with these replaced.

    Raises:
        InputError: If an assignment is malformed or its field is unknown.
    """
    known = [each.name for each in fields(Columns)]
    chosen = {}
    for assignment in assignments:
        name, equals, column = assignment.partition("=")
        is_valid = column or name == "post_id"
        if name not in known or not equals or not is_valid:
            raise InputError(
                "--column takes FIELD=NAME", seen=assignment, allowed=f"FIELD: {', '.join(known)}"
            )
        chosen[name] = column
    return Columns(**chosen)


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How to read an export.

    Attributes:
        columns: Column names of a table.
        encoding: The encoding of text files; None detects it.
        n_frames: Number of frames to take of a video.
        null_values: Layout table: cells with these words are empty.
        transcripts: Whether to append transcripts of videos to captions.
    """

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    n_frames: int = DEFAULT_FRAMES
    null_values: tuple[str, ...] = ()
    transcripts: bool = False
