"""The supported layouts of exports, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from postbias.posts.importers.influencer_brand import open_influencer_brand
from postbias.posts.importers.instagram_pages import open_api_v1, open_graphql
from postbias.posts.importers.instaloader import open_instaloader
from postbias.posts.importers.layout_guide import LAYOUT_GUIDES
from postbias.posts.importers.records import Export
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.importers.tables import open_table

OpenExport = Callable[[Path, ReadingOptions], Export]


@dataclass(frozen=True, slots=True)
class Layout:
    """A supported layout of an export.

    Attributes:
        description: One line for people.
        open: Opens an export of this layout; only tables use column names.
    """

    description: str
    open: OpenExport


def _with_encoding(open_export: Callable[[Path, str | None], Export]) -> OpenExport:
    return lambda src, options: open_export(src, options.encoding)


_OPENERS: dict[str, OpenExport] = {
    "influencer-brand": _with_encoding(open_influencer_brand),
    "instaloader": _with_encoding(open_instaloader),
    "graphql": _with_encoding(open_graphql),
    "api-v1": _with_encoding(open_api_v1),
    "table": open_table,
    **{name: _with_encoding(open_source) for name, open_source in SOURCE_LAYOUTS.items()},
}

#: All supported layouts by name.
LAYOUTS: dict[str, Layout] = {
    name: Layout(guide.description, _OPENERS[name]) for name, guide in LAYOUT_GUIDES.items()
}
