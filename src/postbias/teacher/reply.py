"""One reply of a teacher, and the statements that write what the store keeps.

Knows the columns of the reply store, not where it lies.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a teacher, or one failure to get it.

    Attributes:
        key: What was asked.
        repeat: Which of the repetitions of the same question it answers, from 0.
        delivery: Digest of how it was asked; an unusable reply counts only against its own.
        status: `ok`, or the `Reason` why it cannot be used.
        detail: The same in words.
        scores: One per axis; expectations where the endpoint gave probabilities.
        modes: The scores as written.
        reason: The teacher's reason.
        text: The text of the reply.
        raw: The body of the reply as received.
        rubric: Name and digest of the rubric.
        asked_model: The model asked for.
        model: The model's name as returned.
        finish: The finish reason as returned.
        source: `live`, `batch`.
        tokens_in: Input tokens, if told.
        tokens_out: Output tokens, if told.
        cost_usd: What it cost, if known.
        latency_s: From request to the last byte, if measured.
        asked_at: When, in UTC.
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


#: Columns of the table of replies.
COLUMNS = tuple(Reply.__dataclass_fields__)
_INSERT = f"INSERT INTO replies ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - column names of ours


def upsert_fact(key: str, value: object) -> tuple[str, tuple[Any, ...]]:
    """Write a statement that keeps a fact.

    Args:
        key: Of the fact.
        value: Anything JSON has.

    Returns:
        SQL and its values.
    """
    return "INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value))


def insert_reply(reply: Reply) -> tuple[str, tuple[Any, ...]]:
    """Write a statement that keeps a reply.

    Args:
        reply: The reply.

    Returns:
        SQL and its values.
    """
    values = {name: getattr(reply, name) for name in COLUMNS}
    values["raw"] = zlib.compress(reply.raw)
    values["scores"], values["modes"] = json.dumps(reply.scores), json.dumps(reply.modes)
    return _INSERT, tuple(values.values())


def increment_total(name: str, value: float) -> tuple[str, tuple[Any, ...]]:
    """Write a statement that adds to a running total.

    Args:
        name: The total.
        value: What to add.

    Returns:
        SQL and its values.
    """
    sql = "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?"
    return sql, (name, value, value)


def reply_from_row(row: Sequence[Any]) -> Reply:
    """Read a row of the store.

    Args:
        row: Its values, in the order of `COLUMNS`.

    Returns:
        The reply.
    """
    values = dict(zip(COLUMNS, row, strict=True))
    values["raw"] = zlib.decompress(values["raw"])
    values["scores"] = tuple(json.loads(values["scores"]))
    values["modes"] = tuple(json.loads(values["modes"]))
    return Reply(**values)
