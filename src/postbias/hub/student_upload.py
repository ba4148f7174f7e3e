"""Upload the champion with its model card, rubric and an example to a repository on the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from postbias.errors import HubError
from postbias.hub.hub_access import parse_reference
from postbias.hub.hub_card import render_hub_card
from postbias.hub.hub_upload import Publication, upload_files
from postbias.params import Params
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import MANIFEST

_MODEL_CARD = "model_card.md"
_EXAMPLE = {"caption": "She leads the team.", "images": []}

Json = dict[str, Any]


def publish_student(
    paths: Paths, params: Params, repo: str, *, licence: str | None, private: bool
) -> Publication:
    """Upload the champion of a repository, in one commit.

    Args:
        paths: The repository, after the stage `report`.
        params: Its params.
        repo: `owner/name`; created if it does not exist.
        licence: Id of the student's licence, like `mit`; None to leave it out.
        private: Whether a new repository is private.

    Raises:
        ArtifactError: If there is no champion, or it is damaged.
        HubError: If the model card is missing or describes another student, or the hub refuses.
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    artifact = Artifact.open(paths.champion)
    return upload_files(
        lambda folder: write_publication(folder, artifact, paths, params, repo, licence=licence),
        repo,
        kind="model",
        message=f"Student {artifact.digest[:12]}",
        private=private,
    )


def write_publication(
    folder: Path,
    artifact: Artifact,
    paths: Paths,
    params: Params,
    repo: str,
    *,
    licence: str | None,
) -> None:
    """Write the files of a publication: what `publish_student` uploads.

    Args:
        folder: An empty folder.
        artifact: The student.
        paths: The repository, after the stage `report`.
        params: Its params.
        repo: `owner/name`.
        licence: Id of the student's licence; None to leave it out.

    Raises:
        ArtifactError: If a file of the student is damaged.
        HubError: If the model card is missing or describes another student.
    """
    digest = artifact.digest  # reads and checks all files
    card = _read_card(paths, digest)
    for name in (MANIFEST, *artifact.manifest.files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.folder / name, folder / name)
    shutil.copyfile(paths.root / params.annotate.rubric, folder / "rubric.yaml")
    example = json.dumps(_EXAMPLE, indent=2, ensure_ascii=False) + "\n"
    (folder / "example.json").write_text(example, encoding="utf-8")
    evaluation = _read_json(paths.reports / "evaluate.json")
    champion = evaluation.get("champion", {})
    is_evaluated = champion.get("digest") == digest
    tested = evaluation["students"][champion["modality"]]["test"] if is_evaluated else {}
    groups = _read_json(paths.reports / "population.json").get("groups", {})
    text = render_hub_card(
        card,
        artifact.manifest,
        tested,
        reference=parse_reference(repo),
        languages=sorted(lang for lang in groups.get("language", {}) if lang.isalpha()),
        licence=licence,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _read_card(paths: Paths, digest: str) -> str:
    file = paths.cards / _MODEL_CARD
    do = "run `dvc repro` to write the model card of this student"
    try:
        card = file.read_text(encoding="utf-8")
    except OSError as error:
        raise HubError(
            "a student is published with its model card only", seen=f"no {file}", do=do
        ) from error
    if digest not in card:
        raise HubError(
            f"{file} describes another student than build/champion", seen=digest[:12], do=do
        )
    return card


def _read_json(path: Path) -> Json:
    if not path.is_file():
        return {}
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found
