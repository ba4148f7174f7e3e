"""Scores posts with one artifact, without torch.

Pictures are decoded by `postbias.posts.images`, captions batched by length, and a post is never
given a score that nothing was read for: it gets a status that says why instead. A post's result
depends on the post alone, not on its neighbours, their order or the number of threads. Shipped
inside the registered model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np

from postbias.axes import Axis
from postbias.errors import UnreadableImageError
from postbias.posts.images import decode_square
from postbias.posts.reasons import RejectReason
from postbias.posts.text_cleaning import clean_text
from postbias.scoring.artifact import Artifact
from postbias.scoring.execution_providers import Device
from postbias.scoring.graphs import Floats, Graphs
from postbias.scoring.manifest import Manifest, Precision
from postbias.scoring.post_scores import OK, AxisScore, PostInput, PostScore

__all__ = ["OK", "AxisScore", "PostInput", "PostScore", "Scorer"]

_T = TypeVar("_T")

#: Enough for full-speed kernels, few enough that what lies between two products stays in the cache
#: and that two threads end together.
IMAGES_PER_RUN = 8
TOKENS_PER_RUN = 512


@dataclass(frozen=True, slots=True)
class _Seen:
    """Embeddings of a batch's posts, zero where there is nothing, and what could not be read."""

    text: Floats  # (N, Dt)
    has_text: Floats  # (N, 1)
    image: Floats  # (N, Di)
    n_images: Floats  # (N, 1)
    faults: Mapping[int, list[str]]


class Scorer:
    """One student, loaded and ready; `score` may be called from several threads at once."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision = "int8",
        threads: int = 1,
        device: Device = "cpu",
    ) -> None:
        """Load the student; see `open` for a folder.

        Args:
            artifact: The student.
            precision: `int8` or `fp32`; another device than a CPU runs fp32.
            threads: Cores to use.
            device: Where the graphs run.

        Raises:
            ArtifactError: If a file that it needs is damaged.
            DeviceError: If the device is not there.
        """
        self.artifact = artifact
        self.threads = threads
        self._graphs = Graphs(artifact, precision, device)
        self.precision, self.device = self._graphs.precision, self._graphs.device
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="scorer")

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        precision: Precision = "int8",
        threads: int = 1,
        device: Device = "cpu",
    ) -> Self:
        """Load the student in a folder.

        Args:
            folder: An artifact.
            precision: `int8` or `fp32`; a graph that ships as fp32 only runs as that.
            threads: Cores to use; does not change a score.
            device: Where the graphs run: `cpu`, `cuda`, `coreml`, or `auto` for the best there is.
                Another device changes a score in its last digits.

        Returns:
            The scorer.

        Raises:
            ArtifactError: If the folder is incomplete or damaged.
            DeviceError: If the device is not there.
        """
        artifact = Artifact.open(Path(folder))
        return cls(artifact, precision=precision, threads=threads, device=device)

    def __enter__(self) -> Self:
        """Return itself: a scorer is a context manager."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the worker threads; the scorer cannot be used afterwards."""
        self._pool.shutdown()

    @property
    def manifest(self) -> Manifest:
        """What the student says of itself."""
        return self.artifact.manifest

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of its axes, the main one first."""
        return tuple(axis.name for axis in self.manifest.axes)

    def score(self, posts: Sequence[PostInput]) -> list[PostScore]:
        """Score posts.

        Args:
            posts: Any number of them; a few hundred at a time keep memory small and cores busy.

        Returns:
            One result per post, in the same order.
        """
        return self.score_and_embed(posts)[0]

    def score_and_embed(
        self, posts: Sequence[PostInput]
    ) -> tuple[list[PostScore], dict[str, Floats]]:
        """Score posts, and also give their embeddings.

        Args:
            posts: Any number of them.

        Returns:
            The results; and by encoder, `text` (M, Dt) and `image` (M, Di, the mean of a carousel),
            those of the posts that have such a thing, in order.
        """
        if not posts:
            return [], {}
        seen = self._see(posts)
        inputs: dict[str, Floats] = {}
        if self.manifest.has_text:
            inputs |= {"text": seen.text, "has_text": seen.has_text}
        if self.manifest.has_image:
            has_image = (seen.n_images > 0).astype(np.float32)
            inputs |= {"image": seen.image, "has_image": has_image}
        scores = self._graphs.score(inputs)  # (N, A)
        results = [self._result(post, row, seen, scores) for row, post in enumerate(posts)]
        parts = {"text": (seen.text, seen.has_text), "image": (seen.image, seen.n_images)}
        return results, {name: x[n[:, 0] > 0] for name, (x, n) in parts.items() if x.shape[1]}

    def _see(self, posts: Sequence[PostInput]) -> _Seen:
        """Embed all that the student can see of the posts, on all threads."""
        n, dims = len(posts), self._graphs.dims
        seen = _Seen(
            text=np.zeros((n, dims.get("text", 0)), np.float32),
            has_text=np.zeros((n, 1), np.float32),
            image=np.zeros((n, dims.get("image", 0)), np.float32),
            n_images=np.zeros((n, 1), np.float32),
            faults=defaultdict(list),
        )
        image_runs = self._start_images(posts) if self.manifest.has_image else []
        text_runs = self._start_captions(posts) if self.manifest.has_text else []
        for rows, embeddings in text_runs:
            seen.text[rows] = embeddings.result()
            seen.has_text[rows] = 1
        for rows, looks in image_runs:
            read, embedded, faults = looks.result()
            for position, embedding in zip(read, embedded, strict=True):
                # One by one and in order: a mean must not depend on how the runs were cut.
                seen.image[rows[position]] += embedding
                seen.n_images[rows[position]] += 1
            for position, fault in faults.items():
                seen.faults[rows[position]].append(fault)
        np.divide(seen.image, seen.n_images, out=seen.image, where=seen.n_images > 0)
        return seen

    def _start_captions(self, posts: Sequence[PostInput]) -> list[tuple[list[int], Future[Floats]]]:
        texts = {row: text for row, post in enumerate(posts) if (text := _read_caption(post))}
        tokens = {row: self._graphs.tokenize(text) for row, text in texts.items()}
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, ids in tokens.items():
            by_length[self._graphs.padded_length(len(ids))].append(row)
        runs = []
        for length, rows in sorted(by_length.items(), reverse=True):
            for chunk in _chunks(rows, max(1, TOKENS_PER_RUN // length)):
                captions = [tokens[row] for row in chunk]
                runs.append((chunk, self._pool.submit(self._graphs.embed_captions, captions)))
        return runs

    def _start_images(self, posts: Sequence[PostInput]) -> list[tuple[list[int], Future[_Looks]]]:
        limit = self.manifest.max_images
        images = [(row, data) for row, post in enumerate(posts) for data in post.images[:limit]]
        return [
            ([row for row, _ in chunk], self._pool.submit(self._look, [data for _, data in chunk]))
            for chunk in _chunks(images, IMAGES_PER_RUN)
        ]

    def _look(self, images: Sequence[bytes]) -> _Looks:
        """Decode and embed some images; those that cannot be decoded are faults."""
        size = self.manifest.image_size
        assert size is not None
        pixels = np.empty((len(images), size, size, 3), np.uint8)
        read: list[int] = []
        faults: dict[int, str] = {}
        for position, data in enumerate(images):
            try:
                pixels[len(read)] = decode_square(data, size)
            except UnreadableImageError as error:
                faults[position] = f"{error.reason}: {error.detail}"
            else:
                read.append(position)
        if not read:
            return _Looks([], np.empty((0, self._graphs.dims["image"]), np.float32), faults)
        return _Looks(read, self._graphs.embed_images(pixels[: len(read)]), faults)

    def _result(self, post: PostInput, row: int, seen: _Seen, scores: Floats) -> PostScore:
        has_text, n_images = bool(seen.has_text[row, 0]), int(seen.n_images[row, 0])
        faults = "; ".join(seen.faults.get(row, ()))
        if not has_text and not n_images:
            if faults:
                return _reject(RejectReason.UNREADABLE, faults)
            return _reject(RejectReason.NO_CONTENT, self._nothing_there(post))
        if not np.isfinite(scores[row]).all():
            return _reject(
                RejectReason.NOT_A_NUMBER, "the student gives no finite score for this post"
            )
        group = "+".join(["image"] * bool(n_images) + ["text"] * has_text)
        axes = self.manifest.axes
        by_axis = {
            axis.name: self._with_interval(axis, group, float(value))
            for axis, value in zip(axes, scores[row], strict=True)
        }
        band = axes[0].band(by_axis[axes[0].name].value)
        return PostScore(OK, by_axis, band, group, n_images, faults)

    def _with_interval(self, axis: Axis, group: str, value: float) -> AxisScore:
        value = min(max(value, axis.low), axis.high)
        interval = self.manifest.intervals.get(axis.name, {}).get(group)
        if interval is None:
            return AxisScore(value, None, None)
        lo = min(max(value + interval.lo, axis.low), axis.high)
        hi = min(max(value + interval.hi, axis.low), axis.high)
        return AxisScore(value, lo, hi)

    def _nothing_there(self, post: PostInput) -> str:
        missing = [
            what
            for what, is_read, is_there in (
                ("caption", self.manifest.has_text, bool(_read_caption(post))),
                ("image", self.manifest.has_image, bool(post.images)),
            )
            if is_read and not is_there
        ]
        return f"no {' and no '.join(missing)}"


class _Looks(NamedTuple):
    """Positions of the images that could be read, their embeddings, and the others' faults."""

    read: list[int]
    embeddings: Floats
    faults: Mapping[int, str]


def _reject(reason: RejectReason, detail: str) -> PostScore:
    return PostScore(str(reason), {}, None, None, 0, detail)


def _read_caption(post: PostInput) -> str:
    return clean_text(post.caption).strip()


def _chunks(items: list[_T], size: int) -> list[list[_T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
