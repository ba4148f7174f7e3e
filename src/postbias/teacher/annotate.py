"""The annotate stage: label the sampled posts and report on the labels.

Writes `build/labels.parquet` (one row per sampled post, sorted by id),
`build/label_rejects.parquet`, `reports/labels.json` and `reports/plots/labels.csv`.
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
from postbias.posts.schema import FRAME, REJECTS, SAMPLE, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.teacher.label_report import (
    collect_warnings,
    describe_label_axes,
    label_histogram_rows,
)
from postbias.teacher.labels import OK, SampleLabels, count_reasons, labels_table, rejects_table
from postbias.teacher.recorded_labels import read_recorded_labels
from postbias.teacher.rubric import Rubric, load_rubric

logger = logging.getLogger(__name__)

#: Fewer labels cannot train a student, let alone evaluate one.
MIN_LABELS = 50

#: The report lists the first rejects only; `build/label_rejects.parquet` has them all.
_MAX_LISTED_REJECTS = 20


@dataclass(frozen=True, slots=True)
class AnnotateSummary:
    """Outcome of the annotate stage.

    Attributes:
        n_sampled: Sampled posts.
        n_labelled: Posts with a valid label.
        rejected: Sampled posts without a label, by reason.
        report: Content of `reports/labels.json`.
    """

    n_sampled: int
    n_labelled: int
    rejected: dict[str, int]
    report: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log: counts, distributions, test-retest error and cost."""
        metrics = {
            "n_sampled": float(self.n_sampled),
            "n_labelled": float(self.n_labelled),
            **{f"rejected.{reason}": float(n) for reason, n in self.rejected.items()},
        }
        for axis, described in self.report["axes"].items():
            for name in ("mean", "sd", "distinct", "share_at_mode", "heaping"):
                metrics[f"{axis}.{name}"] = float(described[name])
        for axis, retest in self.report["teacher"].get("retest", {}).items():
            metrics |= {f"{axis}.retest_{k}": float(v) for k, v in retest.items() if v is not None}
        for name, usd in (self.report["teacher"].get("cost_usd") or {}).items():
            metrics[f"cost_usd.{name}"] = float(usd)
        return metrics


def annotate(paths: Paths, params: Params) -> AnnotateSummary:
    """Label the sampled posts with the teacher that `annotate.teacher` names.

    Args:
        paths: Locates sample, posts, reply store and outputs.
        params: The group `annotate` and the seed.

    Returns:
        Counts and the label report.

    Raises:
        RubricError: If the rubric cannot be used.
        LabelsError: If recorded labels cannot be read, or fewer than `MIN_LABELS` are valid.
        ParamsError: If `annotate.labels` is not set for recorded labels.
        TeacherError: If the endpoint cannot answer all requests; replies so far are kept.
        CorpusError: If there are no posts.
        SchemaError: If the posts or the sample are damaged.
        CountsError: If labels and rejects do not add up to the sample.
        StorageError: If the results cannot be written.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    post_ids: list[str] = read_table(paths.sample, SAMPLE, ["post_id"])["post_id"].to_pylist()
    sample_labels = _TEACHERS[params.annotate.teacher](paths, params, rubric, post_ids)
    table = labels_table(sample_labels.labels, post_ids, rubric)
    summary = _summarise(table, sample_labels, rubric)
    if summary.n_labelled < MIN_LABELS:
        raise LabelsError(
            f"only {summary.n_labelled} of {summary.n_sampled} sampled posts have a valid label",
            seen=", ".join(f"{n} {reason}" for reason, n in summary.rejected.items()) or None,
            allowed=f"{MIN_LABELS} or more",
            do="label more posts, or compare post ids and axes of the labels with data/posts",
        )
    write_table(table, paths.labels, labels_schema(rubric.axis_names))
    write_table(rejects_table(sample_labels.rejects), paths.label_rejects, REJECTS)
    write_json(paths.reports / "labels.json", summary.report)
    _write_histograms(paths, summary)
    for warning in summary.report["warnings"]:
        logger.warning("labels: %s", warning)
    return summary


def _write_histograms(paths: Paths, summary: AnnotateSummary) -> None:
    path = paths.reports / "plots" / "labels.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = label_histogram_rows(summary.report["axes"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def describe_labelling_plan(paths: Paths, params: Params) -> str:
    """Send a few requests and estimate what labelling the whole sample would take.

    Args:
        paths: Locates sample, posts and reply store.
        params: The group `annotate` and the seed.

    Returns:
        The estimate as text.

    Raises:
        ParamsError: If `annotate.teacher` is not an endpoint.
        RubricError: If the rubric cannot be used.
        TeacherError: If the endpoint cannot answer the requests.
        SchemaError: If there is no sample.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    # Imports the openai package, which takes a second.
    from postbias.teacher.labelling_plan import plan_labelling

    rubric, post_ids = _open_sample(paths, params)
    return plan_labelling(paths, params, rubric, post_ids).describe()


def fill_reply_store(paths: Paths, params: Params) -> str:
    """Request and store replies for all sampled posts without writing labels.

    Args:
        paths: Locates sample, posts and reply store.
        params: The group `annotate` and the seed.

    Returns:
        The outcome as text.

    Raises:
        ParamsError: If `annotate.teacher` is not an endpoint.
        RubricError: If the rubric cannot be used.
        TeacherError: If the endpoint cannot answer all requests; replies so far are kept.
        SchemaError: If there is no sample.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    rubric, post_ids = _open_sample(paths, params)
    sample_labels = _label_with_endpoint(paths, params, rubric, post_ids)
    n_ok = sum(label.status == OK for label in sample_labels.labels)
    reasons = ", ".join(f"{n} {why}" for why, n in count_reasons(sample_labels.rejects).items())
    outcome = f"{n_ok} of {len(post_ids)} posts are labelled"
    return f"{outcome}; rejected: {reasons}" if reasons else outcome


def _open_sample(paths: Paths, params: Params) -> tuple[Rubric, list[str]]:
    if params.annotate.teacher != "openai":
        raise ParamsError(
            "there is no endpoint to send requests to",
            seen=f"annotate.teacher: {params.annotate.teacher}",
            do="set annotate.teacher to openai (see docs/teacher.md)",
        )
    rubric = load_rubric(paths.root / params.annotate.rubric)
    return rubric, read_table(paths.sample, SAMPLE, ["post_id"])["post_id"].to_pylist()


def _read_recorded(
    paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]
) -> SampleLabels:
    if params.annotate.labels is None:
        raise ParamsError(
            "annotate.teacher is recorded but annotate.labels is not set",
            do="set it to a CSV or Parquet file with post_id and one column per axis",
        )
    frame = frozenset(read_table(paths.sample_frame, FRAME)["post_id"].to_pylist())
    file = paths.sampled_file(params.annotate.labels)
    recorded = read_recorded_labels(file, rubric, frozenset(post_ids), frame)
    report = {
        "name": recorded.teacher,
        "rows": recorded.n_rows,
        "outside_sample": recorded.n_outside_sample,
        "rejects": count_reasons(recorded.rejects),
    }
    return SampleLabels(recorded.labels, recorded.rejects, report)


def _label_with_endpoint(
    paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]
) -> SampleLabels:
    # Imports the openai package, which takes a second.
    from postbias.teacher.labelling_run import label_with_endpoint
    from postbias.teacher.prompts import MAX_WORDINGS

    endpoint = params.annotate.endpoint
    if endpoint.temperature == 0 and endpoint.repeats > MAX_WORDINGS:
        raise ParamsError(
            "repeats at temperature 0 need a different wording of the prompt each",
            seen=f"annotate.endpoint.repeats: {endpoint.repeats}",
            allowed=f"at most {MAX_WORDINGS}",
            do="lower it, or set annotate.endpoint.temperature above 0",
        )

    return label_with_endpoint(paths, params, rubric, post_ids)


_TEACHERS = {"recorded": _read_recorded, "openai": _label_with_endpoint}


def _summarise(table: pa.Table, sample_labels: SampleLabels, rubric: Rubric) -> AnnotateSummary:
    statuses = Counter(table["status"].to_pylist())
    n_ok = statuses.pop(OK, 0)
    rejected = dict(sorted(statuses.items()))
    if n_ok + sum(rejected.values()) != table.num_rows:
        raise CountsError("labels and rejects do not add up to the sample", seen=table.num_rows)
    axes = describe_label_axes(table, rubric)
    report = {
        "rubric": rubric.ref,
        "n": {"sampled": table.num_rows, "labelled": n_ok, "rejected": sum(rejected.values())},
        "rejected": rejected,
        "teacher": sample_labels.report,
        "axes": axes,
        "warnings": [*collect_warnings(axes), *sample_labels.report.pop("warnings", ())],
        "first_rejects": rejects_table(sample_labels.rejects[:_MAX_LISTED_REJECTS]).to_pylist(),
    }
    return AnnotateSummary(table.num_rows, n_ok, rejected, report)
