"""Label one post: request it until it has a valid reply or a final reject."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from postbias.posts.reasons import RejectReason
from postbias.teacher.chat_responses import ChatResponse, misplaced_answer_field
from postbias.teacher.labels import OK
from postbias.teacher.prompts import LabelRequest, add_correction, chat_request_body
from postbias.teacher.reply import Reply, insert_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RequestRejectedError
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.store_writer import SqlStatements
from postbias.teacher.stored_replies import (
    LabellingConfig,
    ReceivedReply,
    ReplyCost,
    build_failed_reply,
    build_reply,
    insert_reply_with_totals,
    matching_replies,
    reason_without_content,
)
from postbias.teacher.token_estimates import RequestShape, TokenEstimator, keep_excess

logger = logging.getLogger(__name__)

#: Replies of these kinds are not quoted in the correction.
_NOT_QUOTED = frozenset(
    {
        RejectReason.REFUSED,
        RejectReason.FILTERED,
        RejectReason.EMPTY_REPLY,
        RejectReason.WRONG_MODEL,
    }
)


class PostLabeller:
    """Send the requests about one post at a time, and store the replies.

    Attributes:
        without_content: Reject reasons, by key, of posts without caption and readable image; these
            are not in the store.
        misplaced_field: The reasoning field that had text in a reply without content, if any.
    """

    def __init__(
        self,
        sender: RequestSender,
        store: ReplyStore,
        config: LabellingConfig,
        estimator: TokenEstimator,
    ) -> None:
        """Combine the parts.

        Args:
            sender: Sends the requests.
            store: Read to find earlier replies.
            config: Rubric, params and endpoint of the run.
            estimator: Estimates tokens and learns from replies.
        """
        self.without_content: dict[str, RejectReason] = {}
        self.misplaced_field: str | None = None
        self._sender, self._store, self._config = sender, store, config
        self._estimator = estimator

    async def label(self, request: LabelRequest, urls: tuple[str, ...], repeat: int) -> str:
        """Send one request until its reply is final.

        Args:
            request: The post.
            urls: Its images as data URLs.
            repeat: Number of the repetition, from 0.

        Returns:
            `ok` or the `RejectReason` of the reject.

        Raises:
            RunStoppedError: If the run stops first.
            StorageError: If a reply cannot be stored.
        """
        if not urls and not request.caption.strip():
            reason = reason_without_content(request)
            self.without_content[request.key] = reason
            return reason.value
        replies = matching_replies(self._store.replies(request.key, repeat), self._config)
        while len(replies) < self._config.params.attempts:
            reply = await self._request_reply(request, urls, replies, repeat)
            if reply.status == OK or not reply.raw:
                return reply.status
            replies.append(reply)
        return replies[-1].status

    async def _request_reply(
        self, request: LabelRequest, urls: tuple[str, ...], replies: Sequence[Reply], repeat: int
    ) -> Reply:
        """Send a request that has had `replies` once more, and store the reply or the reject."""
        config, n_extra = self._config, 0
        body = chat_request_body(
            request, urls, config.rubric, config.params, config.profile.capabilities
        )
        if replies:
            last = replies[-1]
            quoted = None if last.status in _NOT_QUOTED else last.text
            body = add_correction(body, quoted, last.detail)
            n_extra = sum(len(m["content"].encode()) for m in body["messages"][2:])
        shape = RequestShape(len(request.caption.encode()) + n_extra, len(urls))
        try:
            response, reservation = await self._sender.send(body, self._estimator.estimate(shape))
        except RequestRejectedError as error:
            failure = error.failure
            failed = build_failed_reply(request.key, repeat, config, failure.reason, failure.detail)
            await self._sender.writer.write(lambda: [insert_reply(failed)])
            return failed
        reply = self._build_reply(request, repeat, response)
        cost_usd = reservation.worst_usd if reply.cost_usd is None else reply.cost_usd
        excess = self._learn(shape, reply)
        await self._sender.settle(
            reservation, cost_usd, lambda: [*insert_reply_with_totals(reply), *excess]
        )
        return reply

    def _build_reply(self, request: LabelRequest, repeat: int, response: ChatResponse) -> Reply:
        tokens_in, tokens_out = response.tokens
        cost_usd = None
        if tokens_in is not None and tokens_out is not None:
            cost_usd = self._sender.budget.cost_usd(tokens_in, tokens_out)
        cost = ReplyCost(tokens_in, tokens_out, cost_usd, response.latency_s)
        received = ReceivedReply(request.key, repeat, response.body, response.raw, "live")
        self.misplaced_field = misplaced_answer_field(response.body) or self.misplaced_field
        return build_reply(received, self._config, cost)

    def _learn(self, shape: RequestShape, reply: Reply) -> SqlStatements:
        """Learn from the usage of a reply; return the statements that keep what later runs need."""
        if self._estimator.learn(shape, reply.tokens_in, reply.tokens_out):
            return []
        logger.warning("a request took more tokens than its upper bound; later bounds are raised")
        return keep_excess(self._config.name, self._estimator.excess)
