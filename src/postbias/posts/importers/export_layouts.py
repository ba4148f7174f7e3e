"""The supported layouts of exports, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from postbias.posts.importers.influencer_brand import open_influencer_brand
from postbias.posts.importers.instagram_pages import open_api_v1, open_graphql
from postbias.posts.importers.instaloader import open_instaloader
from postbias.posts.importers.records import Export
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.importers.tables import open_table


@dataclass(frozen=True, slots=True)
class Layout:
    """A supported layout of an export.

    Attributes:
        description: One line for people.
        open: Opens an export of this layout; only tables use column names.
    """

    description: str
    open: Callable[[Path, ReadingOptions], Export]


#: All supported layouts by name.
LAYOUTS: dict[str, Layout] = {
    "influencer-brand": Layout(
        "folder with post_info.txt, json/ and image folders (Kim et al., WSDM 2021)",
        lambda src, options: open_influencer_brand(src, options.encoding),
    ),
    "instaloader": Layout(
        "folders of *_UTC.json(.xz), *_UTC.txt and images, written by Instaloader",
        lambda src, options: open_instaloader(src, options.encoding),
    ),
    "graphql": Layout(
        "JSON pages or single posts of Instagram's GraphQL API, a file or a folder",
        lambda src, options: open_graphql(src, options.encoding),
    ),
    "api-v1": Layout(
        "JSON pages or single posts of Instagram's mobile API, a file or a folder",
        lambda src, options: open_api_v1(src, options.encoding),
    ),
    "table": Layout(
        "CSV, TSV, JSONL or Parquet file with a caption column and image paths",
        open_table,
    ),
}

LAYOUTS |= {name: Layout(*source) for name, source in SOURCE_LAYOUTS.items()}
