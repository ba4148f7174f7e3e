"""Turn a post into a request to a teacher."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from postbias.params import EndpointParams
from postbias.posts.shards import list_shards, open_shard
from postbias.teacher.rubric import Rubric

#: Version of the prompt: raise it when the same inputs are worded differently and the answer may
#: change.
_PROMPT_VERSION = 1

#: The same instruction in several wordings, none longer than the first, by which costs are bounded.
_FORMAT_RULES = (
    "Reply with one JSON object that has the keys `reason` and {names}, in this order, and "
    "nothing around it. `reason`: {reason} Each score is a number.",
    "Answer with a single JSON object and no other text. Its keys, in order: `reason` and {names}. "
    "`reason`: {reason} Scores are numbers.",
    "Write only a JSON object with the keys `reason` and {names}, in this order. "
    "`reason`: {reason} Every score is a number.",
    "Your answer is one JSON object, nothing else, with these keys: `reason` and {names}. "
    "`reason`: {reason} The scores are numbers.",
)
#: Different prompts that rewording can make: as many with ascending as with descending anchors.
MAX_WORDINGS = 2 * len(_FORMAT_RULES)

ReplyFormat = Literal["json_schema", "json_object", "text"]

# Not inside an e-mail address; letters, digits, underscores and dots, as in platform user names.
_MENTION = re.compile(r"(?<![\w@.])@[\w.]*\w")

#: Maximum number of posts with images that a reader keeps in memory.
_BATCH_POSTS = 32


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A post as shown to the teacher.

    Attributes:
        post_id: The post.
        key: Digest of everything the answer depends on: rubric, model, caption as sent, images
            and how they are sent. Author, URL and delivery options are not part of it.
        caption: Caption as sent; empty if there is none.
        images: Image files in order.
        rewording: Number of the wording of the prompt; 0 is that of the rubric.
    """

    post_id: str
    key: str
    caption: str
    images: tuple[bytes, ...]
    rewording: int = 0


@dataclass(frozen=True, slots=True)
class EndpointCapabilities:
    """Request options that an endpoint supports, as found by the probe.

    Attributes:
        format: The strictest reply format it enforces.
        has_logprobs: Whether it returns token probabilities.
        limit_key: Its name for the limit on output tokens.
        has_temperature: Whether it accepts a temperature.
    """

    format: ReplyFormat
    has_logprobs: bool
    limit_key: Literal["max_tokens", "max_completion_tokens"]
    has_temperature: bool


def mask_mentions(caption: str) -> str:
    """Replace each `@name` by `@user`; keep e-mail addresses."""
    return _MENTION.sub("@user", caption)


def make_label_request(
    post: Mapping[str, Any], rubric: Rubric, params: EndpointParams
) -> LabelRequest:
    """Build the request for a post.

    Args:
        post: A row with `post_id`, `caption` and `images`.
        params: The model and how posts are sent.

    Returns:
        The request.
    """
    caption = mask_mentions(post["caption"]) if params.mask_mentions else post["caption"]
    images = tuple(image["bytes"] or b"" for image in post["images"] or ())
    images = images if params.images.max_images else ()
    dependencies = {
        "form": _PROMPT_VERSION,
        "rubric": rubric.ref,
        "model": params.model,
        "temperature": params.temperature,
        "caption": caption,
        "images": [hashlib.sha256(image).hexdigest() for image in images],
        "sent": params.images.model_dump() if images else None,
    }
    key = hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()
    return LabelRequest(post["post_id"], key, caption, images)


def reworded_key(key: str, rewording: int) -> str:
    """Return the key of a request with another wording of the prompt; 0 is the original."""
    return hashlib.sha256(f"{key}:{rewording}".encode()).hexdigest() if rewording else key


def reword_request(request: LabelRequest, rewording: int) -> LabelRequest:
    """Return the request for the same post with another wording of the prompt."""
    return replace(request, key=reworded_key(request.key, rewording), rewording=rewording)


def iter_label_requests(
    folder: Path, post_ids: frozenset[str], rubric: Rubric, params: EndpointParams
) -> Iterator[LabelRequest]:
    """Build the requests for some posts in constant memory.

    Args:
        folder: Post shards; only row groups with a selected post are read.
        post_ids: The selected posts.
        params: The model and how posts are sent.

    Yields:
        One request per selected post, in shard order.

    Raises:
        SchemaError: If a shard is damaged or does not match `POSTS`.
    """
    selected = pc.cast(sorted(post_ids), "string")
    for shard in list_shards(folder):
        with open_shard(shard) as file:
            groups = [
                group
                for group in range(file.num_row_groups)
                if pc.any(
                    pc.is_in(file.read_row_group(group, ["post_id"])["post_id"], value_set=selected)
                ).as_py()
            ]
            if not groups:
                continue
            columns = ["post_id", "caption", "images"]
            for batch in file.iter_batches(_BATCH_POSTS, groups, columns):
                rows = batch.filter(pc.is_in(batch["post_id"], value_set=selected))
                for post in rows.to_pylist():
                    yield make_label_request(post, rubric, params)


def chat_request_body(
    request: LabelRequest,
    urls: Sequence[str],
    rubric: Rubric,
    params: EndpointParams,
    capabilities: EndpointCapabilities,
) -> dict[str, Any]:
    """Return the body of a chat completion request.

    Args:
        request: The post.
        urls: Its images as data URLs.
        params: The model and its limits.
        capabilities: The options that the endpoint supports.

    Returns:
        The body, as the protocol defines it.
    """
    body: dict[str, Any] = {
        "model": params.model,
        "messages": [
            {
                "role": "system",
                "content": system_prompt(rubric, capabilities.format, request.rewording),
            },
            {"role": "user", "content": _user_content(request.caption, urls)},
        ],
        capabilities.limit_key: params.max_tokens,
    }
    if capabilities.format == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "scores",
                "strict": True,
                "schema": rubric.reordered(request.rewording).reply_schema(),
            },
        }
    elif capabilities.format == "json_object":
        body["response_format"] = {"type": "json_object"}
    if capabilities.has_logprobs:
        body |= {"logprobs": True, "top_logprobs": 10}
    if capabilities.has_temperature and params.temperature is not None:
        body["temperature"] = params.temperature
    return body


def add_correction(body: dict[str, Any], reply: str | None, problem: str) -> dict[str, Any]:
    """Return a request that repeats `body` and says what was wrong with the last reply.

    Args:
        body: The first request.
        reply: The unusable reply; None to leave it out, as after a refusal.
        problem: What was wrong with it.

    Returns:
        The body of the new request.
    """
    shown = [{"role": "assistant", "content": reply[:2000]}] if reply else []
    correction = (
        f"That reply cannot be used: {problem}. Reply again to the same post, as instructed."
    )
    if not shown:
        correction = f"An earlier reply could not be used: {problem}. Reply as instructed."
    messages = [*body["messages"], *shown, {"role": "user", "content": correction}]
    return {**body, "messages": messages}


def system_prompt(rubric: Rubric, reply_format: ReplyFormat, rewording: int = 0) -> str:
    """Return the system message, the same for all posts.

    Args:
        reply_format: The format that the endpoint enforces; a weaker one is described in words.
        rewording: Number of the wording, below `MAX_WORDINGS`; 0 is that of the rubric. Others have
            axes or anchors in another order and the format described in other words.

    Returns:
        The text of the message.
    """
    rubric = rubric.reordered(rewording)
    names = ", ".join(f"`{axis.name}`" for axis in rubric.axes)
    format_rules = _FORMAT_RULES[rewording % len(_FORMAT_RULES)].format(
        names=names, reason=rubric.reply.reason
    )
    if rubric.reply.language == "en":
        format_rules += " Write the reason in English, whatever the language of the post."
    if reply_format != "json_schema":
        format_rules += f"\nJSON schema of the reply: {json.dumps(rubric.reply_schema())}"
    return f"{rubric.render_prompt().rstrip()}\n\n{format_rules}"


def _user_content(caption: str, urls: Sequence[str]) -> list[dict[str, Any]]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    # These words are part of the prompt: changing them needs a new _PROMPT_VERSION.
    intro = (
        f"The post has {len(urls)} picture(s), in order." if urls else "The post has no picture."
    )
    text = f"Its caption, between the lines:\n-----\n{caption}\n-----" if caption else "No caption."
    return [{"type": "text", "text": intro}, *images, {"type": "text", "text": text}]
