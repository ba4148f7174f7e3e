"""Words, scales, drawings and costs of the report."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from postbias.report.chart_scales import fit_scale
from postbias.report.charts import (
    axis_row,
    histogram,
    interval_bar,
    scatter_line,
    time_line,
)
from postbias.report.gate_wording import gate_limit, gate_line, gate_number

from postbias.params import ReportCostParams
from postbias.report.costs import estimate_costs
from postbias.report.wording import (
    answer,
    between,
    group_name,
    percent,
    points,
    points_between,
    reason_words,
)

_NUMBER = st.floats(-1e6, 1e6, allow_nan=False)


def _estimate(value: float, lo: float, hi: float) -> dict[str, float | None]:
    return {"value": value, "lo": lo, "hi": hi, "uncorrected": value}


@given(st.lists(_NUMBER, min_size=1, max_size=9))
def test_a_scale_shows_every_value_and_few_round_ticks(values: list[float]) -> None:
    scale = fit_scale(values)
    slack = 1e-6 * (scale.high - scale.low)
    assert scale.low <= min(values) + slack
    assert scale.high >= max(values) - slack
    assert 2 <= len(scale.ticks) <= 8


def test_a_scale_never_leaves_what_is_possible() -> None:
    scale = fit_scale([0.02, 0.99], is_share=True, ends=(0.0, 1.0))
    assert (scale.low, scale.high) == (0.0, 1.0)
    assert scale.write(0.25) == "25%"


def test_drawings_are_well_formed_and_escape_their_words() -> None:
    scale = fit_scale([0.0, 10.0])
    nasty = "<b>&\"'"
    drawings = [
        axis_row(scale, 0.0),
        interval_bar(_estimate(3, 2, 4), scale, other=5.0, zero=0.0),
        interval_bar({"value": None, "lo": None, "hi": None}, scale),
        histogram(np.full(20, 0.05), np.full(20, 0.05), scale, [(3.5, nasty)], (nasty, nasty)),
        scatter_line([(1.0, 2.0, 5), (3.0, 3.0, 9)], scale, (nasty, nasty)),
        scatter_line([], scale, ("x", "y")),
        time_line(["a", nasty, "c"], [_estimate(3, 2, 4)] * 3, scale, ("x", "y")),
    ]
    for drawing in drawings:
        ET.fromstring(str(drawing))  # noqa: S314 - our own
        assert "<b>" not in drawing


def test_numbers_are_written_as_people_read_them() -> None:
    assert points(-0.004) == "0.00"
    assert points(-1.5) == "\N{MINUS SIGN}1.50"
    assert percent(0.0949) == "9.5%"
    assert percent(0.0999) == "10%"
    assert percent(None) == points(None) == "\N{EN DASH}"
    assert between({"lo": None, "hi": None}) == "\N{EN DASH}"
    assert between({"lo": 0.1, "hi": 0.25}, is_share=True) == "10% to 25%"
    assert points_between({"value": 0.5, "lo": 0.25, "hi": 0.75}, 1) == "+0.5 (0.2 to 0.8)"
    assert points_between({"value": None, "lo": None, "hi": None}) == "\N{EN DASH}"


def test_numbers_of_the_gate_have_their_unit_and_side() -> None:
    assert gate_number("coverage_bias", 0.939) == "93.9%"
    assert gate_number("int8_loss", -0.0023) == "\N{MINUS SIGN}0.2%"
    assert gate_number("uses_image", None) == gate_limit("uses_image", None) == "\N{EN DASH}"
    assert gate_limit("uses_image", 0.05) == "below 0.05"
    assert gate_limit("spread", 0.3) == "at least 0.3"
    assert gate_limit("swap_change", 0.08) == "at most 8.0%"


def _population(
    lo: float, hi: float, *, kind: str = "sponsored", error: tuple[float, float] = (-0.03, -0.01)
) -> dict[str, Any]:
    apart = {"value": (lo + hi) / 2, "lo": lo, "hi": hi}
    off = {"value": sum(error) / 2, "lo": error[0], "hi": error[1]}
    high = {**_estimate(0.2, 0.1, 0.3), "uncorrected_error": off}
    return {
        "all": {"bias": _estimate(4, 3, 5), "share_high": high},
        "differences": [{"kind": kind, "bias": apart}],
    }


def test_the_answer_says_three_things_with_intervals() -> None:
    sentences = answer(_population(0.2, 0.8), "bias", (0, 10))
    assert len(sentences) == 3
    assert "3.00 to 5.00" in sentences[0]
    assert "2.0 percentage points too low (1.0 to 3.0)" in sentences[0]
    assert "0.50 points higher" in sentences[1]
    assert "cannot be compared" in sentences[2]


def test_a_difference_whose_interval_holds_nought_is_called_none() -> None:
    assert "could not be told apart" in answer(_population(-0.2, 0.4), "bias", (0, 10))[1]
    lower = answer(_population(-0.8, -0.2), "bias", (0, 10))[1]
    assert "0.50 points lower" in lower
    assert "0.20 to 0.80" in lower


def test_the_face_value_is_called_off_only_where_the_interval_shows_it() -> None:
    unclear = answer(_population(0, 1, error=(-0.01, 0.03)), "bias", (0, 10))[0]
    assert "too" not in unclear
    assert "cannot tell" in unclear
    assert "too high" in answer(_population(0, 1, error=(0.01, 0.03)), "bias", (0, 10))[0]


@pytest.mark.parametrize(
    ("ends", "begins"),
    [((0.1, 0.5), "Bias is rising. "), ((-0.5, -0.1), "Bias is falling. "), ((-1, 1), "Posts of")],
)
def test_whether_it_is_rising_is_said_first(ends: tuple[float, float], begins: str) -> None:
    assert answer(_population(*ends, kind="half"), "bias", (0, 10))[2].startswith(begins)


def test_too_few_labels_give_no_answer() -> None:
    nothing = {"all": {"bias": {"value": None}, "share_high": {}}, "differences": []}
    assert answer(nothing, "bias", (0, 10)) == [
        "There are too few labels to say anything about all posts."
    ]


def test_names_that_nobody_has_words_for_stay_readable() -> None:
    assert gate_line("coverage_bias") == "intervals of bias hold the label"
    assert gate_line("uses_image").startswith("looks at the image")
    assert gate_line("new_line") == "new line"
    assert reason_words("server_error") == "server error"
    assert group_name("language", "xx") == "xx"
    assert group_name("modalities", "image+text") == "picture and caption"


def _labels(cost: object, n: int = 1000) -> dict[str, Any]:
    return {"n": {"labelled": n}, "teacher": {"name": "t", "cost_usd": cost}}


def test_what_the_teacher_charged_goes_before_what_is_reckoned() -> None:
    params = ReportCostParams(
        teacher_usd_per_post=1.0, student_posts_per_s=10.0, machine_usd_per_hour=0.36
    )
    costs = estimate_costs(_labels({"these_labels": 2.0}), 100_000, params)
    assert costs.is_charged
    assert costs.per_post_usd == pytest.approx(0.002)
    assert costs.all_usd == pytest.approx(200)
    assert costs.student_hours == pytest.approx(10_000 / 3600)
    assert costs.student_usd == pytest.approx(1.0)
    # 2 dollars of labels, saved at 0.002 - 0.00001 a post.
    assert costs.break_even == int(2.0 / 0.00199) + 1


def test_what_is_not_known_is_not_reckoned() -> None:
    params = ReportCostParams(
        teacher_usd_per_post=None, student_posts_per_s=None, machine_usd_per_hour=1.0
    )
    costs = estimate_costs(_labels(None), 10, params)
    assert (costs.labels_usd, costs.all_usd, costs.student_hours, costs.break_even) == (None,) * 4


def test_a_student_dearer_than_its_teacher_never_pays() -> None:
    params = ReportCostParams(
        teacher_usd_per_post=1e-9, student_posts_per_s=1.0, machine_usd_per_hour=1.0
    )
    assert estimate_costs(_labels(None), 10, params).break_even is None
