"""Describe JSON that the layout of an import does not know."""

from __future__ import annotations

from typing import Any

from postbias.posts.importers.records import UnknownWrapperError
from postbias.posts.reasons import RejectReason


def to_unknown_error(value: Any) -> UnknownWrapperError:  # noqa: ANN401 - foreign JSON
    """Describe JSON that a layout does not know, with the layout that does, if there is one."""
    # That module imports those of all layouts, which import this one.
    from postbias.posts.importers.json_structures import find_other_layout

    if layout := find_other_layout(value):
        detail = f"belongs to layout {layout}: add it by `postbias import --append`"
        return UnknownWrapperError(detail, RejectReason.OTHER_LAYOUT)
    return UnknownWrapperError(describe_value(value))


def describe_value(value: object) -> str:
    """Describe JSON of unknown structure in one line."""
    if isinstance(value, dict):
        return f"no known wrapper: its keys are {sorted(map(str, value))[:8]}"
    return f"no known wrapper: a JSON {type(value).__name__}"
