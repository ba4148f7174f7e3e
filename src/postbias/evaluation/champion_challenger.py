"""Whether a new champion may take the place of the old one.

Both were judged by their scores of a test fold. If it was the same fold with the same labels, the
new one must not be worse beyond chance by the main metric; if it was another, nothing can be said.
Reads what the evaluate stage wrote; knows nothing of MLflow.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from postbias.axes import Axis
from postbias.paths import Paths
from postbias.stats.bootstrap import draw, p_not_better
from postbias.stats.metrics import Predictions, better_by, measure


@dataclass(frozen=True, slots=True)
class FoldScores:
    """What a champion says of the test fold that it was judged on.

    Attributes:
        digest: Of the champion's artifact.
        modality: What kind of student it is.
        test_digest: Of the test fold, posts and labels.
        axis: Name, low and high of the main axis.
        metric: The main metric.
        alpha: Level of the test.
        replications: Bootstrap replications.
        posts: Per post that it scored: id, author, label and score.
    """

    digest: str
    modality: str
    test_digest: str
    axis: tuple[str, float, float]
    metric: str
    alpha: float
    replications: int
    posts: tuple[tuple[str, str, float, float], ...]

    @classmethod
    def load(cls, record: dict[str, Any]) -> Self:
        """Read what `as_dict` gave.

        Args:
            record: The record.

        Returns:
            The scores.
        """
        posts = tuple((str(i), str(a), float(y), float(x)) for i, a, y, x in record["posts"])
        name, low, high = record["axis"]
        return cls(**record | {"axis": (name, low, high), "posts": posts})

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Succession:
    """What came of comparing a new champion with the old one.

    Attributes:
        is_allowed: Whether the new one may take its place.
        why: In words, with both metrics where they can be compared.
        new: The new one's main metric, on the posts that both scored.
        old: The old one's.
        p: One-sided p-value of "the old one is no better"; None where they cannot be compared.
    """

    is_allowed: bool
    why: str
    new: float | None = None
    old: float | None = None
    p: float | None = None


def read_test_scores(paths: Paths, digest: str) -> FoldScores | None:
    """Read what the pipeline's champion says of the test fold.

    Args:
        paths: The repository; reads `reports/evaluate.json` and `reports/plots/predictions.csv`.
        digest: Of the champion's artifact.

    Returns:
        Its scores; None if the reports are missing, damaged, or of another student.
    """
    try:
        report = json.loads((paths.reports / "evaluate.json").read_text(encoding="utf-8"))
        if report["champion"]["digest"] != digest:
            return None
        modality, axis = report["champion"]["modality"], report["main"]["axis"]
        predictions = paths.reports / "plots" / "predictions.csv"
        with predictions.open(encoding="utf-8", newline="") as file:
            posts = tuple(
                (row["post_id"], row["author"], float(row["label"]), float(row["score"]))
                for row in csv.DictReader(file)
                if row["modality"] == modality and row["axis"] == axis
            )
        found = FoldScores(
            digest=digest,
            modality=modality,
            test_digest=report["test_digest"],
            axis=(axis, report["axes"][axis]["low"], report["axes"][axis]["high"]),
            metric=report["main"]["metric"],
            alpha=report["bootstrap"]["alpha"],
            replications=report["bootstrap"]["replications"],
            posts=posts,
        )
        stated = report["students"][modality]["test"][axis]["mae"]["value"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # The plot may be that of another run, if only one of the two files was checked out.
    mae = np.mean([abs(score - label) for _, _, label, score in posts]) if posts else np.nan
    return found if np.isclose(mae, stated, rtol=1e-4, atol=1e-6) else None


def compare(new: FoldScores | None, old: FoldScores | None) -> Succession:
    """Decide whether a new champion may take the place of the old one.

    Args:
        new: What the new one says of the test fold, if that is known.
        old: What the old one says.

    Returns:
        The decision; where the two cannot be compared, the new one may.
    """
    if new is None or old is None:
        whose = "new" if new is None else "old"
        return Succession(True, f"not compared: no test scores of the {whose} champion are known")
    if (new.test_digest, new.axis) != (old.test_digest, old.axis):
        return Succession(True, "not compared: they were judged on different test folds")
    olds = {post_id: score for post_id, _, _, score in old.posts}
    rows = [row for row in new.posts if row[0] in olds]
    if not rows:
        return Succession(True, "not compared: no post was scored by both")
    ids, authors, labels, scores = zip(*rows, strict=True)
    resamples = draw(authors, new.replications, np.random.default_rng(0))
    nothing = np.full(len(rows), np.nan)
    measured = [
        measure(
            np.array(labels),
            Predictions(np.array(said), nothing, nothing),
            Axis(*new.axis),
            resamples,
        )[new.metric]
        for said in (scores, [olds[post_id] for post_id in ids])
    ]
    p = p_not_better(better_by(new.metric, measured[1], measured[0]))
    value, before = (float(replicates[0]) for replicates in measured)
    is_allowed = p >= new.alpha
    verdict = "not worse beyond chance" if is_allowed else "worse beyond chance"
    why = (
        f"{new.metric} {value:.3g} against {before:.3g} on the same {len(rows):,} test posts "
        f"({verdict}, p = {p:.2g})"
    )
    return Succession(is_allowed, why, value, before, p)
