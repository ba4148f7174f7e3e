"""The files of batch mode: write the requests of a batch, read its replies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from postbias.teacher.budget import Budget
from postbias.teacher.chat_responses import decode_response
from postbias.teacher.image_payloads import encode_images
from postbias.teacher.outstanding_batches import OutstandingBatches, RequestBatch
from postbias.teacher.prompts import LabelRequest, chat_request_body
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RequestFailedError
from postbias.teacher.stop_signals import StopSignal
from postbias.teacher.stored_replies import LabellingConfig, ReceivedReply, is_final
from postbias.teacher.token_estimates import RequestShape, TokenEstimator

_MB = 1_000_000


class BatchFiles:
    """Write requests into one file after the other, each up to the limits of the endpoint.

    Attributes:
        left_over: The request that did not fit into the last file.
        is_capped: Whether the spending cap was the cause.
    """

    def __init__(
        self,
        store: ReplyStore,
        config: LabellingConfig,
        estimator: TokenEstimator,
        outstanding: OutstandingBatches,
        folder: Path,
    ) -> None:
        """Combine the parts; files being sent or received are in `folder`."""
        self._store, self._config, self._estimator = store, config, estimator
        self._outstanding, self._folder = outstanding, folder
        self.left_over: LabelRequest | None = None
        self.is_capped = False

    def path(self, batch: RequestBatch) -> Path:
        """Return the file of a batch."""
        return self._folder / f"{batch.tag}.jsonl"

    def write(
        self, requests: Iterator[LabelRequest], repeat: int, budget: Budget, stop: StopSignal
    ) -> RequestBatch:
        """Write the next file.

        Args:
            requests: Requests in any order; continued where the last file ended.
            repeat: Number of the repetition, from 0.
            budget: Must hold the most that the batch can cost.
            stop: Ends the file early.

        Returns:
            The batch; without lines if no request is left or none fits the budget.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        limits = self._config.params.batch
        batch, n_bytes = RequestBatch(uuid.uuid4().hex, self._config.name), 0
        first = [] if self.left_over is None else [self.left_over]
        self.left_over, self.is_capped = None, False
        seen = set[str]()
        with self.path(batch).open("wb") as file:
            for request in chain(first, requests):
                if stop.reason:
                    break
                if request.key in seen or not self._is_due(request, repeat):
                    continue
                line, worst_usd = self._line(request, repeat, budget)
                self.is_capped = not budget.fits(batch.worst_usd + worst_usd)
                is_full = n_bytes + len(line) > limits.max_mb * _MB and batch.lines
                if self.is_capped or is_full or len(batch.lines) == limits.max_requests:
                    self.left_over = request
                    break
                if not line:
                    continue
                seen.add(request.key)
                batch.lines.append((request.key, repeat))
                batch.posts.append((request.post_id, request.key))
                batch.worst_usd += worst_usd
                n_bytes += file.write(line)
        return batch

    def _is_due(self, request: LabelRequest, repeat: int) -> bool:
        line = (request.key, repeat)
        replies = self._store.replies(*line)
        # A request with an unusable reply is sent live, with a correction.
        return not (self._outstanding.covers(line) or replies or is_final(replies, self._config))

    def _line(self, request: LabelRequest, repeat: int, budget: Budget) -> tuple[bytes, float]:
        """Return a line and the most it can cost; nothing for a post without content."""
        config = self._config
        urls = encode_images(request.images, config.params.images)
        if not urls and not request.caption.strip():
            return b"", 0.0
        capabilities = config.profile.capabilities
        body = chat_request_body(request, urls, config.rubric, config.params, capabilities)
        line = {
            "custom_id": f"{request.key}:{repeat}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        shape = RequestShape(len(request.caption.encode()), len(urls))
        estimate = self._estimator.estimate(shape)
        worst_usd = budget.cost_usd(estimate.worst_in, estimate.worst_out, is_batch=True)
        return json.dumps(line).encode() + b"\n", worst_usd


def read_replies(path: Path, batch: RequestBatch) -> Iterator[ReceivedReply]:
    """Read the replies to a batch from its output file; skip lines whose request failed."""
    expected = set(batch.lines)
    with path.open("rb") as file:
        for line in file:
            received = _parse_line(line)
            if received is not None and (received.key, received.repeat) in expected:
                yield received


def _parse_line(line: bytes) -> ReceivedReply | None:
    try:
        result = json.loads(line)
        key, _, repeat = str(result["custom_id"]).partition(":")
        body = result["response"]["body"]
        if result["response"]["status_code"] != 200:
            return None
        raw = json.dumps(body).encode()
        return ReceivedReply(key, int(repeat), decode_response(raw), raw, "batch")
    except (ValueError, KeyError, TypeError, RecursionError, RequestFailedError):
        return None
