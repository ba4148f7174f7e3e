"""Records of executed stages from DVC, and the state of the code from git."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.errors import TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from postbias.paths import Paths

logger = logging.getLogger(__name__)

# A CSV file is a curve if its first column has one of these names.
STEPS = ("epoch", "step")


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The inputs and outputs of one execution of a stage, as `dvc.lock` records them.

    Attributes:
        name: The stage; `train@fusion` in a matrix.
        deps: Digest of each dependency by path.
        outs: Digest of each output by path.
        params: Values of the parameters that the stage declares.
        metrics: The outputs that `dvc.yaml` lists as metrics.
        plots: The outputs that `dvc.yaml` lists as plots.
        intact: The outputs whose files exist and have the recorded digest.
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
        """SHA-256 of name, dependencies, parameters and outputs: equal for equal work."""
        content = [self.name, self.deps, self.params, self.outs]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def current_record(paths: Paths, stage: str) -> StageRecord | None:
    """Compute the record of a stage from the current files.

    Returns:
        The record; None outside DVC, for a stage that `dvc.yaml` does not have, or if a dependency
        or an output is missing.
    """
    from dvc.exceptions import DvcException

    # A running stage cannot read dvc.lock: DVC updates it only after the stage has ended.
    try:
        with _repository(paths) as repo:
            found = repo.stage.load_one(name=stage)
            for entry in (*found.deps, *found.outs):
                # Uses DVC's state database, so files that DVC has hashed are not read again.
                entry.hash_info = entry.get_hash()
            return _record(found)
    except (DvcException, OSError) as error:
        logger.info("the run of %s is not linked to DVC: %s", stage, _first_line(error))
        return None


def input_digests(paths: Paths, stage: str) -> dict[str, str]:
    """Compute the digests of the files that a running stage depends on.

    Returns:
        Digest by path, as `dvc.lock` will record them; empty outside DVC, for a stage that
        `dvc.yaml` does not have, or if a dependency is missing.
    """
    from dvc.exceptions import DvcException

    # dvc.lock still has the digests of the stage's previous execution.
    try:
        with _repository(paths) as repo:
            files = _file_deps(repo.stage.load_one(name=stage))
            return {dep.def_path: dep.get_hash().value for dep in files}
    except (DvcException, OSError) as error:
        logger.info("DVC has no digests of the inputs of %s: %s", stage, _first_line(error))
        return {}


def declared_params(paths: Paths, stage: str) -> frozenset[str] | None:
    """List the parameters and parameter groups that a stage depends on, from `dvc.yaml`.

    Returns:
        Dotted keys; None outside DVC and for a stage that `dvc.yaml` does not have.
    """
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException

    try:
        with _repository(paths) as repo:
            deps = repo.stage.load_one(name=stage).deps
            declared = [dep.params for dep in deps if isinstance(dep, ParamsDependency)]
    except (DvcException, OSError) as error:
        logger.info("DVC does not know stage %s: %s", stage, _first_line(error))
        return None
    return frozenset(key for keys in declared for key in keys)


def locked_records(paths: Paths) -> list[StageRecord]:
    """Read the records of all executed stages from `dvc.lock`.

    Returns:
        One record per stage that is complete in `dvc.lock`, in the order of `dvc.yaml`.

    Raises:
        TrackingError: If this is not a DVC repository, or `dvc.yaml` or `dvc.lock` is invalid.
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
            do="check `git diff dvc.yaml dvc.lock`; `git checkout dvc.lock` restores the last "
            "committed version",
        ) from error


def recorded_metrics(paths: Paths, record: StageRecord) -> dict[str, float]:
    """Read the metrics files of a stage that are intact.

    Args:
        record: DVC's record of the stage.

    Returns:
        Numbers by dotted path. A final `value` is dropped: `mae.value`, `mae.lo` and `mae.hi`
        become `mae`, `mae.lo` and `mae.hi`.
    """
    metrics: dict[str, float] = {}
    for file in _files(paths, record, record.metrics, ".json"):
        metrics |= _numbers(json.loads(file.read_text(encoding="utf-8")), "")
    return metrics


def recorded_curves(paths: Paths, record: StageRecord) -> dict[str, list[tuple[int, float]]]:
    """Read the curves among the intact plots files of a stage.

    Args:
        record: DVC's record of the stage.

    Returns:
        Pairs of step and value, by column name.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for file in _files(paths, record, record.plots, ".csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        if not rows or rows[0][0] not in STEPS:
            continue
        steps = _whole_steps([float(row[0]) for row in rows[1:]])
        for step, row in zip(steps, rows[1:], strict=True):
            for name, text in zip(rows[0][1:], row[1:], strict=True):
                with suppress(ValueError):
                    curves.setdefault(name, []).append((step, float(text)))
    return curves


def _whole_steps(epochs: Sequence[float]) -> list[int]:
    """Convert epochs to MLflow's steps: themselves, or the number of the row for fractions."""
    if all(epoch.is_integer() for epoch in epochs):
        return [int(epoch) for epoch in epochs]
    return list(range(int(epochs[0] > 0), len(epochs) + int(epochs[0] > 0)))


def git_state(paths: Paths) -> dict[str, str]:
    """Describe the version of the code, ignoring files that the pipeline writes.

    Returns:
        Tags `git.commit` and `git.dirty`; empty outside git and before the first commit.
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
