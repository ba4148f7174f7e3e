"""The comparison of sizes: the Pareto front, paired differences, and the settings of each size."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.pareto import check_size, read_sizes
from benchmarks.size_comparison import (
    HeldOutErrors,
    MeasuredSize,
    chart_sizes,
    find_front,
    format_sizes,
    pair_errors,
)
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT

from postbias.charts.chart_rendering import render_png
from postbias.errors import ParamsError
from postbias.stats.bootstrap import Estimate

_POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=8)


@given(_POINTS)
def test_nothing_off_the_front_is_better_and_nothing_on_it_is_beaten(
    points: list[tuple[int, int]],
) -> None:
    errors, rates = zip(*points, strict=True)
    front = find_front(errors, rates)
    assert any(front)
    for (error, rate), is_on_front in zip(points, front, strict=True):
        beaten = [(e, r) for e, r in points if e <= error and r >= rate and (e, r) != (error, rate)]
        assert is_on_front is (not beaten)


def _students(noise: dict[str, float], authors: int = 60) -> dict[str, HeldOutErrors]:
    rng = np.random.default_rng(1)
    ids = [f"p{i}" for i in range(5 * authors)]
    labels = dict(zip(ids, rng.uniform(0, 10, len(ids)), strict=True))
    author_of = {post_id: f"a{i // 5}" for i, post_id in enumerate(ids)}
    return {
        name: HeldOutErrors(author_of, labels, {i: labels[i] + sd * rng.normal() for i in ids})
        for name, sd in noise.items()
    }


def test_a_clearly_worse_student_is_told_from_one_that_is_as_good() -> None:
    students = _students({"good": 1.0, "as-good": 1.0, "bad": 2.0})
    compared = pair_errors(students, 500, seed=3)
    best = min(("good", "as-good"), key=lambda name: compared[name][0].value or 0.0)
    assert compared[best] == (Estimate(0.0, 0.0, 0.0), 1.0)
    other = next(name for name in ("good", "as-good") if name != best)
    assert compared[other][1] > 0.05
    excess, p_worse = compared["bad"]
    assert p_worse < 0.01
    assert excess.lo is not None
    assert excess.lo > 0
    errors = {
        name: np.mean([abs(s.scores[i] - s.labels[i]) for i in s.labels])
        for name, s in students.items()
    }
    assert excess.value == pytest.approx(errors["bad"] - errors[best])


def test_only_posts_that_all_students_scored_are_compared() -> None:
    students = _students({"one": 1.0, "two": 1.0})
    scores = dict(list(students["two"].scores.items())[:100])
    students["two"] = HeldOutErrors(students["two"].authors, students["two"].labels, scores)
    excess = {name: found.value for name, (found, _) in pair_errors(students, 50, 0).items()}
    errors = {
        n: np.mean([abs(s.scores[i] - s.labels[i]) for i in scores]) for n, s in students.items()
    }
    assert sorted(excess.values()) == pytest.approx([0, abs(errors["one"] - errors["two"])])
    students["two"] = HeldOutErrors({}, {}, {})
    with pytest.raises(ValueError, match="one split only"):
        pair_errors(students, 50, 0)


def test_errors_are_those_of_one_student_and_axis() -> None:
    text = "modality,axis,post_id,author,label,score,lo,hi\n"
    text += (
        "fusion,bias,1,ada,2,3.5,1,5\nfusion,orientation,1,ada,7,6,5,8\ntext,bias,1,ada,2,9,8,10\n"
    )
    text += "fusion,bias,2,,4,4.5,,\nfusion,bias,3,bob,4,,,\n"
    errors = HeldOutErrors.read(text, "fusion", "bias")
    assert errors.scores == {"1": 3.5, "2": 4.5}
    assert errors.labels == {"1": 2.0, "2": 4.0}
    assert errors.authors == {"1": "ada", "2": "2"}


def _size(name: str, mae: float, rate: float, p_worse: float, *, front: bool) -> MeasuredSize:
    estimate = Estimate(mae, mae - 0.1, mae + 0.1)
    return MeasuredSize(name, "d" * 64, estimate, estimate, estimate, p_worse, 10.0, rate,
                        1e6 / rate / 3600 * 0.1, front)  # fmt: skip


def test_the_table_names_the_best_and_the_fastest_that_is_not_worse() -> None:
    sizes = [
        _size("large", 0.9, 100, 1.0, front=True),
        _size("middle", 0.95, 300, 0.4, front=True),
        _size("tiny", 1.5, 900, 0.001, front=True),
        _size("odd", 1.6, 200, 0.001, front=False),
    ]
    text = format_sizes(sizes)
    rows = [line.split()[0] for line in text.splitlines()[2:6]]
    assert rows == ["tiny", "middle", "odd", "large"]
    assert "Lowest error: large." in text
    assert "(p > 0.05): middle." in text
    assert "odd *" not in text
    assert render_png(chart_sizes(sizes)).startswith(b"\x89PNG")


def test_sizes_come_from_params_files_or_from_those_of_the_demo() -> None:
    files = [ROOT / "params" / "small.yaml", ROOT / "params" / "nano.yaml"]
    sizes = read_sizes(files)
    assert list(sizes) == ["small", "nano"]
    assert sizes["nano"]["image_encoder"] == "mobilenet_v3_small"
    assert not {"modalities", "launch", "device", "precision"} & set(sizes["nano"])
    assert len(read_sizes([])) >= 3


def test_a_size_with_a_value_that_is_not_allowed_is_refused_before_training() -> None:
    for name, train in read_sizes([]).items():
        check_size(name, train, ROOT / "params.yaml")
    with pytest.raises(ParamsError, match=r"tiny\.yaml has 1 error: train\.image_size"):
        check_size("tiny", {"image_size": 24}, ROOT / "params.yaml")
