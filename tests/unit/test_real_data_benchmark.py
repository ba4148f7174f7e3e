"""The benchmark on real captions: its metrics, how it divides data, and what it skips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.labelled_captions import TASKS, prepare_repository
from benchmarks.ranking_metrics import RankedPosts, average_precision
from benchmarks.text_classifiers import score_student
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.conftest import ROOT

from postbias.params import Params, load_params
from postbias.scoring.artifact import Artifact
from postbias.stats.bootstrap import resample_authors
from postbias.student.fold_labels import read_fold_labels, read_unlabelled_ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two small data sets in the layout of the real ones; words tell the classes apart."""
    rng = np.random.default_rng(0)
    words = np.array([f"{first}{last}" for first in "bcdfgklm" for last in ("ane", "ore", "ilt")])
    for name, n in (("edos.csv", 1700), ("instagram_stereotypes.csv", 400)):
        is_sexist = rng.random(n) < 0.3
        captions = [
            " ".join(np.r_[rng.choice(words, 12), ["women"] * int(sexist != (rng.random() < 0.2))])
            for sexist in is_sexist
        ]
        frame = pd.DataFrame({"post_id": [f"{name[0]}{i}" for i in range(n)], "caption": captions})
        frame["bias"] = 10.0 * is_sexist
        frame["fold"] = rng.choice(["train", "dev", "test"], n, p=[0.6, 0.1, 0.3])
        frame.to_csv(tmp_path / name, index=False)
    return tmp_path


def test_average_precision_of_every_resample_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(80) < 0.3
    values = np.round(rng.normal(size=80) + labels, 1)  # with ties
    authors = rng.integers(30, size=80)
    resamples = resample_authors([f"{a}" for a in authors], 20, rng)
    found = average_precision(values, labels, resamples.authors, resamples)
    expected = [
        average_precision_score(labels, values, sample_weight=counts[resamples.authors])
        for counts in resamples.counts
    ]
    assert found == pytest.approx(np.array(expected))


def test_metrics_are_means_over_the_partitions() -> None:
    rng = np.random.default_rng(1)
    ids = [f"p{i}" for i in rng.permutation(60)]
    labels = rng.random(60) < 0.4
    first, second = (dict(zip(ids, rng.normal(size=60), strict=True)) for _ in range(2))
    measured = RankedPosts.draw(ids, labels, 10).measure([first, second])
    for name, reference in (("auc", roc_auc_score), ("average_precision", average_precision_score)):
        values = [reference(labels, list(scores.values())) for scores in (first, second)]
        assert measured[name][0] == pytest.approx(np.mean(values))
        assert measured[name].shape == (11,)


def test_tasks_test_given_or_stratified_folds_once_and_never_train_on_them(data: Path) -> None:
    edos = pd.read_csv(data / "edos.csv")
    given = set(edos.loc[edos["fold"] == "test", "post_id"])
    for name in ("edos", "edos-1000"):
        for table in TASKS[name](data).partitions:
            assert set(table.loc[table["fold"] == "test", "post_id"]) == given
            assert table["post_id"].is_unique
            if name == "edos-1000":
                assert len(table) == 1000 + len(given)
    task = TASKS["instagram"](data)
    tested = pd.concat([table[table["fold"] == "test"] for table in task.partitions])
    assert sorted(tested["post_id"]) == sorted(task.partitions[0]["post_id"])
    shares = tested.groupby(np.repeat(range(5), 80))["bias"].mean()
    assert shares.max() - shares.min() < 0.3
    assert len(task.first(2).posts) == 160


def test_unlabelled_posts_of_a_task_are_imported_without_labels_and_folds(
    data: Path, tmp_path: Path
) -> None:
    task = TASKS["edos-1000"](data)
    partition = task.with_unlabelled(task.partitions[1])
    candidates = pd.read_csv(data / "edos.csv").query("fold != 'test'")
    assert partition["post_id"].is_unique
    assert set(candidates["post_id"]) <= set(partition["post_id"])
    params = load_params(ROOT / "params" / "labelled-text-pretrained.yaml")
    root = tmp_path / "repository"
    root.mkdir()
    paths = prepare_repository(root, partition, params)
    unlabelled = set(partition.loc[partition["bias"].isna(), "post_id"])
    assert len(unlabelled) == len(candidates) - 1000
    assert set(read_unlabelled_ids(paths)) == unlabelled
    assert sum(map(len, read_fold_labels(paths).values())) == 1000


def test_a_student_goes_through_the_pipeline_and_is_scored_with_its_artifact(
    data: Path, tmp_path: Path
) -> None:
    (partition, *_) = TASKS["instagram"](data).partitions
    params = load_params(ROOT / "params" / "labelled-text-pretrained.yaml").model_dump(mode="json")
    params["train"] |= {
        "text_encoder": "scratch",
        "epochs": 6,
        "lr_text": 3e-3,
        "precision": "fp32",
    }
    params["train"]["text_scratch"] = {"vocab_size": 320, "hidden": 32, "layers": 1, "heads": 2}
    root = tmp_path / "repository"
    root.mkdir()
    chosen = Params.model_validate_json(json.dumps(params | {"threads": 1}))
    paths = prepare_repository(root, partition, chosen)
    result = score_student(paths, chosen)
    tested = partition[partition["fold"] == "test"].set_index("post_id")
    assert set(result.scores) == set(tested.index)
    assert (
        result.precision == Artifact.open(paths.students / "text").manifest.precision["text"].ships
    )
    scores = tested.index.map(result.scores)
    assert roc_auc_score(tested["bias"] > 5, scores) > 0.6


def run(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "benchmarks.real_data", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_what_is_missing_is_skipped_with_the_reason(tmp_path: Path) -> None:
    out = run("--data", tmp_path, "--out", tmp_path / "table.md")
    assert out == (
        f"bench-real is skipped: {tmp_path} has no edos.csv, instagram_stereotypes.csv\n"
    )
    assert not (tmp_path / "table.md").exists()


def test_scores_are_stored_and_measured(data: Path) -> None:
    store, table = data / "store", data / "table.md"
    arguments = ("--data", data, "--only", "instagram", "--partitions", "1", "--store", store)
    out = run(*arguments, "--out", table)
    assert "`small-data.yaml` is skipped: --encoder (make: ENCODER) names no text encoder" in out
    *_, row = table.read_text(encoding="utf-8").splitlines()
    name, method, _, auc, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, method) == ("Instagram stereotypes (1 of 5)", "TF-IDF + ridge")
    assert 0.7 < float(auc.split()[0]) < 0.9
    (file,) = store.iterdir()
    written = file.stat().st_mtime_ns
    run(*arguments, "--out", table)
    assert file.stat().st_mtime_ns == written
    assert table.read_text(encoding="utf-8").splitlines()[-1] == row
