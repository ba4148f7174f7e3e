"""Rendering of the page and the cards from the package's templates.

Captions and reasons are hostile input: HTML templates escape all text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from postbias.localisation import number_formats
from postbias.localisation.template_messages import install_messages
from postbias.posts.languages import UNKNOWN, identify_languages
from postbias.report import wording
from postbias.report.author_wording import (
    describe_dominant_authors,
    warn_of_missing_authors,
    word_authors,
)
from postbias.report.explained_examples import CaptionPart
from postbias.report.image_swap_section import list_largest_scenes, name_image_source
from postbias.report.people_sentences import describe_ratings

MODEL_CARD, DATA_SHEET, CHECKLIST = "model_card.md", "data_sheet.md", "llm_checklist.md"


@dataclass(frozen=True, slots=True)
class Origin:
    """Commit and runs behind a copy of the page, which need not be the same bytes everywhere.

    Attributes:
        commit: The git commit.
        runs: Stage, MLflow run id and URL of each run.
    """

    commit: str | None
    runs: tuple[tuple[str, str, str], ...]


def render_template(name: str, context: Mapping[str, object]) -> str:
    """Render a template to text that ends with one line break.

    Args:
        name: Its file in `report/templates`; the output of `*.html.j2` is escaped.
        context: Its variables; a missing one is an error.

    Returns:
        The rendered text.
    """
    return _environment().get_template(name).render(**context).rstrip("\n") + "\n"


def render_cards(context: Mapping[str, object]) -> dict[str, str]:
    """Render the model card and the data sheet as Markdown, by file name."""
    names = (MODEL_CARD, DATA_SHEET, CHECKLIST)
    return {name: render_template(f"{name}.j2", context) for name in names}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("postbias.report", "templates"),
        # Markdown is not escaped: people read it as text, and MLflow escapes it for display.
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install_messages(environment)
    environment.filters |= {
        "points": wording.format_points,
        "signed": wording.format_signed,
        "percent": wording.format_percent,
        "interval": wording.format_interval,
        "share_interval": lambda estimate: wording.format_interval(estimate, is_share=True),
        "difference": wording.format_difference,
        "percentage_points": wording.to_percentage_points,
        "ratings": describe_ratings,
        "authors": word_authors,
        "missing_authors": warn_of_missing_authors,
        "strata": describe_dominant_authors,
        "count": number_formats.format_count,
        "usd": number_formats.format_usd,
        "day": number_formats.format_day,
        "reason": wording.describe_reason,
        "gate_line": wording.describe_gate_line,
        "gate_value": lambda value, name: wording.format_gate_value(name, value),
        "gate_limit": lambda limit, name: wording.format_gate_limit(name, limit),
        "group_of": wording.group_name,
        "group_list": wording.list_groups,
        "language_of": _language_of,
        "group_title": wording.group_title,
        "slice_title": wording.slice_title,
        "band": wording.band_title,
        "model": wording.model_title,
        "conclusion": wording.describe_conclusion,
        "image_source": name_image_source,
        "largest_scenes": list_largest_scenes,
    }
    return environment


def _language_of(caption: Sequence[CaptionPart]) -> str:
    """Return the language of a caption; empty if unknown.

    By it, browsers choose the shapes of Chinese characters, and where to break lines.
    """
    (language,) = identify_languages(["".join(part.text for part in caption)])
    return "" if language == UNKNOWN else language
