"""Verification that the pipeline is reproducible: two clean runs in fresh clones, compared."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from postbias.errors import ReproductionError
from postbias.paths import Paths
from postbias.reproduce.compare import (
    ComparedOutput,
    Verification,
    compare_metrics,
    compare_outputs,
    read_lock,
)

#: Environment variables that would connect a clone to something outside it.
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "DVC_", "POSTBIAS", "OPENAI_", "GIT_DIR", "GIT_WORK", "GIT_IND")

_RUNS = ("run1", "run2")
_INTERRUPT_TIMEOUT_S = 10.0
_REMOVE_TIMEOUT_S = 10.0
_TAIL_LINES = 30
_FORK_SERVER = (sys.executable, "-m", "postbias.tracking.fork_server")

#: Folder of a clone for the committed files, outside the reach of DVC.
_COMMITTED = Path(".dvc", "tmp", "committed")


def verify(paths: Paths, on_progress: Callable[[str], None]) -> Verification:
    """Run the committed pipeline in two fresh clones and compare every output of every stage.

    Nothing is reused but the data and the teacher's replies: no cache, no `dvc.lock`, no score
    store, no `mlruns/`. The clones are kept if something differs or fails.

    Args:
        on_progress: Called with each line of progress.

    Raises:
        ReproductionError: If nothing is committed to compare with, or a clone cannot be created,
            filled or run.
    """
    _check_committed(paths, on_progress)
    folder = Path(tempfile.mkdtemp(prefix="postbias-verify-"))
    try:
        for run in _RUNS:
            _reproduce(paths, folder / run, on_progress)
        rows = _compare(*(folder / run for run in _RUNS))
    except ReproductionError:
        on_progress(f"kept for inspection: {folder}")
        raise
    except BaseException:
        _remove(folder)
        raise
    result = Verification(rows)
    if result.is_ok:
        shutil.rmtree(folder)
    else:
        on_progress(f"kept for inspection: {folder}")
    return result


def _remove(folder: Path) -> None:
    """Remove the clones, in which an interrupted stage may still be writing."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _check_committed(paths: Paths, on_progress: Callable[[str], None]) -> None:
    tracked = _output(paths.root, "git", "ls-files", "dvc.lock", "reports/evaluate.json")
    if tracked.split() != ["dvc.lock", "reports/evaluate.json"]:
        raise ReproductionError(
            "dvc.lock and reports/evaluate.json must be committed, to compare with them",
            do="run `dvc repro`, then commit them",
        )
    changed = _output(paths.root, "git", "status", "--porcelain", "--untracked-files=no")
    if changed:
        on_progress(f"warning: {len(changed.splitlines())} uncommitted change(s) are not verified")


def _reproduce(paths: Paths, clone: Path, on_progress: Callable[[str], None]) -> None:
    """Clone the repository, pull the data and run the pipeline."""
    on_progress(f"{clone.name}: cloning into {clone}")
    _stream(clone.parent, on_progress, "git", "clone", "--quiet", str(paths.root), str(clone))
    local = paths.root / ".dvc" / "config.local"
    if local.is_file():  # may contain the settings of the user's remote
        shutil.copy(local, clone / ".dvc")
    # An empty cache, even if the user shares one between clones.
    _stream(clone, on_progress, "dvc", "cache", "dir", "--local", "--quiet", "cache")
    source = _output(clone, sys.executable, "-c", "import postbias; print(postbias.__file__)")
    if not Path(source).resolve().is_relative_to(clone.resolve()):
        raise ReproductionError("the clone imports postbias from elsewhere", seen=source)
    tracked = _output(clone, "git", "ls-files", "*.dvc").splitlines()
    if tracked:
        on_progress(f"{clone.name}: pulling {', '.join(tracked)}")
        _stream(clone, on_progress, "dvc", "pull", "--quiet", *tracked)
    _copy_replies(paths, clone)
    # Without dvc.lock, DVC can neither skip nor restore a stage.
    (clone / _COMMITTED).mkdir(parents=True)
    for name in ("dvc.lock", "reports/evaluate.json"):
        (clone / name).replace(clone / _COMMITTED / Path(name).name)
    on_progress(f"{clone.name}: running the pipeline")
    _stream(clone, on_progress, "dvc", "repro", below=_FORK_SERVER)


def _copy_replies(paths: Paths, clone: Path) -> None:
    """Copy the teacher's replies, which cost money and are not deterministic."""
    if paths.replies.is_file():
        target = clone / "store" / paths.replies.name
        target.parent.mkdir(parents=True)
        with (
            closing(sqlite3.connect(f"{paths.replies.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)


def _compare(first: Path, second: Path) -> tuple[ComparedOutput, ...]:
    locks = [first / "dvc.lock", second / "dvc.lock", first / _COMMITTED / "dvc.lock"]
    outputs = compare_outputs(*map(read_lock, locks))
    reports = [clone / "reports" / "evaluate.json" for clone in (first, second)]
    reports.append(first / _COMMITTED / "evaluate.json")
    try:
        metrics = compare_metrics(*(json.loads(file.read_text("utf-8")) for file in reports))
    except (OSError, ValueError) as error:
        raise ReproductionError(f"cannot read reports/evaluate.json: {error}") from error
    return (*outputs, *metrics)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment with this Python's programs and the clone's code."""
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


def _stream(
    folder: Path, on_progress: Callable[[str], None], *command: str, below: Sequence[str] = ()
) -> None:
    """Run a command, if wanted below another one, and report its output line by line."""
    last: list[str] = []
    with subprocess.Popen(  # noqa: S603 - fixed programs, no shell
        [*below, *command],
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
                last = [*last[1 - _TAIL_LINES :], line.rstrip()]
                on_progress(line.rstrip())
        except KeyboardInterrupt:
            # Ctrl-C reaches the command too; wait until it no longer writes to the clone.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_INTERRUPT_TIMEOUT_S)
            process.kill()
            raise
    if process.returncode:
        reasons = [line for line in last if line and not line.startswith(("Traceback", " "))]
        reason = reasons[-1] if reasons else "no output"
        raise ReproductionError(f"`{' '.join(command[:3])}` failed in {folder}: {reason}")
