"""Why a post may be rejected. Needs no package: serving imports it too."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a post is a reject: the closed set of all stages."""

    # import
    BROKEN_FILE = "broken_file"
    BROKEN_ROW = "broken_row"
    DUPLICATE_ID = "duplicate_id"
    MISSING_ID = "missing_id"
    MISSING_FILE = "missing_file"
    BAD_ENCODING = "bad_encoding"
    # label
    NO_LABEL = "no_label"
    OUT_OF_RANGE = "out_of_range"
    NOT_A_NUMBER = "not_a_number"
    UNKNOWN_POST = "unknown_post"
    # images
    UNKNOWN_FORMAT = "unknown_format"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    # score
    NO_CONTENT = "no_content"
    UNREADABLE = "unreadable"
