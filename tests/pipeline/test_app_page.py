"""`postbias app`: a person scores a spreadsheet with images in a browser, and exports posts."""

from __future__ import annotations

import csv
import io
import shutil
import socket
import time
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest
from tests.app_server import AppServer
from tests.post_shards import jpeg
from tests.scored_repo import HOSTILE, write_scored_repo
from tests.tiny_artifact import write_tiny_artifact

from postbias.paths import Paths

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-background-networking")
needs_browser = pytest.mark.skipif(
    not (_CHROMIUM and _DRIVER), reason="needs chromium and chromium-driver"
)
_WORDS = ("girl", "boss", "strong", "kitchen", "she", "he", "zzz", "qq", "xylophone")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("app") / "repo", n_posts=120)


@pytest.fixture(scope="module")
def server(repo: Paths) -> Iterator[AppServer]:
    (repo.build / "report.html").write_text("<style>p { color: red }</style><p>A report</p>")
    with AppServer(repo.root) as running:
        yield running


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


def write_spreadsheet(path: Path, n: int = 60) -> Path:
    """Write a ZIP file of an Excel file and images, with column names of its own."""
    rng = np.random.default_rng(0)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Post ID", "Text", "Photo", "Username", "Date"])
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(n):
            text = " ".join(rng.choice(_WORDS, rng.integers(1, 12)))
            text = HOSTILE[number].replace("\x00\x1b", "") if number < len(HOSTILE) else text
            cell = sheet.cell(number + 2, 2, "=1+1 is a formula" if number == 10 else text)
            cell.data_type = "s"
            row = [
                f"post {number}",
                None,
                f"photos/{number}.jpg",
                f"user{number % 9}",
                "2025-03-04",
            ]
            for place, value in enumerate(row, start=1):
                if value is not None:
                    sheet.cell(number + 2, place, value)
            data = b"not an image" if number == 20 else jpeg(rng)
            archive.writestr(f"photos/{number}.jpg", data)
        file = io.BytesIO()
        book.save(file)
        archive.writestr("posts.xlsx", file.getvalue())
    return path


def _wait(browser: Any, condition: Any, timeout_s: float = 20) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, timeout_s).until(lambda _: condition())


def _find(browser: Any, selector: str) -> Any:
    return _wait(browser, lambda: browser.find_elements("css selector", selector))[0]


def _number_selected(browser: Any) -> int:
    return int(_find(browser, "#selected").text.split()[0].replace(",", ""))


@needs_browser
def test_a_person_scores_a_spreadsheet_with_images_and_exports_the_high_posts(
    server: AppServer, browser: Any, downloads: Path, tmp_path: Path
) -> None:
    browser.get(f"{server.url}/#file")
    _find(browser, "#file-files").send_keys(str(write_spreadsheet(tmp_path / "my posts.zip")))
    caption = _find(browser, "#column-caption")
    chosen = {
        field: browser.find_element("id", f"column-{field}").get_property("value")
        for field in ("post_id", "caption", "images", "author", "posted_at", "sponsored")
    }
    assert chosen == {
        "post_id": "Post ID", "caption": "Text", "images": "Photo", "author": "Username",
        "posted_at": "Date", "sponsored": "",
    }  # fmt: skip
    assert caption.accessible_name == "Caption"
    assert len(browser.find_elements("css selector", "tbody tr")) == 5
    browser.find_element("css selector", "#file-step .primary").click()
    _find(browser, "#explore-result")
    facts = browser.find_element("css selector", ".facts").text
    assert "60" in facts
    assert "biased" in browser.find_element("css selector", ".caveats").text

    browser.find_element("id", "explore-result").click()
    assert _wait(browser, lambda: _number_selected(browser) == 60)
    highest = browser.find_element("css selector", ".post strong").text
    # The tiny student gives no high scores: "high" is here above 4.5.
    _find(browser, "#f-min").send_keys("4.5")
    _wait(browser, lambda: _number_selected(browser) < 60)
    n_high = _number_selected(browser)
    assert n_high > 0
    browser.find_element("id", "export-csv").click()
    name = f"postbias-{n_high}-posts.csv"
    _wait(browser, lambda: (downloads / name).exists())
    with (downloads / name).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n_high
    assert all(float(row["bias"]) >= 4.5 for row in rows)
    assert f"{float(rows[0]['bias']):.1f}" == highest
    assert all(float(row["bias_lo"]) <= float(row["bias"]) <= float(row["bias_hi"]) for row in rows)
    _check_log(browser)


@needs_browser
def test_changed_columns_are_kept_if_the_person_is_faster_than_the_preview(
    server: AppServer, browser: Any, tmp_path: Path
) -> None:
    browser.get(f"{server.url}/#file")
    browser.refresh()  # the page may still show the result of an earlier file
    _find(browser, "#file-files").send_keys(str(write_spreadsheet(tmp_path / "quick.zip", 12)))
    _find(browser, "#column-caption")
    choose = """
        const [field, value] = arguments;
        const select = document.getElementById(`column-${field}`);
        select.value = value;
        select.dispatchEvent(new Event("change"));
    """
    # Two changes in a row: the answer to the first one must not undo the second one.
    browser.execute_script(choose, "author", "")
    browser.execute_script(choose, "posted_at", "")
    headers = "#file-step thead th"
    _wait(browser, lambda: len(browser.find_elements("css selector", headers)) == 3)
    values = [
        _find(browser, f"#column-{name}").get_property("value") for name in ("author", "posted_at")
    ]
    assert values == ["", ""]
    browser.execute_script(choose, "author", "Username")
    browser.execute_script('document.querySelector("#file-step .primary").click()')
    _find(browser, "#explore-result")
    _check_log(browser)


@needs_browser
def test_a_post_is_tried_with_the_keyboard_and_no_answer_is_said(
    server: AppServer, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{server.url}/#try")
    _find(browser, "#try-caption").send_keys("She is the boss", Keys.TAB, Keys.TAB, Keys.ENTER)
    assert "90% interval" in _wait(browser, lambda: _result(browser, "interval"))
    assert "the caption" in browser.find_element("id", "try-result").text
    assert "must not" in browser.find_element("css selector", ".meaning").text
    assert browser.switch_to.active_element.get_attribute("id") == "try-result"
    browser.find_element("id", "try-caption").clear()
    (tmp_path / "drawing.svg").write_text("<svg onload='document.title=1'></svg>")
    browser.find_element("id", "try-files").send_keys(str(tmp_path / "drawing.svg"))
    browser.find_element("id", "try-score").click()
    text = _wait(browser, lambda: _result(browser, "No answer"))
    assert "its images cannot be read" in text
    assert browser.title == "Try · postbias"
    _check_log(browser)


@needs_browser
def test_an_explanation_marks_words_and_frames_regions(
    server: AppServer, browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(np.random.default_rng(1)))
    browser.get("about:blank")
    browser.get(f"{server.url}/#try")
    text = "She is 👩🏽 the <b>boss</b> xylophone"
    script = "document.getElementById('try-caption').value = arguments[0]"
    _find(browser, "#try-caption")
    browser.execute_script(script, text)
    browser.find_element("id", "try-files").send_keys(str(tmp_path / "photo.jpg"))
    browser.find_element("id", "try-score").click()
    _find(browser, "#view-try .explain").click()
    marked = _find(browser, ".explanation .full-caption")
    # The text stays whole, with numbers after the words that move the score.
    without_numbers = browser.execute_script(
        "const copy = arguments[0].cloneNode(true);"
        "for (const number of copy.querySelectorAll('sup')) number.remove();"
        "return copy.textContent;",
        marked,
    )
    assert without_numbers == text
    assert browser.find_elements("css selector", ".explanation mark")
    assert "caption" in browser.find_element("css selector", ".explanation dl").text
    _check_log(browser)


def _title(browser: Any) -> str:
    script = "return document.querySelector('dialog h2')?.textContent ?? ''"
    return str(browser.execute_script(script))


def _result(browser: Any, part: str) -> str:
    text = str(browser.find_element("id", "try-result").text)
    return text if part in text else ""


@needs_browser
def test_posts_are_filtered_and_shown_without_running_their_captions(
    server: AppServer, browser: Any
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{server.url}/#explore/corpus")
    total = _wait(browser, lambda: _number_selected(browser))
    languages = _find(browser, "input[name=languages]")
    assert languages.accessible_name
    _find(browser, "input[name=bands][value=high]").click()
    _wait(browser, lambda: 0 < _number_selected(browser) < total)
    first = _find(browser, ".post")
    first.send_keys(Keys.ENTER)
    _find(browser, "dialog .full-caption")
    title = _title(browser)
    for _ in HOSTILE:
        assert not browser.find_elements("css selector", "dialog .full-caption *")
        ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
        _wait(browser, lambda shown=title: _title(browser) not in {"", shown})
        title = _title(browser)
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    _wait(browser, lambda: not browser.find_elements("css selector", "dialog"))
    assert browser.switch_to.active_element == first
    assert browser.title == "Explore · postbias"
    browser.get(f"{server.url}/report")
    assert browser.find_element("css selector", "p").value_of_css_property("color") == (
        "rgba(255, 0, 0, 1)"
    )


@needs_browser
@pytest.mark.parametrize("section", ["try", "file", "explore", "more"])
def test_every_control_has_a_name_and_nothing_is_wider_than_a_phone(
    server: AppServer, browser: Any, section: str
) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get("about:blank")
        browser.get(f"{server.url}/#{section}")
        _find(browser, f"#view-{section}:not([hidden]) h1")
        if section == "explore":
            _find(browser, ".post")
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
        selector = "button, a, input:not([aria-hidden]), select, textarea"
        controls = browser.find_elements("css selector", selector)
        assert len(controls) > 5
        unnamed = [c for c in controls if c.is_displayed() and not c.accessible_name]
        assert [c.get_attribute("outerHTML") for c in unnamed] == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# Text with too little contrast to the colours behind it: below 4.5 to 1, or 3 to 1 for large text
# (WCAG 2.2 AA).
_LOW_CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
};
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
  const x = c[i] / 255; return sum + weight * (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
}, 0);
const behind = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const text = [...node.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("").trim();
  if (!text || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  if (node.closest(":disabled, [aria-hidden=true]")) continue;
  const style = getComputedStyle(node), ground = behind(node);
  const [a, b] = [luminance(over(rgba(style.color), ground)), luminance(ground)].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
  if ((a + 0.05) / (b + 0.05) < needed) found.push(`${((a + 0.05) / (b + 0.05)).toFixed(2)}: ${text.slice(0, 40)}`);
}
return found;
"""  # noqa: E501 - JavaScript
_CONTROLS = {
    "button",
    "link",
    "textbox",
    "combobox",
    "checkbox",
    "radio",
    "spinbutton",
    "searchbox",
}


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("section", ["try", "file", "explore", "more"])
def test_a_screen_reader_hears_names_and_text_has_contrast(
    server: AppServer, browser: Any, section: str, scheme: str
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.get("about:blank")
        browser.get(f"{server.url}/#{section}")
        _find(browser, f"#view-{section}:not([hidden]) h1")
        if section == "explore":
            _find(browser, ".post")
        nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [
            (node["role"]["value"], node.get("name", {}).get("value", "").strip())
            for node in nodes
            if not node["ignored"]
        ]
        roles = [role for role, _ in seen]
        assert roles.count("main") == 1
        assert "navigation" in roles
        assert [role for role, name in seen if role in _CONTROLS and not name] == []
        assert [role for role, name in seen if role == "image" and not name] == []
        assert browser.execute_script("return document.documentElement.lang")
        headings = browser.execute_script(
            "return [...document.querySelectorAll('h1, h2, h3, h4')]"
            ".filter((h) => h.checkVisibility()).map((h) => Number(h.tagName[1]))"
        )
        assert headings.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(headings)), headings
        assert browser.execute_script(_LOW_CONTRAST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _check_log(browser: Any) -> None:
    """Check that no error was logged but images that cannot be shown."""
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [message for message in severe if "/images/" not in message] == []


@needs_browser
def test_the_page_is_chinese_after_the_switch_and_fits_a_phone(
    server: AppServer, browser: Any
) -> None:
    browser.get(f"{server.url}/#try")
    assert _find(browser, "nav a").text == "Try"
    _find(browser, ".language").click()
    _wait(browser, lambda: _find(browser, "nav a").text == "试评")
    assert browser.execute_script("return document.documentElement.lang") == "zh-CN"
    _find(browser, "#try-caption").send_keys("girls")
    _find(browser, "#try-score").click()
    assert "90% 区间" in _wait(browser, lambda: _find(browser, "#try-result .score-block").text)
    browser.get_log("browser")
    for section in ("try", "file", "explore", "more"):
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(f"{server.url}/?{section}#{section}")
        _wait(browser, lambda name=section: _find(browser, f"#view-{name} h1").text)
        english = browser.execute_script(
            "const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);"
            "const found = [];"
            "while (walker.nextNode()) {"
            "  const {textContent, parentElement} = walker.currentNode;"
            "  const own = 'details, .caption, .language, option, #posts, script, style';"
            "  if (/[a-z] [a-z]/.test(textContent) && !parentElement.closest(own))"
            "    found.push(textContent);"
            "} return found"
        )
        assert [text for text in english if "make " not in text and "postbias " not in text] == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    # Some posts of this corpus have images that cannot be read.
    assert [one for one in browser.get_log("browser") if "/images/" not in one["message"]] == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    _find(browser, ".language").click()
    _wait(browser, lambda: _find(browser, "nav a").text == "Try")


def test_a_cancelled_job_is_resumed_and_exports_every_post(
    server: AppServer,
) -> None:
    text = "id,text\n" + "".join(f"p{n},she is boss {n}\n" for n in range(12_000))
    upload = server.upload({"posts.csv": text.encode()})
    columns = server.examine(upload)["columns"]
    job = server.score(upload, columns)
    server.wait(job, "running")
    server.call("POST", f"/api/jobs/{job}/cancel", {})
    assert server.wait(job)["state"] == "cancelled"
    server.call("POST", f"/api/jobs/{job}/resume", {})
    status = server.wait(job, timeout_s=120)
    assert status["state"] == "done", status
    found = server.call("POST", f"/api/corpora/{status['corpus']}/posts/7/explanation", {})
    assert found["text"] == "she is boss 7"
    answer = server.send("POST", "/api/corpora/corpus/posts/7/explanation", b"{}")
    assert answer[0] == 400  # the scores of that corpus name another student
    assert b"another model" in answer[1]
    assert status["summary"]["scored"] == 12_000
    for suffix in ("csv", "parquet"):
        body = {"format": suffix, "order": {"by": "input", "descending": False}}
        made = server.call("POST", f"/api/corpora/{status['corpus']}/exports", body)
        assert made["rows"] == 12_000
        found, data = server.send("GET", made["address"])
        assert found == 200
        assert server.send("GET", made["address"])[0] == 404  # deleted once it is sent
    assert pq.read_table(io.BytesIO(data))["post_id"].to_pylist()[-1] == "p11999"


def test_rows_without_ids_are_numbered_and_rejects_have_reasons(server: AppServer) -> None:
    upload = server.upload({"posts.csv": b'text\n"one"\n""\n"three"\n'})
    seen = server.examine(upload)
    assert seen["columns"]["post_id"] == ""
    status = server.wait(server.score(upload, seen["columns"]))
    assert status["summary"]["scored"] == 2
    assert status["summary"]["differs"] == []  # the tiny student has no profile to compare with
    rejects = server.call("GET", f"/api/corpora/{status['corpus']}/rejects")
    assert [row["reason"] for row in rejects["rows"]] == ["no_content"]
    body = {"limit": 3, "filter": {"status": "all"}, "order": {"by": "input", "descending": False}}
    found = server.call("POST", f"/api/corpora/{status['corpus']}/selection", body)
    assert [post["post_id"] for post in found["posts"]] == ["row-1", "row-2", "row-3"]


def test_an_export_of_another_tool_needs_no_columns(server: AppServer) -> None:
    header, cells = "id,thread_id,body,timestamp", "1,1,she leads,2024-01-01 00:00:00"
    upload = server.upload({"4cat.csv": f"{header}\n{cells}\n".encode()})
    seen = server.examine(upload)
    assert seen["layout"] == "4cat"
    assert seen["names"] == []
    status = server.wait(server.score(upload))
    assert status["summary"]["scored"] == 1


def test_the_page_starts_without_a_repository_and_leaves_nothing(tmp_path: Path) -> None:
    write_tiny_artifact(tmp_path / "student")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    started = time.monotonic()
    with AppServer(tmp_path, "--model", "student", TMPDIR=str(temporary)) as server:
        assert time.monotonic() - started < 30
        assert server.call("GET", "/api/corpora") == []
        assert server.call("GET", "/api/pages")["is_repository"] is False
        server.upload({"posts.csv": b"id,text\n1,a\n"})
        assert list(temporary.glob("postbias-*")) != []
    # ONNX Runtime keeps a file `.ses` there, whoever uses it.
    assert [path.name for path in temporary.iterdir() if path.name != ".ses"] == []


def test_the_rating_page_is_started_and_ends_with_the_page(tmp_path: Path) -> None:
    paths = write_scored_repo(tmp_path / "repo", n_posts=60)
    with AppServer(paths.root) as server:
        pages = server.call("GET", "/api/pages")
        if pages["rating"]["is_open"]:
            pytest.skip("something listens on the port of the rating page")
        assert pages["can_start_rating"]
        assert server.call("POST", "/api/pages/rating", {}) == {"port": pages["rating"]["port"]}
        assert server.call("GET", "/api/pages")["rating"]["is_open"]
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", 8765)):
        pass


def test_other_pages_and_strangers_are_refused(server: AppServer, repo: Paths) -> None:
    for method, path, headers in (
        ("GET", "/api/student", {"Host": "evil.example"}),
        ("POST", "/api/uploads", {"Origin": "http://evil.example"}),
        ("POST", "/api/score", {"Origin": "null"}),
    ):
        assert server.send(method, path, b"{}", **headers)[0] == 403
    with AppServer(repo.root, "--host", "0.0.0.0") as opened:  # noqa: S104 - what is tested
        address, token = opened.url.split("/?token=")
        opened.url = f"http://127.0.0.1:{address.rsplit(':', 1)[1]}"
        for path in ("/", "/api/student", "/static/app/main.js", "/report"):
            assert opened.send("GET", path)[0] == 403
        assert opened.send("GET", "/api/student", Cookie=f"postbias_token={token}")[0] == 200


@needs_browser
def test_a_public_page_has_single_posts_only(repo: Paths, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    student = str(repo.champion)
    with AppServer(repo.root, "--public", "--model", student) as public:
        status, _ = public.send("GET", "/api/student", Host="space.example")
        assert status == 200
        browser.get_log("browser")  # entries of earlier tests
        browser.get(public.url + "#explore")
        WebDriverWait(browser, 20).until(
            lambda page: page.find_element(By.ID, "view-try").is_displayed()
        )
        links = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "nav a")]
        assert len(links) == 1
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        assert public.send("POST", "/api/uploads")[0] in {404, 405}
