"""Counts of the sample, for `reports/sample.json` and MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """Number of posts after each phase of sampling.

    Attributes:
        posts: Posts in the sampling frame.
        authors: Distinct given authors.
        posts_without_author: Posts without a given author.
        repeated: Posts represented by another post with the same caption.
        capped: Representatives dropped by `max_per_author`.
        not_drawn: Eligible posts that were not drawn.
        sampled: Posts in the sample.
        rounds: Number of rounds; 1 unless the sample is an active one.
        later_rounds: Sampled posts of later rounds than the first.
        given_test: Sampled posts of a given test fold, which are always kept.
        given_test_repeated: Those of them whose caption another one of them has too.
        largest_group: Posts that share the most frequent caption.
        weight_sum: Sum of the weights; estimates `posts`.
        effective_n: Kish's effective sample size, which accounts for unequal weights.
        strata: Eligible posts of each stratum, and those that the first round sampled.
    """

    posts: int
    authors: int
    posts_without_author: int
    repeated: int
    capped: int
    not_drawn: int
    sampled: int
    rounds: int
    later_rounds: int
    given_test: int
    given_test_repeated: int
    largest_group: int
    weight_sum: float
    effective_n: float
    strata: dict[str, tuple[int, int]]

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log, by name."""
        return {key: float(value) for key, value in self.report().items() if key != "strata"}

    def report(self) -> dict[str, Any]:
        """Return the content of `reports/sample.json`: all fields, the strata as dictionaries."""
        strata = {
            name: {"eligible": eligible, "sampled": sampled}
            for name, (eligible, sampled) in self.strata.items()
        }
        fields = (name for name in self.__slots__ if name != "strata")
        return {name: getattr(self, name) for name in fields} | {"strata": strata}
