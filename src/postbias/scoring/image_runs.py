"""Decode and embed images in runs of a few, on the threads of a scorer."""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np

from postbias.errors import UnreadableImageError
from postbias.posts.images import decode_square
from postbias.scoring.graphs import Floats, Graphs
from postbias.scoring.manifest import Manifest

#: Enough for full-speed kernels, few enough for the cache and for threads to finish together.
IMAGES_PER_RUN = 8


class ImageRun(NamedTuple):
    """Embeddings of the images of a run that could be read, and the faults of the others."""

    embeddings: Floats
    """One row per image that could be read, (R, Di)."""
    rows: Mapping[int, int]
    """Row of each of these images by its position in the run."""
    faults: Mapping[int, str]
    """Why the others could not be read, by position in the run."""


def start_image_runs(
    graphs: Graphs, manifest: Manifest, images: Sequence[bytes], pool: Executor
) -> list[Future[ImageRun]]:
    """Start to decode and embed images.

    Args:
        graphs: The graphs of a student that reads images.
        manifest: The student.
        images: Contents of image files.
        pool: Threads that decode and embed.

    Returns:
        The runs of `IMAGES_PER_RUN` images each, in order.
    """
    chunks = (images[at : at + IMAGES_PER_RUN] for at in range(0, len(images), IMAGES_PER_RUN))
    return [pool.submit(_run, graphs, manifest, chunk) for chunk in chunks]


def _run(graphs: Graphs, manifest: Manifest, images: Sequence[bytes]) -> ImageRun:
    size = manifest.image_size
    assert size is not None
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    rows: dict[int, int] = {}
    faults: dict[int, str] = {}
    for position, data in enumerate(images):
        try:
            pixels[len(rows)] = decode_square(data, size, manifest.image_preprocessing)
        except UnreadableImageError as error:
            faults[position] = f"{error.reason}: {error.detail}"
        else:
            rows[position] = len(rows)
    if not rows:
        return ImageRun(np.empty((0, graphs.dims["image"]), np.float32), rows, faults)
    return ImageRun(graphs.embed_images(pixels[: len(rows)]), rows, faults)
