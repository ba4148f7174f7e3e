"""Where the objects that are cues were drawn in the images of the demo corpus.

A column of `truth.parquet`, so that explanations can be compared with what was planted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from postbias.demo.recorded_columns import read_recorded

#: Names of objects: the symbol of a role and the price tag, which raise `bias`, and a person.
SYMBOL, TAG, PERSON = "symbol", "tag", "person"

OBJECTS = "objects"
_SIDES = ("left", "top", "right", "bottom")
_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("image", pa.int8()),
            pa.field("name", pa.string()),
            *(pa.field(side, pa.float32()) for side in _SIDES),
        ]
    )
)


class PlantedObject(NamedTuple):
    """An object that was drawn, with its box as shares of the width and height of the image."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def mirrored(self) -> PlantedObject:
        """Return the object after the image was mirrored."""
        return self._replace(left=1 - self.right, right=1 - self.left)


def objects_column(by_post: Sequence[Sequence[Sequence[PlantedObject]]]) -> pa.Array:
    """Convert the objects of posts to a column.

    Args:
        by_post: Objects by post and image.

    Returns:
        One list per post, of structures with the position of the image.
    """
    rows = [
        [
            {"image": image, **found._asdict()}
            for image, objects in enumerate(images)
            for found in objects
        ]
        for images in by_post
    ]
    return pa.array(rows, _TYPE)


def read_planted_objects(
    path: Path, post_ids: Sequence[str]
) -> list[list[tuple[int, PlantedObject]]] | None:
    """Read the objects in the images of some posts of a demo corpus.

    Args:
        path: `truth.parquet` of the corpus.
        post_ids: Ids of the posts.

    Returns:
        For each post the position of the image and the object; None if the corpus does not record
        objects, or lacks a post.

    Raises:
        SchemaError: If the file cannot be read.
    """
    recorded = read_recorded(path, OBJECTS, post_ids)
    if recorded is None:
        return None
    return [
        [
            (found["image"], PlantedObject(found["name"], *(found[side] for side in _SIDES)))
            for found in objects
        ]
        for objects in recorded
    ]
