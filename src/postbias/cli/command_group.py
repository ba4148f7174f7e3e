"""The command group: how errors of commands reach the user."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from postbias.errors import MissingExtraError, PostbiasError

_TRAINING_PACKAGES = frozenset(
    {"accelerate", "onnx", "onnxscript", "safetensors", "torch", "torchvision", "transformers"}
)


class CommandGroup(click.Group):
    """A command group that prints an expected error as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command; print an expected error as one line and exit with code 1."""
        try:
            return super().invoke(ctx)
        except PostbiasError as error:
            _exit(error)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in {"", "postbias"}:
                raise
            extra = "app" if ctx.invoked_subcommand == "app" else "pipeline"
            if package in _TRAINING_PACKAGES:
                extra = "train"
            _exit(
                MissingExtraError(
                    f"`postbias {ctx.invoked_subcommand}` needs the package {package}, which is "
                    "not installed",
                    do=f"run `pip install 'postbias[{extra}]'`",
                )
            )


def _exit(error: PostbiasError) -> NoReturn:
    click.echo(f"postbias: {error}", err=True)
    sys.exit(1)
