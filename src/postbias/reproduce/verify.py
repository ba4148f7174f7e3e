"""Proves that the pipeline can be made again: fresh clones, run from nothing, compared.

Clones the last commit twice into a temporary folder, pulls what DVC tracks, runs the whole
pipeline in each clone with nothing to fall back on (no cache, no `dvc.lock`, no `store/`, no
`mlruns/`), and compares every output of every stage. Says what differs, and why that matters; knows
nothing of what the stages do.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from postbias.errors import ReproductionError
from postbias.paths import Paths
from postbias.reproduce.compare import (
    Row,
    Verification,
    compare_metrics,
    compare_outputs,
    read_lock,
)

#: What a shell may have set that would reach outside the clone, or into it.
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "DVC_", "POSTBIAS", "OPENAI_", "GIT_DIR", "GIT_WORK", "GIT_IND")

_RUNS = ("run1", "run2")
_LAST_WORDS_S = 10.0
_PATIENCE_S = 10.0
_TAIL = 30

#: Where a clone keeps what was committed; DVC does not look there.
_COMMITTED = Path(".dvc", "tmp", "committed")


def verify(paths: Paths, say: Callable[[str], None]) -> Verification:
    """Run the committed pipeline twice from nothing and compare.

    Args:
        paths: The repository.
        say: Takes a line of progress.

    Returns:
        What was found; the clones are kept if something differs, and removed otherwise.

    Raises:
        ReproductionError: If there is nothing to compare with, or a clone cannot be made, filled
            or run; what was cloned is kept.
    """
    _check_committed(paths, say)
    folder = Path(tempfile.mkdtemp(prefix="postbias-verify-"))
    try:
        for run in _RUNS:
            _reproduce(paths, folder / run, say)
        rows = _compare(*(folder / run for run in _RUNS))
    except ReproductionError:
        say(f"kept for you to look at: {folder}")
        raise
    except BaseException:
        _remove(folder)
        raise
    result = Verification(rows)
    if result.is_ok:
        shutil.rmtree(folder)
    else:
        say(f"kept for you to look at: {folder}")
    return result


def _remove(folder: Path) -> None:
    """Remove the clones although a stage that was interrupted may write there for a moment yet."""
    patient_until = time.monotonic() + _PATIENCE_S
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < patient_until:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _check_committed(paths: Paths, say: Callable[[str], None]) -> None:
    tracked = _output(paths.root, "git", "ls-files", "dvc.lock", "reports/evaluate.json")
    if tracked.split() != ["dvc.lock", "reports/evaluate.json"]:
        raise ReproductionError(
            "dvc.lock and reports/evaluate.json are not both committed: nothing to compare with",
            do="run `dvc repro`, then commit them",
        )
    changed = _output(paths.root, "git", "status", "--porcelain", "--untracked-files=no")
    if changed:
        say(f"warning: {len(changed.splitlines())} uncommitted change(s) are not verified")


def _reproduce(paths: Paths, clone: Path, say: Callable[[str], None]) -> None:
    """Clone, pull and run, with nothing but the commit and the data to build on."""
    say(f"{clone.name}: cloning into {clone}")
    _stream(clone.parent, say, "git", "clone", "--quiet", str(paths.root), str(clone))
    local = paths.root / ".dvc" / "config.local"
    if local.is_file():  # may hold how to reach the user's own remote
        shutil.copy(local, clone / ".dvc")
    # Whatever cache the user shares between clones: this one begins with an empty one.
    _stream(clone, say, "dvc", "cache", "dir", "--local", "--quiet", "cache")
    source = _output(clone, sys.executable, "-c", "import postbias; print(postbias.__file__)")
    if not Path(source).resolve().is_relative_to(clone.resolve()):
        raise ReproductionError("the clone runs another clone's code", seen=source)
    tracked = _output(clone, "git", "ls-files", "*.dvc").splitlines()
    if tracked:
        say(f"{clone.name}: pulling {', '.join(tracked)}")
        _stream(clone, say, "dvc", "pull", "--quiet", *tracked)
    _copy_replies(paths, clone)
    # Without dvc.lock there is nothing that DVC could skip or restore.
    (clone / _COMMITTED).mkdir(parents=True)
    for name in ("dvc.lock", "reports/evaluate.json"):
        (clone / name).replace(clone / _COMMITTED / Path(name).name)
    say(f"{clone.name}: running the pipeline")
    _stream(clone, say, "dvc", "repro")


def _copy_replies(paths: Paths, clone: Path) -> None:
    """Carry over the teacher's replies: an endpoint's answers cannot be had again for nothing."""
    if paths.replies.is_file():
        target = clone / "store" / paths.replies.name
        target.parent.mkdir(parents=True)
        with (
            closing(sqlite3.connect(f"{paths.replies.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)


def _compare(first: Path, second: Path) -> tuple[Row, ...]:
    locks = [first / "dvc.lock", second / "dvc.lock", first / _COMMITTED / "dvc.lock"]
    outputs = compare_outputs(*map(read_lock, locks))
    reports = [clone / "reports" / "evaluate.json" for clone in (first, second)]
    reports.append(first / _COMMITTED / "evaluate.json")
    try:
        metrics = compare_metrics(*(json.loads(file.read_text("utf-8")) for file in reports))
    except (OSError, ValueError) as error:
        raise ReproductionError(f"reports/evaluate.json cannot be read: {error}") from error
    return (*outputs, *metrics)


def _environment(folder: Path) -> dict[str, str]:
    """Give this Python's programs and the clone's own code, and nothing that points elsewhere."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(_FOREIGN)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {
        "PATH": path,
        "PYTHONPATH": str(folder / "src"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "true",
    }


def _output(folder: Path, *command: str) -> str:
    lines: list[str] = []
    _stream(folder, lines.append, *command)
    return "\n".join(lines)


def _stream(folder: Path, say: Callable[[str], None], *command: str) -> None:
    """Run a command, handing on what it says line by line."""
    last: list[str] = []
    with subprocess.Popen(  # noqa: S603 - fixed programs, no shell
        command,
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = [*last[1 - _TAIL :], line.rstrip()]
                say(line.rstrip())
        except KeyboardInterrupt:
            # Ctrl-C reaches the command too; the clone can be removed once it writes no more.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WORDS_S)
            process.kill()
            raise
    if process.returncode:
        reasons = [line for line in last if line and not line.startswith(("Traceback", " "))]
        raise ReproductionError(
            f"`{' '.join(command[:3])}` failed in {folder}: {reasons[-1] if reasons else 'silent'}"
        )
