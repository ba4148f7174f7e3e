"""A reply as a row of the reply store, and the SQL statements that write to the store."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a teacher, or one final failure to get one.

    Attributes:
        key: Key of the request.
        repeat: Number of the repetition, from 0.
        delivery: Digest of the request options; an unusable reply counts as an attempt only for
            requests with the same options.
        status: `ok`, or the `RejectReason` why the reply is unusable.
        detail: The reason in words.
        scores: One per axis; expected scores where the endpoint returns token probabilities.
        modes: The scores as written.
        reason: The teacher's reason.
        text: The text of the reply.
        raw: The body of the reply as received.
        rubric: Name and digest of the rubric.
        asked_model: The model requested.
        model: The model name in the reply.
        finish: The finish reason in the reply.
        source: `live` or `batch`.
        tokens_in: Input tokens, if reported.
        tokens_out: Output tokens, if reported.
        cost_usd: Price, if known.
        latency_s: Time from sending to the last byte, if measured.
        asked_at: Time in UTC, ISO 8601.
    """

    key: str
    repeat: int
    delivery: str
    status: str
    detail: str
    scores: tuple[float, ...]
    modes: tuple[float, ...]
    reason: str
    text: str
    raw: bytes
    rubric: str
    asked_model: str
    model: str
    finish: str
    source: str
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    latency_s: float | None
    asked_at: str


#: Columns of the table `replies`.
COLUMNS = tuple(Reply.__dataclass_fields__)
_INSERT = f"INSERT INTO replies ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - column names only


def insert_reply(reply: Reply) -> tuple[str, tuple[Any, ...]]:
    """Return the statement, with its values, that stores a reply."""
    values = {name: getattr(reply, name) for name in COLUMNS}
    values["raw"] = zlib.compress(reply.raw)
    values["scores"], values["modes"] = json.dumps(reply.scores), json.dumps(reply.modes)
    return _INSERT, tuple(values.values())


def upsert_fact(key: str, value: object) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that stores a JSON-serialisable fact about an endpoint."""
    return "INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value))


def increment_total(name: str, value: float) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that adds to a running total."""
    sql = "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?"
    return sql, (name, value, value)


def reply_from_row(row: Sequence[Any]) -> Reply:
    """Convert a row of the table `replies`, in the order of `COLUMNS`, to a reply."""
    values = dict(zip(COLUMNS, row, strict=True))
    values["raw"] = zlib.decompress(values["raw"])
    values["scores"] = tuple(json.loads(values["scores"]))
    values["modes"] = tuple(json.loads(values["modes"]))
    return Reply(**values)
