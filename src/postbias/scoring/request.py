"""Convert scoring requests to posts, and results to response rows.

An invalid row gets a status; an invalid request raises `RequestFaultError`. Messages never repeat
content of the request, and nothing in a request is used as a path or an address.
"""

# Ships inside the registered model.

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from postbias.errors import InputError
from postbias.posts.images import MAX_BYTES
from postbias.posts.reasons import RejectReason
from postbias.scoring.scorer import OK, PostInput, PostScore

if TYPE_CHECKING:
    import pandas as pd

EXPLAIN = "explain"
COLUMNS = ("caption", "image", "images", EXPLAIN)
MAX_ROWS = 256
MAX_BODY_BYTES = 64 * 2**20
MAX_CAPTION_CHARS = 20_000
MAX_IMAGES_PER_ROW = 32

_ALLOWED = f"{', '.join(COLUMNS)}"


class RequestFaultError(InputError):
    """A request that is invalid as a whole."""


class RowFaultError(InputError):
    """An invalid row.

    Attributes:
        reason: Status of the row.
        detail: The fault.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        """Store reason and detail.

        Args:
            reason: Status of the row.
            detail: The fault, without content of the row.
        """
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def read_rows(data: object) -> list[dict[str, Any]]:
    """Check the structure of a request and split it into rows.

    Args:
        data: A DataFrame or a list of mappings with columns `caption`, `image`, `images` and
            `explain`, each optional.

    Returns:
        One mapping per row.

    Raises:
        RequestFaultError: If the type or the columns are wrong, or there are no or too many rows.
    """
    if _is_frame(data):
        _check_columns(list(data.columns), len(data))
        return [{str(k): v for k, v in row.items()} for row in data.to_dict("records")]
    # MLflow passes the values of `inputs` as zero-dimensional arrays.
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        _check_columns(list(dict.fromkeys(key for row in data for key in row)), len(data))
        return [dict(row) for row in data]
    raise RequestFaultError(
        "the request is not a table",
        allowed="dataframe_records, dataframe_split, or inputs as a list of objects",
    )


def read_post(row: Mapping[str, Any]) -> PostInput:
    """Convert one row to a post.

    Args:
        row: `caption`, `image` and `images`; null counts as missing.

    Raises:
        RowFaultError: If a value has the wrong type, is too large or is not base64.
    """
    caption = _plain(row.get("caption"))
    if caption is None:
        caption = ""
    if not isinstance(caption, str):
        raise RowFaultError(
            RejectReason.BROKEN_ROW, f"caption is {type(caption).__name__}, not text"
        )
    if len(caption) > MAX_CAPTION_CHARS:
        raise RowFaultError(
            RejectReason.TOO_LARGE, f"caption has over {MAX_CAPTION_CHARS} characters"
        )
    image = _plain(row.get("image"))
    images = [] if image is None else [image]
    images += _image_list(_plain(row.get("images")))
    if len(images) > MAX_IMAGES_PER_ROW:
        raise RowFaultError(RejectReason.TOO_LARGE, f"more than {MAX_IMAGES_PER_ROW} images")
    return PostInput(caption, tuple(_image_bytes(n, image) for n, image in enumerate(images, 1)))


def wants_explanation(row: Mapping[str, Any]) -> bool:
    """Tell whether a row asks for an explanation of its score.

    Raises:
        RowFaultError: If `explain` is neither true nor false nor null.
    """
    value = _plain(row.get(EXPLAIN))
    if not isinstance(value, bool | None):
        kind = type(value).__name__
        raise RowFaultError(RejectReason.BROKEN_ROW, f"explain is {kind}, not true or false")
    return bool(value)


def answer_row(axes: Sequence[str], result: PostScore | RowFaultError) -> dict[str, Any]:
    """Flatten one result to a response row with the same keys for every post.

    Args:
        axes: Names of the student's axes.
        result: The scored post, or the fault of its row.

    Returns:
        `<axis>`, `<axis>_lo`, `<axis>_hi` of each axis, `band`, `modalities`, `n_images`, `status`
        and `detail`; scores are null unless `status` is `ok`.
    """
    if isinstance(result, RowFaultError):
        result = PostScore(str(result.reason), {}, None, None, 0, result.detail)
    row: dict[str, Any] = {}
    for axis in axes:
        score = result.scores[axis] if result.status == OK else (None, None, None)
        row |= dict(zip((axis, f"{axis}_lo", f"{axis}_hi"), score, strict=True))
    return row | {
        "band": result.band,
        "modalities": result.modalities,
        "n_images": result.n_images,
        "status": result.status,
        "detail": result.detail,
    }


def _check_columns(columns: list[object], n_rows: int) -> None:
    if n_rows == 0:
        raise RequestFaultError("the request has no rows", do="send at least one post")
    if n_rows > MAX_ROWS:
        raise RequestFaultError("too many rows", seen=n_rows, allowed=f"at most {MAX_ROWS}")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise RequestFaultError(f"{len(unknown)} unknown column(s)", allowed=_ALLOWED)
    if len(set(columns)) < len(columns):
        raise RequestFaultError("a column occurs twice", allowed=_ALLOWED)
    if not columns:
        raise RequestFaultError("the request has no columns", allowed=_ALLOWED)


def _is_frame(data: object) -> TypeGuard[pd.DataFrame]:
    # A table of pandas exists only where pandas is loaded, which takes a quarter of a second.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _image_list(images: object) -> list[object]:
    if images is None:
        return []
    if isinstance(images, str):
        try:
            images = json.loads(images)
        except (ValueError, RecursionError) as error:
            raise RowFaultError(
                RejectReason.BROKEN_ROW, "images is text but not a JSON list"
            ) from error
    if not isinstance(images, list | tuple):
        raise RowFaultError(
            RejectReason.BROKEN_ROW, f"images is {type(images).__name__}, not a list"
        )
    return [_plain(image) for image in images]


def _image_bytes(number: int, image: object) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if not isinstance(image, str):
        kind = type(image).__name__
        raise RowFaultError(RejectReason.BROKEN_ROW, f"image {number} is {kind}, not base64 text")
    if len(image) > MAX_BYTES * 3 // 2:
        raise RowFaultError(RejectReason.TOO_LARGE, f"image {number} is over {MAX_BYTES} bytes")
    # Encoders may wrap lines; any other character outside the alphabet is a fault.
    for text in (image, "".join(image.split())):
        with suppress(ValueError):
            return base64.b64decode(text, validate=True)
    raise RowFaultError(RejectReason.BROKEN_ROW, f"image {number} is not valid base64")


def _plain(value: object) -> object:
    """Unwrap values of pandas, NumPy and MLflow; every form of null becomes None."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    pandas = sys.modules.get("pandas")
    is_null = value is None
    if pandas is not None:
        is_null = is_null or value is pandas.NA or value is pandas.NaT
    return None if is_null or (isinstance(value, float) and value != value) else value
