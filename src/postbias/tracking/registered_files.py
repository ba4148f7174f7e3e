"""Look-up of registered artifacts in the repository's own database, without importing MLflow.

Importing MLflow takes seconds; scoring one post takes less than one.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from postbias.scoring.manifest import MANIFEST
from postbias.tracking.database import EXPERIMENT, database, uses_own_database
from postbias.tracking.packaging import STUDENT_PATH

if TYPE_CHECKING:
    from postbias.paths import Paths

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
_VERSION_OF_ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
_SOURCE = "SELECT source FROM model_versions WHERE name = ? AND version = ? AND status = 'READY'"
_ROOT = "SELECT artifact_location FROM experiments WHERE name = ?"


def find_registered_files(uri: str, paths: Paths) -> Path | None:
    """Find the files of a registered artifact.

    Args:
        uri: Such as `models:/postbias@champion` or `models:/postbias/3`.
        paths: The repository whose database to read; nothing is written to it.

    Returns:
        The artifact folder inside the model. None if only MLflow can tell: for a tracking server,
        a database of another version, files that are not under `mlruns/`, and a missing model.
    """
    parts = _URI.fullmatch(uri)
    if parts is None or not uses_own_database(paths):
        return None
    name, alias, version = parts["name"], parts["alias"], parts["version"]
    try:
        with closing(
            sqlite3.connect(f"{database(paths).as_uri()}?mode=ro", uri=True)
        ) as connection:
            if alias is not None:
                version = _read_one(connection, _VERSION_OF_ALIAS, name, alias)
            source = _read_one(connection, _SOURCE, name, version)
            root = _read_one(connection, _ROOT, EXPERIMENT)
    except sqlite3.Error:
        return None
    if source is None or root is None or not source.startswith(f"{root}/"):
        return None
    # The locations are absolute and older than a move of the checkout.
    relative = unquote(urlparse(source).path).removeprefix(unquote(urlparse(root).path))
    folder = paths.mlruns / "artifacts" / relative.strip("/") / STUDENT_PATH
    return folder if (folder / MANIFEST).is_file() else None


def _read_one(connection: sqlite3.Connection, query: str, *values: str | None) -> str | None:
    rows = connection.execute(query, values).fetchmany(2)
    # More than one row: names are unique within a workspace only.
    return str(rows[0][0]) if len(rows) == 1 else None
