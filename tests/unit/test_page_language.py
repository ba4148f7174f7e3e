"""The language of the pages in the browser: the browser's setting, and the switch that wins."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from postbias.app.page_language import LANGUAGE_NAMES, LanguagePages
from postbias.localisation.messages import HTML_LANGUAGES, LANGUAGES


def _client(template: str) -> TestClient:
    app = FastAPI()
    LanguagePages(template).add_to(app)
    return TestClient(app)


@pytest.fixture(params=["app.html.j2", "rate.html.j2"])
def client(request: pytest.FixtureRequest) -> TestClient:
    return _client(request.param)


def _language_of(client: TestClient, accepted: str) -> str:
    page = client.get("/", headers={"Accept-Language": accepted}).text
    (language,) = re.findall(r'<html lang="([^"]*)">', page)
    return str(language)


def test_every_language_has_a_name_and_a_code() -> None:
    assert set(HTML_LANGUAGES) == set(LANGUAGES)
    assert set(LANGUAGE_NAMES) == set(HTML_LANGUAGES.values())


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", "en"),
        ("*", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("ZH-Hans", "zh-CN"),
        ("en;q=0.4, zh;q=0.5", "zh-CN"),
        ("zh;q=0, en", "en"),
        ("zh;q=many, fr", "en"),
        (",;q=,\xa0", "en"),
    ],
)
def test_the_first_known_language_of_the_browser_is_used(
    client: TestClient, accepted: str, expected: str
) -> None:
    assert _language_of(client, accepted.encode("ascii", "ignore").decode()) == expected


def test_the_switch_wins_over_the_setting_of_the_browser(client: TestClient) -> None:
    page = client.get("/", headers={"Accept-Language": "en"}).text
    assert 'href="/language/zh-CN" lang="zh-CN"' in page
    assert client.get("/texts.json", headers={"Accept-Language": "en"}).json() == {}
    answer = client.get("/language/zh-CN", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert _language_of(client, "en") == "zh-CN"
    assert client.get("/texts.json").json()["Close"] == "关闭"
    client.get("/language/en")
    assert _language_of(client, "zh-CN") == "en"


@pytest.mark.parametrize("code", ["fr", "zh", "../etc", "en%0d%0aX-Evil:1"])
def test_unknown_languages_are_refused(client: TestClient, code: str) -> None:
    answer = client.get(f"/language/{code}", follow_redirects=False)
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_an_invalid_cookie_is_ignored(client: TestClient) -> None:
    client.cookies.set("postbias_language", "<script>")
    assert _language_of(client, "zh") == "zh-CN"


def test_the_rating_page_is_written_in_its_language() -> None:
    client = _client("rate.html.j2")
    assert "Who rates?" in client.get("/").text
    chinese = client.get("/", headers={"Accept-Language": "zh"}).text
    assert ">由谁评分" in chinese
    assert "Who rates?" not in chinese
