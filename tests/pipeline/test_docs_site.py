"""The documentation builds without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import ROOT, run_command

pytest.importorskip("material", reason="needs the extra docs (mkdocs-material)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ("mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder))
    # The theme advertises its successor on stderr.
    run_command(ROOT, *command, NO_MKDOCS_2_WARNING="1")
    return folder


def test_every_page_of_the_docs_is_built_and_found_from_the_start(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page.name
        assert f'href="{page.stem}.html"' in start or page.stem == "index", page.name


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|source)[^>]*src="(?:https?:)?//|<link[^>]*stylesheet[^>]*//'
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page.name
