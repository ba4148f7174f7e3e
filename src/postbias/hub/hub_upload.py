"""Upload the files of a folder to a repository on the hub, in one commit."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from postbias.errors import HubError
from postbias.hub.hub_access import TOKEN, hub_errors, open_hub, parse_reference


@dataclass(frozen=True, slots=True)
class Publication:
    """What was uploaded.

    Attributes:
        name: `hf://owner/name@commit`.
        url: Page of the commit.
        files: Number of files.
        size_bytes: Their total size.
    """

    name: str
    url: str
    files: int
    size_bytes: int


def upload_files(
    write: Callable[[Path], None],
    repo: str,
    *,
    kind: Literal["model", "dataset"],
    message: str,
    private: bool,
) -> Publication:
    """Upload files in one commit that replaces all earlier files.

    Files that the hub already has are not sent again, so that an interrupted upload is resumed by
    calling this again.

    Args:
        write: Writes the files into an empty folder.
        repo: `owner/name`; created if it does not exist.
        kind: Whether it is a model or a data set.
        message: Message of the commit.
        private: Whether a new repository is private.

    Raises:
        HubError: If the name is wrong, there is no token, or the hub refuses.
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    reference = parse_reference(repo)
    if reference.revision is not None:
        raise HubError("a revision cannot be published to", seen=repo, allowed="OWNER/NAME")
    hub = open_hub()
    if not os.environ.get(TOKEN):
        raise HubError("publishing needs a token", do=f"set {TOKEN} to a token with write access")
    with TemporaryDirectory(prefix="postbias-publish-") as temporary:
        folder = Path(temporary)
        write(folder)
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        with hub_errors("cannot publish to", reference):
            hub.create_repo(reference.repo, repo_type=kind, private=private, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=reference.repo,
                repo_type=kind,
                folder_path=folder,
                commit_message=message,
                # A file of an earlier student must not remain beside the new ones.
                delete_patterns="*",
            )
    return Publication(f"{reference}@{commit.oid}", commit.commit_url, len(sizes), sum(sizes))
