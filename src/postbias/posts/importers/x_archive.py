"""Read the archive that X gives to an account ("Download an archive of your data")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import json_units, read_json_value
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.raw_posts import RawPost
from postbias.posts.importers.records import ReadUnit, RecordError
from postbias.posts.importers.x_posts import X_POSTS, read_x

# Large archives have `tweets-part1.js` and so on; `tweet.js` is the name until 2022.
_FILES = re.compile(r"tweets?(-part\d+)?\.js")


def is_archive_file(name: str) -> bool:
    """Tell by its name whether a file of an archive has the posts of the account."""
    return _FILES.fullmatch(name.rpartition("/")[2]) is not None


def archive_units(
    path: Path, name: str, folder: MediaFolder, encoding: str | None = None
) -> Iterator[ReadUnit]:
    """Iterate over the units of one file of an archive.

    Args:
        path: The file.
        name: Its path relative to the export.
        folder: The folder that has the images.
        encoding: The encoding of the file, if the user named it.
    """
    author = _read_account(path.with_name("account.js"))
    source = replace(X_POSTS, read=partial(_read_post, author))
    return json_units(path, name, source, folder, encoding)


def _read_account(path: Path) -> str:
    try:
        account = get_nested(read_json_value(path), 0, "account")
    except RecordError:
        account = None
    for key in ("username", "accountId"):
        if isinstance(value := get_nested(account, key), str) and value:
            return value
    # All posts of an archive have one author; several archives can be in one export.
    return path.parent.parent.name or "account owner"


def _read_post(author: str, node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    post = read_x(node)
    post.author = post.author or author
    return post
