"""Active sampling under real DVC: a round is labelled, trained on and estimated, and stays."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.conftest import run_command
from tests.small_repo import make_small_repo

from postbias.paths import Paths
from postbias.posts.schema import SAMPLE
from postbias.posts.shards import read_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

N_FIRST, N_NEXT = 220, 30


def _run(root: Path, *command: str) -> str:
    return run_command(root, *command, PYTHONPATH=str(root / "src")).stdout


def _labels(paths: Paths) -> dict[str, float]:
    table = read_table(paths.labels)
    return dict(zip(table["post_id"].to_pylist(), table["bias"].to_pylist(), strict=True))


@pytest.mark.parametrize("cross_fit", [None, 3])
def test_a_round_extends_labels_training_and_estimates(
    tmp_path: Path, cross_fit: int | None
) -> None:
    root = make_small_repo(
        tmp_path / "repo",
        n_posts=360,
        sample__method="active",
        sample__n=N_FIRST,
        train__cross_fit=cross_fit,
    )
    paths = Paths(root, root)
    _run(root, "dvc", "repro")
    before, first = _labels(paths), json.loads((paths.reports / "evaluate.json").read_text())
    output = _run(root, "postbias", "next-posts", str(N_NEXT))
    assert f"round 2: {N_NEXT} of " in output
    output = _run(root, "dvc", "repro")
    assert "Running stage 'sample'" in output
    after, second = _labels(paths), json.loads((paths.reports / "evaluate.json").read_text())
    rounds = list(csv.DictReader(paths.sample_rounds.read_text("utf-8").splitlines()))
    assert {row["post_id"] for row in rounds} == set(after) - set(before)
    assert len(after) - len(before) == len(rounds) == N_NEXT
    assert after.items() >= before.items()
    drawn = read_table(paths.sample, SAMPLE).to_pylist()
    assert sorted({row["round"] for row in drawn}) == [1, 2]
    # The folds that students are measured on are the same, and the students are other ones.
    assert second["test_digest"] == first["test_digest"]
    assert second["valid_digest"] == first["valid_digest"]
    assert second["champion"]["digest"] != first["champion"]["digest"]
    population = json.loads((paths.reports / "population.json").read_text())
    assert population["n"]["labels"] == len([p for p in after if after[p] is not None])
    assert "Data and pipelines are up to date" in _run(root, "dvc", "repro")
