"""The cascade: which posts the teacher decides, and what that gains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tests.scored_repo import write_scored_repo

from postbias.axes import Axis
from postbias.params import CascadeParams, Params, load_params
from postbias.paths import Paths
from postbias.population.decided_posts import run_cascade
from postbias.population.scored_corpus import load_scored_corpus
from postbias.posts.schema import cascade_schema
from postbias.posts.shards import read_table
from postbias.report.findings import gather_findings
from postbias.stats.bootstrap import resample_authors
from postbias.stats.referral import misband_probability, remaining_error

AXIS = Axis("bias", 0, 10)


def test_the_probability_of_a_wrong_band_is_the_frequency_in_a_simulation() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 10, 2000)
    sd = rng.uniform(0.3, 2, 2000)
    p = misband_probability(scores, scores - 1.645 * sd, scores + 1.645 * sd, AXIS, 0.9)
    labels = scores[:, None] + sd[:, None] * rng.normal(size=(2000, 400))
    bands = np.digitize(labels, AXIS.band_thresholds)
    frequency = (bands != np.digitize(scores, AXIS.band_thresholds)[:, None]).mean(axis=1)
    assert np.abs(frequency - p).max() < 0.12
    assert abs((frequency - p).mean()) < 0.005


def test_a_score_on_an_edge_comes_before_one_in_the_middle_and_after_one_without_interval() -> None:
    scores = np.array([3.5, 5.0, 9.5, 5.0])
    lo = np.array([2.5, 4.0, 8.5, np.nan])
    p = misband_probability(scores, lo, lo + 2, AXIS, 0.9)
    assert list(np.argsort(-p)) == [3, 0, 1, 2]


def test_what_remains_falls_from_all_to_nothing_and_is_least_by_the_error_itself() -> None:
    rng = np.random.default_rng(1)
    errors = rng.exponential(size=300)
    resamples = resample_authors([str(i // 3) for i in range(300)], 50, rng)
    shares = (0.0, 0.1, 0.5, 1.0)
    noisy = errors + rng.exponential(size=300)
    best, other = (
        [remaining_error(errors, priority, share, resamples)[0] for share in shares]
        for priority in (errors, noisy)
    )
    assert best[0] == other[0] == 1
    assert best[-1] == other[-1] == 0
    assert all(
        0 <= a <= b < 1 - share + 0.05
        for a, b, share in zip(best[1:3], other[1:3], shares[1:3], strict=True)
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return write_scored_repo(tmp_path / "repo", n_posts=300)


def _params(paths: Paths, **cascade: Any) -> Params:
    params = load_params(paths.params)
    group = CascadeParams(**({"share": None, "budget_usd": None} | cascade))
    evaluate = params.evaluate.model_copy(update={"bootstrap": 50})
    annotate = params.annotate.model_copy(update={"labels": "more.csv"})
    return params.model_copy(update={"cascade": group, "evaluate": evaluate, "annotate": annotate})


def test_the_teacher_decides_labelled_posts_and_then_the_most_uncertain_ones(paths: Paths) -> None:
    corpus = load_scored_corpus(paths)
    ids = corpus.table["post_id"].to_pylist()
    is_labelled = np.isfinite(corpus.labels["bias"])
    rows = [f"{ids[i]},9,1" for i in np.flatnonzero(~is_labelled)]
    (paths.root / "more.csv").write_text("post_id,bias,orientation\n" + "\n".join(rows[:-1]))
    n = int(is_labelled.sum()) + 5
    report = run_cascade(paths, _params(paths, share=n / len(corpus)))
    table = read_table(paths.cascade, cascade_schema(["bias", "orientation"])).to_pandas()
    by_teacher = (table["decided_by"] == "teacher").to_numpy()
    assert report["referred"] == 5
    assert report["decided"]["teacher"] + report["rejected"].get("no_label", 0) == n
    assert by_teacher[is_labelled].all()
    assert np.allclose(table["bias"][is_labelled], corpus.labels["bias"][is_labelled])
    asked = by_teacher & ~is_labelled
    assert (table["bias"][asked] == 9).all()
    assert (table["band"][asked] == "high").all()
    is_students = ~by_teacher
    assert np.allclose(table["bias"][is_students], corpus.scores["bias"][is_students])
    # Nobody who was not asked is less certain than those who were.
    run_cascade(paths, _params(paths))
    alone = read_table(paths.cascade).to_pandas()["misband_probability"].to_numpy()
    assert alone[asked].min() >= np.sort(alone[~is_labelled])[::-1][5]


def test_without_share_and_budget_only_labels_decide(paths: Paths) -> None:
    report = run_cascade(paths, _params(paths))
    assert report["referred"] == 0
    assert report["decided"]["student"] > 0
    points = report["curve"]["points"]
    assert [points[0]["band_errors"]["value"], points[-1]["band_errors"]["value"]] == [1, 0]
    page = gather_findings(paths, _params(paths), {}).page()
    assert "Cascade: the teacher decides uncertain posts" in page


def test_a_budget_is_divided_by_the_cost_of_a_label(paths: Paths) -> None:
    (paths.root / "more.csv").write_text("post_id,bias,orientation\n")
    params = _params(paths, budget_usd=0.02)
    per_post = params.report.cost.teacher_usd_per_post
    assert per_post is not None
    report = run_cascade(paths, params)
    assert report["referred"] == int(0.02 / per_post)
    assert report["rejected"] == {"no_label": report["referred"]}
    with pytest.raises(ValidationError, match="share or budget_usd"):
        _params(paths, share=0.1, budget_usd=1.0)
