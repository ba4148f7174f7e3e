"""Renders the package's templates: text in, text out, everything escaped in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from postbias.report import gate_wording as gate
from postbias.report import wording as words


def render(name: str, context: Mapping[str, object]) -> str:
    """Render a template.

    Args:
        name: Its file in `report/templates`; what ends in `.html.j2` is escaped.
        context: What it may show; a name that is missing is an error.

    Returns:
        The text, with one line break at the end.
    """
    return _environment().get_template(name).render(**context).rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("postbias.report", "templates"),
        # Markdown is read as text by people and by MLflow, which escapes it itself.
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": words.points,
        "percent": words.percent,
        "between": words.between,
        "points_between": words.points_between,
        "share_between": lambda estimate: words.between(estimate, is_share=True),
        "count": lambda number: f"{number:,}",
        "usd": lambda number: f"${number:,.2f}",
        "reason": words.reason_words,
        "gate": gate.gate_line,
        "gate_limit": lambda limit, name: gate.gate_limit(name, limit),
        "gate_number": lambda number, name: gate.gate_number(name, number),
        "as_points": words.as_points,
        "group_of": words.group_name,
        "kind": words.kind_title,
        "slice": words.slice_title,
        "model": words.model_name,
    }
    return environment
