"""Tables that commands print to the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from postbias.scoring.post_scores import OK

if TYPE_CHECKING:
    from postbias.people.planning import RatingPlan
    from postbias.reproduce.compare import Verification
    from postbias.scoring.post_scores import PostScore
    from postbias.stats.rating_plan import Mix

Json = dict[str, Any]

# A budget is shown if its interval is at least 8% narrower than that of the one before.
_MIN_GAIN = 0.92


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """Format cells as aligned text, as wide as the cells need.

    Args:
        header: Column titles.
        rows: Cells, as many per row as there are titles.
        left: Columns to align to the left; the others align to the right.

    Returns:
        Lines without trailing spaces or a final newline.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, title in enumerate(header):
        table.add_column(Text(title), justify="left" if column in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    # Wider than any terminal: whatever reads the output can wrap lines, but not restore cut cells.
    console = Console(file=io.StringIO(), width=10_000, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).rstrip("\n")


def format_results(report: Json) -> str:
    """Format the test metrics of students and baselines, one table per axis, and the verdict.

    Args:
        report: The content of `reports/evaluate.json`.

    Returns:
        Tables and notes.
    """
    from postbias.evaluation.results_table import axis_tables, table_notes

    tables = [format_table(header, rows) for header, *rows in axis_tables(report, "{} (test)")]
    return "\n\n".join([*tables, "\n".join(table_notes(report))])


def format_brands(report: Json) -> str:
    """Format the estimates of each brand.

    Args:
        report: The content of `reports/brands.json`.

    Returns:
        A table and a note.
    """
    if not report["brands"]:
        return "no brand is named often enough; see report.min_posts and report.brands"
    header = ("brand", "posts", "labels", f"{report['axis']}, pooled", "own", "high band", "")
    rows = [
        (
            brand["brand"],
            f"{brand['posts']:,}",
            f"{brand['labels']:,}",
            *(_estimate(brand[name]) for name in ("pooled", report["axis"], "share_high")),
            "mostly pooled" if brand["is_small"] else "",
        )
        for brand in report["brands"]
    ]
    table = format_table(header, rows, left=(0, len(header) - 1))
    return f"{table}\nIn brackets: 95% intervals. Pooled: shrunk toward the mean of all brands."


def format_score(axes: Sequence[str], result: PostScore) -> str:
    """Format the scores of one post.

    Args:
        axes: Names of the axes, the main one first.
        result: The scores.

    Returns:
        A table and a summary; the reason if the post was not scored.
    """
    if result.status != OK:
        return f"not scored: {result.status} ({result.detail})"
    rows = [
        (axis, f"{value:.2f}", "none" if lo is None or hi is None else f"{lo:.2f} to {hi:.2f}")
        for axis, (value, lo, hi) in result.scores.items()
    ]
    lines = [format_table(("axis", "score", "interval"), rows)]
    used = f"{result.modalities}, {result.n_images} image(s) read"
    lines.append(f"{axes[0]} is {result.band}; scored from {used}")
    return "\n".join([*lines, *([f"not read: {result.detail}"] if result.detail else [])])


def format_plan(plan: RatingPlan, half_width: float) -> str:
    """Format the cheapest mix of ratings and labels, and what other budgets give.

    Args:
        plan: The plan.
        half_width: The half-width that was asked for.
    """
    lines = [
        f"pilot: {plan.n_rated:,} rated and {plan.n_labels:,} labelled of {plan.n_posts:,} posts"
    ]
    mix = plan.cheapest
    if mix is None:
        lines.append(f"a half-width of {half_width:g} cannot be reached, not even with all posts")
    else:
        n_ratings = mix.rated * mix.raters
        minutes = plan.minutes_per_rating
        time = "" if minutes is None else f", {minutes * n_ratings / 60:.1f} hours of rating"
        lines.append(
            f"cheapest for {half_width:g}: {mix.rated:,} posts rated by {mix.raters} "
            f"{'person' if mix.raters == 1 else 'people'} each, {mix.labels:,} labels in all: "
            f"${mix.cost:,.2f}{time}"
        )
        lines += [f"  {name}: \u00b1{width:.3f}" for name, width in mix.half_widths.items()]
    rows = [
        (
            f"${one.cost:,.2f}",
            f"{one.rated:,}",
            f"{one.labels:,}",
            "-" if (m := plan.minutes_per_rating) is None else f"{m * one.rated * one.raters:,.0f}",
            *(f"{width:.3f}" for width in one.half_widths.values()),
        )
        for one in _thin(plan.curve)
    ]
    if rows:
        header = ("cost", "rated posts", "labels", "minutes", "half-width")
        lines += ["", f"what a budget gives, {plan.quantities[0]}:", format_table(header, rows)]
    return "\n".join(lines)


def _thin(curve: Sequence[Mix]) -> Iterator[Mix]:
    """Leave out points that are hardly better than the one before."""
    last = float("inf")
    for mix in curve:
        width = max(mix.half_widths.values())
        if width < _MIN_GAIN * last or mix is curve[-1]:
            last = width
            yield mix


def format_verification(result: Verification) -> str:
    """Format the outputs and metrics of two clean runs, and the verdict."""
    header, *rows = result.cells()
    return f"{format_table(header, rows, left=range(len(header)))}\n\n{result}"


def _estimate(estimate: Json) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.2f} [{estimate['lo']:.2f}, {estimate['hi']:.2f}]"
