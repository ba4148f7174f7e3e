"""The static page scores captions in a browser as Python does, without a network."""

from __future__ import annotations

import functools
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.tiny_artifact import write_tiny_artifact

from postbias.app.offline_page import write_offline_page
from postbias.errors import InputError
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer

_CHROMIUM, _DRIVER, _NPM = (shutil.which(name) for name in ("chromium", "chromedriver", "npm"))
_CAPTIONS = (
    "She leads the team.",
    "Real men don't cook! #grill @dad",
    "\x1c\ufeff Girls can't drive \u2003\x1f",
    "mañana será otro día — ÉCOLE ﬁne ①②",
    "emoji 👩‍🚀🔥 and \x00 NUL\r\nand\rlines",
    "中文 العربية हिन्दी ไทย",
    "lone \ud83d surrogate",
    " ".join(f"word{n}" for n in range(300)),
    "a",
    "I'll they've IT'S 100% \t tabs   spaces",
)

#: Takes UTF-16 code units: a lone surrogate cannot be sent to the browser as text.
_SCORE = """
const [units, done] = arguments;
postbias.score(String.fromCharCode(...units)).then(done, (error) => done(String(error)));
"""


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the runtime as the documentation says."""
    if not (_CHROMIUM and _DRIVER and _NPM):
        pytest.skip("needs chromium, chromium-driver and npm")
    folder = tmp_path_factory.mktemp("runtime")
    packages = ["onnxruntime-web", "@huggingface/tokenizers"]
    command = [_NPM, "install", "--silent", "--ignore-scripts", "--prefix", str(folder), *packages]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install the runtime: {installed.stderr[-200:]}")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    yield driver
    driver.quit()


def _students(tmp_path: Path) -> list[Artifact]:
    found = [
        write_tiny_artifact(tmp_path / "fusion"),
        write_tiny_artifact(tmp_path / "text", "text", seed=3, with_intervals=False),
        write_tiny_artifact(tmp_path / "languages", "text", by_language=True),
    ]
    trained = ROOT / "build" / "champion"
    return [*found, *([Artifact.open(trained)] if (trained / "student.json").is_file() else [])]


@pytest.mark.slow
def test_a_browser_without_a_network_gives_the_scores_of_python(
    runtime: Path, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    for number, student in enumerate(_students(tmp_path)):
        folder = tmp_path / f"page{number}"
        write_offline_page(student, folder, runtime)
        handler = functools.partial(_Files, directory=str(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser.get(f"http://127.0.0.1:{server.server_address[1]}/")
            WebDriverWait(browser, 60).until(
                lambda page: page.find_element(By.ID, "form").is_displayed()
            )
            server.shutdown()  # from here on nothing can be loaded
        log = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert log == []
        manifest = student.manifest
        says_so = browser.find_element(By.ID, "languages").is_displayed()
        assert says_so == bool(manifest.language_intervals)
        # The page has the intervals of all languages together.
        joint = replace(student, manifest=replace(manifest, language_intervals={}))
        with Scorer(joint) as scorer:
            expected = scorer.score([PostInput(caption) for caption in _CAPTIONS])
        for caption, answer in zip(_CAPTIONS, expected, strict=True):
            raw = caption.encode("utf-16-le", "surrogatepass")
            units = [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
            found = browser.execute_async_script(_SCORE, units)
            assert isinstance(found, dict), (caption, found)
            assert found["band"] == answer.band, (caption, found)
            for one in found["scores"]:
                score = answer.scores[one["name"]]
                assert one["value"] == pytest.approx(score.value, abs=1e-3), caption
                assert one["lo"] == pytest.approx(score.lo, abs=1e-3)
                assert one["hi"] == pytest.approx(score.hi, abs=1e-3)
        assert browser.execute_async_script("postbias.score(' \\0 ').then(arguments[0])") is None
        browser.find_element(By.ID, "caption").send_keys("She leads the team.")
        browser.find_element(By.CSS_SELECTOR, "button").click()
        WebDriverWait(browser, 20).until(
            lambda page: page.find_element(By.ID, "scores").is_displayed()
        )
        assert (
            f"{expected[0].scores['bias'].value:.2f}" in browser.find_element(By.ID, "scores").text
        )


def test_a_student_that_does_not_read_captions_is_refused(tmp_path: Path) -> None:
    image = write_tiny_artifact(tmp_path / "image", "image")
    with pytest.raises(InputError, match="not made"):
        write_offline_page(image, tmp_path / "page", tmp_path)
    reading = write_tiny_artifact(tmp_path / "reading", ocr="engine")
    with pytest.raises(InputError, match="not made"):
        write_offline_page(reading, tmp_path / "page", tmp_path)
    assert not (tmp_path / "page").exists()


def test_a_missing_runtime_says_how_to_install_it(tmp_path: Path) -> None:
    student = write_tiny_artifact(tmp_path / "student")
    with pytest.raises(InputError, match="npm install --prefix DIR onnxruntime-web"):
        write_offline_page(student, tmp_path / "page", tmp_path)
