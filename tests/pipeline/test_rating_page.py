"""The rating page: a real server, two raters in a real browser, kills, and strangers."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.rating_server import RatingServer, error_of
from tests.scored_repo import HOSTILE, write_scored_repo
from tests.small_repo import set_params

from postbias.cli import main
from postbias.paths import Paths
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table, write_table

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-background-networking")
needs_browser = pytest.mark.skipif(
    not (_CHROMIUM and _DRIVER), reason="needs chromium and chromium-driver"
)


@pytest.fixture
def repo(tmp_path: Path) -> Paths:
    paths = write_scored_repo(tmp_path / "repo", n_posts=60)
    gold = "".join(f"p{number:05d}\n" for number in range(len(HOSTILE)))
    (paths.root / "gold.csv").write_text(f"post_id\n{gold}", encoding="utf-8")
    set_params(paths.root, {"rating.n": 8, "rating.include": "gold.csv"})
    return paths


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    yield driver
    driver.quit()


def _stored(repo: Paths) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(repo.ratings)) as db:
        return db.execute("SELECT rater, outcome, scores, note, seconds FROM ratings").fetchall()


@needs_browser
def test_a_rater_rates_all_posts_with_the_keyboard(repo: Paths, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    def done() -> int:
        return int(browser.find_element("id", "progress-text").text.split()[0])

    def press(*keys: str, then: int) -> None:
        for key in keys:
            browser.switch_to.active_element.send_keys(key)
        WebDriverWait(browser, 10).until(
            lambda _: (
                done() == then
                and not browser.execute_script("return document.body.classList.contains('busy')")
            )
        )

    with RatingServer(repo.root) as server:
        browser.get(server.url)
        browser.switch_to.active_element.send_keys("ann", Keys.ENTER)
        WebDriverWait(browser, 10).until(
            lambda driver: driver.find_element("id", "rate").is_displayed()
        )
        total = int(browser.find_element("id", "progress-text").text.split()[-1])
        assert total == 8 + len(HOSTILE) + 1  # with a tenth again
        press("3", "5", then=1)
        press("-", "0", then=2)
        press(Keys.BACKSPACE, then=1)
        press("7", "0", then=2)
        press("?", then=3)
        press(".", "2", then=4)
        assert browser.title == "Rate posts · postbias"
        for number in range(4, total):
            caption = browser.find_element("id", "caption").text
            assert "alert(1)" not in caption or any(h.split()[0][:5] in caption for h in HOSTILE)
            # Nothing of a caption became an element or ran.
            assert not browser.find_elements("css selector", "#caption *")
            press("1", "2", then=number + 1)
        assert browser.find_element("id", "end").is_displayed()
        assert browser.title == "Rate posts · postbias"
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    rows = _stored(repo)
    assert len(rows) == total + 2
    assert [row[1] for row in rows[:6]] == [
        "rated", "rated", "withdrawn", "rated", "cannot_tell", "skipped",
    ]  # fmt: skip
    assert rows[1][2] == '{"bias": 10.0, "orientation": 0.0}'
    assert rows[5][3] == "not_shown"
    assert all(0 < float(row[4]) < 60 for row in rows if row[1] == "rated")


class _Page:
    """The page of a rater in the browser."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, url: str, rater: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self.browser.get(url)
        self.browser.find_element("id", "rater").clear()
        self.browser.find_element("id", "rater").send_keys(rater, Keys.ENTER)
        self.wait(lambda: self.is_shown("rate"))

    def wait(self, is_so: Callable[[], object], seconds: float = 10) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, seconds).until(lambda _: is_so())

    def is_shown(self, name: str) -> bool:
        return bool(self.browser.find_element("id", name).is_displayed())

    def press(self, *keys: str) -> None:
        busy = "return document.body.classList.contains('busy')"
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)
            self.wait(lambda: not self.browser.execute_script(busy))

    def state(self) -> tuple[int, str, dict[str, str], bool]:
        """Return answers, current question, scores shown as chosen, and whether undo is on."""
        find = self.browser.find_elements
        chosen = {
            box.get_attribute("data-axis"): button.get_attribute("data-point")
            for box in find("css selector", ".axis")
            for button in box.find_elements("css selector", '[aria-checked="true"]')
        }
        (current,) = find("css selector", ".axis.current")
        done = int(self.browser.find_element("id", "progress-text").text.split()[0])
        undo = self.browser.find_element("id", "undo").is_enabled()
        return done, current.get_attribute("data-axis"), chosen, undo

    def caption(self) -> str:
        return str(self.browser.find_element("id", "caption").text)


@needs_browser
def test_backspace_goes_back_one_score_and_then_one_post(repo: Paths, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page = _Page(browser)
    with RatingServer(repo.root) as server:
        page.open(server.url, "ann")
        assert page.state() == (0, "bias", {}, False)
        page.press("3")
        assert page.state() == (0, "orientation", {"bias": "3"}, True)
        page.press(Keys.BACKSPACE)  # on the first post
        assert page.state() == (0, "bias", {}, False)
        first = page.caption()
        page.press("4", "5")
        assert page.state() == (1, "bias", {}, True)
        page.press("9", Keys.BACKSPACE)
        assert page.state() == (1, "bias", {}, True)
        page.press(Keys.BACKSPACE)  # the previous post, with what it was given
        before = {"bias": "4", "orientation": "5"}
        assert page.state() == (0, "bias", before, False)
        assert page.caption() == first
        assert "bias 4, orientation 5" in browser.find_element("id", "status").get_attribute(
            "textContent"
        )
        page.press("6")
        assert page.state() == (0, "orientation", before | {"bias": "6"}, True)
        page.press(Keys.ENTER)  # confirms what it was
        assert page.state()[0] == 1
    rows = [row[1:3] for row in _stored(repo)]
    assert [outcome for outcome, _ in rows] == ["rated", "withdrawn", "rated"]
    assert rows[-1][1] == '{"bias": 6.0, "orientation": 5.0}'


@needs_browser
@pytest.mark.parametrize("n_images", [1, 3, 10])
def test_caption_and_all_scores_are_in_sight(repo: Paths, browser: Any, n_images: int) -> None:
    def image(size: tuple[int, int]) -> dict[str, object]:
        file = io.BytesIO()
        Image.new("RGB", size, "teal").save(file, "JPEG")
        return {"bytes": file.getvalue(), "path": None}

    shard = repo.posts / "00000.parquet"
    images = [image(((1080, 1350), (1280, 720))[i == 1]) for i in range(n_images)]
    caption = "Mum's kitchen, again. He asked where the pan is, after four years. #home #family"
    changes = {"images": images, "caption": caption}
    rows = [row | changes for row in read_table(shard).to_pylist()]
    write_table(pa.Table.from_pylist(rows, POSTS), shard, POSTS)
    page = _Page(browser)
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        with RatingServer(repo.root) as server:
            page.open(server.url, "ann")
            for key in ("3", "5"):
                seen = browser.find_elements(
                    "css selector", ".current .score, #caption, #images img"
                )
                assert len(seen) == 11 + 1 + n_images
                page.wait(lambda s=seen: all(e.size["height"] > 0 for e in s))  # type: ignore[misc]
                footer = browser.find_element("css selector", "footer").rect["y"]
                script = "return arguments[0].getBoundingClientRect().toJSON()"
                boxes = [browser.execute_script(script, element) for element in seen]
                assert all(box["top"] >= 0 and box["bottom"] <= footer for box in boxes)
                titles = browser.find_elements("css selector", ".axis h2")
                assert all(title.rect["y"] < footer for title in titles)
                page.press(key)
            # A click enlarges an image; keys do not score until it is closed.
            small = browser.find_element("css selector", "#images img")
            page.wait(small.is_displayed)  # the image of the next post may still be loading
            small.click()
            large = browser.find_element("css selector", "#enlarged img")
            page.wait(lambda: large.size["height"] > 1.2 * small.size["height"])
            page.press("3")
            assert page.state()[2] == {}
            large.click()
            page.press("3")
            assert page.state()[2] == {"bias": "3"}
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_a_rater_too_many_can_correct_the_name(repo: Paths, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page = _Page(browser)
    with RatingServer(repo.root) as server:
        page.open(server.url, "ann")
        server.request("/api/session", {"rater": "ben"})
        browser.get(server.url)
        field = browser.find_element("id", "rater")
        assert field.get_attribute("value") == "ann"
        text = " ".join(browser.find_element("id", "start").text.split())
        assert "the keys 0 to 9 and - (for 10) choose a score" in text
        assert "remembers it and fills it in" in text
        field.clear()
        field.send_keys("carl", Keys.ENTER)
        page.wait(lambda: page.is_shown("message"))
        message = browser.find_element("id", "message").text
        assert message.startswith("All places for raters of this study are taken. ")
        assert "ben" not in message
        assert "Try again" not in message
        # The name is selected: typing replaces it.
        browser.switch_to.active_element.send_keys("ben", Keys.ENTER)
        page.wait(lambda: page.is_shown("rate"))
        browser.get(server.url)
        field = browser.find_element("id", "rater")
        assert field.get_attribute("value") == "ben"


@needs_browser
def test_an_answer_is_sent_when_the_server_is_back(repo: Paths, browser: Any) -> None:
    page = _Page(browser)
    with RatingServer(repo.root) as server:
        page.open(server.url, "ann")
        port = server.url.rsplit(":", 1)[1].strip("/")
    page.press("3", "5")
    page.wait(lambda: page.is_shown("message"))
    message = browser.find_element("id", "message").text
    assert "Keep this page open, and ask the person who runs the study" in message
    assert "postbias" not in message
    assert _stored(repo) == []
    with RatingServer(repo.root, "--port", port):
        page.wait(lambda: browser.find_element("id", "progress-text").text.startswith("1 of"))
        assert not page.is_shown("message")
    assert [row[1:3] for row in _stored(repo)] == [("rated", '{"bias": 3.0, "orientation": 5.0}')]
    browser.get_log("browser")  # the failed requests


def test_no_kill_loses_an_answer(repo: Paths) -> None:
    answered = 0
    for _ in range(20):
        with RatingServer(repo.root) as server:
            for rater in ("ann", "ben"):
                progress = server.request("/api/session", {"rater": rater})
                assert progress["done"] == answered // 2
                if progress["task"]:
                    server.rate(rater, progress["task"])
                    answered += 1
            if not progress["task"]:
                break
            # __exit__ sends SIGKILL, right after the answer was acknowledged.
    assert len(_stored(repo)) == answered == 2 * (8 + len(HOSTILE) + 1)


def test_two_servers_share_one_store(repo: Paths) -> None:
    with RatingServer(repo.root) as first, RatingServer(repo.root) as second:
        for server, rater in ((first, "ann"), (second, "ben")):
            task = server.request("/api/session", {"rater": rater})["task"]
            server.rate(rater, task)
        assert second.request("/api/session", {"rater": "ann"})["done"] == 1
        with pytest.raises(urllib.error.HTTPError) as caught:
            first.request("/api/session", {"rater": "eve"})
        status, text = error_of(caught.value)
        first.process.terminate()
        assert first.process.stderr is not None
        log = first.process.stderr.read()
    assert status == 400
    # Whoever runs the study learns more than a rater.
    assert not {"ann", "ben", "params", "saw"} & set(re.split(r"\W+", text))
    assert "All places for raters of this study are taken. Use the name that you began with" in text
    assert "rating.raters in params.yaml" in log


def test_an_earlier_draw_is_named_if_the_params_have_changed(
    repo: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> list[str]:
        result = CliRunner().invoke(main, ["ratings", *arguments])
        assert result.exit_code == 0, result.output
        return [line for line in result.output.splitlines() if "earlier draw" in line]

    monkeypatch.chdir(repo.root)
    assert "no posts have been drawn yet" in CliRunner().invoke(main, ["ratings", "show"]).output
    n = 8 + len(HOSTILE)
    for number in range(2):
        with RatingServer(repo.root) as server:
            assert not any("earlier draw" in line for line in server.lines)
        assert run("show") == run("tasks", "csv", str(tmp_path / f"same{number}")) == []
        set_params(repo.root, {"rating.raters": 3})  # needs no new draw
    set_params(repo.root, {"rating.n": 9})
    with (repo.root / "gold.csv").open("a", encoding="utf-8") as file:
        file.write("p00050\n")
    with RatingServer(repo.root) as server:
        shown = [line for line in server.lines if "earlier draw" in line]
    assert len(shown) == 1
    assert shown[0].startswith(f"the earlier draw ({n} posts) is used, although params.yaml")
    assert "rating.n is 9, was 8" in shown[0]
    assert "rating.include is gold.csv@" in shown[0]
    assert "rating.overlap" not in shown[0]
    assert shown[0].endswith("and move store/ratings.sqlite away")
    assert run("show") == run("tasks", "csv", str(tmp_path / "changed")) == shown


def test_show_says_how_many_of_their_tasks_raters_have_answered(
    repo: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 8 + len(HOSTILE)
    with RatingServer(repo.root) as server:
        task = server.request("/api/session", {"rater": "ann"})["task"]
        unsure = {"outcome": "cannot_tell", "scores": {}}
        for changes in ({}, {}, unsure, {"outcome": "skipped", "scores": {}, "note": "other"}):
            task = server.rate("ann", task, **changes)["task"]
        server.request("/api/session", {"rater": "ben"})
    monkeypatch.chdir(repo.root)
    assert CliRunner().invoke(main, ["ratings", "show"]).output.splitlines() == [
        f"{n} posts to rate, 2 of 2 raters have begun",
        f"  ann: 4 of {n + 1} tasks answered ({n} posts and 1 repeat): 2 rated, 1 cannot tell, "
        "1 skipped",
        f"  ben: 0 of {n + 1} tasks answered ({n} posts and 1 repeat): 0 rated, 0 cannot tell, "
        "0 skipped",
    ]


def test_neither_scores_nor_ids_reach_the_page(repo: Paths) -> None:
    with RatingServer(repo.root) as server:
        progress = server.request("/api/session", {"rater": "ann"})
    assert progress["task"].keys() == {"post", "occasion", "caption", "images", "withdrawn"}


def test_requests_of_other_pages_and_malformed_ones_are_refused(repo: Paths) -> None:
    with RatingServer(repo.root) as server:
        task = server.request("/api/session", {"rater": "ann"})["task"]
        for path, body, headers, status in (
            ("/api/rubric", None, {"Host": "evil.example"}, 403),
            ("/api/session", {"rater": "<b>"}, {}, 422),
            ("/api/session", {"rater": "ann"}, {"Content-Type": "text/plain"}, 422),
            ("/api/session", {"rater": "ann", "more": 1}, {}, 422),
            ("/images/0/99", None, {}, 404),
            ("/images/999/0", None, {}, 404),
            ("/static/../access.py", None, {}, 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                server.request(path, body, **headers)
            assert error_of(caught.value)[0] == status, path
        for changes in ({"post": 999}, {"scores": {"bias": 4}}, {"nonce": "x"}, {"outcome": "no"}):
            with pytest.raises(urllib.error.HTTPError) as caught:
                server.rate("ann", task, **changes)
            assert error_of(caught.value)[0] in {400, 422}
        with urllib.request.urlopen(server.url) as response:  # noqa: S310 - on loopback
            policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert _stored(repo) == []


def test_strangers_on_the_network_need_the_token(repo: Paths) -> None:
    with RatingServer(repo.root, "--host", "0.0.0.0") as server:  # noqa: S104 - what is tested
        address, token = server.url.split("/?token=")
        port = address.rsplit(":", 1)[1]
        server.url = f"http://127.0.0.1:{port}"
        for path in ("/", "/api/rubric", "/images/0/0", "/static/rate.js", "/?token=wrong"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                server.request(path)
            assert error_of(caught.value)[0] == 403, path
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.request("/api/rubric", Cookie="postbias_token=wrong")
        assert error_of(caught.value)[0] == 403
        assert server.request("/api/rubric", Cookie=f"postbias_token={token}")["axes"]
        assert len(token) >= 32
