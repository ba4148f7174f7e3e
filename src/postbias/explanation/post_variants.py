"""Score variants of one post: some words removed, some image regions filled, some images left out.

A variant is scored by the graphs that score posts: a variant in which nothing is changed has the
score of the post. Captions and images that variants share are encoded once.
"""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from postbias.errors import UnreadableImageError
from postbias.explanation.image_regions import (
    Pixels,
    Region,
    RelativeBox,
    fill_regions,
    locate_square,
    mean_colour,
)
from postbias.posts.image_text import append_image_text
from postbias.posts.images import decode_square
from postbias.scoring.graphs import Floats
from postbias.scoring.image_runs import IMAGES_PER_RUN
from postbias.scoring.post_scores import PostInput
from postbias.scoring.scorer import Scorer
from postbias.scoring.text_inputs import read_caption
from postbias.scoring.text_runs import start_text_runs

#: An image of a variant: its position among the readable images, and the regions that are filled.
VariantImage = tuple[int, tuple[Region, ...]]


@dataclass(frozen=True, slots=True)
class Variant:
    """What the student sees of a variant.

    Attributes:
        text: Text; empty for none.
        images: Images, each with the regions that are filled.
    """

    text: str
    images: tuple[VariantImage, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadPost:
    """What a student reads of a post.

    Attributes:
        text: The caption and the text inside images; empty if the student reads no text.
        caption: The caption; empty if the student reads no text.
        image_texts: The text inside the images; empty unless the student reads it.
        images: Readable images, (S, S, 3) each; none if the student reads no images.
        positions: Position of each readable image among the images of the post.
        squares: Part of each upright image that the student reads.
    """

    text: str
    caption: str
    image_texts: tuple[str, ...]
    images: tuple[Pixels, ...]
    positions: tuple[int, ...]
    squares: tuple[RelativeBox, ...]

    @property
    def whole(self) -> Variant:
        """The variant in which nothing is changed."""
        return Variant(self.text, tuple((i, ()) for i in range(len(self.images))))

    @property
    def caption_only(self) -> Variant:
        """The variant without images and without the text inside them."""
        return Variant(self.caption)

    @property
    def images_only(self) -> Variant:
        """The variant without the caption."""
        return Variant(append_image_text("", self.image_texts), self.whole.images)


def read_post_parts(scorer: Scorer, post: PostInput) -> ReadPost:
    """Read a post as the student does."""
    manifest = scorer.manifest
    data = post.images[: manifest.max_images]
    caption = read_caption(post) if manifest.has_text else ""
    image_texts: list[str] = []
    if scorer.text_reader is not None:
        image_texts = [scorer.text_reader.read_all([image]) for image in data]
    images, positions, squares = [], [], []
    if manifest.image_size is not None:
        size, preprocessing = manifest.image_size, manifest.image_preprocessing
        for position, image in enumerate(data):
            try:
                images.append(decode_square(image, size, preprocessing))
            except UnreadableImageError:
                continue
            positions.append(position)
            squares.append(locate_square(image, size, preprocessing))
    return ReadPost(
        text=append_image_text(caption, image_texts),
        caption=caption,
        image_texts=tuple(text for text in image_texts if text),
        images=tuple(images),
        positions=tuple(positions),
        squares=tuple(squares),
    )


@dataclass(slots=True)
class VariantScorer:
    """Scores variants of one post.

    Attributes:
        scorer: The student.
        post: What it reads of the post.
        fill: What fills regions of an image, (S, S, 3) to (S, S, 3).
    """

    scorer: Scorer
    post: ReadPost
    fill: Callable[[Pixels], Pixels] = mean_colour
    _scores: dict[Variant, Floats] = field(default_factory=dict)
    _texts: dict[str, Floats] = field(default_factory=dict)
    _images: dict[VariantImage, Floats] = field(default_factory=dict)
    _fillings: dict[int, Pixels] = field(default_factory=dict)

    @property
    def n_calls(self) -> int:
        """Number of different variants that were scored."""
        return len(self._scores)

    def score(self, variants: Sequence[Variant]) -> Floats:
        """Score variants; one that was scored before is not scored again.

        Args:
            variants: Variants; empty ones get the student's output for a post without any content.

        Returns:
            Scores in the units of the axes, not clipped, (N, A).
        """
        new = [v for v in dict.fromkeys(variants) if v not in self._scores]
        if new:
            self._embed_images(new)
            self._embed_texts(new)
            self._scores |= zip(new, self._score_embedded(new), strict=True)
        return np.stack([self._scores[variant] for variant in variants])  # (N, A)

    def _score_embedded(self, variants: Sequence[Variant]) -> Floats:
        dims, n = self.scorer.graphs.dims, len(variants)
        inputs: dict[str, Floats] = {}
        for name, dim in dims.items():
            inputs |= {
                name: np.zeros((n, dim), np.float32),
                f"has_{name}": np.zeros((n, 1), np.float32),
            }
        for row, variant in enumerate(variants):
            if variant.text and "text" in dims:
                inputs["text"][row] = self._texts[variant.text]
                inputs["has_text"][row] = 1
            if variant.images and "image" in dims:
                for image in variant.images:  # in order, as the scorer adds them
                    inputs["image"][row] += self._images[image]
                inputs["image"][row] /= np.float32(len(variant.images))
                inputs["has_image"][row] = 1
        return self.scorer.graphs.score(inputs)

    def _embed_texts(self, variants: Sequence[Variant]) -> None:
        if not self.scorer.manifest.has_text:
            return
        texts = list(dict.fromkeys(v.text for v in variants if v.text not in self._texts))
        for rows, run in start_text_runs(self.scorer.graphs, texts, self.scorer.pool):
            self._texts |= zip((texts[row] for row in rows), run.result(), strict=True)

    def _embed_images(self, variants: Sequence[Variant]) -> None:
        if not self.scorer.manifest.has_image:
            return
        images = dict.fromkeys(image for variant in variants for image in variant.images)
        new = [image for image in images if image not in self._images]
        runs = []
        for start in range(0, len(new), IMAGES_PER_RUN):
            chunk = new[start : start + IMAGES_PER_RUN]
            pixels = np.stack([self._draw(image) for image in chunk])  # (B, S, S, 3)
            runs.append((chunk, self.scorer.pool.submit(self.scorer.graphs.embed_images, pixels)))
        for chunk, run in runs:
            self._images |= zip(chunk, run.result(), strict=True)

    def _draw(self, image: VariantImage) -> Pixels:
        position, regions = image
        pixels = self.post.images[position]
        if not regions:
            return pixels
        if position not in self._fillings:
            self._fillings[position] = self.fill(pixels)
        return fill_regions(pixels, self._fillings[position], regions)
