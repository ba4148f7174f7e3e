"""The command `report-diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postbias.cli.terminal_tables import format_table

if TYPE_CHECKING:
    from postbias.tracking.estimate_history import EstimateHistory


@click.command("report-diff")
@click.argument("revision", default="HEAD")
def report_diff_command(*, revision: str) -> None:
    """Compare the report's estimates with those of a git REVISION (default HEAD).

    Shows the estimates for all posts, before and now, with their 95% intervals. The difference has
    no interval: both estimates share posts and labels. Reads the earlier report from DVC.
    """
    from postbias.paths import Paths
    from postbias.tracking.estimate_history import compare_estimates

    click.echo(_render(compare_estimates(Paths.find(), revision)))


def _render(history: EstimateHistory) -> str:
    counts = [
        f"{name}: {before} at {history.revision}, {now} now"
        for name, (before, now) in history.counts.items()
    ]
    rows = [
        [
            change.name + suffix,
            _interval(change.before),
            _interval(change.now),
            _signed(change.difference),
        ]
        for changes, suffix in ((history.changes, ""), (history.later, ", later posts (plug-in)"))
        for change in changes
    ]
    header = ["estimate", history.revision, "now", "difference"]
    return "\n".join([*counts, "", format_table(header, rows)])


def _interval(estimate: dict[str, float | None] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "-"
    lo, hi = estimate["lo"], estimate["hi"]
    limits = "" if lo is None or hi is None else f" [{lo:.3f}, {hi:.3f}]"
    return f"{estimate['value']:.3f}{limits}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
