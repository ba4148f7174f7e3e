"""The stage `infer`: the champion scores the corpus.

Wires params and places to `postbias.scoring.bulk`, and writes the report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from postbias.posts.shards import list_shards
from postbias.scoring.bulk import BulkSummary, Destination, score_shards
from postbias.scoring.scorer import Scorer
from postbias.tracking import write_report

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


def infer(paths: Paths, params: Params, champion: Path) -> BulkSummary:
    """Score every post of the corpus.

    Args:
        paths: The repository; reads `data/posts`, writes `build/scores/`,
            `build/score_rejects.parquet` and `reports/infer.json`, and keeps finished shards in
            `store/scores/`.
        params: All parameters.
        champion: The champion's artifact.

    Returns:
        What it came to.

    Raises:
        ArtifactError: If the artifact is incomplete or damaged.
        CorpusError: If there are no posts.
        CountsError: If rows in are not rows out.
        StorageError: If something cannot be written.
    """
    shards = list_shards(paths.posts)
    to = Destination(paths.scores, paths.score_rejects, paths.store / "scores")
    with Scorer.open(champion, precision=params.infer.precision, threads=params.threads) as scorer:
        summary = score_shards(shards, scorer, to, batch_size=params.infer.batch_size)
    write_report(paths.reports / "infer.json", summary.report())
    return summary
