"""Active sampling in rounds: earlier posts stay, weights are right, nothing is measured on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from tests.scored_repo import write_scored_repo

from postbias.axes import Axis
from postbias.cli import main
from postbias.errors import InputError, ParamsError
from postbias.evaluation.labelled_folds import LATER, load_labelled_folds, pool_folds
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.people.rating_sample import draw_rating_sample
from postbias.population.corpus_estimates import build_estimands, estimate_rows
from postbias.population.next_posts import draw_next_round, estimate_errors
from postbias.population.scored_corpus import load_scored_corpus
from postbias.posts.sampling import sample
from postbias.posts.sampling_rounds import (
    PlannedRound,
    append_round,
    combine_rounds,
    read_rounds,
)
from postbias.posts.schema import SAMPLE, SPLIT, labels_schema, scores_schema
from postbias.posts.shards import read_table, write_table
from postbias.privacy.forget import forget_posts
from postbias.stats.active_sampling import Round, sampling_probabilities
from postbias.stats.bootstrap import Array
from postbias.student.fold_labels import keep_first_round, read_fold_labels

N_FIRST, N_NEXT = 150, 60


@pytest.fixture
def repo(tmp_path: Path) -> tuple[Paths, Params]:
    """A scored repository whose sample is the first round."""
    paths = write_scored_repo(tmp_path / "repo")
    text = paths.params.read_text(encoding="utf-8")
    text = text.replace("method: simple ", "method: active ").replace(
        "  n: null                   # all distinct posts", f"  n: {N_FIRST}"
    )
    paths.params.write_text(text.replace("method: simple\n", "method: active\n"), encoding="utf-8")
    params = load_params(paths.params)
    assert params.sample.method == "active"
    assert params.sample.n == N_FIRST
    # Every post could get a label; the stages after `sample` keep those that are sampled.
    paths.labels.rename(paths.build / "all_labels.parquet")
    paths.split.rename(paths.build / "all_folds.parquet")
    paths.sampled_corpus.unlink()
    run_stages(paths, params)
    return paths, params


def run_stages(paths: Paths, params: Params) -> None:
    """Sample, and stand in for labelling and split."""
    sample(paths, params)
    drawn = read_table(paths.sample, SAMPLE, ["post_id", "round"])
    ids = drawn["post_id"].combine_chunks()
    labels = read_table(paths.build / "all_labels.parquet")
    labels = labels.filter(pc.is_in(labels["post_id"], value_set=ids))
    write_table(labels, paths.labels, labels_schema(("bias", "orientation")))
    split = read_table(paths.build / "all_folds.parquet").drop_columns("round")
    split = split.join(drawn, "post_id", join_type="inner").sort_by("post_id")
    write_table(split.select(SPLIT.names).cast(SPLIT), paths.split, SPLIT)


def read_sample(paths: Paths) -> dict[str, dict[str, object]]:
    return {row["post_id"]: row for row in read_table(paths.sample, SAMPLE).to_pylist()}


def test_rounds_extend_the_sample_and_change_none_of_it(repo: tuple[Paths, Params]) -> None:
    paths, params = repo
    first = read_sample(paths)
    assert len(first) == N_FIRST
    assert {row["round"] for row in first.values()} == {1}
    assert all(row["weight"] == 1 / row["probability"] for row in first.values())  # type: ignore[operator]
    previous = set(first)
    for number in (2, 3):
        drawn = draw_next_round(paths, params, N_NEXT)
        assert drawn.planned.number == number
        assert not previous & set(drawn.planned.probabilities)
        run_stages(paths, params)
        now = read_sample(paths)
        new = {post_id for post_id, row in now.items() if row["round"] == number}
        assert set(now) - previous == new == set(drawn.planned.probabilities)
        assert len(new) == N_NEXT
        previous = set(now)
    rows = read_sample(paths)
    assert {p: rows[p]["probability"] for p in first} == {
        p: row["probability"] for p, row in first.items()
    }
    total = sum(float(row["weight"]) for row in rows.values())  # type: ignore[arg-type]
    assert total == pytest.approx(480, rel=0.15)
    # Sampling again from the same file gives the same bytes.
    before = paths.sample.read_bytes()
    sample(paths, params)
    assert paths.sample.read_bytes() == before


def test_a_round_waits_for_the_labels_of_the_last_one(repo: tuple[Paths, Params]) -> None:
    paths, params = repo
    draw_next_round(paths, params, N_NEXT)
    with pytest.raises(InputError, match="last round is not labelled yet"):
        draw_next_round(paths, params, N_NEXT)
    assert [planned.number for planned in read_rounds(paths.sample_rounds)] == [2]


def test_without_rounds_it_is_the_first_sample_that_is_not_labelled(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo
    larger = params.model_copy(
        update={"sample": params.sample.model_copy(update={"n": N_FIRST + 10})}
    )
    with pytest.raises(InputError) as caught:
        draw_next_round(paths, larger, N_NEXT)
    assert "the first sample that params.yaml describes is not labelled yet" in str(caught.value)
    assert "round is not" not in str(caught.value)


def test_next_posts_without_a_champion_names_the_gate(
    repo: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _params = repo
    shutil.rmtree(paths.champion)
    monkeypatch.chdir(paths.root)
    result = CliRunner().invoke(main, ["next-posts", str(N_NEXT)])
    assert result.exit_code == 1
    assert "no champion: " in result.output
    assert "the best student failed the gate: see reports/evaluate.json" in result.output


def test_posts_with_larger_expected_errors_are_drawn_more_often(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo
    # Errors are large in the upper half of the scores.
    corpus = load_scored_corpus(paths)
    labels = read_table(paths.build / "all_labels.parquet").to_pylist()
    score = dict(
        zip(corpus.table["post_id"].to_pylist(), corpus.scores["bias"].tolist(), strict=True)
    )
    rng = np.random.default_rng(0)
    for row in labels:
        own = score.get(row["post_id"], 5.0)
        row["bias"] = float(np.clip(own + rng.normal(0, 2.5 if own > 4 else 0.05), 0, 10))
    schema = labels_schema(("bias", "orientation"))
    write_table(pa.Table.from_pylist(labels, schema), paths.build / "all_labels.parquet", schema)
    run_stages(paths, params)
    corpus = load_scored_corpus(paths)
    errors, is_high = estimate_errors(corpus), corpus.scores["bias"] > 4
    assert errors[is_high].mean() > 1.6 * errors[~is_high].mean()
    found = draw_next_round(paths, params, N_NEXT)
    drawn = found.planned
    p = np.array(list(drawn.probabilities.values()))
    high = np.array([score.get(post_id, 0.0) > 4 for post_id in drawn.probabilities])
    assert p[high].mean() > 1.3 * p[~high].mean()
    assert 1.02 * N_NEXT < found.n_random < 1.5 * N_NEXT


def test_without_prediction_intervals_the_errors_of_similar_scores_are_enough(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo
    shard = paths.scores / "00000.parquet"
    rows = [row | {"bias_lo": None, "bias_hi": None} for row in read_table(shard).to_pylist()]
    schema = scores_schema(("bias", "orientation"))
    write_table(pa.Table.from_pylist(rows, schema), shard, schema)
    drawn = draw_next_round(paths, params, N_NEXT)
    assert len(drawn.planned.probabilities) == N_NEXT
    assert np.isfinite(drawn.errors).all()
    assert N_NEXT <= round(drawn.n_random) < 1.2 * N_NEXT


def test_nothing_is_measured_on_later_rounds_but_students_and_baselines_learn_from_them(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo
    axes = (Axis("bias", 0.0, 10.0),)
    before = load_labelled_folds(paths, axes)
    assert LATER not in before
    draw_next_round(paths, params, N_NEXT)
    run_stages(paths, params)
    after = load_labelled_folds(paths, axes)
    later = after.pop(LATER)
    assert {fold: posts.post_ids for fold, posts in after.items()} == {
        fold: posts.post_ids for fold, posts in before.items()
    }
    assert pool_folds(after).post_ids == pool_folds(before).post_ids
    labels = read_fold_labels(paths)
    assert set(labels["train"]) == {*after["train"].post_ids, *later.post_ids}
    assert set(keep_first_round(paths, labels["calib"])) == set(after["calib"].post_ids)
    assert len(labels["calib"]) > len(after["calib"].post_ids)


def test_estimates_use_all_rounds_and_posts_to_rate_are_of_the_first(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo

    def estimate() -> dict[str, object]:
        corpus = load_scored_corpus(paths)
        return estimate_rows(corpus, build_estimands(corpus), np.ones(len(corpus), bool))

    before = estimate()
    to_rate = {item.post_id for item in draw_rating_sample(paths, params)}
    draw_next_round(paths, params, 200)
    run_stages(paths, params)
    after = estimate()
    assert int(after["labels"]) > int(before["labels"]) + 100  # type: ignore[call-overload]
    width = [float(e["bias"]["hi"]) - float(e["bias"]["lo"]) for e in (before, after)]  # type: ignore[index]
    assert width[1] < width[0]
    truth = np.mean(read_table(paths.build / "all_labels.parquet")["bias"].to_numpy())
    assert after["bias"]["lo"] < truth < after["bias"]["hi"]  # type: ignore[index]
    assert {item.post_id for item in draw_rating_sample(paths, params)} == to_rate


def test_weights_of_rounds_that_depend_on_earlier_labels_are_unbiased_for_every_post() -> None:
    rng = np.random.default_rng(3)
    m, ids = 30, pa.array([f"p{i}" for i in range(30)])
    values = rng.normal(0, 1, m)
    total = np.zeros(m)
    replications = 6000
    for _replication in range(replications):
        first = Round(np.full(m, 1 / 3), np.zeros(m, bool))
        first.is_sampled[rng.permutation(m)[:10]] = True
        known, planned = first.is_sampled.copy(), []
        for number in (2, 3):
            errors = np.exp(values[known].mean() * np.arange(m) / 10)
            p = sampling_probabilities(errors, 5, available=~known)
            new = ~known & (rng.random(m) < p)
            own = {f"p{i}": float(p[i]) for i in np.flatnonzero(new)}
            planned.append(PlannedRound(number, own, 7.0, "c", "f"))
            known |= new
        total += combine_rounds(ids, first, planned).weights
    mean: Array = total / replications
    assert mean == pytest.approx(np.ones(m), abs=0.12)
    assert mean.mean() == pytest.approx(1, abs=0.02)


def test_other_params_folds_or_posts_are_refused(repo: tuple[Paths, Params]) -> None:
    paths, params = repo
    draw_next_round(paths, params, N_NEXT)

    def change(**values: object) -> Params:
        return params.model_copy(update={"sample": params.sample.model_copy(update=values)})

    with pytest.raises(ParamsError, match=r"n=150.*continues|continues.*n=151"):
        sample(paths, change(n=151))
    with pytest.raises(ParamsError, match="only an active sample has rounds"):
        draw_next_round(paths, change(method="simple"), 5)
    split = params.split.model_copy(update={"folds": "folds.csv"})
    with pytest.raises(ParamsError, match="folds that are assigned by author"):
        sample(paths, params.model_copy(update={"split": split}))
    run_stages(paths, params)
    with pytest.raises(InputError, match=r"1000 posts cannot be drawn: 2\d\d are left"):
        draw_next_round(paths, params, 1000)
    assert len(read_sample(paths)) == N_FIRST + N_NEXT
    sample(paths, change(method="simple"))  # the file is for active samples only
    assert len(read_sample(paths)) == N_FIRST
    row = read_rounds(paths.sample_rounds)[0]
    unknown = PlannedRound(3, {"nobody": 0.5}, 1.0, row.champion, row.first_sample)
    append_round(paths.sample_rounds, unknown)
    with pytest.raises(InputError, match="1 posts of round 3"):
        sample(paths, params)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("post_id,round\np1,2\n", "'probability'"),
        ("p1,2,1.5,9,c,f\n", "impossible values for post p1"),
        ("p1,1,0.5,9,c,f\n", "impossible values for post p1"),
        ("p1,2,0.5,9,c,f\np1,3,0.5,9,c,f\n", "contradictory values for post p1"),
        ("p1,2,0.5,9,c,f\np2,2,0.5,8,c,f\n", "contradictory values for post p2"),
        ("p1,two,0.5,9,c,f\n", "invalid literal"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "samples" / "rounds.csv"
    path.parent.mkdir()
    header = "post_id,round,probability,worth,champion,first_sample\n"
    path.write_text(text if text.startswith("post_id") else header + text, encoding="utf-8")
    with pytest.raises(InputError, match=fault) as error:
        read_rounds(path)
    assert "git checkout samples/rounds.csv" in str(error.value)


def test_a_forgotten_post_leaves_the_file_and_the_rest_of_the_sample(
    repo: tuple[Paths, Params],
) -> None:
    paths, params = repo
    drawn = draw_next_round(paths, params, N_NEXT).planned
    run_stages(paths, params)
    before, gone = read_sample(paths), min(drawn.probabilities)
    other = next(p for p, row in sorted(before.items()) if row["round"] == 1)
    report = forget_posts(paths, [gone, other], is_dry_run=False)
    assert "samples/rounds.csv" in report.found
    assert report.remaining == ()
    assert set(read_rounds(paths.sample_rounds)[0].probabilities) == {
        p for p in drawn.probabilities if p != gone
    }
    sample(paths, params)
    after = read_sample(paths)
    assert set(before) - set(after) == {gone, other}
    assert len(set(after) - set(before)) <= 1  # the place in the first sample is taken by another


def test_the_command_says_what_it_drew_and_what_to_do(
    repo: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _params = repo
    monkeypatch.chdir(paths.root)
    result = CliRunner().invoke(main, ["next-posts", str(N_NEXT)])
    assert result.exit_code == 0, result.output
    assert f"round 2: {N_NEXT} of " in result.output
    assert "of these posts drawn at random\nnext: `dvc repro`, and commit samples/rounds.csv" in (
        result.output
    )
    again = CliRunner().invoke(main, ["next-posts", str(N_NEXT)])
    assert again.exit_code == 1
    assert "not labelled yet" in again.output
