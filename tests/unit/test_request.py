"""Requests are parsed to posts; a fault is an error of its row or of the request."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from postbias.posts.reasons import RejectReason
from postbias.scoring.request import (
    MAX_CAPTION_CHARS,
    MAX_IMAGES_PER_ROW,
    MAX_ROWS,
    RequestFaultError,
    RowFaultError,
    answer_row,
    read_post,
    read_rows,
)
from postbias.scoring.scorer import AxisScore, PostInput, PostScore

ENCODED = base64.b64encode(b"image").decode()


@pytest.mark.parametrize("null", [None, float("nan"), pd.NA, pd.NaT, np.float64("nan")])
def test_null_in_any_form_is_an_absent_value(null: Any) -> None:
    assert read_post({"caption": null, "image": null, "images": null}) == PostInput("", ())


def test_images_come_as_base64_bytes_or_lists_in_order() -> None:
    row = {"caption": "c", "image": b"first", "images": [ENCODED, b"third"]}
    assert read_post(row).images == (b"first", b"image", b"third")
    assert read_post({"images": json.dumps([ENCODED])}).images == (b"image",)
    assert read_post({"images": np.array([ENCODED, ENCODED])}).images == (b"image",) * 2
    assert read_post({"caption": np.array("text")}).caption == "text"


def test_base64_with_line_breaks_is_read() -> None:
    data = bytes(range(256))
    assert read_post({"image": base64.encodebytes(data).decode()}).images == (data,)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"caption": 5}, RejectReason.BROKEN_ROW, "caption is int, not text"),
        ({"caption": ["secret"]}, RejectReason.BROKEN_ROW, "caption is list, not text"),
        ({"caption": "x" * (MAX_CAPTION_CHARS + 1)}, RejectReason.TOO_LARGE, "caption has over"),
        ({"image": "secret!"}, RejectReason.BROKEN_ROW, "image 1 is not valid base64"),
        ({"image": "/etc/passwd"}, RejectReason.BROKEN_ROW, "image 1 is not valid base64"),
        ({"image": "https://secret.example/x.jpg"}, RejectReason.BROKEN_ROW, "not valid base64"),
        ({"image": "é"}, RejectReason.BROKEN_ROW, "image 1 is not valid base64"),
        ({"image": 7}, RejectReason.BROKEN_ROW, "image 1 is int, not base64 text"),
        ({"images": {"secret": 1}}, RejectReason.BROKEN_ROW, "images is dict, not a list"),
        ({"images": "secret"}, RejectReason.BROKEN_ROW, "images is text but not a JSON list"),
        ({"images": "[" * 100_000}, RejectReason.BROKEN_ROW, "images is text but not a JSON list"),
        ({"images": [ENCODED, None]}, RejectReason.BROKEN_ROW, "image 2 is NoneType"),
        ({"images": [ENCODED] * (MAX_IMAGES_PER_ROW + 1)}, RejectReason.TOO_LARGE, "more than"),
        ({"image": "A" * (50 * 2**20)}, RejectReason.TOO_LARGE, "image 1 is over"),
    ],
)
def test_the_error_of_a_bad_row_does_not_repeat_its_content(
    row: dict[str, Any], reason: RejectReason, detail: str
) -> None:
    with pytest.raises(RowFaultError) as caught:
        read_post(row)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (pd.DataFrame({"caption": []}), "no rows"),
        ([], "no rows"),
        (pd.DataFrame([{}]), "no columns"),
        ([{}], "no columns"),
        (pd.DataFrame({"secret": ["x"]}), "1 unknown column"),
        (pd.DataFrame([["x"]]), "1 unknown column"),
        ([{"caption": "x"}, {"secret": "y"}], "1 unknown column"),
        (pd.DataFrame([["x", "y"]], columns=["caption", "caption"]), "twice"),
        (pd.DataFrame({"caption": ["x"] * (MAX_ROWS + 1)}), "too many rows"),
        ({"caption": np.array(["a", "b"])}, "not a table"),
        (np.array(5), "not a table"),
        (["secret"], "not a table"),
        (None, "not a table"),
    ],
)
def test_the_error_of_a_bad_request_does_not_repeat_its_content(data: Any, what: str) -> None:
    with pytest.raises(RequestFaultError, match=what) as caught:
        read_rows(data)
    assert "secret" not in str(caught.value)


def test_a_frame_and_a_list_of_mappings_are_the_same_rows() -> None:
    rows = [{"caption": "a", "image": ENCODED}, {"caption": "b", "image": None}]
    posts = [PostInput("a", (b"image",)), PostInput("b")]
    assert [read_post(row) for row in read_rows(rows)] == posts
    assert [read_post(row) for row in read_rows(pd.DataFrame(rows))] == posts


def test_every_answer_has_the_same_keys() -> None:
    scored = PostScore("ok", {"bias": AxisScore(5.0, 4.0, None)}, "moderate", "text", 0, "")
    row = answer_row(["bias"], scored)
    fault = answer_row(["bias"], RowFaultError(RejectReason.BROKEN_ROW, "why"))
    assert (row["bias"], row["bias_lo"], row["bias_hi"]) == (5.0, 4.0, None)
    assert fault["bias"] is None
    assert (fault["status"], fault["detail"]) == ("broken_row", "why")
    assert list(row) == list(fault)
