"""The `postbias` command: only this package knows click."""

from postbias.cli.commands import main

__all__ = ["main"]
