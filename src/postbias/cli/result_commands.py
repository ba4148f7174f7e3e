"""Commands that show results: `results` and `brands`."""

from __future__ import annotations

from pathlib import Path

import click

from postbias.cli.terminal_tables import format_brands, format_results
from postbias.errors import InputError


@click.command("results")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def results_command(*, markdown: bool) -> None:
    """Show test metrics and the champion.

    Students and baselines are measured on the same posts of the test fold.
    """
    from postbias.evaluation.results_table import load_evaluation, markdown_table
    from postbias.paths import Paths

    path = Paths.find().reports / "evaluate.json"
    report = load_evaluation(path)
    try:
        table = markdown_table(report) if markdown else format_results(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "this report was written by another version of postbias",
            seen=str(path),
            do="run `dvc repro` (or `make repro`)",
        ) from error
    click.echo(table)


@click.command("methods")
@click.option("--checklist", is_flag=True, help="Print the reproducibility checklist instead.")
def methods_command(*, checklist: bool) -> None:
    """Print a methods paragraph for a paper, with the numbers of the run.

    Data, sampling, teacher, rubric, agreement, student, intervals, estimator and software, in about
    150 words. What the run does not know stands in square brackets; in the checklist it is marked
    as a question to the author. See docs/citing.md.
    """
    from postbias.paths import Paths
    from postbias.report.methods_paragraph import render_methods
    from postbias.report.reported_run import read_run_summary
    from postbias.report.reproducibility_checklist import render_checklist

    paths = Paths.find()
    run = read_run_summary(paths)
    try:
        if not checklist:
            click.echo(render_methods(run))
            return
        from postbias.report.findings import INPUTS
        from postbias.tracking.dvc_records import git_state, input_digests

        known = input_digests(paths, "report")
        digests = {path: known[path] for path in INPUTS if path in known}
        click.echo(render_checklist(run, git_state(paths), digests), nl=False)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "these reports were written by another version of postbias",
            seen=str(paths.reports),
            do="run `dvc repro` (or `make repro`)",
        ) from error


@click.command("brands")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a .csv or .parquet file.",
)
def brands_command(*, out: Path | None) -> None:
    """Show bias by brand, with 95% intervals.

    Small brands are shrunk toward the mean of all brands. Needs a scored corpus (`dvc repro`). The
    file report.brands in params.yaml lists the brands; docs/brands.md explains the columns.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.population.brands import load_and_estimate_brands, write_brands

    paths = Paths.find()
    found = load_and_estimate_brands(paths, load_params(paths.params).report)
    if out is not None:
        write_brands(found, out)
    click.echo(format_brands(found))
