"""The `postbias` command.

One function per command, which imports what it needs inside its body so that `postbias --help` is
fast, and the tables that commands print. Options say where, what and how many; whatever changes a
result is a parameter in params.yaml.
"""

from postbias.cli.commands import main

__all__ = ["main"]
