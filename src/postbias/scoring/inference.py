"""The stage `infer`: score the corpus with the champion and measure drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.json_files import write_json
from postbias.posts.shards import list_shards
from postbias.scoring.bulk import BulkSummary, ScoreOutputs, score_shards
from postbias.scoring.drift import Drift, measure_drift
from postbias.scoring.profile_store import ProfileStore
from postbias.scoring.scorer import Scorer

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


@dataclass(frozen=True, slots=True)
class Inference:
    """The result of scoring the corpus.

    Attributes:
        summary: Counts, shares and means.
        drift: Comparison of the corpus with the student's training posts.
        device: Device that the graphs ran on.
    """

    summary: BulkSummary
    drift: Drift
    device: str

    def report(self) -> dict[str, Any]:
        """Return the content of `reports/infer.json`."""
        return self.summary.report() | {"device": self.device, "drift": self.drift.report}

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log, by name."""
        return self.summary.metrics() | self.drift.metrics()


def infer(paths: Paths, params: Params) -> Inference:
    """Score every post of the corpus.

    Reads `data/posts` and `build/champion`; writes `build/scores/`, `build/score_rejects.parquet`
    and `reports/infer.json`, and keeps finished shards and profiled posts in
    `store/scores/`.

    Returns:
        The result, as reported.

    Raises:
        ArtifactError: If the artifact is incomplete or damaged.
        DeviceError: If `infer.device` is not available.
        CorpusError: If there are no posts.
        SchemaError: If a shard is damaged.
        CountsError: If the number of rows differs from the number of posts.
        StorageError: If an output cannot be written.
    """
    shards = list_shards(paths.posts)
    outputs = ScoreOutputs(paths.scores, paths.score_rejects, paths.store / "scores")
    settings = params.infer
    with Scorer.open(
        paths.champion,
        precision=settings.precision,
        threads=params.threads,
        device=settings.device,
        image_texts=paths.image_texts,
    ) as scorer:
        summary = score_shards(shards, scorer, outputs, batch_size=settings.batch_size)
        profiles = ProfileStore(scorer, outputs.store, summary.digests)
        drift = measure_drift(shards, profiles, settings.drift)
        result = Inference(summary, drift, scorer.device)
    write_json(paths.reports / "infer.json", result.report())
    return result
