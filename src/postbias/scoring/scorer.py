"""Score posts with one artifact, without torch.

A post that cannot be read gets a status instead of a score. A result depends on its post only, not
on the batch, the order of posts or the number of threads.
"""

# Ships inside the registered model.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from postbias.posts.reasons import RejectReason
from postbias.scoring.artifact import Artifact
from postbias.scoring.execution_providers import Device
from postbias.scoring.graphs import Floats, Graphs
from postbias.scoring.image_runs import ImageRun
from postbias.scoring.manifest import Manifest, Precision
from postbias.scoring.post_scores import OK, AxisScore, PostInput, PostScore
from postbias.scoring.repeated_inputs import EmbeddedInput, RecentInputs
from postbias.scoring.score_intervals import (
    add_interval,
    identify_for_intervals,
    preload_languages,
)
from postbias.scoring.text_inputs import collect_texts, describe_missing, open_text_reader

__all__ = ["OK", "AxisScore", "PostInput", "PostScore", "Scorer"]


@dataclass(frozen=True, slots=True)
class _Embedded:
    """Embeddings of a batch of posts, zero for missing modalities, and faults of images by row.

    `languages` are those of the captions, all unknown if intervals do not depend on them.
    """

    text: Floats  # (N, Dt)
    has_text: Floats  # (N, 1)
    image: Floats  # (N, Di)
    n_images: Floats  # (N, 1)
    faults: dict[int, list[str]]
    languages: list[str]  # (N,)


class Scorer:
    """A loaded student; thread-safe.

    Attributes:
        artifact: The student.
        threads: Number of threads.
        precision: Precision of the graphs that run.
        device: Device that they run on.
        graphs: The loaded graphs.
        text_reader: Reads the text inside images; None if the student sees captions only.
        pool: The threads.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision = "int8",
        threads: int = 1,
        device: Device = "cpu",
        image_texts: Path | None = None,
    ) -> None:
        """Load the student; see `open` for a folder.

        Args:
            artifact: The student.
            precision: Precision on a CPU; other devices always run fp32.
            threads: Number of threads; does not affect scores.
            device: Device of the graphs.
            image_texts: SQLite file that keeps the text inside images; None to keep none.

        Raises:
            ArtifactError: If a file is damaged.
            DeviceError: If the device is not available.
            MissingExtraError: If the student reads text inside images, without the extra `ocr`.
        """
        self.artifact = artifact
        self.threads = threads
        self.text_reader = open_text_reader(artifact.manifest, image_texts)
        preload_languages(artifact.manifest)
        self.graphs = Graphs(artifact, precision, device)
        self.precision, self.device = self.graphs.precision, self.graphs.device
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="scorer")

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        precision: Precision = "int8",
        threads: int = 1,
        device: Device = "cpu",
        image_texts: Path | None = None,
    ) -> Self:
        """Load the student in a folder.

        Args:
            folder: The folder of an artifact.
            precision: Precision on a CPU; a graph that ships in fp32 only ignores it.
            threads: Number of threads; does not affect scores.
            device: `cpu`, `cuda`, `coreml`, or `auto` for the fastest available. Scores
                of different devices differ in the last digits.
            image_texts: SQLite file that keeps the text inside images; None to keep none.

        Raises:
            ArtifactError: If the folder is incomplete or damaged.
            DeviceError: If the device is not available.
            MissingExtraError: If the student reads text inside images, without the extra `ocr`.
        """
        artifact = Artifact.open(Path(folder))
        return cls(
            artifact, precision=precision, threads=threads, device=device, image_texts=image_texts
        )

    def __enter__(self) -> Self:
        """Return the scorer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the scorer."""
        self.close()

    def close(self) -> None:
        """Stop the threads; the scorer cannot be used afterwards."""
        self.pool.shutdown()
        if self.text_reader is not None:
            self.text_reader.close()

    @property
    def manifest(self) -> Manifest:
        """Manifest of the student."""
        return self.artifact.manifest

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return tuple(axis.name for axis in self.manifest.axes)

    def score(
        self, posts: Sequence[PostInput], recent: RecentInputs | None = None
    ) -> list[PostScore]:
        """Score posts.

        Args:
            posts: Posts; a few hundred per call use all threads and little memory.
            recent: Embeddings of earlier calls, to embed repeated images and captions once. None
                looks for repeats among `posts` only. Does not affect scores.

        Returns:
            One result per post, in order.
        """
        return self.score_and_embed(posts, recent)[0]

    def score_and_embed(
        self, posts: Sequence[PostInput], recent: RecentInputs | None = None
    ) -> tuple[list[PostScore], dict[str, Floats]]:
        """Score posts and return their embeddings.

        Args:
            posts: Posts.
            recent: As for `score`.

        Returns:
            The results, and the embeddings by encoder: `text` (N, Dt) and `image` (N, Di; mean of a
            carousel); NaN for a post without the modality.
        """
        if not posts:
            return [], {}
        embedded = self._embed(posts, recent or RecentInputs())
        inputs: dict[str, Floats] = {}
        if self.manifest.has_text:
            inputs |= {"text": embedded.text, "has_text": embedded.has_text}
        if self.manifest.has_image:
            has_image = (embedded.n_images > 0).astype(np.float32)
            inputs |= {"image": embedded.image, "has_image": has_image}
        scores = self.graphs.score(inputs)  # (N, A)
        results = [self._result(post, row, embedded, scores) for row, post in enumerate(posts)]
        parts = {
            "text": (embedded.text, embedded.has_text),
            "image": (embedded.image, embedded.n_images),
        }
        return results, {k: np.where(n > 0, x, np.nan) for k, (x, n) in parts.items() if x.shape[1]}

    def _embed(self, posts: Sequence[PostInput], recent: RecentInputs) -> _Embedded:
        """Embed the captions and images that the student reads, on all threads."""
        n, dims = len(posts), self.graphs.dims
        embedded = _Embedded(
            text=np.zeros((n, dims.get("text", 0)), np.float32),
            has_text=np.zeros((n, 1), np.float32),
            image=np.zeros((n, dims.get("image", 0)), np.float32),
            n_images=np.zeros((n, 1), np.float32),
            faults=defaultdict(list),
            languages=[],
        )
        images = self._start_images(posts, recent) if self.manifest.has_image else []
        if self.manifest.has_text:
            inputs = collect_texts(posts, self.text_reader, self.manifest.max_images, self.pool)
            started = recent.start_texts(self.graphs, inputs.texts, self.pool)
            if not self.manifest.has_image:  # else the image encoder has the same faults
                embedded.faults.update(inputs.faults)
        # Meanwhile, the threads embed.
        embedded.languages.extend(identify_for_intervals(posts, self.manifest))
        if self.manifest.has_text:
            for rows, captions in started.runs:
                embedded.text[rows] = captions.result()
                embedded.has_text[rows] = 1
            for row, caption in started.repeats.items():
                embedded.text[row] = caption.run.result()[caption.position]
                embedded.has_text[row] = 1
        for row, image in images:
            run = image.run.result()
            if image.position in run.rows:
                # Added in order, one at a time: the mean must not depend on the boundaries of runs.
                embedded.image[row] += run.embeddings[run.rows[image.position]]
                embedded.n_images[row] += 1
            else:
                embedded.faults[row].append(run.faults[image.position])
        np.divide(
            embedded.image, embedded.n_images, out=embedded.image, where=embedded.n_images > 0
        )
        return embedded

    def _start_images(
        self, posts: Sequence[PostInput], recent: RecentInputs
    ) -> list[tuple[int, EmbeddedInput[ImageRun]]]:
        limit = self.manifest.max_images
        rows = [row for row, post in enumerate(posts) for _ in post.images[:limit]]
        images = [data for post in posts for data in post.images[:limit]]
        started = recent.start_images(self.graphs, self.manifest, images, self.pool)
        return list(zip(rows, started, strict=True))

    def _result(self, post: PostInput, row: int, embedded: _Embedded, scores: Floats) -> PostScore:
        has_text, n_images = bool(embedded.has_text[row, 0]), int(embedded.n_images[row, 0])
        faults = "; ".join(embedded.faults.get(row, ()))
        if not has_text and not n_images:
            if faults:
                return _reject(RejectReason.UNREADABLE, faults)
            return _reject(RejectReason.NO_CONTENT, describe_missing(post, self.manifest))
        if not np.isfinite(scores[row]).all():
            return _reject(
                RejectReason.NOT_A_NUMBER, "the student gives no finite score for this post"
            )
        group = "+".join(["image"] * bool(n_images) + ["text"] * has_text)
        axes = self.manifest.axes
        by_axis = {
            axis.name: add_interval(
                self.manifest, axis, group, embedded.languages[row], float(value)
            )
            for axis, value in zip(axes, scores[row], strict=True)
        }
        band = axes[0].band(by_axis[axes[0].name].value)
        return PostScore(OK, by_axis, band, group, n_images, faults)


def _reject(reason: RejectReason, detail: str) -> PostScore:
    return PostScore(str(reason), {}, None, None, 0, detail)
