"""The model card says what a student learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.scored_repo import write_scored_repo

from postbias.params import load_params
from postbias.report.findings import gather_findings
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest_records import DistilledFrom


@pytest.mark.parametrize("same_folds", [True, False, None])
def test_the_model_card_names_the_full_student(tmp_path: Path, same_folds: bool | None) -> None:
    paths = write_scored_repo(tmp_path)
    if same_folds is not None:
        manifest = Artifact.open(paths.champion).manifest
        source = DistilledFrom("f" * 64, posts=12_000, same_folds=same_folds)
        changed = replace(manifest, distilled_from=source)
        assert write_artifact(paths.champion, changed).manifest.distilled_from == source
    card = gather_findings(paths, load_params(paths.params), {}).cards["model_card.md"]
    is_distilled = same_folds is not None
    assert (f"| distilled from | student `{'f' * 64}` (sha256) |" in card) is is_distilled
    assert ("gives to these posts and to 12,000 posts without a" in card) is is_distilled
    assert ("Whether it has seen labels of the test fold is not known" in card) is (
        same_folds is False
    )
    assert "\n\n\n" not in card.partition("## What a score means")[0]
