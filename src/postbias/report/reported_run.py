"""What a run knows about itself, for the methods section of a paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from postbias.evaluation.results_table import load_evaluation
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Manifest

Json = dict[str, Any]

_REPORTS = ("sample", "labels", "split", "evaluate", "infer", "people", "population")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The results of all stages that a paper reports.

    Attributes:
        params: All params.
        manifest: Manifest of the champion.
        digest: Digest of the champion.
        reports: Content of the files in `reports/`, by name.
        period: First and last day of the scored posts; None if no post has a date.
        is_demo: Whether the posts are the synthetic demo corpus.
    """

    params: Params
    manifest: Manifest
    digest: str
    reports: dict[str, Json]
    period: tuple[str, str] | None
    is_demo: bool

    @property
    def axis(self) -> str:
        """The main axis."""
        return self.manifest.axes[0].name

    @property
    def tested(self) -> Json:
        """Metrics of the champion on the test fold, main axis."""
        found: Json = self.reports["evaluate"]["students"][self.manifest.modality]["test"]
        return dict(found[self.axis])

    @property
    def is_endpoint(self) -> bool:
        """Whether a model behind an endpoint gave the labels, not recorded answers."""
        return self.params.annotate.teacher == "openai"


def read_run_summary(paths: Paths) -> RunSummary:
    """Read what the stages wrote.

    Args:
        paths: The repository, after the stage `report`.

    Raises:
        ArtifactError: If there is no champion.
        InputError: If a report is missing: the pipeline did not run to its end.
        ParamsError: If the params are not valid.
    """
    artifact = Artifact.open(paths.champion)
    return RunSummary(
        load_params(paths.params),
        artifact.manifest,
        artifact.digest,
        {name: load_evaluation(paths.reports / f"{name}.json") for name in _REPORTS},
        _read_period(sorted(paths.scores.glob("*.parquet"))),
        (paths.data / "truth.parquet").is_file(),
    )


def _read_period(shards: list[Path]) -> tuple[str, str] | None:
    days = [
        str(day)[:10]
        for shard in shards
        for day in pq.read_table(shard, columns=["posted_at"])["posted_at"].drop_null().to_numpy()
    ]
    return (min(days), max(days)) if days else None
