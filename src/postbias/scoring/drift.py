"""Measure drift: compare the scored posts with the student's training posts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.posts.remote_files import AnyPath
from postbias.scoring.platforms import UNNAMED_PLATFORM
from postbias.scoring.profile_store import ProfileStore
from postbias.scoring.reference_profile import Json, summarize_answers, summarize_content

if TYPE_CHECKING:
    from postbias.params import DriftParams

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """Distance of the scored posts from the student's training posts.

    Attributes:
        report: `posts`: number compared; `reference`: posts of the student's profile, null if it
            has none; `differs`: features beyond their limit; `features`: `distance`, `chance` and
            `limit` by name.
    """

    report: Json

    def metrics(self) -> dict[str, float]:
        """Return `drift.<feature>` distances and `drift.differs`, the number beyond their limit."""
        features = self.report["features"]
        distances = {f"drift.{name}": feature["distance"] for name, feature in features.items()}
        return distances | {"drift.differs": float(len(self.report["differs"]))}


def measure_drift(shards: Sequence[AnyPath], store: ProfileStore, limits: DriftParams) -> Drift:
    """Compare posts with the student's training posts, and warn if they differ.

    Args:
        shards: Post shards; a sample of the posts is compared.
        store: The student, whose manifest contains the reference profile, and posts that were
            profiled before.
        limits: Sample size and maximum distances.

    Raises:
        SchemaError: If a shard, or a file of the store, is damaged.
        StorageError: If the store cannot be written.
    """
    reference = store.scorer.manifest.reference
    if not reference:
        logger.warning("drift is not measured: the student has no profile of its training posts")
        return Drift({"posts": 0, "reference": None, "differs": [], "features": {}})
    chosen = store.choose(shards, limits.sample)
    if not chosen:
        n_reference = reference["content"]["n"]
        return Drift({"posts": 0, "reference": n_reference, "differs": [], "features": {}})
    rows = store.profile(chosen)
    seen = {"content": summarize_content(rows)}
    seen["answers"] = summarize_answers(rows)
    drift = Drift({"posts": len(rows), **compare_profiles(reference, seen, limits)})
    for name in drift.report["differs"]:
        feature = drift.report["features"][name]
        logger.warning(
            "THE POSTS DIFFER from the training posts in %s: distance %.3f, by chance %.3f,"
            " limit %.3f; scores are less reliable: label a new sample",
            name, feature["distance"], feature["chance"], feature["limit"],
        )  # fmt: skip
    return drift


def compare_profiles(
    reference: Mapping[str, Any], seen: Mapping[str, Any], limits: DriftParams
) -> dict[str, Any]:
    """Compare two profiles.

    Args:
        reference: `content` and `answers` of the training posts.
        seen: The same of the scored posts.
        limits: Maximum distances.

    Returns:
        `reference`, `differs` and `features`, as in `Drift.report`.
    """
    # Effect sizes, not p-values: on a million posts every difference is significant. The distance
    # expected by chance is added to the limit, so that small samples raise no alarm.
    features: dict[str, dict[str, float]] = {}
    for part in ("content", "answers"):
        old, new = reference[part], seen[part]
        for name, shares in old["features"].items():
            if name == "platform" and UNNAMED_PLATFORM in {*shares, *new["features"][name]}:
                continue  # some posts do not say where they are from
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
        name
        for name, feature in features.items()
        if feature["distance"] > feature["limit"] + feature["chance"]
    ]
    return {
        "reference": reference["content"]["n"],
        "differs": sorted(differs),
        "features": features,
    }


def _total_variation(
    old: tuple[Mapping[str, float], int], new: tuple[Mapping[str, float], int]
) -> tuple[float, float]:
    """Return the total variation distance and its expectation if the distributions are equal."""
    (p, n), (q, m) = old, new
    if not n or not m:
        return 0.0, 0.0
    names = sorted({*p, *q})  # a sum in the order of a set changes with Python's hash seed
    distance = sum(abs(p.get(name, 0.0) - q.get(name, 0.0)) for name in names) / 2
    pooled = [(n * p.get(name, 0.0) + m * q.get(name, 0.0)) / (n + m) for name in names]
    spread = sum(sqrt(max(share * (1 - share), 0.0)) for share in pooled)
    return distance, spread * sqrt((1 / n + 1 / m) * 2 / pi) / 2


def _shift(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[float, float]:
    """Return the shift of the mean in sd of the reference (RMS over dimensions), and chance."""
    sd = np.array(old["sd"])
    is_alive = sd > 1e-6 * max(float(sd.max(initial=0.0)), 1e-12)
    if not is_alive.any():
        return 0.0, 0.0
    moved = (np.array(new["mean"]) - np.array(old["mean"]))[is_alive] / sd[is_alive]
    return float(np.sqrt(np.mean(moved**2))), sqrt(1 / old["n"] + 1 / new["n"])
