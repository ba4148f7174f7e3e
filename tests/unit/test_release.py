"""What a release consists of agrees: versions, Dockerfile and the files that it copies."""

from __future__ import annotations

import re
from fnmatch import fnmatch

from ruamel.yaml import YAML
from tests.conftest import ROOT

from postbias import __version__


def _instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def test_the_citation_names_the_version_of_the_package() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    citation = YAML(typ="safe", pure=True).load(text)
    assert citation["version"] == __version__
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "type", "license"} <= set(citation)


def test_the_version_stands_in_one_place_of_the_code() -> None:
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    sources = (ROOT / "src" / "postbias").rglob("*.py")
    naming = [path.name for path in sources if f'"{__version__}"' in path.read_text("utf-8")]
    assert naming == ["__init__.py"]


def test_the_newest_section_of_the_changelog_is_unreleased_or_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *_ = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert first in {"Unreleased", __version__}


def test_the_image_does_not_run_as_root_and_has_a_health_check() -> None:
    instructions = _instructions()
    users = [rest for name, rest in instructions if name == "USER"]
    assert int(users[-1]) >= 1000
    assert sum(name == "HEALTHCHECK" for name, _ in instructions) == 1
    names = [name for name, _ in instructions]
    assert names.index("USER") < names.index("HEALTHCHECK") < names.index("CMD")


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = [
        source
        for name, rest in _instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert len(copied) == 5
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert set(copied) == allowed
    secret = ("data", ".git", "store", "build", "mlruns", ".env", "params.yaml")
    assert "*" in ignore
    assert not any(fnmatch(name, pattern) for name in secret for pattern in allowed)
