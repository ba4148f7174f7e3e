"""Turns a scoring request into posts, and scores into an answer.

A fault of one row becomes that row's status; a fault of the whole request raises
`RequestFaultError`. Messages never repeat what the request held. An image is base64 text or
bytes: nothing in a request is ever used as a path or an address. Knows nothing of MLflow and HTTP.
Shipped inside the registered model.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from postbias.errors import InputError
from postbias.posts.images import MAX_BYTES
from postbias.posts.reasons import RejectReason
from postbias.scoring.scorer import OK, PostInput, PostScore

COLUMNS = ("caption", "image", "images")
MAX_ROWS = 256
MAX_BODY_BYTES = 64 * 2**20
MAX_CAPTION_CHARS = 20_000
MAX_IMAGES_PER_ROW = 32

_ALLOWED = f"{', '.join(COLUMNS)}"


class RequestFaultError(InputError):
    """A request that cannot be answered as a whole."""


class RowFaultError(InputError):
    """A row that cannot be read.

    Attributes:
        reason: The row's status.
        detail: What is wrong with it.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        """Remember the reason.

        Args:
            reason: The row's status.
            detail: What is wrong with it, without repeating it.
        """
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def read_rows(data: object) -> list[dict[str, Any]]:
    """Check the shape of a request and take it apart.

    Args:
        data: A DataFrame or a list of mappings, with columns `caption`, `image`, `images`, each
            optional.

    Returns:
        One mapping per row.

    Raises:
        RequestFaultError: If it is neither, has no or too many rows, or other columns.
    """
    if isinstance(data, pd.DataFrame):
        _check_columns(list(data.columns), len(data))
        return [{str(k): v for k, v in row.items()} for row in data.to_dict("records")]
    # MLflow hands the members of `inputs` over as arrays without dimensions.
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        _check_columns(list(dict.fromkeys(key for row in data for key in row)), len(data))
        return [dict(row) for row in data]
    raise RequestFaultError(
        "the request is not a table",
        allowed="dataframe_records, dataframe_split, or inputs as a list of objects",
    )


def read_post(row: Mapping[str, Any]) -> PostInput:
    """Read one row.

    Args:
        row: Its `caption`, `image` and `images`; what is null or missing is not there.

    Returns:
        The post.

    Raises:
        RowFaultError: If a value is of another type, too large or no base64.
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


def answer_row(axes: Sequence[str], result: PostScore | RowFaultError) -> dict[str, Any]:
    """Lay one result out flat, the same keys for every row.

    Args:
        axes: Names of the student's axes.
        result: A score, or why the row could not be read.

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
        raise RequestFaultError("a column is there twice", allowed=_ALLOWED)
    if not columns:
        raise RequestFaultError("the request has no columns", allowed=_ALLOWED)


def _image_list(images: object) -> list[object]:
    if images is None:
        return []
    if isinstance(images, str):
        try:
            images = json.loads(images)
        except (ValueError, RecursionError) as error:
            raise RowFaultError(
                RejectReason.BROKEN_ROW, "images is text but no JSON list"
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
        what = type(image).__name__
        raise RowFaultError(RejectReason.BROKEN_ROW, f"image {number} is {what}, not base64 text")
    if len(image) > MAX_BYTES * 3 // 2:
        raise RowFaultError(RejectReason.TOO_LARGE, f"image {number} is over {MAX_BYTES} bytes")
    # Encoders may wrap lines; anything else that is not of the alphabet is a fault.
    for text in (image, "".join(image.split())):
        with suppress(ValueError):
            return base64.b64decode(text, validate=True)
    raise RowFaultError(RejectReason.BROKEN_ROW, f"image {number} is not valid base64")


def _plain(value: object) -> object:
    """Undo what pandas, numpy and MLflow wrap values in; null in all its forms becomes None."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    is_null = value is None or value is pd.NA or value is pd.NaT
    return None if is_null or (isinstance(value, float) and value != value) else value
