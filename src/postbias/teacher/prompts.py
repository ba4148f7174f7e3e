"""From a post to what an endpoint is asked about it.

A `Question` is one post as it is shown to the teacher; its key stands for everything that its
answer depends on: rubric, model, caption as sent, pictures and how they are sent. The author's name
never leaves the house, and no URL, key or delivery detail enters the key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.params import EndpointParams
from postbias.posts.shards import list_shards
from postbias.teacher.rubric import Rubric

#: Raised when the same inputs would be sent in another form that may change the answer.
_FORM = 1

Format = Literal["json_schema", "json_object", "text"]

# Not inside an e-mail address; the platforms' own alphabet of names.
_MENTION = re.compile(r"(?<![\w@.])@[\w.]*\w")

#: Posts with their pictures held in memory at once by a reader.
_BATCH_POSTS = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A post as a teacher is to see it.

    Attributes:
        post_id: The post.
        key: Digest of all that the answer depends on.
        caption: As sent; empty if there is none.
        images: Files of its pictures, in order.
    """

    post_id: str
    key: str
    caption: str
    images: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an endpoint can do, found out by asking.

    Attributes:
        format: The strictest form of reply it can be held to.
        has_logprobs: Whether it gives probabilities of tokens.
        limit_key: What it calls the limit on output tokens.
        has_temperature: Whether it takes a temperature.
    """

    format: Format
    has_logprobs: bool
    limit_key: Literal["max_tokens", "max_completion_tokens"]
    has_temperature: bool


def mask_mentions(caption: str) -> str:
    """Replace the names of accounts.

    Args:
        caption: Any text.

    Returns:
        The text with `@user` for each `@name`; e-mail addresses stay.
    """
    return _MENTION.sub("@user", caption)


def make_question(post: Mapping[str, Any], rubric: Rubric, params: EndpointParams) -> Question:
    """Turn a post into a question.

    Args:
        post: A row with `post_id`, `caption` and `images`.
        rubric: What is asked.
        params: Who is asked, and how posts are sent.

    Returns:
        The question.
    """
    caption = mask_mentions(post["caption"]) if params.mask_mentions else post["caption"]
    images = tuple(image["bytes"] or b"" for image in post["images"] or ())
    images = images if params.images.max_images else ()
    asked = {
        "form": _FORM,
        "rubric": rubric.ref,
        "model": params.model,
        "temperature": params.temperature,
        "caption": caption,
        "images": [hashlib.sha256(image).hexdigest() for image in images],
        "sent": params.images.model_dump() if images else None,
    }
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Question(post["post_id"], key, caption, images)


def iter_questions(
    folder: Path, post_ids: frozenset[str], rubric: Rubric, params: EndpointParams
) -> Iterator[Question]:
    """Go through some posts in constant memory, reading only row groups that hold one of them.

    Args:
        folder: Post shards.
        post_ids: The posts wanted.
        rubric: What is asked.
        params: Who is asked, and how posts are sent.

    Yields:
        A question per wanted post, in the order of the shards.
    """
    wanted = pc.cast(sorted(post_ids), "string")
    for shard in list_shards(folder):
        with pq.ParquetFile(shard) as file:
            groups = [
                group
                for group in range(file.num_row_groups)
                if pc.any(
                    pc.is_in(file.read_row_group(group, ["post_id"])["post_id"], value_set=wanted)
                ).as_py()
            ]
            if not groups:
                continue
            columns = ["post_id", "caption", "images"]
            for batch in file.iter_batches(_BATCH_POSTS, groups, columns):
                for post in batch.filter(pc.is_in(batch["post_id"], value_set=wanted)).to_pylist():
                    yield make_question(post, rubric, params)


def request_body(
    question: Question,
    urls: Sequence[str],
    rubric: Rubric,
    params: EndpointParams,
    abilities: Abilities,
) -> dict[str, Any]:
    """Write the body of a chat completion request.

    Args:
        question: The post.
        urls: Its pictures as data URLs.
        rubric: What is asked.
        params: Who is asked.
        abilities: What the endpoint can do.

    Returns:
        The body as the protocol wants it.
    """
    body: dict[str, Any] = {
        "model": params.model,
        "messages": [
            {"role": "system", "content": instructions(rubric, abilities.format)},
            {"role": "user", "content": _content(question.caption, urls)},
        ],
        abilities.limit_key: params.max_tokens,
    }
    if abilities.format == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "scores", "strict": True, "schema": rubric.reply_schema()},
        }
    elif abilities.format == "json_object":
        body["response_format"] = {"type": "json_object"}
    if abilities.has_logprobs:
        body |= {"logprobs": True, "top_logprobs": 10}
    if abilities.has_temperature and params.temperature is not None:
        body["temperature"] = params.temperature
    return body


def with_correction(body: dict[str, Any], reply: str | None, fault: str) -> dict[str, Any]:
    """Ask again after an unusable reply, with its fault named.

    Args:
        body: The first request.
        reply: What the model answered; None to leave it out, as after a refusal.
        fault: What was wrong with it.

    Returns:
        The request with the exchange added.
    """
    said = [{"role": "assistant", "content": reply[:2000]}] if reply else []
    again = f"That reply cannot be used: {fault}. Reply again to the same post, as instructed."
    if not said:
        again = f"An earlier reply could not be used: {fault}. Reply as instructed."
    messages = [*body["messages"], *said, {"role": "user", "content": again}]
    return {**body, "messages": messages}


def instructions(rubric: Rubric, reply_format: Format) -> str:
    """Write what the teacher is told before it sees a post.

    Args:
        rubric: What is asked.
        reply_format: What the endpoint holds replies to; what it does not is spelled out.

    Returns:
        The text of the system message, the same for all posts.
    """
    names = ", ".join(f"`{axis.name}`" for axis in rubric.axes)
    asked = (
        f"Reply with one JSON object that has the keys `reason` and {names}, in this order, and "
        f"nothing around it. `reason`: {rubric.reply.reason} Each score is a number."
    )
    if rubric.reply.language == "en":
        asked += " Write the reason in English, whatever the language of the post."
    if reply_format != "json_schema":
        asked += f"\nJSON schema of the reply: {json.dumps(rubric.reply_schema())}"
    return f"{rubric.render_prompt().rstrip()}\n\n{asked}"


def _content(caption: str, urls: Sequence[str]) -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    about = (
        f"The post has {len(urls)} picture(s), in order." if urls else "The post has no picture."
    )
    text = f"Its caption, between the lines:\n-----\n{caption}\n-----" if caption else "No caption."
    return [{"type": "text", "text": about}, *pictures, {"type": "text", "text": text}]
