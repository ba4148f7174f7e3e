"""The style of all charts, and the source of their data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import altair as alt

from postbias.evaluation.results_table import MODEL_NAMES, TABLE_METRICS

#: Colours by role: the report replaces each by the CSS variable of this name, which also has a
#: value for dark mode. Blue and orange can be distinguished with any kind of colour vision.
COLORS = {
    "main": "#0072b2",
    "second": "#b8540a",
    "fill": "#a9cfe6",
    "ink": "#1b1f24",
    "soft": "#59626d",
    "rule": "#dfe3e8",
}
#: Colours of DVC revisions (Okabe and Ito); a chart without revisions uses `COLORS`.
REVISION_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
DASHES = [4, 4]

# Ships with vl-convert: the layout does not depend on the fonts of the machine.
_FONT = "Liberation Sans"
_PAGE_PX = (440, 270)
_MODALITIES = [name for name in MODEL_NAMES if name in {"fusion", "text", "image"}]

Row: TypeAlias = Mapping[str, Any]
AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart

if TYPE_CHECKING:
    from typing import TypeVar

    ChartT = TypeVar("ChartT", alt.Chart, alt.LayerChart, alt.FacetChart)


@dataclass(frozen=True, slots=True)
class ChartSource:
    """The rows of a chart, or DVC's placeholder for them.

    Attributes:
        data: The rows; numbers may be text, as in a CSV file.
        title: Title of the chart; more than one line if it is a sequence.
        has_revisions: Whether rows have a column `rev` to compare.
    """

    data: alt.InlineData
    title: str | Sequence[str] | None = None
    has_revisions: bool = False

    @classmethod
    def from_rows(
        cls, rows: Iterable[Row], title: str | Sequence[str] | None = None
    ) -> ChartSource:
        """Chart these rows."""
        return cls(alt.InlineData(values=[dict(row) for row in rows]), title)


#: What `dvc plots` replaces when it renders a template.
DVC_SOURCE = ChartSource(
    alt.InlineData(values="<DVC_METRIC_DATA>"), "<DVC_METRIC_TITLE>", has_revisions=True
)


def parse_numbers(chart: ChartT, *columns: str) -> ChartT:
    """Convert columns to numbers: DVC passes the cells of a CSV file as text, empty if missing."""
    cells = {column: f"datum['{column}']" for column in columns}
    return chart.transform_calculate(
        **{
            column: f"isValid({cell}) && {cell} !== '' ? toNumber({cell}) : null"
            for column, cell in cells.items()
        }
    )


def revision_color(source: ChartSource) -> alt.Color | alt.ColorValue:
    """Colour marks by DVC revision; without revisions all marks have the main colour."""
    if not source.has_revisions:
        return alt.ColorValue(COLORS["main"])
    return alt.Color("rev:N", title="revision", scale=alt.Scale(range=REVISION_COLORS))


def tooltips(source: ChartSource, *fields: str) -> list[alt.Tooltip]:
    """Show these fields on hover, after the revision if there is one."""
    return [alt.Tooltip(field) for field in (["rev:N"] if source.has_revisions else []) + [*fields]]


def facet_students(chart: alt.Chart | alt.LayerChart) -> alt.FacetChart:
    """Draw one panel per axis (rows) and student (columns)."""
    return chart.facet(row=axis_row_facet(), column=_column("modality", MODEL_NAMES, _MODALITIES))


def facet_metrics(chart: alt.Chart | alt.LayerChart) -> alt.FacetChart:
    """Draw one panel per axis (rows) and metric (columns)."""
    return chart.facet(
        row=axis_row_facet(), column=_column("metric", TABLE_METRICS, list(TABLE_METRICS))
    )


def axis_row_facet() -> alt.Row:
    """Facet by axis in rows."""
    return alt.Row("axis:N", title=None)


def finish_chart(chart: ChartT, source: ChartSource) -> ChartT:
    """Add the title and the theme; call it once, on the outermost chart."""
    if source.title is not None:
        chart = chart.properties(title=source.title)
    text: dict[str, Any] = {
        "labelColor": COLORS["soft"],
        "titleColor": COLORS["ink"],
        "titleFontWeight": "normal",
    }
    axis: dict[str, Any] = {
        **text,
        "gridColor": COLORS["rule"],
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    }
    configured: ChartT = chart.configure(
        aria=False,  # the SVG element as a whole has a label
        background="transparent" if source.title is None else "white",
        font=_FONT,
        padding={"left": 8, "top": 18, "right": 12, "bottom": 8},
        facet=alt.CompositionConfig(spacing=30),
        axis=alt.AxisConfig(**axis, labelFontSize=12, titleFontSize=12, titlePadding=8),
        header=alt.HeaderConfig(**text, labelFontSize=12),
        legend=alt.LegendConfig(**text),
        title=alt.TitleConfig(color=COLORS["ink"], subtitleColor=COLORS["soft"]),
        view=alt.ViewConfig(stroke=None),
    )
    return configured


def layer_charts(*charts: alt.Chart | alt.LayerChart, **options: Any) -> alt.LayerChart:  # noqa: ANN401 - Altair's options
    """Layer charts that are not faceted."""
    layered = alt.layer(*charts, **options)
    assert isinstance(layered, alt.LayerChart)
    return layered


def fit_page(chart: alt.LayerChart) -> alt.LayerChart:
    """Give a chart of the report its size, including axes and titles, so that charts align."""
    return chart.properties(
        width=_PAGE_PX[0],
        height=_PAGE_PX[1],
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )


def map_label(names: Mapping[str, str]) -> str:
    """Write a Vega expression that shows names in place of the values of an axis or header."""
    pairs = ", ".join(f"'{key}': '{name}'" for key, name in names.items())
    return f"({{{pairs}}})[datum.value] || datum.value"


def _column(field: str, names: Mapping[str, str], order: Sequence[str]) -> alt.Column:
    header = alt.Header(labelExpr=map_label(names))
    return alt.Column(f"{field}:N", title=None, sort=list(order), header=header)
