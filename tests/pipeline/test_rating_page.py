"""The rating page: a real server, two raters in a real browser, kills, and strangers."""

from __future__ import annotations

import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.rating_server import RatingServer, error_of
from tests.scored_repo import HOSTILE, write_scored_repo
from tests.small_repo import set_params

from postbias.paths import Paths

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
    assert status == 400
    assert "ann, ben" in text


def test_neither_scores_nor_ids_reach_the_page(repo: Paths) -> None:
    with RatingServer(repo.root) as server:
        progress = server.request("/api/session", {"rater": "ann"})
    assert progress["task"].keys() == {"post", "occasion", "caption", "images"}


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
