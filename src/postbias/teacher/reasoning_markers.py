"""Recognise the markers that models put around their reasoning, and cut the reasoning off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

#: Names of tags, channels and content parts with reasoning; separators are underscores.
_REASONING_NAME = re.compile(
    r"think|thought|reason|reflect|analy[sz]|scratch|monolog|deliberat|rational|draft|ponder"
    r"|brainstorm|introspect|contemplat|chain_of|inner_|internal|hidden"
    r"|(?:^|_)(?:cot|plan|planning|working|musings?|details|commentary|unused9[45])(?:_|$)"
)
_ANSWER_NAME = re.compile(r"(?:^|_)(?:final|answer|response|solution|conclusion|result)(?:_|$)")
_CLOSING_WORD = re.compile(r"(?:^|_)(?:end|stop|suffix|unused95)(?:_|$)")
_SEPARATORS = re.compile(r"[^a-z0-9]+")

#: `<think>`, `</seed:think>`, `<details type="reasoning">`, also escaped as HTML; `<|begin_of_x|>`,
#: the same with full-width bars; `[THINK]`, `[/THINK]`; `◁think▷`, `◁/think▷`.
_TAG = re.compile(
    r"(?:<|&lt;)\s*(?P<slash1>/)?\s*(?P<name1>[A-Za-z][\w:.-]{0,40})(?:\s[^<>]{0,200})?(?:>|&gt;)"
    r"|<[|\uff5c]\s*(?P<slash2>/)?\s*(?P<name2>[^<>|\uff5c]{1,40})[|\uff5c]>"
    r"|\[\s*(?P<slash3>/)?\s*(?P<name3>[A-Za-z][A-Za-z_ -]{0,40})\]"
    r"|◁\s*(?P<slash4>/)?\s*(?P<name4>[\w-]{1,40})\s*▷"
)
#: Channels of OpenAI Harmony, `<|channel|>analysis<|message|>`, also without special tokens
#: (`assistantfinal`), and of Gemma, `<|channel>thought` to `<channel|>`.
_CHANNEL = re.compile(
    r"<\|channel\|?>\s*(?P<name1>\w*)[^<{]{0,40}"
    r"(?:<\|constrain\|>[^<{]{0,40})?(?:<\|message\|>)?"
    r"|(?P<end><channel\|>)"
    r"|\A\s*(?P<name2>analysis|commentary)(?=[A-Z])"
    r"|assistant(?P<name3>final|analysis|commentary)(?![a-z])"
)
#: Headings of IBM Granite.
_HEADING = re.compile(
    r"here(?:['\u2019]s| is) my (?P<name>thought process|response):", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ReasoningMarker:
    """A marker around reasoning.

    Attributes:
        start: Index of its first character.
        end: Index after its last character.
        kind: `open` and `close` enclose reasoning; `answer` begins the answer and so ends it too.
    """

    start: int
    end: int
    kind: Literal["open", "close", "answer"]


def is_reasoning_name(name: str) -> bool:
    """Return whether a tag, channel or content part of this name contains reasoning."""
    return bool(_REASONING_NAME.search(_SEPARATORS.sub("_", name.casefold())))


def cut_reasoning(text: str, quoted: Iterable[tuple[int, int]] = ()) -> str | None:
    """Return the text after the last reasoning marker.

    Args:
        text: The content of a message.
        quoted: Spans of complete JSON objects; markers inside are quotations.

    Returns:
        The answer; None if the text ends inside the reasoning.
    """
    spans = list(quoted)
    start, is_open = 0, False
    for marker in find_reasoning_markers(text):
        if any(first <= marker.start < last for first, last in spans):
            continue
        if marker.kind == "open":
            is_open = True
        elif marker.kind == "close" or is_open:
            start, is_open = marker.end, False
    return None if is_open else text[start:]


def find_reasoning_markers(text: str) -> list[ReasoningMarker]:
    """Find the markers of all known vendors, in text order."""
    markers = [*_tags(text), *_channels(text), *_headings(text)]
    return sorted(markers, key=lambda marker: marker.start)


def _tags(text: str) -> Iterator[ReasoningMarker]:
    for match in _TAG.finditer(text):
        groups = match.groupdict()
        name = "".join(groups[f"name{i}"] or "" for i in range(1, 5))
        has_slash = any(groups[f"slash{i}"] for i in range(1, 5))
        words = _SEPARATORS.sub("_", name.casefold())
        is_closing = has_slash or bool(_CLOSING_WORD.search(words))
        if words.strip("_") == "channel" or match[0].endswith(("/>", "/&gt;")):
            continue
        if _REASONING_NAME.search(words):
            yield ReasoningMarker(*match.span(), "close" if is_closing else "open")
        elif _ANSWER_NAME.search(words) and not is_closing:
            yield ReasoningMarker(*match.span(), "answer")


def _channels(text: str) -> Iterator[ReasoningMarker]:
    for match in _CHANNEL.finditer(text):
        if match["end"]:
            yield ReasoningMarker(*match.span(), "close")
            continue
        name = match["name1"] or match["name2"] or match["name3"] or ""
        kind: Literal["close", "open"] = "close" if _ANSWER_NAME.search(name) else "open"
        yield ReasoningMarker(*match.span(), kind)


def _headings(text: str) -> Iterator[ReasoningMarker]:
    for match in _HEADING.finditer(text):
        is_answer = match["name"].casefold() == "response"
        yield ReasoningMarker(*match.span(), "answer" if is_answer else "open")
