"""Are the posts that are scored like those that the student learned from?

Compares two profiles. Differences are effect sizes, not p-values: on a million posts every
difference is significant. What chance alone would bring in samples of this size is reckoned out and
shown, so that small samples raise no alarm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.scoring.reference_profile import (
    Json,
    describe_answers,
    describe_content,
    sample_post_ids,
)
from postbias.scoring.scorer import Scorer

if TYPE_CHECKING:
    from postbias.params import DriftParams

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the posts that are scored are from those that the student knows.

    Attributes:
        report: `posts` compared; `reference`: posts of the student's profile, null if it has none;
            `differs`: names of what differs; `features`: by name `distance`, `chance` and `limit`.
    """

    report: Json

    def metrics(self) -> dict[str, float]:
        """Give the distances, flat.

        Returns:
            `drift.<feature>` and `drift.differs`, how many of them are too far.
        """
        found = {f"drift.{name}": one["distance"] for name, one in self.report["features"].items()}
        return found | {"drift.differs": float(len(self.report["differs"]))}


def measure_drift(posts: Path, scorer: Scorer, limits: DriftParams) -> Drift:
    """Compare posts with what the student learned from, and warn if they differ.

    Args:
        posts: Folder of post shards; a sample of them is compared.
        scorer: The student; its manifest holds the reference.
        limits: How many posts to compare, and how different they may be.

    Returns:
        The comparison.

    Raises:
        CorpusError: If there is no shard.
        SchemaError: If a shard is damaged.
    """
    reference = scorer.manifest.reference
    if not reference:
        logger.warning("this student does not say what it learned from: drift is not measured")
        return Drift({"posts": 0, "reference": None, "differs": [], "features": {}})
    ids = sample_post_ids(posts, limits.sample)
    seen = {"content": describe_content(posts, ids)}
    seen["answers"] = describe_answers(scorer, posts, ids)
    drift = Drift({"posts": len(ids), **compare_profiles(reference, seen, limits)})
    for name in drift.report["differs"]:
        one = drift.report["features"][name]
        logger.warning(
            "THE POSTS DIFFER from those that the student learned from in %s: %.3f, of which"
            " chance brings %.3f, allowed %.3f; trust these scores less, and label a new sample",
            name, one["distance"], one["chance"], one["limit"],
        )  # fmt: skip
    return drift


def compare_profiles(
    reference: Mapping[str, Any], seen: Mapping[str, Any], limits: DriftParams
) -> dict[str, Any]:
    """Compare two profiles.

    Args:
        reference: `content` and `answers` of the posts that the student knows.
        seen: The same of those that are scored.
        limits: How different they may be.

    Returns:
        `reference`, `differs` and `features`, as in `Drift.report`.
    """
    features: dict[str, dict[str, float]] = {}
    for part in ("content", "answers"):
        old, new = reference[part], seen[part]
        for name, shares in old["features"].items():
            distance, chance = _total_variation(
                (shares, old["n"]), (new["features"][name], new["n"])
            )
            features[name] = {"distance": distance, "chance": chance, "limit": limits.max_distance}
    for name, old in reference["answers"]["embeddings"].items():
        new = seen["answers"]["embeddings"].get(name)
        if new and new["n"] and old["n"]:
            distance, chance = _shift(old, new)
            features[f"embedding.{name}"] = {
                "distance": distance, "chance": chance, "limit": limits.max_shift,
            }  # fmt: skip
    differs = [
        name for name, one in features.items() if one["distance"] > one["limit"] + one["chance"]
    ]
    return {
        "reference": reference["content"]["n"],
        "differs": sorted(differs),
        "features": features,
    }


def _total_variation(
    old: tuple[Mapping[str, float], int], new: tuple[Mapping[str, float], int]
) -> tuple[float, float]:
    """Return the share of posts in other bins, and its expectation if nothing had changed."""
    (p, n), (q, m) = old, new
    if not n or not m:
        return 0.0, 0.0
    names = sorted({*p, *q})  # a sum in the order of a set changes with Python's hash seed
    distance = sum(abs(p.get(name, 0.0) - q.get(name, 0.0)) for name in names) / 2
    pooled = [(n * p.get(name, 0.0) + m * q.get(name, 0.0)) / (n + m) for name in names]
    spread = sum(sqrt(max(share * (1 - share), 0.0)) for share in pooled)
    return distance, spread * sqrt((1 / n + 1 / m) * 2 / pi) / 2


def _shift(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[float, float]:
    """Return by how many sd of the reference the mean moved (rms over dimensions), and chance."""
    sd = np.array(old["sd"])
    is_alive = sd > 1e-6 * max(float(sd.max(initial=0.0)), 1e-12)
    if not is_alive.any():
        return 0.0, 0.0
    moved = (np.array(new["mean"]) - np.array(old["mean"]))[is_alive] / sd[is_alive]
    return float(np.sqrt(np.mean(moved**2))), sqrt(1 / old["n"] + 1 / new["n"])
