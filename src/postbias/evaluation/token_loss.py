"""How much of the captions of each language a student reads before `train.max_tokens` cuts them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from postbias.evaluation.labelled_folds import LabelledFold
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import TOKENIZER

logger = logging.getLogger(__name__)

#: If a language loses a larger share of its tokens, the log and the report warn.
MAX_LOST = 0.05

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Lengths of the captions of one language in tokens, special tokens included.

    Attributes:
        n: Captions, of all labelled posts.
        mean: Mean number of tokens.
        high: Number of tokens that 95% of captions do not exceed.
        cut: Share of captions that are cut.
        lost: Share of all tokens that are not read.
    """

    n: int
    mean: float
    high: float
    cut: float
    lost: float

    @property
    def is_much(self) -> bool:
        """Whether the language loses much."""
        return self.lost > MAX_LOST

    def as_dict(self) -> dict[str, int | float | bool]:
        """Return the numbers as they are written to `evaluate.json`."""
        return asdict(self) | {"much": self.is_much}


def count_lost_tokens(
    paths: Paths,
    folds: Mapping[str, LabelledFold],
    languages: Mapping[str, Sequence[str]],
    names: Sequence[str],
) -> dict[str, dict[str, TokenLoss]]:
    """Count how much of the captions of each language a student reads; warn if it is little.

    Args:
        paths: The repository, with the students.
        folds: All labelled posts.
        languages: Language of each post by fold. (n,)
        names: The students.

    Returns:
        Counts by student that reads captions, and language.
    """
    captions: dict[str, list[str]] = {}
    for fold, posts in folds.items():
        for code, caption in zip(languages[fold], posts.captions, strict=True):
            if caption.strip():
                captions.setdefault(code, []).append(caption.strip())
    lost = {}
    for name in names:
        artifact = Artifact.open(paths.students / name)
        limit = artifact.manifest.max_tokens
        if limit is None:
            continue
        lengths = {code: _count_tokens(artifact, captions[code]) for code in sorted(captions)}
        lost[name] = {code: _summarize_lengths(counts, limit) for code, counts in lengths.items()}
        for code, loss in lost[name].items():
            if loss.is_much:
                logger.warning(
                    "%s: captions in language `%s` lose %.0f%% of their tokens beyond "
                    "train.max_tokens, %d; 95%% of them have at most %.0f",
                    name,
                    code,
                    100 * loss.lost,
                    limit,
                    loss.high,
                )
    return lost


def _count_tokens(artifact: Artifact, captions: Sequence[str]) -> np.ndarray:
    """Return the number of tokens of each caption. (n,)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_buffer(artifact.read(TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts: list[int] = []
    for start in range(0, len(captions), _CHUNK):
        encoded = tokenizer.encode_batch(list(captions[start : start + _CHUNK]))
        counts += [len(encoding.ids) for encoding in encoded]
    return np.array(counts)


def _summarize_lengths(counts: np.ndarray, limit: int) -> TokenLoss:
    read = np.minimum(counts, limit)
    return TokenLoss(
        n=len(counts),
        mean=float(counts.mean()),
        high=float(np.quantile(counts, 0.95)),
        cut=float((counts > limit).mean()),
        lost=float(1 - read.sum() / max(counts.sum(), 1)),
    )
