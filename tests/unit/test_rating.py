"""Which posts people rate, in which order, and what the store and the file of ratings keep."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT
from tests.scored_repo import write_scored_repo

from postbias.errors import InputError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.people.rating_overview import describe_changed_draw, describe_raters
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask
from postbias.people.rating_sample import draw_rating_sample
from postbias.people.rating_session import Answer, RatingSession
from postbias.people.rating_store import RatingStore
from postbias.people.rating_table import read_ratings, write_ratings
from postbias.people.rating_tasks import MIN_GAP, list_tasks
from postbias.posts.schema import SAMPLE, scores_schema
from postbias.posts.shards import read_table
from postbias.teacher.rubric import Rubric, load_rubric

RUBRIC = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
NAMES = RUBRIC.axis_names


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("rated"))


def _params(repo: Paths, **rating: object) -> Params:
    params = load_params(repo.params)
    return params.model_copy(update={"rating": params.rating.model_copy(update=rating)})


def _items(n: int, slot: int | None = None) -> tuple[RatingItem, ...]:
    return tuple(RatingItem(f"p{i}", "all", n, 0.5, slot) for i in range(n))


def _rating(
    nonce: str, post_id: str = "p0", outcome: Outcome = Outcome.RATED, **changes: object
) -> Rating:
    fields = {
        "rater": "ann", "task": RatingTask(post_id, 1), "note": "", "seconds": 1.5,
        "scores": {"bias": 3.0, "orientation": 5.0} if outcome is Outcome.RATED else {},
        "rubric": RUBRIC.ref, "rated_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Rating(nonce=nonce, outcome=outcome, **(fields | changes))  # type: ignore[arg-type]


def test_bands_are_rated_equally_often_and_weights_add_up_to_the_corpus(repo: Paths) -> None:
    items = draw_rating_sample(repo, _params(repo, n=60))
    scores = read_table(next(repo.scores.glob("*.parquet")), scores_schema(NAMES))
    labelled = set(read_table(repo.labels)["post_id"].to_pylist())
    band = dict(zip(scores["post_id"].to_pylist(), scores["band"].to_pylist(), strict=True))
    band = {post_id: b for post_id, b in band.items() if b and post_id in labelled}
    available = Counter(band.values())
    drawn = Counter(item.stratum for item in items)
    assert len(items) == 60
    assert len({item.post_id for item in items}) == 60
    assert all(item.stratum == band[item.post_id] for item in items)
    assert {item.stratum: item.stratum_posts for item in items} == available
    full = [b for b in drawn if drawn[b] < available[b]]
    assert max(drawn[b] for b in full) - min(drawn[b] for b in full) <= 1
    sample = read_table(repo.sample, SAMPLE)
    rows = sample.to_pylist()
    first_phase = {row["post_id"]: row["probability"] for row in rows}
    weights = sum(1 / item.probability for item in items)
    expected = sum(1 / first_phase[post_id] for post_id in band)
    assert weights == pytest.approx(expected, rel=1e-9)


def test_inclusion_probabilities_are_the_frequencies_over_seeds(repo: Paths) -> None:
    params = _params(repo, n=90)
    counts: Counter[str] = Counter()
    probability = {}
    n_seeds = 300
    for seed in range(n_seeds):
        for item in draw_rating_sample(repo, params.model_copy(update={"seed": seed})):
            counts[item.post_id] += 1
            probability[item.post_id] = item.probability / 0.9  # of the sample of labelled posts
    p = np.array(list(probability.values()))
    shares = np.array([counts[post_id] for post_id in probability]) / n_seeds
    is_random = p < 1
    z = ((shares - p) / np.sqrt(p * (1 - p) / n_seeds + 1e-12))[is_random]
    assert abs(z.mean()) < 0.3
    assert np.abs(z).max() < 4.5


def test_added_posts_do_not_change_which_posts_of_others_are_drawn_first(repo: Paths) -> None:
    few = [item.post_id for item in draw_rating_sample(repo, _params(repo, n=30))]
    more = {item.post_id for item in draw_rating_sample(repo, _params(repo, n=60))}
    assert set(few) <= more


@pytest.mark.parametrize("missing", ["scores", "labels"])
def test_posts_can_be_rated_before_anything_was_scored_or_labelled(
    tmp_path: Path, missing: str
) -> None:
    repo = write_scored_repo(tmp_path / "repo")
    repo.scores.rename(tmp_path / "scores")
    if missing == "labels":
        repo.labels.unlink()
    items = draw_rating_sample(repo, _params(repo, n=50))
    assert {item.stratum for item in items} == {"all"}
    assert len(items) == 50


def test_included_posts_come_first_for_every_rater_and_represent_themselves(
    repo: Paths,
) -> None:
    path = repo.root / "gold.csv"
    path.write_text("post_id,why\np00007,gold\np00479,gold\n", encoding="utf-8")
    items = draw_rating_sample(repo, _params(repo, n=40, overlap=0.0, include="gold.csv"))
    assert [item.post_id for item in items[:2]] == ["p00007", "p00479"]
    assert {(item.stratum, item.probability, item.slot) for item in items[:2]} == {
        ("included", 1.0, None)
    }
    assert Counter(item.slot for item in items[2:]) == {0: 20, 1: 20}
    path.write_text("post_id\nunknown\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"1 posts of rating\.include are not in"):
        draw_rating_sample(repo, _params(repo, include="gold.csv"))


@given(st.integers(1, 200), st.floats(0, 1), st.sampled_from(["ann", "ben", "c-3"]))
def test_each_rater_sees_each_post_once_and_some_again_after_others(
    n: int, share: float, rater: str
) -> None:
    tasks = list_tasks(_items(n), rater, 0, share)
    assert tasks == list_tasks(_items(n), rater, 0, share)
    places = {task: i for i, task in enumerate(tasks)}
    assert len(places) == len(tasks)
    first = [task.post_id for task in tasks if task.occasion == 1]
    again = [task.post_id for task in tasks if task.occasion == 2]
    assert sorted(first) == sorted(item.post_id for item in _items(n))
    gap = min(MIN_GAP, n // 2)
    assert len(again) == min(round(share * n), n - gap)
    for post_id in again:
        assert places[RatingTask(post_id, 2)] - places[RatingTask(post_id, 1)] > gap


def test_raters_see_posts_in_different_orders_and_only_their_own() -> None:
    shared, mine, other = _items(30), _items(5, 0), _items(4, 1)
    items = (
        *shared,
        *(RatingItem(f"m{i.post_id}", "all", 9, 1.0, 0) for i in mine),
        *(RatingItem(f"o{i.post_id}", "all", 9, 1.0, 1) for i in other),
    )
    ann, ben = (
        [task.post_id for task in list_tasks(items, name, slot, 0.0)]
        for slot, name in enumerate(("ann", "ben"))
    )
    assert len(ann) == 35
    assert len(ben) == 34
    common = {item.post_id for item in shared}
    assert [p for p in ann if p in common] != [p for p in ben if p in common]


def test_withdrawn_answers_stay_in_the_history_only(tmp_path: Path) -> None:
    with RatingStore.open(tmp_path / "r.sqlite") as store:
        store.add(_rating("a" * 8))
        store.add(_rating("a" * 8))
        store.add(_rating("b" * 8, outcome=Outcome.WITHDRAWN))
        assert store.ratings() == []
        store.add(_rating("c" * 8, scores={"bias": 9.0, "orientation": 1.0}))
        assert [rating.scores["bias"] for rating in store.ratings()] == [9.0]
    with RatingStore.open(tmp_path / "r.sqlite") as store:
        assert [rating.nonce[0] for rating in store.history()] == ["a", "b", "c"]
        assert store.delete_posts(["p0"]) == 3
    assert b"p0" not in (tmp_path / "r.sqlite").read_bytes()


def test_a_store_of_the_first_version_is_still_used(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with RatingStore.open(path) as store:
        store.add_items(_items(3), {"rating.n": "3"})
        store.add(_rating("a" * 8))
        assert store.draw() == {"rating.n": "3"}
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE draw")
        db.execute("PRAGMA user_version=1")
    rating = load_params(ROOT / "params.yaml").rating
    with RatingStore.open(path) as store:
        assert len(store.items()) == 3
        assert len(store.ratings()) == 1
        assert describe_changed_draw(store, tmp_path, rating) is None


def test_raters_with_the_same_tasks_in_a_tool_have_answers_beyond_their_own(
    tmp_path: Path,
) -> None:
    rating = load_params(ROOT / "params.yaml").rating
    with RatingStore.open(tmp_path / "r.sqlite") as store:
        store.add_items(_items(50))
        store.add_rater("ann", 2)
        tasks = set(list_tasks(_items(50), "ann", 0, rating.repeat_share))
        other = next(
            task for task in list_tasks(_items(50), "", 0, rating.repeat_share) if task not in tasks
        )
        store.add(_rating("a" * 8, task=RatingTask("p0", 1)))
        store.add(_rating("b" * 8, task=other))
        line = describe_raters(store, rating)[1]
    assert line.startswith("  ann: 1 of 55 tasks answered (50 posts and 5 repeats): 2 rated")
    assert line.endswith("of which 1 beyond these tasks")


def _session(tmp_path: Path, n: int = 6) -> RatingSession:
    rating = load_params(ROOT / "params.yaml").rating
    return RatingSession(tmp_path / "r.sqlite", _items(n), RUBRIC, rating)


def _answer(task: RatingTask, nonce: str, **changes: object) -> Answer:
    fields: dict[str, object] = {
        "rater": "ann", "outcome": Outcome.RATED, "note": "", "seconds": 1.0,
        "scores": {"bias": 3.0, "orientation": 5.0},
    }  # fmt: skip
    return Answer(nonce=nonce, task=task, **(fields | changes))  # type: ignore[arg-type]


def test_undo_brings_the_last_post_back_once(tmp_path: Path) -> None:
    session = _session(tmp_path)
    first = session.progress("ann").task
    assert first is not None
    second = session.record(_answer(first, "n1")).task
    assert second not in (None, first)
    for _ in range(2):  # the same request twice
        progress = session.withdraw_last("ann", "u1")
        assert (progress.done, progress.task) == (0, first)
    assert session.withdraw_last("ann", "u2").done == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": {"bias": 3.0}}, "no valid score of orientation"),
        ({"scores": {"bias": 3.5, "orientation": 5.0}}, "bias; saw 3.5; allowed: 0 to 10"),
        ({"scores": {"bias": 3.0, "orientation": 5.0, "x": 1.0}}, "score of an unknown axis"),
        ({"outcome": Outcome.CANNOT_TELL}, "scores are given"),
        ({"outcome": Outcome.SKIPPED, "scores": {}, "note": "dull"}, "skipped without a reason"),
        ({"outcome": Outcome.WITHDRAWN, "scores": {}}, "cannot be withdrawn"),
        ({"task": RatingTask("elsewhere", 1)}, "not among those of the rater"),
        ({"rater": "eve"}, "all places for raters are taken"),
    ],
)
def test_invalid_answers_are_refused_and_not_stored(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    session = _session(tmp_path)
    task = session.progress("ann").task
    session.progress("ben")
    assert task is not None
    with pytest.raises(InputError, match=message):
        session.record(_answer(**({"task": task, "nonce": "n"} | changes)))  # type: ignore[arg-type]
    assert session.progress("ann").done == 0


def test_ratings_survive_the_way_through_a_file(tmp_path: Path) -> None:
    items = (RatingItem("p0", "high", 7, 1 / 3, None), RatingItem("p,1\n", "low", 50, 0.02, 1))
    ratings = [
        _rating("n1"),
        _rating("n2", "p,1\n", Outcome.SKIPPED, note="language"),
        _rating("n3", "not an item"),
    ]
    path = tmp_path / "ratings.csv"
    assert write_ratings(path, ratings, items, RUBRIC.axes) == 2
    read = read_ratings(path, RUBRIC.axes)
    assert read.faults == ()
    assert [row.item for row in read.rows] == list(items)
    for row, rating in zip(read.rows, ratings, strict=False):
        assert (row.rating.task, row.rating.outcome) == (rating.task, rating.outcome)
        assert row.rating.scores == rating.scores
        assert (row.rating.note, row.rating.rubric) == (rating.note, rating.rubric)


def test_each_faulty_row_is_named_and_all_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    rows = [
        ["post_id", "rater", "outcome", "bias", "orientation", "probability"],
        ["p0", "ann", "", "3", "5", ""],
        ["p0", "ann", "rated", "4", "5", ""],
        ["p1", "", "", "3", "5", ""],
        ["p2", "ann", "", "11", "5", ""],
        ["p3", "ann", "", "3", "", ""],
        ["p4", "ann", "maybe", "3", "5", ""],
        ["p5", "ann", "", "3", "5", "0"],
        ["p6"],
        ["p7", "ann", "cannot_tell", "", "", "0.5"],
        ["p8", "ann", "", "nan", "5", ""],
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    read = read_ratings(path, RUBRIC.axes)
    assert [row.rating.task.post_id for row in read.rows] == ["p0", "p7"]
    lines = [int(fault.split(":")[1]) for fault in read.faults]
    assert lines == [3, 4, 5, 6, 7, 8, 9, 11]


def test_rating_files_without_a_needed_column_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("post_id,rater,bias\np0,ann,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no column orientation"):
        read_ratings(path, RUBRIC.axes)


def test_rubrics_with_other_steps_limit_the_scores(tmp_path: Path) -> None:
    axis = RUBRIC.axes[0].model_copy(update={"step": 0.5})
    rubric = Rubric("x", 1, "0" * 12, (axis,), RUBRIC.prompt, RUBRIC.reply)
    rating = load_params(ROOT / "params.yaml").rating
    session = RatingSession(tmp_path / "r.sqlite", _items(2), rubric, rating)
    task = session.progress("ann").task
    assert task is not None
    assert session.record(_answer(task, "n", scores={"bias": 3.5})).done == 1
