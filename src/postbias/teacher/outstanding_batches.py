"""Batches that were sent and not yet collected, in this run or an earlier one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.store_writer import SqlStatements
from postbias.teacher.stored_replies import LabellingConfig

#: Key and repetition of one line of a batch.
BatchLine = tuple[str, int]


@dataclass(slots=True)
class RequestBatch:
    """A file of requests.

    Attributes:
        tag: Our name of the batch; the endpoint stores it beside its own id.
        setting: `LabellingConfig.name` of the run that sent it.
        id: The endpoint's id; None until the endpoint is known to have the batch.
        worst_usd: The most it can cost.
        lines: Its requests.
        posts: Post id and key of each request; empty for a batch read from the store.
    """

    tag: str
    setting: str
    id: str | None = None
    worst_usd: float = 0.0
    lines: list[BatchLine] = field(default_factory=list)
    posts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def delivery(self) -> str:
        """Digest of the options its requests were sent with."""
        return self.setting.rpartition(" ")[2]

    def has_rubric_and_model_of(self, config: LabellingConfig) -> bool:
        """Return whether its replies are replies to requests of a run, if with other options."""
        return self.setting.rpartition(" ")[0] == config.name.rpartition(" ")[0]


class OutstandingBatches:
    """The batches in the reply store, which other requests must not repeat."""

    def __init__(self, store: ReplyStore) -> None:
        """Read the batches of earlier runs."""
        rows = store.rows("SELECT tag, setting, id, worst_usd, lines FROM batches ORDER BY tag")
        self._batches = {
            tag: RequestBatch(tag, setting, id_, worst, [(key, n) for key, n in json.loads(lines)])
            for tag, setting, id_, worst, lines in rows
        }
        self._lines = {line for batch in self._batches.values() for line in batch.lines}

    @property
    def worst_usd(self) -> float:
        """The most that all of them can cost."""
        return sum(batch.worst_usd for batch in self._batches.values())

    def covers(self, line: BatchLine) -> bool:
        """Return whether a batch contains a request."""
        return line in self._lines

    def of(self, config: LabellingConfig) -> list[RequestBatch]:
        """List the batches with the rubric and model of a run, oldest first."""
        return [b for b in self._batches.values() if b.has_rubric_and_model_of(config)]

    def others(self, config: LabellingConfig) -> list[RequestBatch]:
        """List the batches with another rubric or model."""
        return [b for b in self._batches.values() if not b.has_rubric_and_model_of(config)]

    def add(self, batch: RequestBatch) -> SqlStatements:
        """Add a batch that will be sent, and return the statements that record it."""
        self._batches[batch.tag] = batch
        self._lines.update(batch.lines)
        values = (batch.tag, batch.setting, batch.worst_usd, json.dumps(batch.lines))
        record = ("INSERT INTO batches VALUES (?, NULL, ?, ?, ?)", values)
        posts = [("INSERT OR IGNORE INTO asked VALUES (?, ?)", pair) for pair in batch.posts]
        return [record, *posts]

    def remove(self, batch: RequestBatch) -> SqlStatements:
        """Remove a batch that was collected or lost, and return the statement that deletes it."""
        self._batches.pop(batch.tag, None)
        self._lines.difference_update(batch.lines)
        return [("DELETE FROM batches WHERE tag = ?", (batch.tag,))]


def count_lines(batches: Iterable[RequestBatch]) -> int:
    """Count the requests of some batches."""
    return sum(len(batch.lines) for batch in batches)
