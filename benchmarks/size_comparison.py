"""Compare students of several sizes: quality with intervals, speed, size, and the Pareto front."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from postbias.charts.chart_theme import COLORS, ChartSource, finish_chart, layer_charts
from postbias.cli.terminal_tables import format_table
from postbias.stats.bootstrap import (
    Estimate,
    one_sided_p_value,
    resample_authors,
    summarize_replicates,
)
from postbias.stats.metrics import resampled_mean

#: Level of the tests whether a student is worse than the best one.
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class MeasuredSize:
    """One student.

    Attributes:
        name: Name of the size.
        digest: Digest of its artifact.
        mae: Mean absolute error on the test fold, main axis.
        r2: Share of variance explained, main axis.
        excess: Paired difference of its mean absolute error from that of the best student.
        p_worse: One-sided p-value of the hypothesis that it is not worse than the best one.
        mb: Size of the int8 artifact in megabytes.
        posts_per_s: Posts scored per second, median over rounds.
        usd_per_million: Machine costs of scoring a million posts.
        on_front: Whether no other student is at least as good and at least as fast.
    """

    name: str
    digest: str
    mae: Estimate
    r2: Estimate
    excess: Estimate
    p_worse: float
    mb: float
    posts_per_s: float
    usd_per_million: float
    on_front: bool

    @property
    def is_close(self) -> bool:
        """Whether the student is not significantly worse than the best one."""
        return self.p_worse > ALPHA

    def as_dict(self) -> dict[str, Any]:
        """Return the row of the JSON report."""
        estimates = {key: getattr(self, key).as_dict() for key in ("mae", "r2", "excess")}
        return estimates | {
            "digest": self.digest,
            "p_worse": self.p_worse,
            "mb": round(self.mb, 2),
            "posts_per_s": round(self.posts_per_s, 1),
            "usd_per_million": round(self.usd_per_million, 4),
            "on_front": self.on_front,
        }


@dataclass(frozen=True, slots=True)
class HeldOutErrors:
    """Scores of one student on the test fold.

    Attributes:
        authors: Author by post id; the id of the post itself if the author is unknown.
        labels: Label by post id.
        scores: Score by post id.
    """

    authors: Mapping[str, str]
    labels: Mapping[str, float]
    scores: Mapping[str, float]

    @classmethod
    def read(cls, predictions: str, modality: str, axis: str) -> HeldOutErrors:
        """Read the rows of one student and axis from the text of `predictions.csv`."""
        rows = [
            row
            for row in csv.DictReader(predictions.splitlines())
            if (row["modality"], row["axis"]) == (modality, axis) and row["score"] and row["label"]
        ]
        return cls(
            {row["post_id"]: row["author"] or row["post_id"] for row in rows},
            {row["post_id"]: float(row["label"]) for row in rows},
            {row["post_id"]: float(row["score"]) for row in rows},
        )


def pair_errors(
    students: Mapping[str, HeldOutErrors], replications: int, seed: int
) -> dict[str, tuple[Estimate, float]]:
    """Compare each student's mean absolute error with the lowest, on the posts that all scored.

    Args:
        students: Scores by name of the size.
        replications: Bootstrap replications over authors.
        seed: Seed of the resamples.

    Returns:
        By name, the paired difference from the best student with its 95% interval, and the
        one-sided p-value that it is worse; 0 and 1 for the best student itself.

    Raises:
        ValueError: If no post was scored by all students.
    """
    shared = sorted(set.intersection(*(set(errors.scores) for errors in students.values())))
    if not shared:
        raise ValueError("the students were evaluated on different posts: compare one split only")
    some = next(iter(students.values()))
    draws = resample_authors(
        [some.authors[post_id] for post_id in shared], replications, np.random.default_rng(seed)
    )
    absolute = {
        name: np.array([abs(errors.scores[i] - errors.labels[i]) for i in shared])
        for name, errors in students.items()
    }
    best = min(absolute, key=lambda name: float(absolute[name].mean()))
    compared = {}
    for name, errors in absolute.items():
        difference = resampled_mean(errors - absolute[best], draws)
        p_worse = 1.0 if name == best else one_sided_p_value(difference)
        compared[name] = (summarize_replicates(difference), p_worse)
    return compared


def find_front(errors: Sequence[float], rates: Sequence[float]) -> list[bool]:
    """Find the students that no other one dominates.

    Args:
        errors: Error of each student; lower is better.
        rates: Posts per second of each.

    Returns:
        Whether each is on the Pareto front: no other is at least as good in both and better in one.
    """
    points = list(zip(errors, rates, strict=True))
    return [
        not any(
            other_error <= error
            and other_rate >= rate
            and (other_error < error or other_rate > rate)
            for other_error, other_rate in points
        )
        for error, rate in points
    ]


def format_sizes(sizes: Sequence[MeasuredSize]) -> str:
    """Format the sizes as a table, the fastest first, and name the ones to choose."""
    ordered = sorted(sizes, key=lambda size: -size.posts_per_s)
    rows = [
        (
            size.name + (" *" if size.on_front else ""),
            _interval(size.mae, 3),
            _interval(size.r2, 3),
            _interval(size.excess, 3, signed=True),
            f"{size.mb:.1f}",
            f"{size.posts_per_s:.0f}",
            f"{size.usd_per_million:.2f}",
        )
        for size in ordered
    ]
    header = (
        "student",
        "MAE",
        "R²",
        "worse than the best by",
        "int8 MB",
        "posts/s",
        "$ per million",
    )
    best = min(sizes, key=lambda size: size.mae.value or 0.0)
    fastest = next(size for size in ordered if size.is_close)
    return "\n".join([
        format_table(header, rows),
        "",
        "* No other student is at least as good and at least as fast. In brackets: 95% intervals,"
        " bootstrapped over authors; differences are paired.",
        f"Lowest error: {best.name}. Fastest that is not significantly worse (p > {ALPHA:g}):"
        f" {fastest.name}.",
    ])  # fmt: skip


def _interval(estimate: Estimate, digits: int, *, signed: bool = False) -> str:
    if estimate.value is None:
        return "-"
    sign = "+" if signed else ""
    if estimate.lo is None or estimate.hi is None:
        return f"{estimate.value:{sign}.{digits}f}"
    lo, hi = (f"{limit:{sign}.{digits}f}" for limit in (estimate.lo, estimate.hi))
    return f"{estimate.value:{sign}.{digits}f} [{lo}, {hi}]"


def chart_sizes(sizes: Sequence[MeasuredSize]) -> alt.LayerChart:
    """Plot error with its interval against speed; the Pareto front is connected by a line."""
    rows = [
        {"name": size.name, "posts_per_s": size.posts_per_s, "mae": size.mae.value,
         "lo": size.mae.lo, "hi": size.mae.hi, "front": size.on_front}
        for size in sizes
    ]  # fmt: skip
    title = ["Error and speed of students", "Line: not dominated by another. Bars: 95% intervals."]
    source = ChartSource.from_rows(rows, title)
    rates = [size.posts_per_s for size in sizes]
    scale = alt.Scale(type="log", domain=[min(rates) / 1.2, max(rates) * 1.5], nice=False)
    x = alt.X("posts_per_s:Q", title="posts per second", scale=scale, axis=alt.Axis(tickCount=4))
    y = alt.Y("mae:Q", title="mean absolute error", scale=alt.Scale(zero=False))
    color = alt.ColorValue(COLORS["main"])
    base = alt.Chart(source.data)
    chart = layer_charts(
        base.transform_filter("datum.front").mark_line(strokeWidth=1.5).encode(x, y, color=color),
        base.mark_rule(strokeWidth=1.5).encode(x, alt.Y("lo:Q"), alt.Y2("hi:Q"), color=color),
        base.mark_point(filled=True, size=60, opacity=1).encode(x, y, color=color),
        base.mark_text(align="left", dx=6, dy=14).encode(
            x, y, text="name:N", color=alt.ColorValue(COLORS["ink"])
        ),
    ).properties(width=520, height=300)
    return finish_chart(chart, source)
