"""Requests of the endpoint teacher and its classification of failures, without network."""

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
from tests.teacher_corpus import make_params, noise_image, post

from postbias.params import ImagesSentParams
from postbias.teacher.endpoint_client import EndpointClient
from postbias.teacher.image_payloads import encode_image, encode_images, largest_sample_image
from postbias.teacher.prompts import make_label_request, mask_mentions
from postbias.teacher.request_failures import (
    NextStep,
    failure_from_error_body,
    failure_from_exception,
)
from postbias.teacher.rubric import Rubric, load_rubric

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ImagesSentParams(max_images=2, max_side_px=112, jpeg_quality=85)


@pytest.fixture(scope="module")
def rubric() -> Rubric:
    return load_rubric(ROOT / "rubrics" / "gender_bias.yaml")


def decode(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


# Images


def test_images_are_shrunk_to_the_maximum_side_and_never_enlarged() -> None:
    large, small = encode_images([noise_image(1, (400, 200)), noise_image(2, (50, 60))], IMAGES)
    assert decode(large).size == (112, 56)
    assert decode(small).size == (50, 60)


def test_a_strip_is_padded_so_that_no_side_is_below_28_px() -> None:
    (url,) = encode_images([noise_image(1, (1000, 40))], IMAGES)
    assert decode(url).size == (112, 28)
    assert decode(url).getpixel((50, 0)) == pytest.approx((255, 255, 255), abs=20)


def test_images_are_sent_upright_without_metadata() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a name"
    Image.new("RGB", (80, 40)).save(buffer, "JPEG", exif=exif)
    (url,) = encode_images([buffer.getvalue()], IMAGES)
    assert decode(url).size == (40, 80)
    assert not decode(url).getexif()


def test_the_first_readable_images_are_sent_in_order() -> None:
    files = [b"none", noise_image(1, (30, 40)), b"", noise_image(2, (40, 30)), noise_image(3)]
    assert [decode(url).size for url in encode_images(files, IMAGES)] == [(30, 40), (40, 30)]


def test_the_sample_image_has_the_largest_size_that_is_sent() -> None:
    assert decode(largest_sample_image(IMAGES)).size == (112, 112)
    assert encode_image(Image.new("RGB", (30, 30)), IMAGES).startswith("data:image/jpeg;base64,")


# Requests


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
def test_account_names_are_masked_and_email_addresses_are_not(caption: str, masked: str) -> None:
    assert mask_mentions(caption) == masked


def test_the_key_changes_with_the_content_of_a_request_and_nothing_else(rubric: Rubric) -> None:
    def key(row: dict[str, Any], **changes: Any) -> str:
        return make_label_request(row, rubric, make_params(**changes).annotate.endpoint).key

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


# Failures


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
def test_retry_after_is_parsed_in_all_its_forms(
    headers: dict[str, str], wait_s: float | None
) -> None:
    failure = failure_from_exception(status_error(429, headers), now_s=10.0)
    assert (failure.next_step, failure.retry_after_s) == (NextStep.SLOW_DOWN, wait_s)


@pytest.mark.parametrize(
    ("status", "next_step"),
    [
        (400, NextStep.CHECK_ENDPOINT),
        (401, NextStep.ABORT),
        (402, NextStep.ABORT),
        (403, NextStep.CHECK_ENDPOINT),
        (404, NextStep.CHECK_ENDPOINT),
        (408, NextStep.RETRY),
        (422, NextStep.CHECK_ENDPOINT),
        (500, NextStep.RETRY),
        (529, NextStep.RETRY),
    ],
)
def test_each_status_determines_the_next_step(status: int, next_step: NextStep) -> None:
    failure = failure_from_exception(status_error(status, {}), 0.0)
    assert failure.next_step is next_step
    assert "caption" not in failure.detail


def test_an_error_code_is_shown_only_if_it_looks_like_one() -> None:
    shown = failure_from_exception(status_error(400, {}, {"code": "context_length_exceeded"}), 0.0)
    assert shown.detail == "HTTP 400 (context_length_exceeded)"
    hidden = failure_from_exception(status_error(400, {}, {"code": "my caption is this"}), 0.0)
    assert hidden.detail == "HTTP 400"


def test_exceptions_not_caused_by_the_endpoint_are_not_swallowed() -> None:
    with pytest.raises(KeyError):
        failure_from_exception(KeyError("x"), 0.0)


def test_an_error_in_a_body_is_classified_by_its_code() -> None:
    assert failure_from_error_body({"code": 429}).next_step is NextStep.SLOW_DOWN
    assert failure_from_error_body("boom").next_step is NextStep.RETRY


def test_a_message_of_the_endpoint_is_shown_without_key_and_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "my-own-key-123")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example.org/v1")
    client = EndpointClient.open(5)
    message = (
        "Incorrect key my-own-key-123 at\nhttps://models.example.org/v1/chat, see sk-abc***xyz"
    )
    assert client.redact(message) == "Incorrect key ... at ..., see ..."
    asyncio.run(client.close())
