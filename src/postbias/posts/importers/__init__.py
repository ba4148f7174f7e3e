"""Importers: a raw export in, post shards and rejects out.

`import_posts` reads an export of one of `LAYOUTS` in constant memory and writes the shards that
every other part of postbias starts from. Images are taken along as they are, not decoded.
"""

from __future__ import annotations

from postbias.posts.importers.import_run import LAYOUTS, Layout, import_posts
from postbias.posts.importers.import_summary import ImportSummary
from postbias.posts.importers.tables import Columns, columns_of

__all__ = ["LAYOUTS", "Columns", "ImportSummary", "Layout", "columns_of", "import_posts"]
