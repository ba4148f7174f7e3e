"""Render charts offline: SVG for the report, PNG for MLflow, Vega-Lite templates for DVC."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
from markupsafe import Markup, escape

from postbias.charts.chart_theme import COLORS, DVC_SOURCE, AnyChart, ChartSource
from postbias.charts.label_charts import chart_labels
from postbias.charts.student_charts import (
    chart_calibration,
    chart_comparison,
    chart_learning_curve,
    chart_predictions,
    chart_residuals,
    chart_training,
)

#: The chart of each template in `.dvc/plots`, by the name that `dvc.yaml` uses.
DVC_TEMPLATES: Mapping[str, Callable[[ChartSource], AnyChart]] = {
    "calibration": chart_calibration,
    "comparison": chart_comparison,
    "curve": chart_training,
    "labels": chart_labels,
    "learning_curve": chart_learning_curve,
    "predictions": chart_predictions,
    "residuals": chart_residuals,
}

# DVC's own page and its editor extension render Vega-Lite 5.
_DVC_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_PNG_SCALE = 2.0
_REFERENCE = re.compile(r"""(\bid="|url\(#|href="#)([\w-]+)""")


def render_svg(chart: AnyChart, label: str, id_prefix: str) -> Markup:
    """Render a chart as an SVG element for the report.

    Args:
        label: What the chart shows, for screen readers.
        id_prefix: Prefix of all ids in the element, unique within the page.

    Returns:
        The element. Its colours are CSS variables of the page, named as in `COLORS`.
    """
    import vl_convert

    svg = vl_convert.vegalite_to_svg(_specification(chart))
    svg = _REFERENCE.sub(rf"\g<1>{id_prefix}-\g<2>", svg)
    for name, color in COLORS.items():
        svg = re.sub(f'="{color}"', f'="var(--{name})"', svg, flags=re.IGNORECASE)
    _, _, rest = svg.partition(' class="marks"')
    (size,) = re.findall(r'viewBox="[^"]*"', svg[:300])
    _, _, content = rest.partition(">")
    # The label is escaped; the rest is made by Vega, which escapes text.
    return Markup(f'<svg class="chart" {size} role="img" aria-label="{escape(label)}">{content}')  # noqa: S704 - see above


def render_png(chart: AnyChart) -> bytes:
    """Render a chart as a PNG image."""
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(_specification(chart), scale=_PNG_SCALE)
    return png


def dvc_template(name: str) -> str:
    """Write a template of `.dvc/plots`: the chart with DVC's placeholders.

    Args:
        name: A key of `DVC_TEMPLATES`.

    Returns:
        The content of `.dvc/plots/<name>.json`.
    """
    specification = _specification(DVC_TEMPLATES[name](DVC_SOURCE))
    return json.dumps({**specification, "$schema": _DVC_SCHEMA}, indent=2) + "\n"


def _specification(chart: Any) -> dict[str, Any]:  # noqa: ANN401 - any Altair chart
    # Altair would move the rows to a separate key, named by their digest.
    with alt.data_transformers.enable(consolidate_datasets=False):
        specification: dict[str, Any] = chart.to_dict()
    return specification
