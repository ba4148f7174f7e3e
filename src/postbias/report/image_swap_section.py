"""Lay out the effect of swapped persons in images for the report."""

from __future__ import annotations

from typing import Any

from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import translatable as _t

#: Number of scenes that the report shows.
MAX_SCENES = 10

_SOURCES = {
    "redrawn": _t("Images of test posts, drawn again"),
    "pairs": _t("Images of the folder of pairs"),
}

Json = dict[str, Any]


def name_image_source(source: str) -> str:
    """Name where paired images come from."""
    return _(_SOURCES[source])


def list_largest_scenes(swap: Json) -> list[Json]:
    """List the scenes with the largest mean change, each with its name.

    Args:
        swap: One source in `image_audit` of `evaluate.json`.

    Returns:
        Up to `MAX_SCENES` scenes that were scored, the largest change first.
    """
    scenes = [
        {"name": name, **scene}
        for name, scene in swap["scenes"].items()
        if scene["change"]["value"] is not None
    ]
    return sorted(scenes, key=lambda scene: -scene["change"]["value"])[:MAX_SCENES]
