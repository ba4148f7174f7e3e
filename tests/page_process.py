"""A command that serves a page, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Self


class PageProcess:
    """The command, started in a folder by `__enter__`; subclasses end it in `__exit__`."""

    _stderr: int | None = None

    def __init__(self, root: Path, command: str, *options: str, **environment: str) -> None:
        """Name the folder and the command."""
        self._root = root
        self._arguments = (command, "--no-browser", "--port", "0", *options)
        self._environment = environment
        self.url = ""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Start the server and wait until it prints its address."""
        code = "from postbias.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *self._arguments],
            cwd=self._root,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=os.environ | self._environment,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return self
        raise AssertionError(f"the server ended with code {self.process.wait()}")
