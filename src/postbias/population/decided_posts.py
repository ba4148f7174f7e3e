"""The stage cascade: the teacher decides the posts about which the student is least certain.

The teacher's label replaces the score of every labelled post, and of the posts that are most likely
to be in the wrong band; `decided_by` says who decided. Replies go through the reply store and count
toward its cost cap. These scores are for decisions about single posts: estimates for all posts must
not use them, because which posts the teacher decides depends on the scores.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import BAND_NAMES
from postbias.errors import CountsError
from postbias.evaluation.results_table import load_evaluation
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.referral_curve import measure_referral
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.schema import cascade_schema
from postbias.posts.shards import write_table
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import band_indices
from postbias.stats.referral import misband_probability
from postbias.teacher.labels import OK, SampleLabels, count_reasons
from postbias.teacher.rubric import Rubric, load_rubric
from postbias.teacher.teachers import request_labels

logger = logging.getLogger(__name__)

Json = dict[str, Any]

STUDENT, TEACHER = "student", "teacher"


@dataclass(frozen=True, slots=True)
class Referral:
    """The posts to refer, and the teacher's answers.

    Attributes:
        post_ids: Posts without a label that are referred, the most uncertain first.
        labels: The teacher's labels of these posts.
    """

    post_ids: tuple[str, ...]
    labels: SampleLabels | None


def run_cascade(paths: Paths, params: Params) -> Json:
    """Refer posts to the teacher; write `build/cascade.parquet` and `reports/cascade.json`.

    Args:
        paths: The repository, after the stage infer.
        params: `seed` and the groups `cascade`, `annotate`, `evaluate` and `report.cost`.

    Returns:
        The content of the report: counts, and the curve of error against the share referred.

    Raises:
        CorpusError: If no post has a score.
        CountsError: If the decided posts do not add up.
        LabelsError: If recorded labels cannot be read.
        SchemaError: If a table is damaged.
        StorageError: If an output cannot be written.
        TeacherError: If the endpoint cannot answer all requests; replies so far are kept.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    corpus = load_scored_corpus(paths)
    priority = prioritise(corpus, params.evaluate.coverage)
    chosen = _choose(paths, params, corpus, priority)
    labels = request_labels(paths, params, rubric, chosen) if chosen else None
    table = decide(corpus, rubric, Referral(tuple(chosen), labels), priority)
    write_table(table, paths.cascade, cascade_schema(rubric.axis_names))
    report = _summarise(table, Referral(tuple(chosen), labels))
    report["curve"] = measure_referral(
        paths, corpus, priority, params.evaluate.bootstrap, np.random.default_rng(params.seed)
    )
    write_json(paths.reports / "cascade.json", report)
    logger.info("%d posts are decided by the teacher", report["decided"][TEACHER])
    return report


def collect_cascade_metrics(report: Json) -> dict[str, float]:
    """Collect the numbers of posts to log, by who decided them."""
    return {f"decided.{who}": float(n) for who, n in report["decided"].items()}


def prioritise(corpus: ScoredCorpus, coverage: float) -> Array:
    """Compute the probability that each score of the main axis is in the wrong band, (N,)."""
    main = corpus.axes[0]
    lo, hi = (
        corpus.table[f"{main.name}_{end}"].to_numpy(zero_copy_only=False).astype(np.float64)
        for end in ("lo", "hi")
    )
    return misband_probability(corpus.scores[main.name], lo, hi, main, coverage)


def decide(corpus: ScoredCorpus, rubric: Rubric, referral: Referral, priority: Array) -> pa.Table:
    """Combine scores and labels to one decision per post.

    Args:
        corpus: All scored posts.
        rubric: The axes.
        referral: Referred posts and their labels.
        priority: Probability of a wrong band. (N,)

    Returns:
        One row per scored post, as `cascade_schema`.
    """
    ids = corpus.table["post_id"].to_pylist()
    row_of = {post_id: row for row, post_id in enumerate(ids)}
    values = {name: corpus.labels[name].copy() for name in rubric.axis_names}
    for label in referral.labels.labels if referral.labels else ():
        if label.status == OK and label.post_id in row_of:
            for name, score in zip(rubric.axis_names, label.scores, strict=True):
                values[name][row_of[label.post_id]] = score
    main = corpus.axes[0]
    is_teachers = np.isfinite(values[main.name])
    columns: dict[str, Any] = {"post_id": ids}
    for name in rubric.axis_names:
        columns[name] = np.where(is_teachers, values[name], corpus.scores[name])
    columns["band"] = [BAND_NAMES[i] for i in band_indices(columns[main.name], main)]
    columns["decided_by"] = np.where(is_teachers, TEACHER, STUDENT).tolist()
    columns["misband_probability"] = np.where(is_teachers, 0.0, priority)
    return pa.table(columns, schema=cascade_schema(rubric.axis_names))


def _choose(paths: Paths, params: Params, corpus: ScoredCorpus, priority: Array) -> list[str]:
    is_labelled = np.isfinite(corpus.labels[corpus.axes[0].name])
    n = 0
    if params.cascade.share is not None:
        n = round(params.cascade.share * len(corpus)) - int(is_labelled.sum())
    elif params.cascade.budget_usd is not None:
        n = int(params.cascade.budget_usd / max(_cost_per_label(paths, params), 1e-9))
    order = np.argsort(np.where(is_labelled, 1.0, -priority), kind="stable")
    open_rows = [row for row in order[: max(n, 0)] if not is_labelled[row]]
    ids = corpus.table["post_id"].take(pa.array(open_rows, pa.int64())).to_pylist()
    return [str(post_id) for post_id in ids]


def _cost_per_label(paths: Paths, params: Params) -> float:
    """Return what a label has cost so far, or the price in the params."""
    report = load_evaluation(paths.reports / "labels.json")
    spent = (report["teacher"].get("cost_usd") or {}).get("these_labels")
    if spent and report["n"]["labelled"]:
        return float(spent / report["n"]["labelled"])
    return float(params.report.cost.teacher_usd_per_post or 0.0)


def _summarise(table: pa.Table, referral: Referral) -> Json:
    counts = {
        name: int(pc.sum(pc.equal(table["decided_by"], name)).as_py() or 0)
        for name in (STUDENT, TEACHER)
    }
    if sum(counts.values()) != table.num_rows:
        raise CountsError("the decided posts do not add up", seen=counts)
    rejects = referral.labels.rejects if referral.labels else ()
    return {
        "posts": table.num_rows,
        "referred": len(referral.post_ids),
        "rejected": count_reasons(rejects),
        "decided": counts,
    }
