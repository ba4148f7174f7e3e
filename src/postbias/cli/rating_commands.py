"""Commands for ratings by people: `rate` and `ratings`."""

from __future__ import annotations

from pathlib import Path

import click

from postbias.cli.shared_options import browser_option, host_option, port_option

_PORT = 8765
_MAX_FAULTS = 20


@click.command("rate")
@host_option
@port_option(_PORT)
@browser_option
def rate_command(*, host: str, port: int, browser: bool) -> None:
    """Serve a page on which people rate posts.

    Draws the posts at the first start, by the group `rating` of params.yaml, from the labelled
    posts. Each answer is stored in store/ratings.sqlite at once; stop and start again at will. See
    docs/rating.md.
    """
    from postbias.app.rating_page import serve_rating_page
    from postbias.params import load_params
    from postbias.paths import Paths

    paths = Paths.find()
    params = load_params(paths.params)
    serve_rating_page(paths, params, (host, port), click.echo, opens_browser=browser)


@click.command("plan")
@click.option(
    "--half-width",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Half-width that the 95% interval should not exceed, for example 0.1.",
)
@click.option(
    "--quantity",
    help="An axis, for its mean, or share_high or share_moderate: the share"
    " of posts that people rate so high or higher.  [default: the main axis]",
)
@click.option(
    "--compare",
    metavar="KIND",
    help="Plan for the difference between two groups: sponsored, half (of the period) or language.",
)
@click.option(
    "--each",
    metavar="KIND",
    help="Reach the width in each group: sponsored, half, time or language.",
)
@click.option(
    "--usd-per-rating",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Cost of one rating by one person.",
)
@click.option(
    "--usd-per-label",
    type=click.FloatRange(min=0),
    help="Cost of one label of the teacher.  [default: as in report.cost]",
)
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the curve of width against cost to this .png file.",
)
def plan_command(
    *,
    half_width: float,
    quantity: str | None,
    compare: str | None,
    each: str | None,
    usd_per_rating: float,
    usd_per_label: float | None,
    chart: Path | None,
) -> None:
    """Plan how many ratings and labels a precise estimate needs.

    Uses the ratings named by rating.file as a pilot: some 50 posts, rated by two people. Prints the
    cheapest numbers of ratings and labels, and what other budgets give. See docs/people.md.
    """
    from postbias.cli.terminal_tables import format_plan
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.planning import PlanRequest, plan_ratings
    from postbias.teacher.rubric import load_rubric

    paths = Paths.find()
    params = load_params(paths.params)
    if usd_per_label is None:
        usd_per_label = params.report.cost.teacher_usd_per_post or 0.0
    quantity = quantity or load_rubric(paths.root / params.annotate.rubric).axis_names[0]
    request = PlanRequest(quantity, half_width, compare, each, usd_per_rating, usd_per_label)
    plan = plan_ratings(paths, params, request)
    click.echo(format_plan(plan, half_width))
    if chart is not None:
        from postbias.charts.chart_rendering import render_png
        from postbias.charts.corpus_charts import chart_cost_curve
        from postbias.posts.shards import atomic_write

        points = [
            {"cost": mix.cost, "half_width": width}
            for mix in plan.curve
            for width in mix.half_widths.values()
        ]
        with atomic_write(chart) as temporary:
            temporary.write_bytes(render_png(chart_cost_curve(points, half_width)))
        click.echo(f"  -> {chart}")


@click.group("ratings")
def ratings() -> None:
    """Show, export and import ratings by people."""


@ratings.command("show")
def ratings_show() -> None:
    """Show how many of their tasks raters have answered, and how."""
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.rating_overview import describe_changed_draw, describe_raters
    from postbias.people.rating_store import RatingStore

    paths = Paths.find()
    rating = load_params(paths.params).rating
    with RatingStore.open(paths.ratings) as store:
        click.echo("\n".join(describe_raters(store, rating)))
        if change := describe_changed_draw(store, paths.root, rating):
            click.echo(change)


@ratings.command("export")
@click.argument("dest", type=click.Path(dir_okay=False, path_type=Path))
def ratings_export(*, dest: Path) -> None:
    """Export all answers to DEST, a CSV file for rating.file in params.yaml."""
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.rating_store import RatingStore
    from postbias.people.rating_table import write_ratings
    from postbias.teacher.rubric import load_rubric

    paths = Paths.find()
    rubric = load_rubric(paths.root / load_params(paths.params).annotate.rubric)
    with RatingStore.open(paths.ratings) as store:
        n = write_ratings(dest, store.ratings(), store.items(), rubric.axes)
    click.echo(f"{n} answers written to {dest}")


_FORMATS = ("spreadsheet", "csv", "label-studio", "potato", "argilla")


@ratings.command("tasks")
@click.argument("tool", metavar="FORMAT", type=click.Choice(_FORMATS))
@click.argument("dest", type=click.Path(file_okay=False, path_type=Path))
def ratings_tasks(*, tool: str, dest: Path) -> None:
    """Write the posts to rate to the folder DEST, for another tool.

    FORMAT is spreadsheet (Excel files), csv, label-studio, potato or argilla. The posts are those
    of `postbias rate`. DEST gets the images as JPEG files, and the files that the tool reads. See
    docs/rating.md for what to do with them.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.exchange.tool_formats import ToolFormat, write_tool_tasks

    paths = Paths.find()
    params = load_params(paths.params)
    for tasks in write_tool_tasks(paths, params, ToolFormat(tool), dest, click.echo):
        click.echo(f"{len(tasks.tasks)} posts for {tasks.rater or 'every rater'} in {dest}")


@ratings.command("import")
@click.argument("tool", metavar="FORMAT", type=click.Choice(_FORMATS))
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--rater",
    help="Pseudonym, if SRC has the answers of one person.  [default: rater-1, rater-2, ...]",
)
def ratings_import(*, tool: str, src: Path, rater: str | None) -> None:
    """Add answers that were given with another tool.

    SRC is what the tool exported; for potato, its folder annotation_output. Names and e-mail
    addresses of annotators are not stored. An answer to a post that its rater has answered already
    is not added.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.exchange.tool_formats import ToolFormat, import_tool_answers

    paths = Paths.find()
    summary = import_tool_answers(paths, load_params(paths.params), ToolFormat(tool), src, rater)
    click.echo(f"{summary.added} answers added, of {', '.join(summary.raters) or 'nobody'}")
    if summary.known:
        click.echo(f"{summary.known} answers to posts that the rater has answered before")
    if summary.faults:
        click.echo(f"{len(summary.faults)} could not be used:")
    for fault in summary.faults[:_MAX_FAULTS]:
        click.echo(f"  {fault}")
    if len(summary.faults) > _MAX_FAULTS:
        click.echo(f"  ... and {len(summary.faults) - _MAX_FAULTS} more")
