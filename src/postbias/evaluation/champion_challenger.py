"""Comparison of a challenger with the champion by their scores of the same valid fold.

Promotion is a choice, so it is made on valid: made on test, it would bias the reported test metrics
of a series of champions upwards.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from postbias.axes import Axis
from postbias.paths import Paths
from postbias.stats.bootstrap import one_sided_p_value, resample_authors
from postbias.stats.metrics import Predictions, advantage_over, compute_metrics


@dataclass(frozen=True, slots=True)
class ChampionScores:
    """A champion's scores of the valid fold that it was chosen on.

    Attributes:
        digest: Digest of the champion's artifact.
        modality: Modality of the student.
        fold_digest: Digest of the posts and labels of the valid fold.
        axis: Name, low and high of the main axis.
        metric: The main metric.
        alpha: Significance level.
        replications: Number of bootstrap replications.
        posts: Id, author, label and score of each post that it scored.
    """

    digest: str
    modality: str
    fold_digest: str
    axis: tuple[str, float, float]
    metric: str
    alpha: float
    replications: int
    posts: tuple[tuple[str, str, float, float], ...]

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Restore the scores from the result of `as_dict`."""
        posts = tuple((str(i), str(a), float(y), float(x)) for i, a, y, x in record["posts"])
        name, low, high = record["axis"]
        return cls(**record | {"axis": (name, low, high), "posts": posts})

    def as_dict(self) -> dict[str, Any]:
        """Return a record of JSON types."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class ChampionComparison:
    """Result of comparing a challenger with the champion.

    Attributes:
        is_allowed: Whether the challenger may become champion.
        why: The reason in words, with both metrics if they could be compared.
        new: Main metric of the challenger, on the posts that both scored.
        old: Main metric of the champion.
        p: One-sided p-value of the hypothesis that the champion is not better; `None` if the two
            could not be compared.
    """

    is_allowed: bool
    why: str
    new: float | None = None
    old: float | None = None
    p: float | None = None


def read_valid_scores(paths: Paths, digest: str) -> ChampionScores | None:
    """Read the champion's scores of the valid fold from the reports of the evaluate stage.

    Args:
        digest: Digest of the champion's artifact.

    Returns:
        Its scores; `None` if the reports are missing, damaged, or about another student.
    """
    try:
        report = json.loads((paths.reports / "evaluate.json").read_text(encoding="utf-8"))
        if report["champion"]["digest"] != digest:
            return None
        modality, axis = report["champion"]["modality"], report["main"]["axis"]
        with (paths.reports / "valid_predictions.csv").open(encoding="utf-8", newline="") as file:
            posts = tuple(
                (row["post_id"], row["author"], float(row["label"]), float(row["score"]))
                for row in csv.DictReader(file)
                if row["modality"] == modality and row["axis"] == axis
            )
        scores = ChampionScores(
            digest=digest,
            modality=modality,
            fold_digest=report["valid_digest"],
            axis=(axis, report["axes"][axis]["low"], report["axes"][axis]["high"]),
            metric=report["main"]["metric"],
            alpha=report["bootstrap"]["alpha"],
            replications=report["bootstrap"]["replications"],
            posts=posts,
        )
        reported_mae = report["students"][modality]["valid"][axis]["mae"]["value"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # The predictions may be of another run, if only one of the two files was checked out.
    mae = np.mean([abs(score - label) for _, _, label, score in posts]) if posts else np.nan
    return scores if np.isclose(mae, reported_mae, rtol=1e-4, atol=1e-6) else None


def compare_champions(
    challenger: ChampionScores | None, champion: ChampionScores | None
) -> ChampionComparison:
    """Decide whether a challenger may replace the champion.

    It may not if it is significantly worse by the main metric on the posts that both scored.

    Args:
        challenger: The challenger's scores of the valid fold, if known.
        champion: The champion's scores of the valid fold, if known.

    Returns:
        The decision; a challenger that cannot be compared with the champion may replace it.
    """
    if challenger is None or champion is None:
        which = "new" if challenger is None else "old"
        return ChampionComparison(
            True, f"not compared: the scores of the {which} champion on the valid fold are unknown"
        )
    if (challenger.fold_digest, challenger.axis) != (champion.fold_digest, champion.axis):
        return ChampionComparison(True, "not compared: they have different valid folds")
    champion_scores = {post_id: score for post_id, _, _, score in champion.posts}
    rows = [row for row in challenger.posts if row[0] in champion_scores]
    if not rows:
        return ChampionComparison(True, "not compared: no post was scored by both")
    ids, authors, labels, scores = zip(*rows, strict=True)
    resamples = resample_authors(authors, challenger.replications, np.random.default_rng(0))
    undefined = np.full(len(rows), np.nan)
    new, old = (
        compute_metrics(
            np.array(labels),
            Predictions(np.array(values), undefined, undefined),
            Axis(*challenger.axis),
            resamples,
        )[challenger.metric]
        for values in (scores, [champion_scores[post_id] for post_id in ids])
    )
    p = one_sided_p_value(advantage_over(challenger.metric, old, new))
    is_allowed = p >= challenger.alpha
    verdict = "not significantly worse" if is_allowed else "significantly worse"
    why = (
        f"{challenger.metric} {float(new[0]):.3g} vs {float(old[0]):.3g} on the same "
        f"{len(rows):,} posts of the valid fold ({verdict}, p = {p:.2g})"
    )
    return ChampionComparison(is_allowed, why, float(new[0]), float(old[0]), p)
