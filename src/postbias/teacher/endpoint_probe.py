"""Probe an endpoint once for the strictest reply format that it supports.

Asks about a made-up post with an image of the largest size, first with all options (JSON schema,
token probabilities), then with fewer, until a reply is usable. The result is kept in the reply
store, so that a resumed run does not probe again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from postbias.errors import TeacherError
from postbias.params import EndpointParams
from postbias.posts.reasons import RejectReason
from postbias.teacher.chat_responses import ChatResponse, misplaced_answer_field
from postbias.teacher.endpoint_advice import advise
from postbias.teacher.image_payloads import largest_sample_image
from postbias.teacher.model_names import is_same_model, is_sibling_model
from postbias.teacher.prompts import EndpointCapabilities, LabelRequest, chat_request_body
from postbias.teacher.reply import upsert_fact
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import parse_reply
from postbias.teacher.request_failures import (
    NextStep,
    RequestFailure,
    RequestRejectedError,
)
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.rubric import Rubric
from postbias.teacher.token_estimates import RequestShape, TokenEstimator

logger = logging.getLogger(__name__)

_CAPTION = "Our new bread is out of the oven. Come by before noon!"
_MAX_STEPS = 12
_LATER_TRIES = 2
#: Failures to keep to the reply format; any other may be chance.
_FORMAT_FAILURES = frozenset(
    {RejectReason.INVALID_REPLY, RejectReason.EMPTY_REPLY, RejectReason.CUT_OFF}
)
#: Failures that no other option prevents.
_TRANSPORT_FAILURES = frozenset(
    {RejectReason.TIMEOUT, RejectReason.DISCONNECTED, RejectReason.DAMAGED_REPLY}
)


@dataclass(frozen=True, slots=True)
class EndpointProfile:
    """What the probe found out about an endpoint.

    Attributes:
        capabilities: The options to send requests with.
        tokens_in: Input tokens of the probe request, if reported.
        model: The model name in its replies.
    """

    capabilities: EndpointCapabilities
    tokens_in: int | None
    model: str

    def to_json(self) -> dict[str, Any]:
        """Return the profile as kept in the reply store."""
        return {
            "abilities": asdict(self.capabilities),
            "tokens_in": self.tokens_in,
            "model": self.model,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> EndpointProfile:
        """Read a profile kept in the reply store."""
        capabilities = EndpointCapabilities(**stored["abilities"])
        return cls(capabilities, stored["tokens_in"], stored["model"])


async def probe_endpoint(
    sender: RequestSender, store: ReplyStore, rubric: Rubric, params: EndpointParams
) -> EndpointProfile:
    """Find out what the endpoint supports, or look it up if an earlier run did.

    Args:
        sender: Sends the probe requests.
        store: Holds the result of an earlier probe.
        params: The model and its limits.

    Returns:
        What was found out.

    Raises:
        TeacherError: If the endpoint accepts the request in no form, or answers as another model of
            the same family.
        RunStoppedError: If the endpoint is down or the spending cap is reached.
    """
    fact_key = _fact_key(sender.client.digest, rubric, params)
    if (stored := store.fact(fact_key)) is not None:
        profile = EndpointProfile.from_json(stored)
        _check_model(profile, params)
        return profile
    sender.has_no_posts = True
    profile = await _search(sender, rubric, params)
    sender.has_no_posts = False
    _check_model(profile, params)
    await sender.writer.write(lambda: [upsert_fact(fact_key, profile.to_json())])
    logger.info(
        "the endpoint replies in %s, %s token probabilities",
        profile.capabilities.format,
        "with" if profile.capabilities.has_logprobs else "without",
    )
    return profile


def _check_model(profile: EndpointProfile, params: EndpointParams) -> None:
    """Refuse another model of the same family; an alias may have any name."""
    requested = str(params.model)
    if is_sibling_model(requested, profile.model):
        raise TeacherError(
            f"the endpoint answers as another model than {requested}",
            seen=profile.model,
            do="set annotate.endpoint.model to the model whose labels you want",
        )
    if not is_same_model(requested, profile.model):
        logger.warning(
            "model %s was requested, but the endpoint answers as %s", requested, profile.model
        )


async def _search(sender: RequestSender, rubric: Rubric, params: EndpointParams) -> EndpointProfile:
    capabilities: EndpointCapabilities | None = EndpointCapabilities(
        "json_schema", True, "max_tokens", params.temperature is not None
    )
    tried = set[EndpointCapabilities]()
    problem, advice = "", ""
    for step in range(_MAX_STEPS):
        if capabilities is None:
            break
        # A server that fails at an option may fail at each try: be patient only once.
        max_tries = None if step == 0 else _LATER_TRIES
        try:
            response = await _request(sender, rubric, params, capabilities, max_tries)
        except RequestRejectedError as error:
            failure = error.failure
            problem = sender.client.redact(failure.hint) or failure.detail
            is_refused = failure.next_step is NextStep.CHECK_ENDPOINT
            verb = "accepts the request in no form" if is_refused else "does not answer the probe"
            problem = f"the endpoint {verb}: {problem}"
            advice = _advise_on_rejection(failure, params)
            is_about_options = failure.reason not in _TRANSPORT_FAILURES
            capabilities = _weaken(capabilities, failure.hint) if is_about_options else None
            continue
        model = str(response.body.get("model") or params.model)
        verdict = parse_reply(response.body, rubric, frozenset({model}))
        if verdict.fault not in _FORMAT_FAILURES:
            has_logprobs = capabilities.has_logprobs and _has_logprobs(response.body)
            capabilities = replace(capabilities, has_logprobs=has_logprobs)
            return EndpointProfile(capabilities, response.tokens[0], model)
        problem = f"the endpoint's replies are not usable ({verdict.fault}: {verdict.detail})"
        advice = advise(verdict.fault, misplaced_answer_field(response.body))
        if capabilities in tried:  # a single unusable reply may be chance
            capabilities = _weaken(capabilities, "response_format")
        else:
            tried.add(capabilities)
    raise TeacherError(problem, do=advice)


async def _request(
    sender: RequestSender,
    rubric: Rubric,
    params: EndpointParams,
    capabilities: EndpointCapabilities,
    max_tries: int | None,
) -> ChatResponse:
    """Send the probe request with some options, and settle its cost."""
    urls = [largest_sample_image(params.images)] if params.images.max_images else []
    request = LabelRequest("", "", _CAPTION, ())
    body = chat_request_body(request, urls, rubric, params, capabilities)
    estimator = TokenEstimator(params, None, len(json.dumps(body["messages"][0])))
    estimate = estimator.estimate(RequestShape(len(_CAPTION), len(urls)))
    response, reservation = await sender.send(body, estimate, max_tries=max_tries)
    tokens_in, tokens_out = response.tokens
    cost_usd = sender.budget.cost_usd(
        estimate.worst_in if tokens_in is None else tokens_in,
        estimate.worst_out if tokens_out is None else tokens_out,
    )
    await sender.settle(reservation, cost_usd)
    return response


def _advise_on_rejection(failure: RequestFailure, params: EndpointParams) -> str:
    if failure.next_step is NextStep.RETRY:
        return advise(failure.reason, None)
    advice = "check annotate.endpoint.model"
    if params.images.max_images:
        advice += ", or set endpoint.images.max_images: 0 if the model does not accept images"
    return advice


def _weaken(capabilities: EndpointCapabilities, complaint: str) -> EndpointCapabilities | None:
    """Drop the option that the endpoint complains about; None if nothing is left to drop."""
    about = complaint.casefold()
    if "max_completion_tokens" in about and capabilities.limit_key == "max_tokens":
        return replace(capabilities, limit_key="max_completion_tokens")
    if "temperature" in about and capabilities.has_temperature:
        return replace(capabilities, has_temperature=False)
    if "response_format" not in about and "json" not in about and capabilities.has_logprobs:
        return replace(capabilities, has_logprobs=False)
    if capabilities.format == "json_schema":
        return replace(capabilities, format="json_object")
    if capabilities.format == "json_object":
        return replace(capabilities, format="text")
    return replace(capabilities, has_logprobs=False) if capabilities.has_logprobs else None


def _has_logprobs(body: dict[str, Any]) -> bool:
    logprobs = body["choices"][0].get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = tokens if isinstance(tokens, list) else []
    return any(isinstance(token, dict) and token.get("top_logprobs") for token in tokens)


def _fact_key(endpoint: str, rubric: Rubric, params: EndpointParams) -> str:
    request = {
        "endpoint": endpoint,
        "model": params.model,
        "rubric": rubric.ref,
        "images": params.images.model_dump(),
        "temperature": params.temperature,
        "max_tokens": params.max_tokens,
    }
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return f"probe:{digest[:16]}"
