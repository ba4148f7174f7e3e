"""Repositories of small, unusual but valid corpora, evaluated and scored: what the report reads.

The tables of `scored_repo` are changed, and everything that the stages compute from them (metrics,
label distribution, learning curve, drift) is computed again by the package.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from postbias.errors import PostbiasError
from postbias.evaluation.evaluate import evaluate
from postbias.evaluation.learning_curve import measure_learning_curve
from postbias.evaluation.outputs import write_evaluation
from postbias.json_files import write_json
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import (
    FOLDS,
    POSTS,
    REJECTS,
    SAMPLE,
    SPLIT,
    labels_schema,
    scores_schema,
)
from postbias.posts.shards import read_table, write_table
from postbias.scoring.drift import compare_profiles
from postbias.scoring.reference_profile import describe_answers, describe_content
from postbias.scoring.scorer import Scorer
from postbias.teacher.label_report import collect_warnings, describe_label_axes
from postbias.teacher.rubric import load_rubric
from tests.post_shards import sample_all_posts
from tests.scored_repo import write_scored_repo
from tests.tiny_artifact import AXES, write_tiny_artifact

NAMES = tuple(axis.name for axis in AXES)

Row = dict[str, Any]


@dataclass
class Tables:
    """Rows of every table; posts and scores are aligned, and so are labels, sample and split."""

    posts: list[Row]
    scores: list[Row]
    labels: list[Row]
    sample: list[Row]
    split: list[Row]

    def label_posts(self, is_kept: Callable[[int], bool]) -> None:
        """Keep the labels of some posts, by position."""
        rows = [i for i in range(len(self.labels)) if is_kept(i)]
        self.labels, self.sample, self.split = (
            [table[i] for i in rows] for table in (self.labels, self.sample, self.split)
        )

    def set_columns(self, *tables: list[Row], **values: Any) -> None:
        """Set columns of all rows to one value, or to the value of a function of the row."""
        for table in tables:
            for row in table:
                row |= {name: x(row) if callable(x) else x for name, x in values.items()}


def write_degenerate_repo(
    root: Path, change: Callable[[Tables], None], *, n_posts: int = 180
) -> tuple[Paths, Params, PostbiasError | None]:
    """Write a repository, change its tables, and run what the stages before the report compute.

    Args:
        root: A new folder.
        change: Changes the tables.
        n_posts: Number of posts, six of each author.

    Returns:
        Its paths, its params, and the error of the stage evaluate, which stops where a fold is
        empty; the metrics are then those of the fixture.
    """
    paths = write_scored_repo(root, n_posts=n_posts)
    tables = Tables(
        posts=read_table(paths.posts / "00000.parquet").to_pylist(),
        scores=read_table(paths.scores / "00000.parquet").to_pylist(),
        labels=read_table(paths.labels).to_pylist(),
        sample=read_table(paths.sample).to_pylist(),
        split=read_table(paths.split).to_pylist(),
    )
    change(tables)
    for rows, path, schema in (
        (tables.posts, paths.posts / "00000.parquet", POSTS),
        (tables.scores, paths.scores / "00000.parquet", scores_schema(NAMES)),
        (tables.labels, paths.labels, labels_schema(NAMES)),
        (tables.split, paths.split, SPLIT),
    ):
        write_table(pa.Table.from_pylist(rows, schema), path, schema)
    sample_all_posts(paths)
    write_table(pa.Table.from_pylist(tables.sample, SAMPLE), paths.sample, SAMPLE)
    params = load_params(paths.params)
    changed = params.evaluate.model_copy(update={"bootstrap": 100})
    report = params.report.model_copy(update={"min_posts": 3, "examples": 4})
    params = params.model_copy(update={"evaluate": changed, "report": report})
    for i, modality in enumerate(("fusion", "text", "image")):
        write_tiny_artifact(paths.students / modality, modality, seed=i)
    _write_reports(paths, params, tables)
    return paths, params, _evaluate(paths, params)


def _write_reports(paths: Paths, params: Params, tables: Tables) -> None:
    axes = describe_label_axes(
        read_table(paths.labels), load_rubric(paths.root / params.annotate.rubric)
    )
    n_valid = sum(row["status"] == "ok" for row in tables.labels)
    n_rejected = len(tables.labels) - n_valid
    write_json(
        paths.reports / "labels.json",
        {
            "n": {"sampled": len(tables.labels), "labelled": n_valid, "rejected": n_rejected},
            "teacher": {"name": "test"},
            "axes": axes,
            "warnings": collect_warnings(axes),
        },
    )
    folds = {fold: {"posts": sum(r["fold"] == fold for r in tables.split)} for fold in FOLDS}
    write_json(paths.reports / "split.json", {"folds": folds, "audit": {"leakage": 0}})
    write_json(paths.reports / "sample.json", {"sampled": len(tables.sample)})
    rejects = [
        {"source": "posts", "post_id": row["post_id"], "stage": "infer", "reason": row["status"]}
        | {"detail": ""}
        for row in tables.scores
        if row["status"] != "ok"
    ]
    write_table(pa.Table.from_pylist(rejects, REJECTS), paths.score_rejects, REJECTS)
    training = sorted(row["post_id"] for row in tables.split if row["fold"] == "train")
    everything = sorted(row["post_id"] for row in tables.posts)
    with Scorer.open(paths.champion) as scorer:
        old, new = (_profile(scorer, paths, ids) for ids in (training, everything))
    drift = {"posts": len(everything), **compare_profiles(old, new, params.infer.drift)}
    write_json(paths.reports / "infer.json", {"posts": len(everything), "drift": drift})


def _profile(scorer: Scorer, paths: Paths, ids: list[str]) -> Row:
    return {
        "content": describe_content(paths.posts, ids),
        "answers": describe_answers(scorer, paths.posts, ids),
    }


def _evaluate(paths: Paths, params: Params) -> PostbiasError | None:
    try:
        write_evaluation(evaluate(paths, params), paths)
    except PostbiasError as error:
        return error
    students = {0.5: paths.students / "text", 1.0: paths.students / "fusion"}
    curve = measure_learning_curve(paths, params, students)
    write_json(paths.reports / "learning_curve.json", curve)
    shutil.rmtree(paths.champion)
    shutil.copytree(paths.students / "fusion", paths.champion)
    return None
