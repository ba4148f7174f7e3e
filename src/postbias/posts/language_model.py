"""Classify the language of many captions at once, with the model of `py3langid`.

`py3langid` walks an automaton over the bytes of one text in Python. Here each NumPy call moves the
automata of all captions of a batch by one byte, which takes a quarter of the time. Model, features
and probabilities are the same.
"""

# Ships inside the registered model.

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.uint32]
_Sizes = npt.NDArray[np.int64]

# Large enough that NumPy calls do most of the work, small enough for the cache and for 32-bit keys.
_BATCH = 8192
# If fewer captions are left at a byte, one NumPy call takes longer than one Python step for each.
_MIN_CAPTIONS = 64


class LanguageModel:
    """The automaton and the naive Bayes classifier of `py3langid`, as arrays."""

    def __init__(self, varieties: Mapping[str, str]) -> None:
        """Load the model, which takes a second.

        Args:
            varieties: Code of the language that a variety is counted as, by code of the variety.
        """
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        # Next state by row of the state and byte; feature of each state, -1 for none.
        self._automaton = model.tk_nextmove, model.tk_row, model.tk_output
        self._next = np.asarray(model.tk_nextmove, dtype=np.uint32)
        self._rows = np.asarray(model.tk_row, dtype=np.uint32) << 8
        self._features = np.asarray(model.tk_output, dtype=np.int32)
        self._weights = np.asarray(model.nb_ptc, dtype=np.float32)
        self._prior = np.asarray(model.nb_pc, dtype=np.float32)
        self._codes = np.asarray(model.nb_classes, dtype=object)
        # Pairs of columns that are counted as the first one.
        codes = list(model.nb_classes)
        folded = [(codes.index(base), codes.index(code)) for code, base in varieties.items()]
        self._folded: list[tuple[int, int]] = [*model._alias_pairs, *folded]

    def classify(self, captions: Sequence[str]) -> tuple[Codes, Floats]:
        """Classify captions.

        Args:
            captions: Captions; may be empty. (N,)

        Returns:
            ISO 639-1 code and probability of the most likely language of each. (N,)
        """
        codes, probabilities = np.empty(len(captions), object), np.empty(len(captions), np.float32)
        for start in range(0, len(captions), _BATCH):
            batch = slice(start, start + _BATCH)
            codes[batch], probabilities[batch] = self._classify_batch(captions[batch])
        return codes, probabilities

    def _classify_batch(self, captions: Sequence[str]) -> tuple[Codes, Floats]:
        texts = [_encode(caption) for caption in captions]
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        scores = self._score(lengths, self._walk(texts, lengths))
        # As in py3langid: a softmax that is calibrated across lengths.
        scores *= (1 / np.sqrt(np.maximum(lengths, 1))).astype(np.float32)[:, None]
        np.exp(scores - scores.max(axis=1, keepdims=True), out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        for first, other in self._folded:
            scores[:, first] += scores[:, other]
            scores[:, other] = 0
        best = scores.argmax(axis=1)
        return self._codes[best], scores[np.arange(len(best)), best]

    def _walk(self, texts: Sequence[bytes], lengths: _Sizes) -> npt.NDArray[np.int32]:
        """Return the feature at each byte of the concatenated texts; -1 for none."""
        data = np.frombuffer(b"".join(texts), dtype=np.uint8)
        found = np.full(len(data), -1, dtype=np.int32)
        order = np.argsort(-lengths, kind="stable")
        starts = (np.cumsum(lengths) - lengths)[order]
        steps = np.arange(lengths.max(initial=0))
        # Captions that have such a byte: the first ones, because the longest come first.
        n_left = len(lengths) - np.searchsorted(np.sort(lengths), steps, side="right")
        state = np.zeros(len(lengths), dtype=np.uint32)
        for step, n in enumerate(n_left.tolist()):
            if n < _MIN_CAPTIONS:
                self._walk_rest(texts, order[:n].tolist(), state, step, starts, found)
                break
            at = starts[:n] + step
            row = np.take(self._rows, state[:n])
            state[:n] = np.take(self._next, row + np.take(data, at))
            found[at] = np.take(self._features, state[:n])
        return found

    def _walk_rest(
        self,
        texts: Sequence[bytes],
        left: Sequence[int],
        states: _Indices,
        step: int,
        starts: _Sizes,
        found: npt.NDArray[np.int32],
    ) -> None:
        """Walk the rest of few long captions one by one."""
        following, rows, features = self._automaton
        for place, index in enumerate(left):
            state, seen = int(states[place]), []
            for byte in texts[index][step:]:
                state = following[(rows[state] << 8) + byte]
                seen.append(features[state])
            start = starts[place] + step
            found[start : start + len(seen)] = seen

    def _score(self, lengths: _Sizes, found: npt.NDArray[np.int32]) -> Floats:
        """Return the log-posterior of each language, without a constant. (n, languages)."""
        n_features = np.uint32(len(self._weights))
        has_feature = found >= 0
        captions = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)[has_feature]
        keys = captions * n_features + found[has_feature].astype(np.uint32)
        keys.sort()
        is_first = np.ones(len(keys), dtype=bool)
        is_first[1:] = keys[1:] != keys[:-1]
        first = np.flatnonzero(is_first)
        counts = np.diff(np.r_[first, len(keys)]).astype(np.float32)
        rows, features = np.divmod(keys[first], n_features)
        ends = np.searchsorted(rows, np.arange(len(lengths) + 1))
        values = np.log1p(counts)
        # Without features, all languages are equally likely.
        scores = np.zeros((len(lengths), self._weights.shape[1]), dtype=np.float32)
        for row, (start, end) in enumerate(pairwise(ends.tolist())):
            if start < end:
                np.dot(values[start:end], self._weights[features[start:end]], out=scores[row])
        scores[ends[:-1] < ends[1:]] += self._prior
        return scores


def _encode(caption: str) -> bytes:
    """Encode a caption as py3langid does."""
    text = caption.lower() if caption.isupper() else caption
    return unicodedata.normalize("NFC", text).encode("utf-8", errors="surrogatepass")
