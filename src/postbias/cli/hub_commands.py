"""Commands for the Hugging Face Hub: `publish` and `publish-dataset`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postbias.errors import InputError

if TYPE_CHECKING:
    from postbias.hub.hub_upload import Publication

Function = Callable[..., Any]


def _publishing_options(command: Function) -> Function:
    for option in (
        click.option(
            "--preview",
            type=click.Path(path_type=Path, file_okay=False),
            help="Write the files into this new folder, and upload nothing.",
        ),
        click.option("--private", is_flag=True, help="Make a new repository private."),
        click.option("--license", "licence", help="Licence id, such as mit or cc-by-4.0."),
    ):
        command = option(command)
    return command


@click.command("publish")
@click.argument("repo", metavar="OWNER/NAME")
@_publishing_options
@click.option(
    "--space",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a Space that scores posts with the published student into this new folder, and"
    " upload nothing.",
)
def publish_command(
    *, repo: str, licence: str | None, private: bool, preview: Path | None, space: Path | None
) -> None:
    """Publish the champion on the Hugging Face Hub.

    Uploads the artifact in build/champion, the model card with its metrics as metadata, the rubric
    and an example. The token comes from the environment variable HF_TOKEN only. Run it again after
    an interruption: files that arrived are not sent again. See docs/publishing.md.
    """
    from postbias.hub.space_folder import write_space
    from postbias.hub.student_upload import publish_student, write_publication
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.scoring.artifact import Artifact

    if space is not None:
        if preview is not None:
            raise click.UsageError("--space and --preview exclude each other")
        reference = write_space(_new_folder(space), repo)
        click.echo(f"{space} holds a Space for {reference}; nothing was uploaded")
        return
    paths = Paths.find()
    params = load_params(paths.params)
    if preview is not None:
        folder = _new_folder(preview)
        write_publication(
            folder, Artifact.open(paths.champion), paths, params, repo, licence=licence
        )
        click.echo(f"nothing was uploaded; look at {folder}")
        return
    found = publish_student(paths, params, repo, licence=licence, private=private)
    click.echo(_render_publication(found))


@click.command("publish-dataset")
@click.argument("repo", metavar="OWNER/NAME")
@click.option(
    "--personal-data",
    required=True,
    help="What personal data the files hold, for the card: 'ids of public posts', say.",
)
@click.option("--labels", is_flag=True, help="Also publish the teacher's labels, without reasons.")
@_publishing_options
def publish_dataset_command(
    *,
    repo: str,
    personal_data: str,
    labels: bool,
    licence: str | None,
    private: bool,
    preview: Path | None,
) -> None:
    """Publish the scores on the Hugging Face Hub.

    Uploads post ids and scores; never captions, images, authors or dates. Ids of posts lead to the
    people who wrote them: ask whether you may publish them. See docs/publishing.md.
    """
    from postbias.hub.dataset_upload import publish_dataset, write_dataset
    from postbias.paths import Paths

    paths = Paths.find()
    if preview is not None:
        folder = _new_folder(preview)
        write_dataset(
            folder, paths, personal_data=personal_data, with_labels=labels, licence=licence
        )
        click.echo(f"nothing was uploaded; look at {folder}")
        return
    found = publish_dataset(
        paths,
        repo,
        personal_data=personal_data,
        with_labels=labels,
        licence=licence,
        private=private,
    )
    click.echo(_render_publication(found))


def _new_folder(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise InputError("the folder is not empty", seen=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _render_publication(found: Publication) -> str:
    size = found.size_bytes / 1e6
    return f"published {found.files} files, {size:.1f} MB, as {found.name}\n{found.url}"
