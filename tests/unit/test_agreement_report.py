"""The agreement of people, teacher and student on rated posts."""

from __future__ import annotations

import numpy as np
import pytest
from tests.scored_repo import write_scored_repo

from postbias.errors import CorpusError
from postbias.people.agreement_report import describe_agreement, find_disagreements, judge_alpha
from postbias.people.rated_posts import RatedPosts, join_ratings
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask
from postbias.people.rating_table import RatedPost, RecordedRatings
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus

_N = 120
_RATERS = ("ann", "ben", "cleo")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ScoredCorpus:
    return load_scored_corpus(write_scored_repo(tmp_path_factory.mktemp("repo"), n_posts=_N))


def _row(post_id: str, rater: str, score: float, occasion: int = 1) -> RatedPost:
    scores = {"bias": score, "orientation": 5.0}
    outcome = Outcome.RATED if np.isfinite(score) else Outcome.SKIPPED
    task = RatingTask(post_id, occasion)
    rating = Rating("n", rater, task, outcome, scores, "", 4.0, "", "")
    return RatedPost(rating, RatingItem(post_id, "all", _N, 0.5, None))


def _rate(corpus: ScoredCorpus, noise: float, bias: float = 0.0) -> RatedPosts:
    rng = np.random.default_rng(3)
    truth = corpus.labels["bias"]
    rows = []
    for i, post_id in enumerate(corpus.table["post_id"].to_pylist()):
        if np.isnan(truth[i]):
            continue
        for j, rater in enumerate(_RATERS):
            score = truth[i] + rng.normal(0, noise) + (bias if j == 1 else 0.0)
            rows.append(_row(post_id, rater, score))
            if i % 10 == 0:
                rows.append(_row(post_id, rater, score + rng.normal(0, noise), 2))
    return join_ratings(RecordedRatings("file", tuple(rows), ("file:3: bad",)), corpus)


def _describe(corpus: ScoredCorpus, posts: RatedPosts) -> dict[str, dict[str, dict[str, float]]]:
    return describe_agreement(posts, corpus.axes[0], 200, np.random.default_rng(0))


def test_raters_who_give_the_teachers_labels_agree_with_all(corpus: ScoredCorpus) -> None:
    found = _describe(corpus, _rate(corpus, 0.0))
    for name in ("alpha", "icc_single", "icc_mean", "kappa"):
        assert found["people"][name]["value"] == pytest.approx(1), name
    assert found["retest"]["reliability"]["value"] == pytest.approx(1)  # type: ignore[index]
    assert found["pairs"]["teacher_people"]["mae"]["value"] == pytest.approx(0, abs=1e-6)  # type: ignore[index]
    assert all(rater["bias"]["value"] == pytest.approx(0) for rater in found["raters"].values())  # type: ignore[index]


def test_noise_lowers_agreement_and_a_biased_rater_is_named(corpus: ScoredCorpus) -> None:
    found = _describe(corpus, _rate(corpus, 1.0, bias=2.0))
    people, pairs = found["people"], found["pairs"]
    assert 0.2 < people["alpha"]["lo"] < people["alpha"]["value"] < people["alpha"]["hi"] < 0.95
    assert people["icc_single"]["value"] < people["icc_mean"]["value"]
    raters = found["raters"]
    assert raters["ben"]["bias"]["lo"] > 1  # type: ignore[index]
    assert raters["ann"]["bias"]["hi"] < 0  # type: ignore[index]
    assert found["retest"]["error_sd"]["value"] == pytest.approx(0.7, abs=0.25)  # type: ignore[index]
    # One third of the ratings is 2 too high.
    assert pairs["teacher_people"]["bias"]["value"] == pytest.approx(-2 / 3, abs=0.2)  # type: ignore[index]


def test_answers_without_a_score_count_but_are_no_ratings(corpus: ScoredCorpus) -> None:
    ids = corpus.table["post_id"].to_pylist()
    rows = [_row(ids[0], "ann", 3.0), _row(ids[0], "ben", float("nan")), _row("gone", "ann", 1.0)]
    posts = join_ratings(RecordedRatings("file", tuple(rows), ("file:9: bad",)), corpus)
    assert len(posts) == 1
    assert posts.outcomes == {"rated": 1, "skipped": 1}
    assert posts.faults == ("file:9: bad", "gone: not among the scored posts")
    found = _describe(corpus, posts)
    assert found["people"]["alpha"]["value"] is None
    assert judge_alpha(found["people"]["alpha"]["value"]) == "unknown"
    assert found["retest"] is None
    with pytest.raises(CorpusError, match="none of the rated posts"):
        join_ratings(RecordedRatings("file", (rows[2],), ()), corpus)


def test_the_largest_disagreements_come_first(corpus: ScoredCorpus) -> None:
    label = corpus.labels["bias"]
    rows = []
    for i, (post_id, value) in enumerate(
        zip(corpus.table["post_id"].to_pylist(), label, strict=True)
    ):
        if np.isfinite(value) and i < 40:
            rows += [
                _row(post_id, "ann", value),
                _row(post_id, "ben", value + (i == 7) * 4 + (i == 9)),
            ]
    posts = join_ratings(RecordedRatings("file", tuple(rows), ()), corpus)
    found = find_disagreements(posts, corpus.axes[0], 3)
    people = [example for example in found if example["kind"] == "people"]
    ids = corpus.table["post_id"].to_pylist()
    assert [example["post_id"] for example in people] == [ids[7], ids[9]]
    assert people[0]["ratings"]["ben"] - people[0]["ratings"]["ann"] == pytest.approx(4)
    assert [e["post_id"] for e in found if e["kind"] == "teacher"] == [ids[7], ids[9]]


@pytest.mark.parametrize(
    ("alpha", "verdict"),
    [(0.8, "reliable"), (0.7, "tentative"), (0.5, "unreliable"), (None, "unknown")],
)
def test_alpha_is_judged_by_krippendorffs_limits(alpha: float | None, verdict: str) -> None:
    assert judge_alpha(alpha) == verdict
