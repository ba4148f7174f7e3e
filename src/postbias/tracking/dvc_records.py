"""What DVC and git know about a stage: the link between a pipeline and its MLflow runs.

A `StageRecord` holds what `dvc.lock` records of one executed stage. A running stage takes its own
record from the files (DVC writes `dvc.lock` only after the stage has ended); `sync` reads it back
from `dvc.lock`; both give the same `identity`, so the run is found by content. DVC's own library
does the hashing and the templating of `dvc.yaml`. Knows nothing of MLflow.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.errors import TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from postbias.paths import Paths

logger = logging.getLogger(__name__)

# A CSV file whose first column has one of these names is a curve.
STEPS = ("epoch", "step")


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one execution of a stage read and wrote.

    Attributes:
        name: The stage, `train@fusion` in a matrix.
        deps: Digest of each dependency by path, as in `dvc.lock`.
        outs: Digest of each output by path, as in `dvc.lock`.
        params: The parameters that the stage declares, as in `dvc.lock`.
        metrics: The outputs that `dvc.yaml` calls metrics.
        plots: The outputs that `dvc.yaml` calls plots.
        intact: The outputs whose files are there with just this digest.
    """

    name: str
    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, Any]
    metrics: tuple[str, ...]
    plots: tuple[str, ...]
    intact: frozenset[str]

    @property
    def identity(self) -> str:
        """Digest of stage, dependencies, parameters and outputs: equal means the same work."""
        content = [self.name, self.deps, self.params, self.outs]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def current_record(paths: Paths, stage: str) -> StageRecord | None:
    """Take the record of a stage from the files as they are now.

    Args:
        paths: The repository.
        stage: The stage's name.

    Returns:
        The record; none outside DVC, for a stage that `dvc.yaml` does not have, and while a
        dependency or an output is missing.
    """
    from dvc.exceptions import DvcException

    try:
        with _repository(paths) as repo:
            found = repo.stage.load_one(name=stage)
            for entry in (*found.deps, *found.outs):
                # Hashes through DVC's state database: what DVC has hashed is not read again.
                entry.hash_info = entry.get_hash()
            return _record(found)
    except (DvcException, OSError) as error:
        logger.info("run of %s is not linked to DVC: %s", stage, _first_line(error))
        return None


def input_digests(paths: Paths, stage: str) -> dict[str, str]:
    """Take the digests of what a stage reads from the files as they are now.

    `dvc.lock` cannot tell a running stage: it still holds what the stage read the last time, which
    is another thing in every clone.

    Args:
        paths: The repository.
        stage: The stage's name.

    Returns:
        Digest by path, as `dvc.lock` will have them; empty outside DVC, for a stage that `dvc.yaml`
        does not have, and while a dependency is missing.
    """
    from dvc.exceptions import DvcException

    try:
        with _repository(paths) as repo:
            files = _file_deps(repo.stage.load_one(name=stage))
            return {dep.def_path: dep.get_hash().value for dep in files}
    except (DvcException, OSError) as error:
        logger.info("DVC knows no digests of what %s reads: %s", stage, _first_line(error))
        return {}


def locked_records(paths: Paths) -> list[StageRecord]:
    """Read the records of all executed stages from `dvc.lock`.

    Args:
        paths: The repository.

    Returns:
        One record per stage that `dvc.lock` holds completely, in the order of `dvc.yaml`.

    Raises:
        TrackingError: If this is no DVC repository, or `dvc.yaml` or `dvc.lock` is broken.
    """
    from dvc.exceptions import DvcException
    from dvc.stage import PipelineStage

    try:
        with _repository(paths) as repo:
            stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
            return [_record(stage) for stage in stages if _is_locked(stage)]
    except (DvcException, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise TrackingError(
            f"DVC cannot read this pipeline: {_first_line(error)}",
            do="see `git diff dvc.yaml dvc.lock`; `git checkout dvc.lock` brings the last "
            "committed one back",
        ) from error


def recorded_metrics(paths: Paths, record: StageRecord) -> dict[str, float]:
    """Read the numbers of a stage's metrics files.

    Args:
        paths: The repository.
        record: The stage; only its intact outputs are read.

    Returns:
        Each number by its dotted path; the last part `value` is left out, so that `mae.value`,
        `mae.lo`, `mae.hi` become `mae`, `mae.lo`, `mae.hi`.
    """
    metrics: dict[str, float] = {}
    for file in _files(paths, record, record.metrics, ".json"):
        metrics |= _numbers(json.loads(file.read_text(encoding="utf-8")), "")
    return metrics


def recorded_curves(paths: Paths, record: StageRecord) -> dict[str, list[tuple[int, float]]]:
    """Read the series of a stage's plots files that have a step in their first column.

    Args:
        paths: The repository.
        record: The stage; only its intact outputs are read.

    Returns:
        Pairs of step and number by column name.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for file in _files(paths, record, record.plots, ".csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        if not rows or rows[0][0] not in STEPS:
            continue
        for row in rows[1:]:
            for name, text in zip(rows[0][1:], row[1:], strict=True):
                with suppress(ValueError):
                    curves.setdefault(name, []).append((int(float(row[0])), float(text)))
    return curves


def git_state(paths: Paths) -> dict[str, str]:
    """Describe the code version, leaving out what the pipeline itself writes.

    Args:
        paths: The repository.

    Returns:
        Tags `git.commit` and `git.dirty`; empty without git or without a commit.
    """
    commit = _git(paths, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = _git(
        paths, "status", "--porcelain", "--untracked-files=no",
        "--", ".", ":(exclude)dvc.lock", ":(exclude)reports",
    )  # fmt: skip
    return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}


def _files(paths: Paths, record: StageRecord, outs: tuple[str, ...], suffix: str) -> Iterator[Path]:
    for out in outs:
        place = paths.root / out
        if out in record.intact:
            found = sorted(place.rglob("*")) if place.is_dir() else [place]
            yield from (file for file in found if file.suffix == suffix)


def _numbers(node: object, prefix: str) -> dict[str, float]:
    if isinstance(node, bool | int | float):
        return {prefix.removesuffix(".value") or "value": float(node)}
    numbers: dict[str, float] = {}
    if isinstance(node, dict):
        for key, child in node.items():
            numbers |= _numbers(child, f"{prefix}.{key}" if prefix else str(key))
    return numbers


def _git(paths: Paths, *arguments: str) -> str | None:
    command = ["git", "-C", str(paths.root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


@contextmanager
def _repository(paths: Paths) -> Iterator[Any]:
    from dvc.repo import Repo

    with Repo(str(paths.root)) as repo:
        yield repo


def _record(stage: Any) -> StageRecord:  # noqa: ANN401 - dvc has no types
    from dvc.dependency import ParamsDependency

    params: dict[str, Any] = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            params |= json.loads(json.dumps(dep.hash_info.value))
    return StageRecord(
        name=stage.name,
        deps={dep.def_path: dep.hash_info.value for dep in _file_deps(stage)},
        outs={out.def_path: out.hash_info.value for out in stage.outs},
        params=params,
        metrics=tuple(sorted(out.def_path for out in stage.outs if out.metric)),
        plots=tuple(sorted(out.def_path for out in stage.outs if out.plot)),
        intact=frozenset(out.def_path for out in stage.outs if _is_intact(out)),
    )


def _file_deps(stage: Any) -> list[Any]:  # noqa: ANN401 - dvc has no types
    from dvc.dependency import ParamsDependency

    return [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]


def _is_intact(out: Any) -> bool:  # noqa: ANN401 - dvc has no types
    from dvc.exceptions import DvcException

    try:
        return bool(out.get_hash() == out.hash_info)
    except (DvcException, OSError):
        return False


def _is_locked(stage: Any) -> bool:  # noqa: ANN401 - dvc has no types
    return bool(stage.outs) and all(entry.hash_info for entry in (*stage.deps, *stage.outs))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
