"""Compares what two runs of the pipeline made, with each other and with what is committed.

Works on the contents of `dvc.lock` and `reports/evaluate.json`: reads files, runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postbias.errors import ReproductionError

#: Stages whose outputs hold no trained number: equal on every machine.
DATA_STAGES = ("sample", "annotate", "split")

#: The numbers of the test fold that must agree where training gave other bytes, on the main axis.
#: They agree if they lie within the committed 95% interval. Another instruction set rounds
#: otherwise, after which training ends as from another seed; a difference inside the interval could
#: as well come from other test posts, a larger one means that something else has changed.
METRICS = ("mae", "r2", "spearman")

_NONE = "-"

#: Digest of each output, by stage and path.
Lock = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Row:
    """One output of a stage, or one metric, in both runs and as committed.

    Attributes:
        stage: The stage, `train@fusion` in a matrix; `metrics` for a metric.
        output: Path of the output, or name of the metric.
        first: Digest, or value, in the first run; `-` where there is none.
        second: The same in the second run.
        committed: The same as committed.
        verdict: What that means.
        is_ok: Whether it is as it must be.
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
    """What two runs from nothing came to.

    Attributes:
        rows: One per output, then one per metric.
    """

    rows: tuple[Row, ...]

    @property
    def is_ok(self) -> bool:
        """Whether everything is as it must be."""
        return all(row.is_ok for row in self.rows)

    def __str__(self) -> str:
        """Render the table and a last line that sums it up."""
        head = ("stage", "output", "run 1", "run 2", "committed", "verdict")
        cells = [
            head,
            *(
                (r.stage, r.output, r.first[:10], r.second[:10], r.committed[:10], r.verdict)
                for r in self.rows
            ),
        ]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        wrong = sum(not row.is_ok for row in self.rows)
        lines += ["", "reproducible" if self.is_ok else f"NOT reproducible: {wrong} row(s) differ"]
        return "\n".join(lines)


def compare_outputs(first: Lock, second: Lock, committed: Lock) -> list[Row]:
    """Compare the outputs of all stages.

    Args:
        first: What the first run made.
        second: What the second run made.
        committed: What is committed.

    Returns:
        One row per output that any of them has, in the order of the first.
    """
    rows = []
    for stage, output in dict.fromkeys([*first, *second, *committed]):
        one, two, known = (lock.get((stage, output), _NONE) for lock in (first, second, committed))
        verdict, is_ok = _judge(stage, one, two, known)
        rows.append(Row(stage, output, one, two, known, verdict, is_ok))
    return rows


def compare_metrics(
    first: Mapping[str, Any], second: Mapping[str, Any], committed: Mapping[str, Any]
) -> list[Row]:
    """Compare the headline numbers of three reports.

    Args:
        first: `evaluate.json` of the first run.
        second: That of the second run.
        committed: The committed one.

    Returns:
        One row per model and metric.

    Raises:
        ReproductionError: If one of them is no such report.
    """
    try:
        axis = committed["main"]["axis"]
        found = [_headline(report, axis) for report in (first, second, committed)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ReproductionError(
            f"reports/evaluate.json is not what the evaluate stage writes: {error!r}",
            do="run `dvc repro` and commit it",
        ) from error
    rows = []
    for name in dict.fromkeys(name for report in found for name in report):
        seen = [report.get(name, {}) for report in found]
        is_ok = all(_is_within(number, seen[2]) for number in seen[:2])
        lo, hi = _show(seen[2].get("lo")), _show(seen[2].get("hi"))
        verdict = f"{'within' if is_ok else 'OUTSIDE'} {lo} to {hi}"
        one, two, known = (_show(number.get("value")) for number in seen)
        rows.append(Row("metrics", name, one, two, known, verdict, is_ok))
    return rows


def read_lock(path: Path) -> Lock:
    """Read a `dvc.lock`.

    Args:
        path: The file.

    Returns:
        Its outputs, in its order.

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
            f"{path} cannot be read: {' '.join(str(error).split())[:200]}",
            do="`git checkout dvc.lock` brings the last committed one back",
        ) from error


def _judge(stage: str, first: str, second: str, committed: str) -> tuple[str, bool]:
    if first != second:
        return "DIFFERS between the runs", False
    if first == committed:
        return "same", True
    if first == _NONE:
        return "left over in dvc.lock: no stage makes it", True
    if committed == _NONE:
        return "NOT in dvc.lock", False
    if stage in DATA_STAGES:
        return "DIFFERS from dvc.lock", False
    return "same twice, other than committed: see metrics", True


def _headline(report: Mapping[str, Any], axis: str) -> dict[str, dict[str, float | None]]:
    models = report["students"] | report["baselines"]
    return {
        f"{name}.{axis}.{metric}": dict(model["test"][axis][metric])
        for name, model in models.items()
        for metric in METRICS
    }


def _is_within(number: Mapping[str, float | None], committed: Mapping[str, float | None]) -> bool:
    """Tell whether a value is the committed one or lies in its interval."""
    value, lo, hi = number.get("value"), committed.get("lo"), committed.get("hi")
    if value == committed.get("value"):
        return True
    return value is not None and lo is not None and hi is not None and lo <= value <= hi


def _show(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4g}"
