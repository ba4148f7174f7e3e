"""Labels and label rejects, and their tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from postbias.errors import CountsError
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import REJECTS, labels_schema
from postbias.teacher.rubric import Rubric

#: Status of a valid label; any other status is a `RejectReason`.
OK = "ok"


@dataclass(frozen=True, slots=True)
class Label:
    """The teacher's scores for one post, or the reason why there are none.

    Attributes:
        post_id: The post.
        scores: One score per axis; empty for a reject.
        sds: Standard deviation over repeats per axis; None where there is only one reply.
        n_replies: Number of valid replies that the scores are the mean of.
        reason: The teacher's reason, or the details of a reject.
        teacher: Name of the teacher.
        status: `ok` or a `RejectReason`.
    """

    post_id: str
    scores: tuple[float, ...]
    sds: tuple[float | None, ...]
    n_replies: int
    reason: str
    teacher: str
    status: str

    @classmethod
    def rejected(cls, post_id: str, reason: RejectReason, detail: str, teacher: str) -> Label:
        """Create the label of a rejected post.

        Args:
            reason: The reject reason.
            detail: The reason in words; contains no caption and no secret.
            teacher: Name of the teacher.

        Returns:
            A label without scores.
        """
        return cls(post_id, (), (), 0, detail, teacher, reason.value)


@dataclass(frozen=True, slots=True)
class LabelReject:
    """A row or post without a valid label.

    Attributes:
        source: File and row, or the model of an endpoint.
        post_id: The post, if known.
        reason: The reject reason.
        detail: The reason in words; contains no caption and no secret.
    """

    source: str
    post_id: str | None
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class SampleLabels:
    """A teacher's labels for the whole sample.

    Attributes:
        labels: One per sampled post, rejects included.
        rejects: All rows and posts without a valid label.
        report: The teacher's part of `reports/labels.json`.
    """

    labels: Sequence[Label]
    rejects: Sequence[LabelReject]
    report: dict[str, Any]


def labels_table(labels: Sequence[Label], post_ids: Sequence[str], rubric: Rubric) -> pa.Table:
    """Build the table of labels, sorted by post id.

    Args:
        labels: One per sampled post, in any order.
        post_ids: The sampled posts.
        rubric: Names the score columns.

    Returns:
        One row per sampled post.

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


def rejects_table(rejects: Sequence[LabelReject]) -> pa.Table:
    """Build the table of rejects in the order given."""
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


def count_reasons(rejects: Sequence[LabelReject]) -> dict[str, int]:
    """Count rejects by reason, sorted by reason."""
    return dict(sorted(Counter(reject.reason.value for reject in rejects).items()))
