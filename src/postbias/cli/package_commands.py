"""The command `package`."""

from __future__ import annotations

from pathlib import Path

import click

from postbias.errors import InputError


@click.command("package")
@click.argument("student", metavar="STUDENT")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp32"]),
    default="int8",
    show_default=True,
    help="Graphs to run.",
)
def package_command(*, student: str, folder: Path, precision: str) -> None:
    """Write a student as an MLflow model, to serve it or to build an image of it.

    STUDENT is an artifact folder, models:/NAME@ALIAS or hf://OWNER/NAME. The package is loaded in
    another process, which must return the scores of the student. Then run
    `mlflow models serve -m FOLDER --env-manager local`. See docs/serving.md.
    """
    from postbias.loading import find_student
    from postbias.scoring.artifact import Artifact
    from postbias.tracking.checked_package import write_checked_package

    if folder.exists():
        raise InputError("the folder of the package exists", seen=str(folder), do="name a new one")
    artifact = Artifact.open(find_student(student))
    write_checked_package(artifact, folder, precision="fp32" if precision == "fp32" else "int8")
    click.echo(f"wrote student {artifact.digest[:12]} to {folder}")
    click.echo(f"serve it: mlflow models serve -m {folder} --env-manager local --workers 1")
