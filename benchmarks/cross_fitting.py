"""Compare cross-fitting with set-aside folds on simulated posts with known truth.

    python benchmarks/cross_fitting.py [--replications 1000] [--labels 800] [--posts 4000]

Two claims are checked, each with its Monte-Carlo error. Intervals: the share of new labels within
the 90% intervals of the student that ships, and their width. Estimates: the share of 95% intervals
that contain the true mean, and their width, for all posts and for a fifth of them. The student is a
ridge regression on random features, which are drawn anew for each student, so that students differ
as neural networks from different seeds do; it overfits its labels. Posts of one author share an
effect. The estimators, groups and intervals are those of the pipeline.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from postbias.cli.terminal_tables import format_table
from postbias.evaluation.calibration_scores import collect_recentred
from postbias.population.cross_fitted_scores import CrossFittedScores
from postbias.posts.cross_fitting_groups import assign_cross_fitting_groups
from postbias.posts.schema import SPLIT
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.stats.bootstrap import Array
from postbias.stats.conformal import fit_intervals
from postbias.stats.label_design import HELD_OUT, LEARNED, LabelDesign, labels_only_design
from postbias.stats.ppi import estimate_mean, tune_estimator

MEAN, LOW, HIGH = 5.0, 0.0, 10.0
COVERAGE = 0.9
PER_AUTHOR = 4
SHARES = {"train": 0.64, "valid": 0.08, "calib": 0.14, "test": 0.14}
DIM, FEATURES, PENALTY = 8, 150, 3.0
NEW_POSTS = 2000

#: Scores of posts (n, DIM) -> (n,)
Student = Callable[[Array], Array]


@dataclass(frozen=True)
class Study:
    """A simulation.

    Attributes:
        posts: Number of posts.
        labels: Number of labelled posts.
        groups: Number of cross-fitted students.
        sampled: Share of the unlabelled posts that all students score.
    """

    posts: int = 4000
    labels: int = 800
    groups: int = 5
    sampled: float = 0.25


@dataclass(frozen=True)
class Draw:
    """Simulated posts; only the first `Study.labels` have a known label, a fold and a group."""

    x: Array
    y: Array
    authors: np.ndarray
    folds: np.ndarray
    groups: np.ndarray


def draw_labels(x: Array, authors: np.ndarray, rng: np.random.Generator) -> Array:
    """Draw labels whose mean over all posts is `MEAN`."""
    signal = 1.2 * np.sin(x[:, 0]) + 0.8 * x[:, 1] + 0.6 * (x[:, 2] ** 2 - 1)
    effect = rng.normal(0, 0.5, authors.max() + 1)[authors]
    return MEAN + signal + effect + rng.normal(0, 0.8, len(x))


def draw_posts(study: Study, rng: np.random.Generator) -> Draw:
    """Draw posts, and divide the labelled authors into folds and groups."""
    authors = np.arange(study.posts) // PER_AUTHOR
    x = rng.normal(size=(study.posts, DIM))
    n_authors = study.labels // PER_AUTHOR
    sizes = [round(share * n_authors) for share in SHARES.values()]
    of_author = np.repeat(list(SHARES), [n_authors - sum(sizes[1:]), *sizes[1:]])
    folds = np.full(study.posts, "", dtype=object)
    folds[: study.labels] = rng.permutation(of_author)[authors[: study.labels]]
    names = [f"a{author}" for author in authors[: study.labels]]
    ids = [f"p{row}" for row in range(study.labels)]
    split = pa.table(
        [ids, names, names, folds[: study.labels].tolist(), [1] * study.labels], schema=SPLIT
    )
    group_of = assign_cross_fitting_groups(split, study.groups, seed=int(rng.integers(2**31)))
    groups = np.array([group_of.get(f"p{row}", 0) for row in range(study.posts)])
    return Draw(x, draw_labels(x, authors, rng), authors, folds, groups)


def fit_student(x: Array, y: Array, rng: np.random.Generator) -> Student:
    """Fit a ridge regression on random features."""
    weights, shift = rng.normal(0, 0.6, (DIM, FEATURES)), rng.normal(0, 1, FEATURES)

    def embed(inputs: Array) -> Array:
        return np.column_stack([np.ones(len(inputs)), np.tanh(inputs @ weights + shift)])

    features = embed(x)
    gram = features.T @ features + PENALTY * np.eye(FEATURES + 1)
    coefficients = np.linalg.solve(gram, features.T @ y)
    return lambda inputs: np.clip(embed(inputs) @ coefficients, LOW, HIGH)


def simulate(study: Study, seed: int) -> dict[str, dict[str, float]]:
    """Run one replication.

    Returns:
        By design, the coverage and width of intervals, and whether the true mean is covered and the
        width of its interval, for all posts (`mean`) and for a fifth of them (`part`).
    """
    rng = np.random.default_rng(seed)
    draw = draw_posts(study, rng)
    is_learned = np.isin(draw.folds, ("train", "valid"))
    aside = fit_student(draw.x[draw.folds == "train"], draw.y[draw.folds == "train"], rng)
    crossed = draw.groups > 0
    students = [
        fit_student(draw.x[rows], draw.y[rows], rng)
        for rows in (crossed & (draw.groups != k + 1) for k in range(study.groups))
    ]
    shipped = fit_student(draw.x[crossed], draw.y[crossed], rng)
    table = score_out_of_fold(study, draw, [shipped, *students], rng)
    of_post = {f"p{row}": draw.y[row : row + 1] for row in np.flatnonzero(crossed)}
    residuals = collect_recentred(table, of_post).residuals[:, 0]
    calib = draw.folds == "calib"
    new_x = rng.normal(size=(NEW_POSTS, DIM))
    new_y = draw_labels(new_x, np.arange(NEW_POSTS), rng)
    results = {
        "set aside": measure_intervals(aside, (draw.y - aside(draw.x))[calib], new_x, new_y),
        "cross-fitted": measure_intervals(shipped, residuals, new_x, new_y),
    }
    results["in-sample residuals"] = measure_intervals(
        shipped, (draw.y - shipped(draw.x))[crossed], new_x, new_y
    )
    is_labelled = draw.folds != ""
    weights = np.where(is_labelled, 1.0, 0.0)
    labels = np.where(is_labelled, draw.y, np.nan)
    held_out = LabelDesign.of_corpus(
        draw.authors, np.where(is_labelled, HELD_OUT, 0).astype(np.int8), weights
    )
    roles = np.where(is_learned, LEARNED, held_out.roles).astype(np.int8)
    set_aside = LabelDesign.of_corpus(draw.authors, roles, weights)
    champion = shipped(draw.x)
    ids = pa.chunked_array([[f"p{row}" for row in range(study.posts)]])
    scores = CrossFittedScores.align(table, ids, held_out)
    estimates = {
        "labels alone": (labels_only_design(held_out), champion),
        "set aside": (set_aside, aside(draw.x)),
        "cross-fitted": (held_out, scores.correct("bias", champion, lambda values: values)),
        "in-sample residuals": (held_out, champion),
    }
    part = draw.authors % 5 == 0
    for name, (design, values) in estimates.items():
        results.setdefault(name, {})
        results[name] |= measure_estimates(design, labels, values, part)
    return results


def measure_intervals(student: Student, residuals: Array, x: Array, y: Array) -> dict[str, float]:
    """Measure the intervals of new posts."""
    fitted = fit_intervals(residuals, ["text"] * len(residuals), COVERAGE, span=HIGH - LOW)["text"]
    values = student(x)
    lo, hi = (np.clip(values + fitted[end], LOW, HIGH) for end in ("lo", "hi"))
    y = np.clip(y, LOW, HIGH)
    return {
        "interval coverage": float(np.mean((lo <= y) & (y <= hi))),
        "interval width": float(np.mean(hi - lo)),
        "student rmse": float(np.sqrt(np.mean((values - y) ** 2))),
    }


def measure_estimates(
    design: LabelDesign, labels: Array, scores: Array, part: np.ndarray
) -> dict[str, float]:
    """Estimate the mean of all posts and of a part of them."""
    tuning = tune_estimator(design, labels, scores)
    results = {}
    for name, rows in (("mean", np.ones_like(part)), ("part", part)):
        mean = estimate_mean(design.subset(rows), labels[rows], scores[rows], tuning)
        interval = mean.interval(-np.inf, np.inf)
        assert interval.lo is not None
        assert interval.hi is not None
        results[f"{name} coverage"] = float(interval.lo <= MEAN <= interval.hi)
        results[f"{name} width"] = interval.hi - interval.lo
        results[f"{name} error"] = mean.value - MEAN
    return results


def score_out_of_fold(
    study: Study, draw: Draw, students: list[Student], rng: np.random.Generator
) -> OutOfFoldScores:
    """Score each group by its student, and test posts and a sample by all, as training does.

    The first student is the one that ships; it scores only the latter.
    """
    everyone = draw.folds == "test"
    everyone |= (draw.folds == "") & (rng.random(study.posts) < study.sampled)
    rows = [
        (row, k)
        for k in range(study.groups + 1)
        for row in np.flatnonzero((k > 0) & (draw.groups == k) | everyone)
    ]
    at, by = np.array(rows).T
    values = np.empty(len(rows))
    for k, student in enumerate(students):
        values[by == k] = student(draw.x[at[by == k]])
    return OutOfFoldScores(
        axes=("bias",),
        post_ids=np.array([f"p{row}" for row in at], dtype=object),
        students=by,
        is_whole=np.ones(len(rows), np.bool_),
        modalities=np.full(len(rows), "text", dtype=object),
        values=values[:, None],
        statuses=np.full(len(rows), "ok", dtype=object),
    )


def summarise(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the mean over replications and its Monte-Carlo standard error."""
    return {
        design: {
            name: _mean_and_error([run[design][name] for run in runs]) for name in runs[0][design]
        }
        for design in runs[0]
    }


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _rows(summary: Mapping[str, Mapping[str, tuple[float, float]]]) -> list[list[str]]:
    names = list(dict.fromkeys(name for numbers in summary.values() for name in numbers))
    rows = [["design", *names]]
    for design, numbers in summary.items():
        cells = [numbers.get(name) for name in names]
        rows.append([design, *(f"{c[0]:.3f} ± {c[1]:.3f}" if c else "" for c in cells)])
    return rows


def main() -> None:
    """Run the simulation and print a table and a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--labels", type=int, default=Study.labels)
    parser.add_argument("--posts", type=int, default=Study.posts)
    parser.add_argument("--groups", type=int, default=Study.groups)
    parser.add_argument("--sampled", type=float, default=Study.sampled)
    options = vars(parser.parse_args())
    replications = options.pop("replications")
    logging.disable()  # that few labels are calibrated on is what is measured here
    summary = summarise([simulate(Study(**options), seed) for seed in range(replications)])
    header, *rows = _rows(summary)
    print(format_table(header, rows))
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
