"""What the endpoint teacher sends, and what it understands of faults: no network needed."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image
from tests.teacher_corpus import make_params, picture, post

from postbias.params import ImagesSentParams
from postbias.teacher.api_errors import Next, fault_of, fault_of_body
from postbias.teacher.client import Client
from postbias.teacher.image_payloads import data_url, data_urls, sample_picture
from postbias.teacher.prompts import make_question, mask_mentions
from postbias.teacher.rubric import Rubric, load_rubric

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ImagesSentParams(max_images=2, max_side_px=112, jpeg_quality=85)


@pytest.fixture(scope="module")
def rubric() -> Rubric:
    return load_rubric(ROOT / "rubrics" / "gender_bias.yaml")


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


# Pictures


def test_pictures_are_shrunk_to_the_longer_side_and_never_enlarged() -> None:
    large, small = data_urls([picture(1, (400, 200)), picture(2, (50, 60))], IMAGES)
    assert opened(large).size == (112, 56)
    assert opened(small).size == (50, 60)


def test_a_strip_is_bordered_so_that_no_side_is_below_28_px() -> None:
    (url,) = data_urls([picture(1, (1000, 40))], IMAGES)
    assert opened(url).size == (112, 28)
    assert opened(url).getpixel((50, 0)) == pytest.approx((255, 255, 255), abs=20)


def test_pictures_are_sent_upright_without_metadata() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a name"
    Image.new("RGB", (80, 40)).save(buffer, "JPEG", exif=exif)
    (url,) = data_urls([buffer.getvalue()], IMAGES)
    assert opened(url).size == (40, 80)
    assert not opened(url).getexif()


def test_the_first_readable_pictures_are_sent_in_order() -> None:
    files = [b"none", picture(1, (30, 40)), b"", picture(2, (40, 30)), picture(3)]
    assert [opened(url).size for url in data_urls(files, IMAGES)] == [(30, 40), (40, 30)]


def test_the_sample_picture_has_the_largest_size_that_is_sent() -> None:
    assert opened(sample_picture(IMAGES)).size == (112, 112)
    assert data_url(Image.new("RGB", (30, 30)), IMAGES).startswith("data:image/jpeg;base64,")


# Questions


@pytest.mark.parametrize(
    ("caption", "masked"),
    [
        ("hi @some.body_1!", "hi @user!"),
        ("@a @b, (@c)", "@user @user, (@user)"),
        ("write to me@example.com", "write to me@example.com"),
        ("at 5 @ home", "at 5 @ home"),
        ("thanks @ana.", "thanks @user."),
        ("@имя и @名前", "@user и @user"),
    ],
)
def test_names_of_accounts_are_masked_and_addresses_are_not(caption: str, masked: str) -> None:
    assert mask_mentions(caption) == masked


def test_the_key_changes_with_what_is_asked_and_with_nothing_else(rubric: Rubric) -> None:
    def key(row: dict[str, Any], **changes: Any) -> str:
        return make_question(row, rubric, make_params(**changes).annotate.endpoint).key

    base = key(post(1))
    same = [
        key(post(1, post_id="other", author="other")),
        key(post(1), limits={"concurrency": 3}, max_tokens=999, repeats=4, attempts=9),
        key(post(1), cost={"max_cost_usd": None}),
    ]
    other = [
        key(post(1, caption="another")),
        key(post(1, images=[])),
        key(post(1), model="another"),
        key(post(1), temperature=0.7),
        key(post(1), images={"max_side_px": 56}),
        key(post(1), images={"max_images": 1}),
        key(post(1), mask_mentions=False),
    ]
    assert set(same) == {base}
    assert len({base, *other}) == 1 + len(other)


# Faults


def status_error(status: int, headers: dict[str, str], body: Any = None) -> openai.APIStatusError:
    request = httpx2.Request("POST", "http://secret.example/v1")
    response = httpx2.Response(status, headers=headers, request=request)
    return openai.APIStatusError("a caption", response=response, body=body)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_read_in_all_its_forms(
    headers: dict[str, str], wait_s: float | None
) -> None:
    fault = fault_of(status_error(429, headers), now_s=10.0)
    assert (fault.next, fault.retry_after_s) == (Next.SLOW_DOWN, wait_s)


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (400, Next.DOUBT),
        (401, Next.STOP),
        (402, Next.STOP),
        (403, Next.DOUBT),
        (404, Next.DOUBT),
        (408, Next.AGAIN),
        (422, Next.DOUBT),
        (500, Next.AGAIN),
        (529, Next.AGAIN),
    ],
)
def test_each_status_says_what_to_do_next(status: int, what: Next) -> None:
    fault = fault_of(status_error(status, {}), 0.0)
    assert fault.next is what
    assert "caption" not in fault.detail


def test_a_code_is_shown_only_if_it_looks_like_one() -> None:
    shown = fault_of(status_error(400, {}, {"code": "context_length_exceeded"}), 0.0)
    assert shown.detail == "HTTP 400 (context_length_exceeded)"
    hidden = fault_of(status_error(400, {}, {"code": "my caption is this"}), 0.0)
    assert hidden.detail == "HTTP 400"


def test_errors_that_are_none_of_the_endpoint_are_not_swallowed() -> None:
    with pytest.raises(KeyError):
        fault_of(KeyError("x"), 0.0)


def test_an_error_in_a_body_is_sorted_like_its_status() -> None:
    assert fault_of_body({"code": 429}).next is Next.SLOW_DOWN
    assert fault_of_body("boom").next is Next.AGAIN


def test_words_of_the_endpoint_are_shown_without_key_and_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "my-own-key-123")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example.org/v1")
    client = Client.open(5)
    said = "Incorrect key my-own-key-123 at\nhttps://models.example.org/v1/chat, see sk-abc***xyz"
    assert client.redact(said) == "Incorrect key ... at ..., see ..."
    asyncio.run(client.close())
