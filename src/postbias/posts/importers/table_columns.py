"""Column names of a table, by default or from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from postbias.errors import InputError, SchemaError


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names of a table; columns that it does not have are left empty.

    Attributes:
        post_id: Required.
        caption: Required unless there are images.
        images: Paths, or Hugging Face `Image` values that contain the bytes.
        author: Without it, each post counts as its own author.
        sponsored: true/false, yes/no, 1/0.
        posted_at: ISO 8601 or seconds since 1970; UTC unless it has an offset.
        likes: A whole number.
        comments: A whole number.
        media_type: Any word.
        platform: Any word; the default is "table".
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

    def check(self, names: list[str]) -> None:
        """Check that a table has the required columns and all that were renamed.

        Args:
            names: The columns of the table.

        Raises:
            SchemaError: If a column is missing or a name occurs twice.
        """
        missing = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) not in names
            and (field.name == "post_id" or getattr(self, field.name) != field.default)
        }
        if not {self.caption, self.images} & set(names):
            missing |= {"caption": self.caption}
        used = {getattr(self, field.name) for field in fields(self)}
        twins = sorted({name for name in used if names.count(name) > 1})
        if missing or twins:
            raise SchemaError(
                f"the table has no column {', '.join(missing.values())}"
                if missing
                else f"two columns have the same name: {', '.join(twins)}",
                seen=f"columns {names[:20]}",
                do="name them: --column FIELD=NAME, with FIELD one of "
                + ", ".join(field.name for field in fields(self)),
            )


def parse_columns(assignments: Sequence[str]) -> Columns:
    """Parse column names from the command line.

    Args:
        assignments: `field=name` each; `field` is an attribute of `Columns`.

    Returns:
        The default names, with these replaced.

    Raises:
        InputError: If an assignment is malformed or its field is unknown.
    """
    known = [field.name for field in fields(Columns)]
    chosen = {}
    for assignment in assignments:
        name, equals, column = assignment.partition("=")
        if name not in known or not equals or not column:
            raise InputError(
                "--column takes FIELD=NAME", seen=assignment, allowed=f"FIELD: {', '.join(known)}"
            )
        chosen[name] = column
    return Columns(**chosen)
