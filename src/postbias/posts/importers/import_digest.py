"""Digest of an import, by which a complete one is recognised and an interrupted one resumed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from postbias.posts.importers.media_converter import DEFAULT_FRAMES
from postbias.posts.importers.records import Export
from postbias.posts.importers.table_columns import ReadingOptions

#: Increased whenever the same export would be imported to different bytes; 1 for other layouts.
_VERSIONS = {
    "table": 5,
    "graphql": 4,
    "api-v1": 4,
    "instaloader": 4,
    "meta-download": 3,
    "4cat": 3,
    "zeeschuimer": 3,
    "meta-content-library": 2,
    "crowdtangle": 2,
    "x": 2,
    "youtube": 2,
    "tiktok": 2,
    "tiktok-download": 2,
}


def digest_import(layout: str, export: Export, options: ReadingOptions) -> str:
    """Hash what the result of an import depends on.

    Args:
        layout: The layout.
        export: The export.
        options: How it is read.

    Returns:
        The digest; options that have their default do not change it.
    """
    columns = asdict(options.columns) if layout == "table" else None
    identity = [_VERSIONS.get(layout, 1), layout, export.digest, columns]
    if options.encoding is not None:
        identity.append(options.encoding)
    if options.n_frames != DEFAULT_FRAMES:
        identity.append(options.n_frames)
    if options.null_values:
        identity.append(sorted(options.null_values))
    if options.transcripts:
        identity.append("transcripts")
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
