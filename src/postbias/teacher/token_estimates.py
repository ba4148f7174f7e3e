"""How many tokens a question takes: learned from the replies, bounded from above before asking.

The instructions are measured by the probe, whose one picture has the largest size that is sent.
Typical sizes follow the replies; bounds take a byte for a token and any picture for the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

from postbias.params import EndpointParams

#: Bytes of text per token, and pixels of a picture's side per token: starting points only.
_BYTES_PER_TOKEN = 3.5
_SIDE_PX = 28
#: For what the protocol puts around each message.
_FRAME_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Size:
    """What a request may take.

    Attributes:
        tokens: Input and output together, roughly.
        worst_in: Input tokens at most.
        worst_out: Output tokens at most.
    """

    tokens: float
    worst_in: float
    worst_out: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What a request is made of.

    Attributes:
        text_bytes: Caption and corrections, UTF-8.
        pictures: How many.
    """

    text_bytes: int
    pictures: int


class Meter:
    """Learns what questions take."""

    def __init__(self, params: EndpointParams, probe_tokens: int | None, system_bytes: int) -> None:
        """Start from the probe.

        Args:
            params: Sizes of pictures and replies.
            probe_tokens: Input tokens of the probe, if told.
            system_bytes: Size of the instructions.
        """
        self._params = params
        side = params.images.max_side_px / _SIDE_PX
        self._picture_guess = side * side
        # Without usage: no tokenizer makes more tokens than bytes, no model more than 14-px
        # patches.
        self._fixed_bound = float(probe_tokens or system_bytes)
        self._picture_bound = max(float(probe_tokens or 0), 4 * self._picture_guess)
        self._fixed_guess = system_bytes / _BYTES_PER_TOKEN
        self._guessed = self._told = self._told_out = 0.0
        self._n = 0
        self._inflation = 1.0

    def guess_in(self, shape: Shape) -> float:
        """Guess the input tokens of a request.

        Args:
            shape: What it is made of.

        Returns:
            Tokens, corrected by what was learned.
        """
        return self._raw(shape) * (self._told / self._guessed if self._guessed else 1.0)

    def guess_out(self) -> float:
        """Guess the output tokens of a reply.

        Returns:
            The mean so far; half of the limit before the first.
        """
        return self._told_out / self._n if self._n else self._params.max_tokens / 2

    def size(self, shape: Shape) -> Size:
        """Say what a request may take.

        Args:
            shape: What it is made of.

        Returns:
            Its likely and its largest size.
        """
        worst = (
            self._fixed_bound
            + shape.text_bytes
            + shape.pictures * self._picture_bound
            + _FRAME_TOKENS
        )
        likely = self.guess_in(shape) + self.guess_out()
        return Size(likely, worst * self._inflation, float(self._params.max_tokens))

    def learn(self, shape: Shape, tokens_in: int | None, tokens_out: int | None) -> bool:
        """Learn from a reply.

        Args:
            shape: What the request was made of.
            tokens_in: Input tokens, if told.
            tokens_out: Output tokens, if told.

        Returns:
            Whether it stayed within its bound.
        """
        if tokens_in is None or tokens_out is None:
            return True
        self._guessed += self._raw(shape)
        self._told += tokens_in
        self._told_out += tokens_out
        self._n += 1
        worst = self.size(shape).worst_in
        if tokens_in <= worst:
            return True
        self._inflation *= 1.1 * tokens_in / worst
        return False

    def _raw(self, shape: Shape) -> float:
        return (
            self._fixed_guess
            + shape.text_bytes / _BYTES_PER_TOKEN
            + shape.pictures * self._picture_guess
        )
