"""Importers: convert raw exports in one of `LAYOUTS` to post shards and a table of rejects.

One module per layout opens an export; the others hold what the layouts share (cells, text repair,
files) and the resumable run that writes the output.
"""

from __future__ import annotations

from postbias.posts.importers.export_layouts import LAYOUTS, Layout
from postbias.posts.importers.import_run import import_posts
from postbias.posts.importers.import_summary import ImportSummary
from postbias.posts.importers.layout_detection import DetectedLayout, detect_layout
from postbias.posts.importers.layout_guide import describe_layouts
from postbias.posts.importers.table_columns import Columns, ReadingOptions, parse_columns

__all__ = [
    "LAYOUTS",
    "Columns",
    "DetectedLayout",
    "ImportSummary",
    "Layout",
    "ReadingOptions",
    "describe_layouts",
    "detect_layout",
    "import_posts",
    "parse_columns",
]
