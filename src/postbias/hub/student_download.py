"""Download a student from the hub."""

from __future__ import annotations

import logging
from pathlib import Path

from postbias.errors import ArtifactError, HubError
from postbias.hub.hub_access import HubReference, hub_errors, open_hub, parse_reference
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import MANIFEST

logger = logging.getLogger(__name__)


def download_student(name: str) -> Path:
    """Download a student into the cache of `huggingface_hub`, or find it there.

    Only `student.json` and the files that it lists are downloaded. Their sizes are checked here,
    their contents when they are loaded. Interrupted downloads are resumed.

    Args:
        name: `hf://owner/name` or `hf://owner/name@revision`.

    Returns:
        The folder of its artifact.

    Raises:
        HubError: If there is no such repository, no access to it, no connection, or no student in
            it.
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    reference = parse_reference(name)
    hub = open_hub()
    with hub_errors("cannot download", reference):
        manifest = Path(hub.hf_hub_download(reference.repo, MANIFEST, revision=reference.revision))
    # The commit of the first file, so that a push in between cannot mix two students.
    commit = manifest.parent.name
    files = _listed_files(manifest, reference)
    with hub_errors("cannot download", reference):
        folder = hub.snapshot_download(
            reference.repo, revision=commit, allow_patterns=[MANIFEST, *files]
        )
    if reference.revision is None:
        logger.info("%s is at commit %s", reference, commit)
    try:
        return Artifact.open(Path(folder)).folder
    except ArtifactError as error:
        raise HubError(f"the student in {reference} is incomplete: {error}") from error


def _listed_files(manifest: Path, reference: HubReference) -> list[str]:
    from postbias.scoring.manifest import Manifest

    try:
        return sorted(Manifest.from_json(manifest.read_text(encoding="utf-8")).files)
    except (ArtifactError, UnicodeDecodeError) as error:
        raise HubError(f"{reference} contains no usable student: {error}") from error
