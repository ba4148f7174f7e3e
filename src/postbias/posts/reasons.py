"""The closed set of reasons for which a post can be rejected; standard library only."""

from __future__ import annotations

from enum import StrEnum


class RejectReason(StrEnum):
    """Why a post was rejected, in any stage."""

    # import
    BROKEN_FILE = "broken_file"
    BROKEN_ROW = "broken_row"
    OTHER_LAYOUT = "other_layout"
    DUPLICATE_ID = "duplicate_id"
    MISSING_ID = "missing_id"
    MISSING_FILE = "missing_file"
    BAD_ENCODING = "bad_encoding"
    AMBIGUOUS_FILE = "ambiguous_file"
    OUTSIDE_FOLDER = "outside_folder"
    NOT_DOWNLOADED = "not_downloaded"
    REPOST = "repost"
    COMMENT = "comment"
    DELETED = "deleted"
    # fetch-images
    BAD_ADDRESS = "bad_address"
    BLOCKED_ADDRESS = "blocked_address"
    HTTP_ERROR = "http_error"
    FORGOTTEN = "forgotten"
    # annotate from recorded labels
    NO_LABEL = "no_label"
    OUT_OF_RANGE = "out_of_range"
    NOT_A_NUMBER = "not_a_number"
    UNKNOWN_POST = "unknown_post"
    # annotate with a teacher
    REFUSED = "refused"
    FILTERED = "filtered"
    CUT_OFF = "cut_off"
    EMPTY_REPLY = "empty_reply"
    OTHER_LANGUAGE = "other_language"
    INVALID_REPLY = "invalid_reply"
    WRONG_MODEL = "wrong_model"
    REPLY_TOO_LARGE = "reply_too_large"
    DAMAGED_REPLY = "damaged_reply"
    BAD_REQUEST = "bad_request"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    # images
    UNKNOWN_FORMAT = "unknown_format"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    NO_FRAMES = "no_frames"
    MISSING_EXTRA = "missing_extra"
    # score
    NO_CONTENT = "no_content"
    UNREADABLE = "unreadable"
