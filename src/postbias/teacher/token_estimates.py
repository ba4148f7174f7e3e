"""Estimate the tokens of a request: a typical value learned from replies, and an upper bound.

The probe measures the instructions and one image of the largest size. Upper bounds assume one token
per byte of text, the largest size for every image, and `max_tokens` of output. An endpoint that
bills more raises them by a factor, which the store keeps for later runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from postbias.params import EndpointParams
from postbias.teacher.reply import upsert_fact
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.store_writer import SqlStatements

#: Initial guesses only: bytes of text per token, and image side in px per token.
_BYTES_PER_TOKEN = 3.5
_SIDE_PX = 28
#: Protocol overhead of the messages.
_FRAME_TOKENS = 32


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """The tokens that a request may take.

    Attributes:
        tokens: Typical input plus output.
        worst_in: Upper bound of the input.
        worst_out: Upper bound of the output.
    """

    tokens: float
    worst_in: float
    worst_out: float


@dataclass(frozen=True, slots=True)
class RequestShape:
    """The size of a request's variable parts.

    Attributes:
        text_bytes: Caption and corrections in UTF-8.
        n_images: Number of images.
    """

    text_bytes: int
    n_images: int


class TokenEstimator:
    """Learn from replies how many tokens requests take.

    Attributes:
        excess: Factors by which input and output exceeded their bounds in earlier replies.
    """

    def __init__(
        self,
        params: EndpointParams,
        probe_tokens: int | None,
        system_bytes: int,
        excess: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Start from the probe.

        Args:
            params: Image size and output limit.
            probe_tokens: Input tokens of the probe request, if reported.
            system_bytes: Length of the system message.
            excess: `excess` of an earlier run.
        """
        self._params, self.excess = params, excess
        side = params.images.max_side_px / _SIDE_PX
        self._tokens_per_image = side * side
        # Without usage: no tokenizer makes more tokens than bytes, no model uses patches below
        # 14 px.
        self._fixed_bound = float(probe_tokens or system_bytes)
        self._image_bound = max(float(probe_tokens or 0), 4 * self._tokens_per_image)
        self._fixed_tokens = system_bytes / _BYTES_PER_TOKEN
        self._sum_prior = self._sum_in = self._sum_out = 0.0
        self._n = 0

    def typical_in(self, shape: RequestShape) -> float:
        """Return the typical number of input tokens, corrected by the replies so far."""
        return self._prior_in(shape) * (self._sum_in / self._sum_prior if self._sum_prior else 1.0)

    def typical_out(self) -> float:
        """Return the mean number of output tokens; half of the limit before the first reply."""
        return self._sum_out / self._n if self._n else self._params.max_tokens / 2

    def estimate(self, shape: RequestShape) -> TokenEstimate:
        """Return the typical and the largest size of a request."""
        worst = (
            self._fixed_bound
            + shape.text_bytes
            + shape.n_images * self._image_bound
            + _FRAME_TOKENS
        )
        typical = self.typical_in(shape) + self.typical_out()
        excess_in, excess_out = self.excess
        return TokenEstimate(typical, worst * excess_in, self._params.max_tokens * excess_out)

    def learn(self, shape: RequestShape, tokens_in: int | None, tokens_out: int | None) -> bool:
        """Learn from the usage of a reply; ignored if a count was not reported.

        Args:
            shape: The request.
            tokens_in: Input tokens of the reply.
            tokens_out: Output tokens of the reply.

        Returns:
            Whether the reply stayed within its bounds; if not, `excess` has grown.
        """
        if tokens_in is None or tokens_out is None:
            return True
        self._sum_prior += self._prior_in(shape)
        self._sum_in += tokens_in
        self._sum_out += tokens_out
        self._n += 1
        excess_in, excess_out = self.excess
        bounds = self.estimate(shape)
        self.excess = (
            _raise_to(excess_in, tokens_in, bounds.worst_in),
            _raise_to(excess_out, tokens_out, bounds.worst_out),
        )
        return self.excess == (excess_in, excess_out)

    def learn_output(self, tokens_out: int | None) -> bool:
        """Learn from the usage of a reply to a request of unknown shape; like `learn`."""
        excess_in, excess_out = self.excess
        bound = self._params.max_tokens * excess_out
        self.excess = (excess_in, _raise_to(excess_out, tokens_out or 0, bound))
        return self.excess == (excess_in, excess_out)

    def _prior_in(self, shape: RequestShape) -> float:
        return (
            self._fixed_tokens
            + shape.text_bytes / _BYTES_PER_TOKEN
            + shape.n_images * self._tokens_per_image
        )


def read_excess(store: ReplyStore, setting: str) -> tuple[float, float]:
    """Read the `TokenEstimator.excess` that earlier runs with the same setting found."""
    stored = store.fact(f"excess:{setting}")
    return (1.0, 1.0) if stored is None else (float(stored[0]), float(stored[1]))


def keep_excess(setting: str, excess: tuple[float, float]) -> SqlStatements:
    """Return the statement that keeps a `TokenEstimator.excess` for later runs."""
    return [upsert_fact(f"excess:{setting}", list(excess))]


def _raise_to(factor: float, tokens: int, bound: float) -> float:
    """Return a factor by which the bound holds for `tokens`, with a margin."""
    return factor * 1.1 * tokens / bound if tokens > bound else factor
