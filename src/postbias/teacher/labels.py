"""Labels: what a teacher's answer on one post becomes, and the table of them.

Does not know where answers come from (see `postbias.teacher.recorded_labels` and
`postbias.teacher.endpoint`). One label per sampled post, valid or rejected, sorted by post id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from postbias.errors import CountsError
from postbias.posts.reasons import Reason
from postbias.posts.schema import REJECTS, labels_schema
from postbias.teacher.rubric import Rubric

#: Status of a valid label; any other status is a `Reason`.
OK = "ok"


@dataclass(frozen=True, slots=True)
class Label:
    """What the teacher said about one post.

    Attributes:
        post_id: The post.
        scores: One score per axis; empty for a reject.
        sds: Standard deviation over repeats per axis; None where there is one reply only.
        n_replies: Valid replies behind the scores.
        reason: The teacher's reason, or what is wrong with a reject.
        teacher: Who scored.
        status: `ok` or the reject's `Reason`.
    """

    post_id: str
    scores: tuple[float, ...]
    sds: tuple[float | None, ...]
    n_replies: int
    reason: str
    teacher: str
    status: str

    @classmethod
    def rejected(cls, post_id: str, reason: Reason, detail: str, teacher: str) -> Label:
        """Make the label of a post that has none.

        Args:
            post_id: The post.
            reason: Why.
            detail: The same in words, without caption or secret.
            teacher: Who was asked.

        Returns:
            A label without scores.
        """
        return cls(post_id, (), (), 0, detail, teacher, reason.value)


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or post that gave no label.

    Attributes:
        source: Where it came from: a file and row, or an endpoint's model.
        post_id: The post, if known.
        reason: Why.
        detail: The same in words, without caption or secret.
    """

    source: str
    post_id: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What a teacher gave for the whole sample.

    Attributes:
        labels: One per sampled post.
        rejects: Whatever gave no label.
        report: The teacher's own part of the report.
    """

    labels: Sequence[Label]
    rejects: Sequence[Reject]
    report: dict[str, Any]


def labels_table(labels: Sequence[Label], post_ids: Sequence[str], rubric: Rubric) -> pa.Table:
    """Lay out labels as a table, one row for every sampled post.

    Args:
        labels: One per sampled post, in any order.
        post_ids: The sampled posts.
        rubric: By what they were scored.

    Returns:
        The table, sorted by post id.

    Raises:
        CountsError: If the labels are not exactly one per sampled post.
    """
    counts = Counter(label.post_id for label in labels)
    if counts != Counter(post_ids):
        raise CountsError(
            "labels do not match the sample one to one",
            seen=f"{len(labels)} labels for {len(post_ids)} posts",
            do="report this: it is a fault of postbias",
        )
    ordered = sorted(labels, key=lambda label: label.post_id)
    columns: dict[str, list[object]] = {"post_id": [label.post_id for label in ordered]}
    for i, axis in enumerate(rubric.axis_names):
        columns[axis] = [label.scores[i] if label.scores else None for label in ordered]
        columns[f"{axis}_sd"] = [label.sds[i] if label.sds else None for label in ordered]
    for name in ("n_replies", "reason", "teacher"):
        columns[name] = [getattr(label, name) for label in ordered]
    columns["rubric"] = [rubric.ref] * len(ordered)
    columns["status"] = [label.status for label in ordered]
    return pa.table(columns, schema=labels_schema(rubric.axis_names))


def rejects_table(rejects: Sequence[Reject]) -> pa.Table:
    """Lay out rejects as a table.

    Args:
        rejects: Rows and posts without a label.

    Returns:
        The table in the order given.
    """
    rows = [
        {
            "source": reject.source,
            "post_id": reject.post_id,
            "stage": "annotate",
            "reason": reject.reason.value,
            "detail": reject.detail,
        }
        for reject in rejects
    ]
    return pa.Table.from_pylist(rows, schema=REJECTS)


def count_reasons(rejects: Sequence[Reject]) -> dict[str, int]:
    """Count rejects by reason.

    Args:
        rejects: Any rejects.

    Returns:
        How many there are of each reason, sorted by name.
    """
    return dict(sorted(Counter(reject.reason.value for reject in rejects).items()))
