"""Label the sampled posts: ask the teacher, write what it said, report on it.

Reads the sample and the rubric; writes `build/labels.parquet` (one row per sampled post, sorted),
`build/label_rejects.parquet`, `reports/labels.json` and `reports/plots/labels.csv`. Who the teacher
is decides `annotate.teacher`; replies that were paid for live in `store/replies.sqlite`, not here.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from postbias.errors import CountsError, LabelsError, ParamsError
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.schema import REJECTS, SAMPLE, labels_schema
from postbias.posts.shards import read_posts, read_table, write_table
from postbias.teacher.label_report import describe_axes, histogram_rows, warnings_of
from postbias.teacher.labels import OK, Answers, count_reasons, labels_table, rejects_table
from postbias.teacher.recorded_labels import read_recorded
from postbias.teacher.rubric import Rubric, load_rubric

logger = logging.getLogger(__name__)

#: Below this no student can be trained, let alone judged.
MIN_LABELS = 50

#: Rejects listed in the report; all are in `build/label_rejects.parquet`.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class AnnotateSummary:
    """How labelling went.

    Attributes:
        n_sampled: Posts that were to be labelled.
        n_labelled: Posts with a valid label.
        rejected: Sampled posts without one, by reason.
        report: What `reports/labels.json` holds.
    """

    n_sampled: int
    n_labelled: int
    rejected: dict[str, int]
    report: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """Return the numbers to log.

        Returns:
            Counts, the distribution of each axis, and an endpoint's cost and own error.
        """
        numbers = {
            "n_sampled": float(self.n_sampled),
            "n_labelled": float(self.n_labelled),
            **{f"rejected.{reason}": float(n) for reason, n in self.rejected.items()},
        }
        for axis, found in self.report["axes"].items():
            for name in ("mean", "sd", "distinct", "share_at_mode", "heaping"):
                numbers[f"{axis}.{name}"] = float(found[name])
        for axis, found in self.report["teacher"].get("retest", {}).items():
            numbers |= {f"{axis}.retest_{k}": float(v) for k, v in found.items() if v is not None}
        for name, usd in (self.report["teacher"].get("cost_usd") or {}).items():
            numbers[f"cost_usd.{name}"] = float(usd)
        return numbers


def annotate(paths: Paths, params: Params) -> AnnotateSummary:
    """Label the sampled posts.

    Args:
        paths: The repository.
        params: Its parameters.

    Returns:
        How it went.

    Raises:
        RubricError: If the rubric cannot be used.
        LabelsError: If the labels cannot be read or fewer than 50 are valid.
        ParamsError: If `annotate.labels` is not set for recorded labels.
        TeacherError: If the endpoint cannot be asked to the end; what was answered is kept.
        CorpusError: If there are no posts.
        SchemaError: If posts or sample are damaged.
        CountsError: If labels and rejects do not add up to the sample.
        StorageError: If the results cannot be written.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    post_ids: list[str] = read_table(paths.sample, SAMPLE, ["post_id"])["post_id"].to_pylist()
    answers = _TEACHERS[params.annotate.teacher](paths, params, rubric, post_ids)
    table = labels_table(answers.labels, post_ids, rubric)
    summary = _summarize(table, answers, rubric)
    if summary.n_labelled < MIN_LABELS:
        raise LabelsError(
            f"only {summary.n_labelled} of {summary.n_sampled} sampled posts have a valid label",
            seen=", ".join(f"{n} {reason}" for reason, n in summary.rejected.items()) or None,
            allowed=f"{MIN_LABELS} or more",
            do="label more posts, or compare post ids and axes of the labels with data/posts",
        )
    write_table(table, paths.labels, labels_schema(rubric.axis_names))
    write_table(rejects_table(answers.rejects), paths.label_rejects, REJECTS)
    write_json(paths.reports / "labels.json", summary.report)
    _write_histogram(paths, summary)
    for warning in summary.report["warnings"]:
        logger.warning("labels: %s", warning)
    return summary


def _write_histogram(paths: Paths, summary: AnnotateSummary) -> None:
    path = paths.reports / "plots" / "labels.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = histogram_rows(summary.report["axes"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plan_labels(paths: Paths, params: Params) -> str:
    """Measure a few requests and say what labelling the sample would take.

    Args:
        paths: The repository.
        params: Its parameters.

    Returns:
        The plan, for a person.

    Raises:
        ParamsError: If no endpoint is to be asked.
        RubricError: If the rubric cannot be used.
        TeacherError: If the endpoint cannot be asked.
        SchemaError: If there is no sample.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    from postbias.teacher.plan import plan  # with it comes the openai package

    rubric, post_ids = _open_sample(paths, params)
    return plan(paths, params, rubric, post_ids).describe()


def fill_store(paths: Paths, params: Params) -> str:
    """Ask about all sampled posts and keep the replies; write no labels.

    Args:
        paths: The repository.
        params: Its parameters.

    Returns:
        How it went, for a person.

    Raises:
        ParamsError: If no endpoint is to be asked.
        RubricError: If the rubric cannot be used.
        TeacherError: If the endpoint cannot be asked to the end; what was answered is kept.
        SchemaError: If there is no sample.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    rubric, post_ids = _open_sample(paths, params)
    answers = _endpoint(paths, params, rubric, post_ids)
    n_ok = sum(label.status == OK for label in answers.labels)
    reasons = ", ".join(f"{n} {why}" for why, n in count_reasons(answers.rejects).items())
    said = f"{n_ok} of {len(post_ids)} posts are labelled"
    return f"{said}; rejected: {reasons}" if reasons else said


def _open_sample(paths: Paths, params: Params) -> tuple[Rubric, list[str]]:
    if params.annotate.teacher != "openai":
        raise ParamsError(
            "nobody is to be asked",
            seen=f"annotate.teacher: {params.annotate.teacher}",
            do="set it to openai; docs/teacher.md goes through it",
        )
    rubric = load_rubric(paths.root / params.annotate.rubric)
    return rubric, read_table(paths.sample, SAMPLE, ["post_id"])["post_id"].to_pylist()


def _recorded(paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]) -> Answers:
    if params.annotate.labels is None:
        raise ParamsError(
            "annotate.teacher is recorded but annotate.labels is not set",
            do="set it to a CSV or Parquet file with post_id and one column per axis",
        )
    corpus = frozenset(read_posts(paths.posts, ["post_id"])["post_id"].to_pylist())
    file = paths.root / params.annotate.labels
    found = read_recorded(file, rubric, frozenset(post_ids), corpus)
    report = {
        "name": found.teacher,
        "rows": found.n_rows,
        "outside_sample": found.n_unneeded,
        "rejects": count_reasons(found.rejects),
    }
    return Answers(found.labels, found.rejects, report)


def _endpoint(paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]) -> Answers:
    from postbias.teacher.endpoint import ask_endpoint  # the openai package takes a second

    return ask_endpoint(paths, params, rubric, post_ids)


_TEACHERS = {"recorded": _recorded, "openai": _endpoint}


def _summarize(table: pa.Table, answers: Answers, rubric: Rubric) -> AnnotateSummary:
    statuses = Counter(table["status"].to_pylist())
    n_ok = statuses.pop(OK, 0)
    rejected = dict(sorted(statuses.items()))
    if n_ok + sum(rejected.values()) != table.num_rows:
        raise CountsError("labels and rejects do not add up to the sample", seen=table.num_rows)
    axes = describe_axes(table, rubric)
    report = {
        "rubric": rubric.ref,
        "n": {"sampled": table.num_rows, "labelled": n_ok, "rejected": sum(rejected.values())},
        "rejected": rejected,
        "teacher": answers.report,
        "axes": axes,
        "warnings": [*warnings_of(axes), *answers.report.pop("warnings", ())],
        "first_rejects": rejects_table(answers.rejects[:_LISTED]).to_pylist(),
    }
    return AnnotateSummary(table.num_rows, n_ok, rejected, report)
