"""Write a folder that can be pushed as a Space: the page of `postbias app` for a published student.

The folder holds the code of this version, so nothing but its dependencies is installed.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from postbias.errors import MissingExtraError
from postbias.hub.hub_access import HubReference, parse_reference
from postbias.scoring.execution_providers import installed_version

#: Port that the hub expects a Space to listen on, by `app_port` in its README.
PORT = 7860

_PACKAGE = Path(__file__).resolve().parents[1]
_EXTRAS = ("", "app", "hub")

_README = """---
title: {title}
emoji: 🔎
colorFrom: indigo
colorTo: gray
sdk: docker
app_port: {port}
license: mit
models:
  - {repo}
---

# {title}

A page that scores gender bias in single posts with the student
[{repo}](https://huggingface.co/{repo}). Its model card says what the scores mean, how large their
errors are, and what they must not be used for. Posts are scored in memory and not stored.

Written by `postbias publish {repo} --space`. If the student is private, give the Space a secret
`HF_TOKEN` with read access to it.
"""

_DOCKERFILE = """FROM python:3.11-slim

# Spaces run as user 1000.
RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH PYTHONUNBUFFERED=1

COPY --chown=user requirements.txt ./
RUN pip install --no-cache-dir --user -r requirements.txt
COPY --chown=user . ./

EXPOSE {port}
CMD ["python", "app.py"]
"""

_APP = '''"""Serve the page for single posts."""

import os

from postbias.cli import main

main(
    [
        "app",
        "--public",
        "--no-browser",
        "--model={reference}",
        "--host=0.0.0.0",
        "--port=" + os.environ.get("PORT", "{port}"),
    ]
)
'''


def write_space(folder: Path, name: str) -> HubReference:
    """Write the files of a Space that scores posts with a published student.

    Args:
        folder: An empty folder.
        name: The student: `owner/name` or `owner/name@revision`.

    Returns:
        The student that the Space downloads when it starts.

    Raises:
        HubError: If the name has another form.
        MissingExtraError: If the dependencies of the page are not installed.
    """
    reference = parse_reference(name)
    requirements = _pin_requirements()
    title = reference.repo.partition("/")[2]
    files = {
        "README.md": _README.format(title=title, port=PORT, repo=reference.repo),
        "Dockerfile": _DOCKERFILE.format(port=PORT),
        "app.py": _APP.format(reference=reference, port=PORT),
        "requirements.txt": "\n".join(requirements) + "\n",
        "LICENSE": distribution("postbias").read_text("licenses/LICENSE") or "MIT\n",
    }
    for path, text in files.items():
        (folder / path).write_text(text, encoding="utf-8")
    ignored = shutil.ignore_patterns("__pycache__", "demo")
    shutil.copytree(_PACKAGE, folder / "postbias", ignore=ignored)
    return reference


def _pin_requirements() -> list[str]:
    """Return the direct dependencies of the page, at the versions that are installed here."""
    from packaging.requirements import Requirement

    pinned = set()
    for text in requires("postbias") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": name}) for name in _EXTRAS):
            continue
        try:
            pinned.add(f"{requirement.name}=={installed_version(requirement.name)}")
        except PackageNotFoundError as error:
            raise MissingExtraError(
                f"a Space needs the package {requirement.name}, which is not installed",
                do="run `pip install 'postbias[app,hub]'`",
            ) from error
    return sorted(pinned)
