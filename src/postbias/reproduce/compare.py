"""Comparison of the outputs of two pipeline runs with each other and with the committed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postbias.errors import ReproductionError

#: Stages before training: their outputs are equal on every machine.
DATA_STAGES = ("sample", "annotate", "split")

#: Test metrics of the main axis that must be within the committed 95% interval where training gave
#: other bytes. Another instruction set rounds differently, which acts like another seed; a
#: difference beyond the sampling error of the test fold means that something else changed.
METRICS = ("mae", "r2", "spearman")

_NONE = "-"

#: Digest of each output, by stage and path.
Lock = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class ComparedOutput:
    """One output of a stage, or one metric, in both runs and as committed.

    Attributes:
        stage: The stage, `train@fusion` in a matrix; `metrics` for a metric.
        output: Path of the output, or name of the metric.
        first: Digest or value in the first run; `-` if there is none.
        second: Digest or value in the second run.
        committed: The committed digest or value.
        verdict: Result of the comparison, in words.
        is_ok: Whether the result is acceptable.
    """

    stage: str
    output: str
    first: str
    second: str
    committed: str
    verdict: str
    is_ok: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of two clean runs.

    Attributes:
        rows: One per output, then one per metric.
    """

    rows: tuple[ComparedOutput, ...]

    @property
    def is_ok(self) -> bool:
        """Whether every row is acceptable."""
        return all(row.is_ok for row in self.rows)

    def __str__(self) -> str:
        """Summarize in one line."""
        n_differing = sum(not row.is_ok for row in self.rows)
        return "reproducible" if self.is_ok else f"NOT reproducible: {n_differing} row(s) differ"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table: a header, then one row per output and metric."""
        header = ("stage", "output", "run 1", "run 2", "committed", "verdict")
        return [
            header,
            *(
                (r.stage, r.output, r.first[:10], r.second[:10], r.committed[:10], r.verdict)
                for r in self.rows
            ),
        ]


def compare_outputs(first: Lock, second: Lock, committed: Lock) -> list[ComparedOutput]:
    """Compare the outputs of all stages.

    Args:
        first: Outputs of the first run.
        second: Outputs of the second run.
        committed: The committed outputs.

    Returns:
        One row per output that any of them has, in the order of the first run.
    """
    rows = []
    for stage, output in dict.fromkeys([*first, *second, *committed]):
        one, two, known = (lock.get((stage, output), _NONE) for lock in (first, second, committed))
        verdict, is_ok = _compare_digests(stage, one, two, known)
        rows.append(ComparedOutput(stage, output, one, two, known, verdict, is_ok))
    return rows


def compare_metrics(
    first: Mapping[str, Any], second: Mapping[str, Any], committed: Mapping[str, Any]
) -> list[ComparedOutput]:
    """Compare the main test metrics of three `evaluate.json` reports.

    Args:
        first: Report of the first run.
        second: Report of the second run.
        committed: The committed report.

    Returns:
        One row per model and metric.

    Raises:
        ReproductionError: If a report lacks the expected keys.
    """
    try:
        axis = committed["main"]["axis"]
        found = [_headline(report, axis) for report in (first, second, committed)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ReproductionError(
            f"reports/evaluate.json lacks a key that the evaluate stage writes: {error!r}",
            do="run `dvc repro` and commit it",
        ) from error
    rows = []
    for name in dict.fromkeys(name for report in found for name in report):
        seen = [report.get(name, {}) for report in found]
        is_ok = all(_is_within(number, seen[2]) for number in seen[:2])
        lo, hi = _format(seen[2].get("lo")), _format(seen[2].get("hi"))
        verdict = f"{'within' if is_ok else 'OUTSIDE'} {lo} to {hi}"
        one, two, known = (_format(number.get("value")) for number in seen)
        rows.append(ComparedOutput("metrics", name, one, two, known, verdict, is_ok))
    return rows


def read_lock(path: Path) -> Lock:
    """Read the outputs that a `dvc.lock` file records, in file order.

    Returns:
        Digest by stage and path.

    Raises:
        ReproductionError: If it cannot be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return {
            (stage, out["path"]): out["md5"]
            for stage, entry in content["stages"].items()
            for out in entry["outs"]
        }
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ReproductionError(
            f"cannot read {path}: {' '.join(str(error).split())[:200]}",
            do="restore the committed file with `git checkout dvc.lock`",
        ) from error


def _compare_digests(stage: str, first: str, second: str, committed: str) -> tuple[str, bool]:
    if first != second:
        return "DIFFERS between the runs", False
    if first == committed:
        return "same", True
    if first == _NONE:
        return "obsolete entry of dvc.lock: no stage writes it", True
    if committed == _NONE:
        return "NOT in dvc.lock", False
    if stage in DATA_STAGES:
        return "DIFFERS from dvc.lock", False
    return "equal in both runs, differs from committed: see metrics", True


def _headline(report: Mapping[str, Any], axis: str) -> dict[str, dict[str, float | None]]:
    models = report["students"] | report["baselines"]
    return {
        f"{name}.{axis}.{metric}": dict(model["test"][axis][metric])
        for name, model in models.items()
        for metric in METRICS
    }


def _is_within(number: Mapping[str, float | None], committed: Mapping[str, float | None]) -> bool:
    """Check whether a value equals the committed one or is within its interval."""
    value, lo, hi = number.get("value"), committed.get("lo"), committed.get("hi")
    if value == committed.get("value"):
        return True
    return value is not None and lo is not None and hi is not None and lo <= value <= hi


def _format(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4g}"
