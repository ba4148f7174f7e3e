"""Packaging of a student for serving, outside of the registry."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from postbias.tracking.packaging import check_package, write_package

if TYPE_CHECKING:
    from postbias.scoring.artifact import Artifact
    from postbias.scoring.manifest import Precision


def write_checked_package(artifact: Artifact, dest: Path, *, precision: Precision) -> None:
    """Write an MLflow model, which exists only if it returns the scores of its artifact.

    Args:
        dest: The folder to create.
        precision: Precision of the graphs to run.

    Raises:
        ChampionError: If the package cannot be loaded, scores nothing, or scores differently.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".postbias-", dir=dest.parent) as temporary:
        package = Path(temporary) / "model"
        write_package(artifact, package, precision=precision)
        check_package(artifact, package, precision=precision)
        package.rename(dest)
