"""The `postbias` command: the only place that knows click.

Every command imports what it needs inside its body, so that `postbias --help` answers at once.
Results go to stdout, progress and errors to stderr; a `PostbiasError` is one line and exit code 1.
Options say where, what and how many; whatever changes a result is a parameter in params.yaml.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from postbias import __version__
from postbias.errors import PostbiasError


class _Main(click.Group):
    """A group whose commands end in one clear line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except PostbiasError as error:
            click.echo(f"postbias: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postbias")
@click.option("-v", "--verbose", is_flag=True, help="Say more about what is going on.")
def main(*, verbose: bool) -> None:
    """Score gender bias in social-media posts, and know how far to trust the scores."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@main.command("import")
@click.argument("layout")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="Layout table: the name of a column, e.g. caption=text. May be given several times.",
)
@click.option("--replace", is_flag=True, help="Replace the posts of another import in DEST.")
def import_command(
    *, layout: str, src: Path, dest: Path, columns: tuple[str, ...], replace: bool
) -> None:
    """Import an export into DEST/posts and DEST/rejects.parquet.

    LAYOUT is influencer-brand, instaloader, graphql, api-v1 or table; docs/importing.md shows what
    each of them reads. Interrupted, it goes on where it stopped when it is run again.
    """
    from postbias.posts.importers import columns_of, import_posts

    summary = import_posts(layout, src, dest, columns=columns_of(columns), replace=replace)
    click.echo(summary.render())


@main.command()
@click.option("--need-champion", is_flag=True, help="Fail if there is no champion afterwards.")
def sync(*, need_champion: bool) -> None:
    """Bring MLflow in step with DVC: make missing runs, model versions and the alias again.

    Everything is found by content: what DVC restored from its cache gets its runs and its champion
    back, in any clone. Running it twice does nothing more.
    """
    from postbias.paths import Paths
    from postbias.sync import sync as bring_in_step

    paths = Paths.find()
    click.echo(bring_in_step(paths))
    if need_champion:
        from postbias.registry import champion_artifact

        champion_artifact(paths)


@main.command("results")
@click.option("--markdown", is_flag=True, help="As Markdown, for a README.")
def results_command(*, markdown: bool) -> None:
    """Show how the students did on the test fold, beside the baselines, and who is champion."""
    from postbias.evidence.table import load_report, markdown_table, result_table
    from postbias.paths import Paths

    report = load_report(Paths.find().reports / "evaluate.json")
    click.echo(markdown_table(report) if markdown else result_table(report))
