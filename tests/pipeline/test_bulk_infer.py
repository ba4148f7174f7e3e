"""The stage `infer` on a small repository."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.post_shards import random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import CorpusError
from postbias.params import load_params
from postbias.paths import Paths
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table
from postbias.scoring.inference import infer

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")


def test_every_post_of_the_corpus_is_scored_and_the_report_adds_up(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    rng = np.random.default_rng(0)
    write_shard(paths.posts / "00000.parquet", [*random_posts(rng, 25), ("", [])])
    artifact = write_tiny_artifact(paths.champion)
    summary = infer(paths, PARAMS)
    report = json.loads((paths.reports / "infer.json").read_text())
    scores = read_table(paths.scores / "00000.parquet", scores_schema(("bias", "orientation")))
    rejects = read_table(paths.score_rejects, REJECTS)
    assert report["posts"] == len(scores) == 26
    assert report["scored"] + report["rejected"] == 26
    assert report["rejected"] == len(rejects) >= 1
    assert report["champion"] == artifact.digest
    assert report["precision"] == PARAMS.infer.precision
    assert sum(report["band_share"].values()) == pytest.approx(1, abs=1e-4)
    assert not {"seconds", "posts_per_s"} & set(report)
    assert summary.metrics()["posts_per_s"] > 0
    assert report["drift"] == {"posts": 0, "reference": None, "differs": [], "features": {}}
    first = (paths.reports / "infer.json").read_bytes()
    assert infer(paths, PARAMS).summary.computed == 0
    assert (paths.reports / "infer.json").read_bytes() == first
    assert len(list((paths.store / "scores").rglob("*.scores.parquet"))) == 1


def test_a_repository_without_posts_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data" / "posts").mkdir(parents=True)
    with pytest.raises(CorpusError, match="no post shards"):
        infer(Paths(tmp_path, tmp_path), PARAMS)
