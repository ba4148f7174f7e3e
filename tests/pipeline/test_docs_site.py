"""The documentation builds without warnings, and its pages load nothing from other hosts."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.conftest import ROOT, run_command

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
    "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip

pytest.importorskip("material", reason="needs the extra docs (mkdocs-material)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ("mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder))
    # The theme prints an advertisement for its successor to stderr.
    run_command(ROOT, *command, NO_MKDOCS_2_WARNING="1")
    return folder


def test_every_page_of_the_docs_is_built_and_linked_from_the_home_page(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        address = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / address).is_file(), address
        assert f'href="{address}"' in start or address == "index.html", address


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|source)[^>]*src="(?:https?:)?//|<link[^>]*stylesheet[^>]*//'
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page.name


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(not (_CHROMIUM and _DRIVER), reason="needs chromium and chromium-driver")
def test_a_browser_contacts_no_other_host_and_renders_the_images(address: str) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(_DRIVER)))
    try:
        for width in (390, 1280):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            for page in ("index", "architecture", "report"):
                browser.get(f"{address}/{page}.html")
                assert browser.execute_script(
                    "return [...document.images].every(one => one.complete && one.naturalWidth)"
                ), page
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, page
        events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
        asked = [
            one["params"]["request"]["url"]
            for one in events
            if one["method"] == "Network.requestWillBeSent"
        ]
        assert len(asked) > 6
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
