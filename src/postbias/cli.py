"""The `postbias` command: the only place that knows click.

Every command imports what it needs inside its body, so that `postbias --help` answers at once.
Results go to stdout, progress and errors to stderr; a `PostbiasError` is one line and exit code 1.
Options say where, what and how many; whatever changes a result is a parameter in params.yaml.
"""

from __future__ import annotations

import logging
import sys
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
