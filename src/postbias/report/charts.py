"""Charts of the report as SVG text: from numbers to markup, the same bytes for the same numbers.

Drawn by hand, not by a plotting library: colours are classes of the page's style sheet, so that
they follow light, dark and print; interval bars are as wide as their table cell, so that they can
be read on a telephone. Colours are never the only sign: shapes and line styles differ too.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from postbias.report.chart_scales import Scale, fit_scale
from postbias.stats.bootstrap import Array

# Size of the drawing surface; the page scales it down to the column's width.
_WIDTH, _HEIGHT = 440, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 16, 46


def axis_row(scale: Scale, zero: float | None = None) -> Markup:
    """Draw the ticks that stand above a column of interval bars.

    Args:
        scale: Of the column.
        zero: A value to set apart, such as "no difference".

    Returns:
        The drawing.
    """
    marks = []
    for tick in scale.ticks:
        strong = " strong" if zero is not None and tick == zero else ""
        marks.append(
            f'<text class="tick{strong}" x="{_percent(scale.at(tick))}" y="13" '
            f'text-anchor="middle">{escape(scale.write(tick))}</text>'
        )
    return Markup('<svg class="bar" height="18" aria-hidden="true">{}</svg>').format(
        Markup("".join(marks))  # noqa: S704 - made of numbers
    )


def interval_bar(
    estimate: dict[str, float | None],
    scale: Scale,
    *,
    other: float | None = None,
    zero: float | None = None,
    style: str = "main",
) -> Markup:
    """Draw one estimate with its interval.

    Args:
        estimate: `value`, `lo` and `hi`; each may be None.
        scale: Of the column.
        other: Another value to show as a hollow diamond: the uncorrected number.
        zero: Where to draw a line from top to bottom.
        style: Class of the mark: `main`, `muted` or `second`.

    Returns:
        The drawing; empty of marks where there is no estimate.
    """
    value, lo, hi = (estimate[key] for key in ("value", "lo", "hi"))
    parts = [_line(scale.at(t), scale.at(t), 0, 24, "grid") for t in scale.ticks]
    if zero is not None:
        parts.append(_line(scale.at(zero), scale.at(zero), 0, 24, "zero"))
    if lo is not None and hi is not None:
        parts.append(_line(scale.at(lo), scale.at(hi), 12, 12, f"reach {style}"))
    if other is not None:
        # A nested drawing: a diamond needs pixels, its place a percentage.
        parts.append(
            f'<svg x="{_percent(scale.at(other))}" y="12" overflow="visible">'
            '<path class="other" d="M0 -5.5 5.5 0 0 5.5 -5.5 0Z"/></svg>'
        )
    if value is not None:
        parts.append(
            f'<circle class="dot {style}" cx="{_percent(scale.at(value))}" cy="12" r="5"/>'
        )
    return Markup('<svg class="bar" height="24" aria-hidden="true">' + "".join(parts) + "</svg>")  # noqa: S704


def histogram(
    bars: Array,
    steps: Array,
    scale: Scale,
    cuts: Sequence[tuple[float, str]],
    words: tuple[str, str],
) -> Markup:
    """Draw two distributions over each other: filled bars, and an outline.

    Args:
        bars: Share of posts per bin. (K,)
        steps: The same of the other distribution. (K,)
        scale: Of the values; bins share it out evenly.
        cuts: Where bands begin, and the name of the band before.
        words: What the axes show.

    Returns:
        The drawing.
    """
    top = fit_scale([0.0, float(max(bars.max(), steps.max()))], is_share=True)
    parts = _frame(scale, top, words)
    width = 1 / len(bars)
    for i, share in enumerate(bars):
        x, y = _x(i * width), _y(top.at(float(share)))
        parts.append(
            f'<rect class="fill" x="{x + 1:.1f}" y="{y:.1f}" '
            f'width="{max(_x(width) - _x(0) - 2, 1):.1f}" height="{_y(0) - y:.1f}"/>'
        )
    path = f"M{_x(0):.1f} {_y(0):.1f}"
    for i, share in enumerate(steps):
        y = _y(top.at(float(share)))
        path += f"V{y:.1f}H{_x((i + 1) * width):.1f}"
    parts.append(f'<path class="outline" d="{path}V{_y(0):.1f}"/>')
    before = scale.low
    for cut, name in cuts:
        middle = _x((scale.at(before) + scale.at(cut)) / 2)
        if cut < scale.high:
            x = _x(scale.at(cut))
            parts.append(f'<path class="cut" d="M{x:.1f} {_TOP}V{_y(0):.1f}"/>')
        parts.append(
            f'<text class="note" x="{middle:.1f}" y="{_TOP - 3}" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
        before = cut
    return _drawing(parts, words)


def scatter_line(
    points: Sequence[tuple[float, float, int]], scale: Scale, words: tuple[str, str]
) -> Markup:
    """Draw mean label over mean score of posts of similar score, beside the line of equality.

    Args:
        points: Score, label and number of posts, by ascending score.
        scale: Of both axes.
        words: What the axes show.

    Returns:
        The drawing.
    """
    parts = _frame(scale, scale, words)
    parts.append(f'<path class="equal" d="M{_x(0):.1f} {_y(0):.1f}L{_x(1):.1f} {_y(1):.1f}"/>')
    at = [(_x(scale.at(s)), _y(scale.at(label)), n) for s, label, n in points]
    if at:
        parts.append(_path("curve", [(x, y) for x, y, _ in at]))
        most = max(n for _, _, n in at)
        parts += [
            f'<circle class="dot main" cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 3 * n / most:.1f}"/>'
            for x, y, n in at
        ]
    return _drawing(parts, words)


def time_line(
    names: Sequence[str],
    estimates: Sequence[dict[str, float | None]],
    scale: Scale,
    words: tuple[str, str],
) -> Markup:
    """Draw an estimate over time with its intervals, and the uncorrected number as a dashed line.

    Args:
        names: The periods.
        estimates: `value`, `lo`, `hi` and `uncorrected` of each.
        scale: Of the values.
        words: What the axes show.

    Returns:
        The drawing.
    """
    every = max(1, round(len(names) / 6))
    shown = list(range(0, len(names), every))
    along = Scale(-0.5, len(names) - 0.5, tuple(float(i) for i in shown))
    parts = _frame(along, scale, words, [names[i] for i in shown])
    plain = [
        (_x(along.at(i)), _y(scale.at(e["uncorrected"])))
        for i, e in enumerate(estimates)
        if e["uncorrected"] is not None and e["value"] is not None
    ]
    if plain:
        parts.append(_path("plain", plain))
    for i, estimate in enumerate(estimates):
        if estimate["value"] is None or estimate["lo"] is None or estimate["hi"] is None:
            continue
        x = _x(along.at(i))
        lo, hi = _y(scale.at(estimate["lo"])), _y(scale.at(estimate["hi"]))
        parts.append(f'<path class="reach main" d="M{x:.1f} {lo:.1f}V{hi:.1f}"/>')
        y = _y(scale.at(estimate["value"]))
        parts.append(f'<circle class="dot main" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return _drawing(parts, words)


def _frame(
    across: Scale, up: Scale, words: tuple[str, str], names: Sequence[str] | None = None
) -> list[str]:
    parts = []
    for tick in up.ticks:
        y = _y(up.at(tick))
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(up.write(tick))}</text>"
        )
    for tick, name in zip(across.ticks, names or map(across.write, across.ticks), strict=True):
        parts.append(
            f'<text class="tick" x="{_x(across.at(tick)):.1f}" y="{_HEIGHT - _BOTTOM + 17}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(words[0])}</text>"
    )
    parts.append(
        f'<text class="label" transform="translate(11 {(_HEIGHT - _BOTTOM + _TOP) / 2:.1f})'
        f' rotate(-90)" text-anchor="middle">{escape(words[1])}</text>'
    )
    return parts


def _drawing(parts: Sequence[str], words: tuple[str, str]) -> Markup:
    label = escape(f"{words[1]}, over {words[0]}")
    return Markup(  # noqa: S704 - made of numbers and escaped words
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _path(style: str, points: Sequence[tuple[float, float]]) -> str:
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{style}" d="M{steps}"/>'


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return (
        f'<line class="{style}" x1="{_percent(x1)}" x2="{_percent(x2)}" y1="{y1:g}" y2="{y2:g}"/>'
    )


def _percent(share: float) -> str:
    # Marks at the ends of the scale stay inside the drawing.
    return f"{3 + 94 * share:.2f}%"


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _RIGHT - _LEFT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)
