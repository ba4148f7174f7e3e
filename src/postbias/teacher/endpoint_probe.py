"""Find out once what an endpoint can do: the strictest form of reply that it holds to.

Asks about a made-up post, with a picture of the largest size, first with everything that helps
(JSON schema, token probabilities), then with less, until a reply can be used. The result is kept in
the reply store, so that a restart does not ask again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from postbias.errors import TeacherError
from postbias.params import EndpointParams
from postbias.posts.reasons import Reason
from postbias.teacher.api_errors import RejectError
from postbias.teacher.image_payloads import sample_picture
from postbias.teacher.prompts import Abilities, Question, request_body
from postbias.teacher.reply import keep_fact
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import is_same_model, judge
from postbias.teacher.request_loop import Caller
from postbias.teacher.rubric import Rubric
from postbias.teacher.token_estimates import Meter, Shape

logger = logging.getLogger(__name__)

_CAPTION = "Our new bread is out of the oven. Come by before noon!"
_MOST_STEPS = 12
#: What does not fit the form asked for; any other fault may be the model's mood.
_FORMLESS = frozenset({Reason.INVALID_REPLY, Reason.EMPTY_REPLY, Reason.CUT_OFF})


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out about an endpoint.

    Attributes:
        abilities: What it can do.
        tokens_in: Input tokens of the question asked, if told.
        model: Under which name it answers.
    """

    abilities: Abilities
    tokens_in: int | None
    model: str


async def probe(caller: Caller, store: ReplyStore, rubric: Rubric, params: EndpointParams) -> Probe:
    """Find out what the endpoint can do, or remember it.

    Args:
        caller: The way out.
        store: Where it is remembered.
        rubric: What will be asked.
        params: Who will be asked.

    Returns:
        What was found out.

    Raises:
        TeacherError: If the endpoint takes the question in no form.
        StoppedError: If it is down or the cap is reached.
    """
    fact = _fact_key(caller.client.digest, rubric, params)
    if (known := store.fact(fact)) is not None:
        return Probe(Abilities(**known["abilities"]), known["tokens_in"], known["model"])
    caller.is_bare = True
    found = await _search(caller, rubric, params)
    caller.is_bare = False
    await caller.writer.write(lambda: [keep_fact(fact, asdict(found))])
    abilities = found.abilities
    logger.info(
        "the endpoint replies in %s, %s token probabilities",
        abilities.format,
        "with" if abilities.has_logprobs else "without",
    )
    if not is_same_model(str(params.model), found.model):
        logger.warning("asked for model %s, the endpoint answers as %s", params.model, found.model)
    return found


async def _search(caller: Caller, rubric: Rubric, params: EndpointParams) -> Probe:
    abilities = Abilities("json_schema", True, "max_tokens", params.temperature is not None)
    urls = [sample_picture(params.images)] if params.images.max_images else []
    question = Question("", "", _CAPTION, ())
    hint, tried = "", set[Abilities]()
    for _ in range(_MOST_STEPS):
        body = request_body(question, urls, rubric, params, abilities)
        meter = Meter(params, None, len(json.dumps(body["messages"][0])))
        size = meter.size(Shape(len(_CAPTION), len(urls)))
        weaker: Abilities | None
        try:
            reply, ticket = await caller.call(body, size)
        except RejectError as error:
            hint = caller.client.redact(error.fault.hint) or error.fault.detail
            weaker = _weaker(abilities, error.fault.hint)
        else:
            tokens_in, tokens_out = reply.tokens
            cost_usd = caller.budget.cost_usd(
                size.worst_in if tokens_in is None else tokens_in,
                size.worst_out if tokens_out is None else tokens_out,
            )
            await caller.settle(ticket, cost_usd)
            model = str(reply.body.get("model") or params.model)
            verdict = judge(reply.body, rubric, frozenset({model}))
            if verdict.fault in _FORMLESS and abilities not in tried:
                tried.add(abilities)  # one reply may be a whim
                continue
            weaker = _weaker(abilities, "response_format") if verdict.fault in _FORMLESS else None
            if weaker is None:
                has_logprobs = abilities.has_logprobs and _has_logprobs(reply.body)
                return Probe(replace(abilities, has_logprobs=has_logprobs), tokens_in, model)
        if weaker is None:
            break
        abilities = weaker
    advice = "check annotate.endpoint.model"
    if urls:
        advice += ", or set endpoint.images.max_images: 0 if the model takes no pictures"
    raise TeacherError(f"the endpoint takes no question of ours: {hint}", do=advice)


def _weaker(abilities: Abilities, complaint: str) -> Abilities | None:
    """Ask for less, by what the endpoint complains of; None if nothing is left to drop."""
    about = complaint.casefold()
    if "max_completion_tokens" in about and abilities.limit_key == "max_tokens":
        return replace(abilities, limit_key="max_completion_tokens")
    if "temperature" in about and abilities.has_temperature:
        return replace(abilities, has_temperature=False)
    if "response_format" not in about and "json" not in about and abilities.has_logprobs:
        return replace(abilities, has_logprobs=False)
    if abilities.format == "json_schema":
        return replace(abilities, format="json_object")
    if abilities.format == "json_object":
        return replace(abilities, format="text")
    return replace(abilities, has_logprobs=False) if abilities.has_logprobs else None


def _has_logprobs(body: dict[str, Any]) -> bool:
    given = body["choices"][0].get("logprobs")
    tokens = given.get("content") if isinstance(given, dict) else None
    return isinstance(tokens, list) and any(token.get("top_logprobs") for token in tokens)


def _fact_key(endpoint: str, rubric: Rubric, params: EndpointParams) -> str:
    asked = {
        "endpoint": endpoint,
        "model": params.model,
        "rubric": rubric.ref,
        "images": params.images.model_dump(),
        "temperature": params.temperature,
        "max_tokens": params.max_tokens,
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return f"probe:{digest[:16]}"
