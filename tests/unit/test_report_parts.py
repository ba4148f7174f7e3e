"""Wording, scales, SVG elements and costs of the report."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbias.charts.chart_rendering import render_svg
from postbias.charts.chart_theme import ChartSource
from postbias.charts.corpus_charts import chart_distribution, chart_over_time
from postbias.charts.student_charts import chart_one_calibration
from postbias.params import ReportCostParams
from postbias.report.answer import summarize_answer
from postbias.report.costs import estimate_costs
from postbias.report.explained_examples import CaptionPart
from postbias.report.interval_bars import draw_interval_bar, draw_ticks, fit_scale
from postbias.report.languages_section import lay_out_languages
from postbias.report.page import render_template
from postbias.report.post_contents import shorten_caption
from postbias.report.wording import (
    describe_gate_line,
    describe_reason,
    format_difference,
    format_gate_limit,
    format_gate_value,
    format_interval,
    format_percent,
    format_points,
    group_name,
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


def test_a_scale_never_exceeds_its_bounds() -> None:
    scale = fit_scale([0.02, 0.99], is_share=True, bounds=(0.0, 1.0))
    assert (scale.low, scale.high) == (0.0, 1.0)
    assert scale.format_tick(0.25) == "25%"


def test_svg_elements_are_well_formed_and_escape_their_text() -> None:
    scale = fit_scale([0.0, 10.0])
    nasty = "<b>&\"'"
    bins = [{"start": i / 2, "end": i / 2 + 0.5, "scores": 0.05, "labels": 0.05} for i in range(20)]
    bands = [{"name": nasty, "start": 0.0, "end": 3.5}]
    points = ChartSource.from_rows([{"score": 1.0, "label": 2.0, "n": 5}])
    times = ChartSource.from_rows({"period": p, **_estimate(3, 2, 4)} for p in ("a", nasty, "c"))
    charts = [
        chart_distribution(bins, nasty, bands=bands),
        chart_one_calibration(points, 0, 10, (nasty, nasty)),
        chart_one_calibration(ChartSource.from_rows([]), 0, 10, ("x", "y")),
        chart_over_time(times, "y"),
        chart_over_time(times, nasty, is_share=True),
    ]
    drawings = [
        draw_ticks(scale, 0.0),
        draw_interval_bar(_estimate(3, 2, 4), scale, other=5.0, zero=0.0),
        draw_interval_bar({"value": None, "lo": None, "hi": None}, scale),
        *(render_svg(chart, nasty, f"c{i}") for i, chart in enumerate(charts)),
    ]
    for drawing in drawings:
        ET.fromstring(str(drawing))  # noqa: S314 - our own
        assert "<b>" not in drawing


def test_numbers_are_formatted_for_readers() -> None:
    assert format_points(-0.004) == "0.00"
    assert format_points(-1.5) == "\N{MINUS SIGN}1.50"
    assert format_percent(0.0949) == "9.5%"
    assert format_percent(0.0999) == "10%"
    assert format_percent(None) == format_points(None) == "\N{EN DASH}"
    assert format_interval({"lo": None, "hi": None}) == "\N{EN DASH}"
    assert format_interval({"lo": 0.1, "hi": 0.25}, is_share=True) == "10% to 25%"
    assert format_difference({"value": 0.5, "lo": 0.25, "hi": 0.75}, 1) == "+0.5 (0.2 to 0.8)"
    assert format_difference({"value": None, "lo": None, "hi": None}) == "\N{EN DASH}"


def test_numbers_of_the_gate_have_their_unit_and_side() -> None:
    assert format_gate_value("coverage_bias", 0.939) == "93.9%"
    assert format_gate_value("int8_loss", -0.0023) == "\N{MINUS SIGN}0.2%"
    assert (
        format_gate_value("uses_image", None)
        == format_gate_limit("uses_image", None)
        == "\N{EN DASH}"
    )
    assert format_gate_limit("uses_image", 0.05) == "below 0.05"
    assert format_gate_limit("spread", 0.3) == "at least 0.3"
    assert format_gate_limit("swap_change", 0.08) == "at most 8.0%"


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


def test_the_answer_has_three_paragraphs_with_intervals() -> None:
    sentences = summarize_answer(_population(0.2, 0.8), "bias", (0, 10))
    assert len(sentences) == 3
    assert "3.00 to 5.00" in sentences[0]
    assert "2.0 percentage points too low (95% interval 1.0 to 3.0)" in sentences[0]
    assert "0.50 points higher" in sentences[1]
    assert "cannot be compared" in sentences[2]


def test_a_difference_whose_interval_contains_zero_is_called_not_significant() -> None:
    assert (
        "do not differ significantly"
        in summarize_answer(_population(-0.2, 0.4), "bias", (0, 10))[1]
    )
    lower = summarize_answer(_population(-0.8, -0.2), "bias", (0, 10))[1]
    assert "0.50 points lower" in lower
    assert "0.20 to 0.80" in lower


def test_the_plug_in_estimate_is_called_wrong_only_if_its_error_is_significant() -> None:
    unclear = summarize_answer(_population(0, 1, error=(-0.01, 0.03)), "bias", (0, 10))[0]
    assert "too" not in unclear
    assert "not significantly different" in unclear
    assert "too high" in summarize_answer(_population(0, 1, error=(0.01, 0.03)), "bias", (0, 10))[0]


@pytest.mark.parametrize(
    ("ends", "begins"),
    [
        ((0.1, 0.5), "Bias increased over time. "),
        ((-0.5, -0.1), "Bias decreased over time. "),
        ((-1, 1), "Posts from"),
    ],
)
def test_a_significant_trend_is_stated_first(ends: tuple[float, float], begins: str) -> None:
    assert summarize_answer(_population(*ends, kind="half"), "bias", (0, 10))[2].startswith(begins)


def test_too_few_labels_give_no_answer() -> None:
    nothing = {"all": {"bias": {"value": None}, "share_high": {}}, "differences": []}
    assert summarize_answer(nothing, "bias", (0, 10)) == [
        "There are too few labels for an estimate."
    ]


def test_names_without_a_description_stay_readable() -> None:
    assert describe_gate_line("coverage_bias") == "share of bias labels within their intervals"
    assert describe_gate_line("uses_image").startswith("uses the image")
    assert describe_gate_line("new_line") == "new line"
    assert describe_reason("server_error") == "server error"
    assert group_name("language", "xx") == "xx"
    assert group_name("modalities", "image+text") == "image and caption"


def _labels(cost: object, n: int = 1000) -> dict[str, Any]:
    return {"n": {"labelled": n}, "teacher": {"name": "t", "cost_usd": cost}}


def test_the_charged_price_is_preferred_to_that_of_the_params() -> None:
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


def test_unknown_prices_give_no_costs() -> None:
    params = ReportCostParams(
        teacher_usd_per_post=None, student_posts_per_s=None, machine_usd_per_hour=1.0
    )
    costs = estimate_costs(_labels(None), 10, params)
    assert (costs.labels_usd, costs.all_usd, costs.student_hours, costs.break_even) == (None,) * 4


def test_a_student_that_costs_more_than_its_teacher_never_breaks_even() -> None:
    params = ReportCostParams(
        teacher_usd_per_post=1e-9, student_posts_per_s=1.0, machine_usd_per_hour=1.0
    )
    assert estimate_costs(_labels(None), 10, params).break_even is None


def test_a_gate_line_on_a_language_is_a_minimum_and_names_it() -> None:
    assert "Chinese" in describe_gate_line("language_zh")
    assert format_gate_limit("language_zh", 0.00625) == "at least 0.00625"


def test_one_language_alone_has_no_table() -> None:
    number = {"value": 1.0, "lo": 0.9, "hi": 1.1}
    one = {
        "n": 90, "n_learned": 300, "judged": True, "tfidf_ridge": number, "advantage": number,
        "metrics": {"mae": number, "error": number}, "tokens": None,
    }  # fmt: skip
    evaluate: dict[str, Any] = {"chosen": "fusion", "main": {"metric": "mae"}}
    assert lay_out_languages(evaluate)["rows"] == []  # evaluate.json of an older version
    evaluate["languages"] = {"fusion": {"en": one, "unknown": one}}
    assert lay_out_languages(evaluate)["rows"] == []
    evaluate["languages"]["fusion"]["zh"] = {**one, "n_learned": 900}
    assert [row["code"] for row in lay_out_languages(evaluate)["rows"]] == ["zh", "en", "unknown"]


def test_the_report_names_the_languages_with_intervals_of_their_own() -> None:
    number = {"value": 0.9, "lo": 0.85, "hi": 0.94}
    one = {
        "n": 90, "n_learned": 300, "judged": True, "tfidf_ridge": None, "advantage": None,
        "authors": 40, "posts_without_author": 0, "tokens": None,
        "metrics": {"mae": number, "error": number, "slope": number, "coverage_90": number},
    }  # fmt: skip
    evaluate: dict[str, Any] = {"chosen": "text", "main": {"metric": "mae"}}
    evaluate["languages"] = {"text": {"en": one, "zh": one, "hi": one, "unknown": one}}
    together = lay_out_languages(evaluate)
    assert together["calibrated"] == []
    assert "on all languages together, because" in render_template(
        "languages.html.j2", {"languages": together}
    )
    groups = {"en": "en", "zh": "zh", "hi": "other", "unknown": None}
    evaluate["languages"]["text"] = {
        code: {**one, "intervals": {"text": {"group": group, "n_calib": group and 320}}}
        for code, group in groups.items()
    }
    apart = lay_out_languages(evaluate)
    assert apart["calibrated"] == ["en", "zh", "other"]
    page = render_template("languages.html.j2", {"languages": apart})
    assert "separately for captions in: English, Chinese, other; for the rest" in page
    assert "<small>(85% to 94%)</small>" in page


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("كان ضوء يوم الخميس ناعمًا. شكرًا لفريق الدعم.", "ar"),
        ("街角遇到安静的书店。", "zh"),
        ("ok ☕", None),
    ],
)
def test_captions_have_their_own_direction_and_language(caption: str, language: str | None) -> None:
    post = SimpleNamespace(
        image=None, n_images=0, reason="سبب", caption=shorten_caption([CaptionPart(caption)])
    )
    html = render_template("post.html.j2", {"post": post})
    expected = f' lang="{language}"' if language else ""
    assert f'<blockquote dir="auto"{expected}>{caption}</blockquote>' in html
    assert "Teacher: <bdi>سبب</bdi>" in html
