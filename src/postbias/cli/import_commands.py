"""The command `import`: `--list` describes the layouts, and `auto` detects that of an export."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postbias.cli.table_options import (
    column_option,
    encoding_option,
    null_values_option,
    transcripts_option,
)

if TYPE_CHECKING:
    from postbias.posts.importers import ReadingOptions


def _print_layouts(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        from postbias.posts.importers import describe_layouts

        click.echo(describe_layouts())
        ctx.exit()


#: Describes the layouts and exits.
list_option = click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_layouts,
    help="Describe each layout with an example, and exit.",
)


def choose_layout(layout: str, src: Path, options: ReadingOptions) -> tuple[str, Path]:
    """Return a layout and its SRC; for `auto`, find them out and print the evidence to stderr.

    Raises:
        InputError: If there is no such file or folder.
        LayoutError: If it is to be found out, and no layout or several ones fit.
    """
    if layout != "auto":
        return layout, src
    from postbias.posts.importers import detect_layout

    detected = detect_layout(src, options)
    click.echo(f"layout {detected.layout}: {detected.evidence}", err=True)
    return detected.layout, detected.src


@click.command("import")
@click.argument("layout")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@column_option("Layout table: ")
@encoding_option("text files", "detected for each file")
@null_values_option("Layout table: ")
@click.option("--replace", is_flag=True, help="Replace the posts of another import in DEST.")
@click.option("--frames", type=click.IntRange(1, 32), default=4, help="Images taken of a video.")
@transcripts_option()
@click.option(
    "--append", is_flag=True, help="Add new posts to those in DEST, and update likes and comments."
)
@list_option
def import_command(
    *,
    layout: str,
    src: Path,
    dest: Path,
    columns: tuple[str, ...],
    encoding: str | None,
    null_values: tuple[str, ...],
    replace: bool,
    frames: int,
    transcripts: bool,
    append: bool,
) -> None:
    """Import an export of posts.

    Writes DEST/posts and DEST/rejects.parquet.

    LAYOUT is one of those that --list describes, or auto. Resumable: run again to continue. Exits
    with code 1 if more than 10% of the records could not be read, or far fewer posts than lines
    were found.
    """
    from postbias.posts.importers import (
        ReadingOptions,
        append_posts,
        import_posts,
        parse_columns,
    )

    if append and replace:
        raise click.UsageError("--append and --replace cannot be combined")
    options = ReadingOptions(parse_columns(columns), encoding, frames, null_values, transcripts)
    layout, src = choose_layout(layout, src, options)
    run = partial(import_posts, layout, src, options=options)
    if append:
        appended = append_posts(layout, dest, partial(run, replace=True))
        click.echo(appended.render())
        summary = appended.export
    else:
        summary = run(dest, replace=replace)
        click.echo(summary.render())
    again = "append the same export again" if append else "import with --replace"
    if warning := summary.warn_of_addresses(again):
        click.echo(warning, err=True)
    if summary.warning:
        click.echo(summary.warning, err=True)
        sys.exit(1)
