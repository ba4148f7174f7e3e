"""The templates of `.dvc/plots` are the charts of the package; inlined SVG is self-contained."""

from __future__ import annotations

import re

import pytest
from tests.conftest import ROOT

from postbias.charts.chart_rendering import DVC_TEMPLATES, dvc_template, render_svg
from postbias.charts.chart_theme import COLORS, ChartSource
from postbias.charts.corpus_charts import chart_over_time

_ROWS = [
    {"period": f"2025-0{i}", "value": i, "lo": i - 1, "hi": i + 1, "uncorrected": i}
    for i in range(1, 5)
]


def _svg(prefix: str) -> str:
    return str(render_svg(chart_over_time(ChartSource.from_rows(_ROWS), "y"), "a chart", prefix))


@pytest.mark.parametrize("name", sorted(DVC_TEMPLATES))
def test_each_dvc_template_is_generated_from_its_chart(name: str) -> None:
    written = (ROOT / ".dvc" / "plots" / f"{name}.json").read_text(encoding="utf-8")
    assert written == dvc_template(name), "run `python docs/plots.py templates`"


def test_every_dvc_template_has_a_chart() -> None:
    templates = (ROOT / ".dvc" / "plots").glob("*.json")
    assert {path.stem for path in templates} == set(DVC_TEMPLATES)


def test_the_same_numbers_give_the_same_svg() -> None:
    assert _svg("a") == _svg("a")


def test_svg_has_a_label_ids_of_its_own_and_no_external_address() -> None:
    first, second = _svg("a"), _svg("b")
    assert 'role="img" aria-label="a chart"' in first
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0].isdisjoint(ids[1])
    assert re.findall(r'(?:href|src)="(?!#)', first) == []


def test_the_page_has_a_css_variable_for_every_colour() -> None:
    css = (ROOT / "src/postbias/report/templates/report.css").read_text(encoding="utf-8")
    for name, color in COLORS.items():
        assert f"--{name}: {color};" in css
        assert color not in _svg("a")
