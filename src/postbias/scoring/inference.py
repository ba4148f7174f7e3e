"""The stage `infer`: the champion scores the corpus, and says whether it knows such posts.

Wires params and places to `postbias.scoring.bulk` and `drift`, and writes the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.json_files import write_json
from postbias.posts.shards import list_shards
from postbias.scoring.bulk import BulkSummary, Destination, score_shards
from postbias.scoring.drift import Drift, measure_drift
from postbias.scoring.scorer import Scorer

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


@dataclass(frozen=True, slots=True)
class Inference:
    """What scoring the corpus came to.

    Attributes:
        summary: Counts, shares and means.
        drift: How the corpus compares with what the student learned from.
        device: What ran the graphs.
    """

    summary: BulkSummary
    drift: Drift
    device: str

    def report(self) -> dict[str, Any]:
        """Give the content of `reports/infer.json`.

        Returns:
            What the summary says, `device` and `drift`.
        """
        return self.summary.report() | {"device": self.device, "drift": self.drift.report}

    def metrics(self) -> dict[str, float]:
        """Give the numbers to log.

        Returns:
            Number by name.
        """
        return self.summary.metrics() | self.drift.metrics()


def infer(paths: Paths, params: Params) -> Inference:
    """Score every post of the corpus.

    Args:
        paths: The repository; reads `data/posts` and `build/champion`, writes `build/scores/`,
            `build/score_rejects.parquet` and `reports/infer.json`, and keeps finished shards in
            `store/scores/`.
        params: All parameters.

    Returns:
        What it came to.

    Raises:
        ArtifactError: If the artifact is incomplete or damaged.
        DeviceError: If `infer.device` is not there.
        CorpusError: If there are no posts.
        CountsError: If rows in are not rows out.
        StorageError: If something cannot be written.
    """
    shards = list_shards(paths.posts)
    to = Destination(paths.scores, paths.score_rejects, paths.store / "scores")
    how = params.infer
    with Scorer.open(
        paths.champion, precision=how.precision, threads=params.threads, device=how.device
    ) as scorer:
        summary = score_shards(shards, scorer, to, batch_size=how.batch_size)
        found = Inference(summary, measure_drift(paths.posts, scorer, how.drift), scorer.device)
    write_json(paths.reports / "infer.json", found.report())
    return found
