"""What scoring cost, what the teacher would have cost, and from how many posts on a student pays.

Takes what the teacher charged, or what the params reckon; never a clock: the same inputs give the
same page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from postbias.params import ReportCostParams

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Costs:
    """The reckoning, in US dollars and hours; None where something is not known.

    Attributes:
        is_charged: Whether the teacher charged; else its price is reckoned by the params.
        labels_usd: For the labels that were bought.
        per_post_usd: The teacher's price for one post.
        all_usd: What the teacher would cost for all posts.
        student_hours: What the champion needs for all posts.
        student_usd: What the machine costs in that time.
        break_even: From how many posts on a student is cheaper than its teacher.
    """

    is_charged: bool
    labels_usd: float | None
    per_post_usd: float | None
    all_usd: float | None
    student_hours: float | None
    student_usd: float | None
    break_even: int | None


def estimate_costs(labels: Json, n_posts: int, params: ReportCostParams) -> Costs:
    """Reckon what was spent and what was saved.

    Args:
        labels: What `reports/labels.json` says.
        n_posts: Posts in the corpus.
        params: Prices and speed where nothing was charged or measured.

    Returns:
        The reckoning.
    """
    n_labels = labels["n"]["labelled"]
    spent = labels["teacher"].get("cost_usd")
    charged = spent["these_labels"] if spent else None
    is_charged = bool(charged) and n_labels > 0
    per_post = charged / n_labels if is_charged else params.teacher_usd_per_post
    labels_usd = None if per_post is None else per_post * n_labels
    hours = student_usd = None
    if params.student_posts_per_s is not None:
        hours = n_posts / params.student_posts_per_s / 3600
        student_usd = hours * params.machine_usd_per_hour
    return Costs(
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
    """Return from how many posts on labels and student cost less than the teacher for all."""
    if labels_usd is None or per_post is None or student_usd is None or not n_posts:
        return None
    saved = per_post - student_usd / n_posts
    return int(labels_usd / saved) + 1 if saved > 0 else None
