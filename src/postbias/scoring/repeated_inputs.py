"""Embed each distinct image and text once: repeats share the embedding of an earlier occurrence.

An embedding depends on its input only, so the scores are the same as without reuse. Images are
compared byte by byte with recent ones, which costs less than hashing all of them.
"""

# Ships inside the registered model.

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, NamedTuple, TypeVar

from postbias.scoring.graphs import Floats, Graphs
from postbias.scoring.image_runs import IMAGES_PER_RUN, ImageRun, start_image_runs
from postbias.scoring.manifest import Manifest
from postbias.scoring.text_runs import start_text_runs

#: Memory for recent images, a few hundred of those that platforms serve.
IMAGE_BYTES = 64 * 2**20
#: Memory for recent texts and their embeddings, about ten thousand captions.
TEXT_BYTES = 64 * 2**20

# Embedding and bookkeeping of one entry.
_ENTRY_BYTES = 4096
# An image is found by its length and this many bytes from its middle, then compared as a whole.
_SAMPLE_BYTES = 16

_Run = TypeVar("_Run")


class EmbeddedInput(NamedTuple, Generic[_Run]):
    """Where the embedding of an input is, or will be."""

    run: Future[_Run]
    position: int
    """Position of the input in the run."""


class StartedTexts(NamedTuple):
    """The runs of new texts as of `start_text_runs`, and the embeddings of repeated ones by row."""

    runs: list[tuple[list[int], Future[Floats]]]
    repeats: dict[int, EmbeddedInput[Floats]]


class RecentInputs:
    """Embeddings of recent texts and images of one student, in bounded memory; thread-safe."""

    def __init__(self, *, image_bytes: int = IMAGE_BYTES, text_bytes: int = TEXT_BYTES) -> None:
        """Start without any.

        Args:
            image_bytes: Memory for images; the least recently used ones are dropped.
            text_bytes: Memory for texts and their embeddings, likewise.
        """
        self._images: _Window[bytes, ImageRun] = _Window(image_bytes)
        self._texts: _Window[str, Floats] = _Window(text_bytes)
        self._lock = threading.Lock()

    def start_texts(self, graphs: Graphs, texts: Sequence[str], pool: Executor) -> StartedTexts:
        """Start to embed the texts that are not repeats.

        Args:
            graphs: The graphs of a student that reads text.
            texts: Texts, valid in UTF-8; empty ones are left out.
            pool: Threads that embed.

        Returns:
            The runs and the repeats.
        """
        with self._lock:
            repeats: dict[int, EmbeddedInput[Floats]] = {}
            first: dict[str, int] = {}
            same: list[int] = []
            for row, text in enumerate(texts):
                if text in first:
                    same.append(row)
                elif known := self._texts.find(text, text):
                    repeats[row] = known
                elif text:
                    first[text] = row
            is_new = set(first.values())
            new = [text if row in is_new else "" for row, text in enumerate(texts)]
            runs = start_text_runs(graphs, new, pool)
            started = {
                texts[row]: EmbeddedInput(run, position)
                for rows, run in runs
                for position, row in enumerate(rows)
            }
            for text, embedded in started.items():
                self._texts.add(text, text, embedded)
        repeats |= {row: started[texts[row]] for row in same}
        return StartedTexts(runs, repeats)

    def start_images(
        self, graphs: Graphs, manifest: Manifest, images: Sequence[bytes], pool: Executor
    ) -> list[EmbeddedInput[ImageRun]]:
        """Start to decode and embed the images that are not repeats.

        Args:
            graphs: The graphs of a student that reads images.
            manifest: The student.
            images: Contents of image files.
            pool: Threads that decode and embed.

        Returns:
            Where the embedding, or the fault, of each image is.
        """
        with self._lock:
            found: list[EmbeddedInput[ImageRun] | int] = []
            new: list[bytes] = []
            first: dict[Hashable, int] = {}
            for data in images:
                key = _sample(data)
                place = first.get(key)
                if place is not None and new[place] == data:
                    found.append(place)
                elif known := self._images.find(key, data):
                    found.append(known)
                else:
                    first[key] = len(new)
                    found.append(len(new))
                    new.append(data)
            runs = start_image_runs(graphs, manifest, new, pool)
            started = [
                EmbeddedInput(runs[place // IMAGES_PER_RUN], place % IMAGES_PER_RUN)
                for place in range(len(new))
            ]
            for data, embedded in zip(new, started, strict=True):
                self._images.add(_sample(data), data, embedded)
        return [started[place] if isinstance(place, int) else place for place in found]


_Value = TypeVar("_Value", str, bytes)


class _Window(Generic[_Value, _Run]):
    """The most recently used inputs."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._entries: dict[Hashable, tuple[_Value, EmbeddedInput[_Run]]] = {}

    def find(self, key: Hashable, value: _Value) -> EmbeddedInput[_Run] | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] != value:
            return None
        self._entries[key] = self._entries.pop(key)  # now the most recent one
        return entry[1]

    def add(self, key: Hashable, value: _Value, embedded: EmbeddedInput[_Run]) -> None:
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (value, embedded)
        self._left -= len(value) + _ENTRY_BYTES
        while self._left < 0:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        value, _ = self._entries.pop(key)
        self._left += len(value) + _ENTRY_BYTES


def _sample(data: bytes) -> Hashable:
    middle = len(data) // 2
    return len(data), data[middle : middle + _SAMPLE_BYTES]
