"""Cost of the labels and of scoring, and the number of posts at which a student pays off.

Uses what the teacher charged or what the params state, never a measured time: the same inputs must
give the same page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from postbias.params import ReportCostParams

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Costs in US dollars and hours; None where a price or speed is not known.

    Attributes:
        is_charged: Whether the teacher charged for the labels; else its price is from the params.
        labels_usd: Cost of the labels.
        per_post_usd: Price of one label.
        all_usd: Cost of labelling all posts with the teacher.
        student_hours: Time that the champion needs for all posts.
        student_usd: Cost of the machine for that time.
        break_even: Number of posts above which labels and student cost less than the teacher alone.
    """

    is_charged: bool
    labels_usd: float | None
    per_post_usd: float | None
    all_usd: float | None
    student_hours: float | None
    student_usd: float | None
    break_even: int | None


def estimate_costs(label_report: Json, n_posts: int, params: ReportCostParams) -> CostEstimate:
    """Estimate the cost of labels, of scoring, and of labelling all posts.

    Args:
        label_report: The content of `reports/labels.json`.
        n_posts: Number of posts in the corpus.
        params: Prices and speed, used where nothing was charged.
    """
    n_labels = label_report["n"]["labelled"]
    spent = label_report["teacher"].get("cost_usd")
    charged = spent["these_labels"] if spent else None
    is_charged = bool(charged) and n_labels > 0
    per_post = charged / n_labels if is_charged else params.teacher_usd_per_post
    labels_usd = None if per_post is None else per_post * n_labels
    hours = student_usd = None
    if params.student_posts_per_s is not None:
        hours = n_posts / params.student_posts_per_s / 3600
        student_usd = hours * params.machine_usd_per_hour
    return CostEstimate(
        is_charged=is_charged,
        labels_usd=labels_usd,
        per_post_usd=per_post,
        all_usd=None if per_post is None else per_post * n_posts,
        student_hours=hours,
        student_usd=student_usd,
        break_even=_break_even(labels_usd, per_post, student_usd, n_posts),
    )


def _break_even(
    labels_usd: float | None, per_post: float | None, student_usd: float | None, n_posts: int
) -> int | None:
    """Return the smallest corpus that is cheaper to score with labels and a student."""
    if labels_usd is None or per_post is None or student_usd is None or not n_posts:
        return None
    saved = per_post - student_usd / n_posts
    return int(labels_usd / saved) + 1 if saved > 0 else None
