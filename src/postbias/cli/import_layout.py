"""The layout of `postbias import`: `--list` describes the layouts, `auto` finds out which it is."""

from __future__ import annotations

from pathlib import Path

import click


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


def choose_layout(layout: str, src: Path) -> tuple[str, Path]:
    """Return a layout and its SRC; for `auto`, find them out and print the evidence to stderr.

    Raises:
        InputError: If there is no such file or folder.
        LayoutError: If it is to be found out, and no layout or several ones fit.
    """
    if layout != "auto":
        return layout, src
    from postbias.posts.importers import detect_layout

    detected = detect_layout(src)
    click.echo(f"layout {detected.layout}: {detected.evidence}", err=True)
    return detected.layout, detected.src
