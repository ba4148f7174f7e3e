"""The model card and the data sheet: Markdown that travels with the registered champion.

Both follow from what the report found. What a score means, what it must not be used for and whose
bias is in it are written for this task, not filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postbias.report.page import render

MODEL_CARD, DATA_SHEET = "model_card.md", "data_sheet.md"


def write_cards(context: Mapping[str, Any]) -> dict[str, str]:
    """Write both cards.

    Args:
        context: What the report shows.

    Returns:
        Markdown by file name.
    """
    return {name: render(f"{name}.j2", context) for name in (MODEL_CARD, DATA_SHEET)}
