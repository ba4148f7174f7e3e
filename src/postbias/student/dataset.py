"""Labelled posts as training examples: token ids, decoded images and labels.

Captions are tokenised and images decoded once, exactly as for scoring. Decoded images are
memory-mapped from a file, so that memory use does not grow with their number.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from postbias.errors import CorpusError, StorageError, UnreadableImageError
from postbias.posts.images import decode_square
from postbias.posts.shards import ROW_GROUP_POSTS, iter_posts, list_shards
from postbias.student.encoder_settings import image_input_of
from postbias.student.image_encoders import ImageInput

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from postbias.params import TrainParams

_MAX_SHIFT = 0.08  # of augmentation, as a share of the image's side


@dataclass(frozen=True, slots=True)
class Examples:
    """Posts of one fold, in the order of their labels.

    Attributes:
        post_ids: Ids of the posts.
        token_ids: Token ids of each caption, truncated to `max_tokens`; empty for an empty caption.
        pixels: All images, uint8 (M, S, S, 3).
        image_rows: Rows of `pixels` that belong to each post.
        labels: Labels, float32 (N, A).
    """

    post_ids: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]
    pixels: NDArray[np.uint8]
    image_rows: tuple[range, ...]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.post_ids)

    def usable_rows(self, modality: str) -> list[int]:
        """List the rows with a caption (text), a readable image (image), or either (fusion)."""
        used = [
            (modality != "image" and bool(tokens)) or (modality != "text" and len(images) > 0)
            for tokens, images in zip(self.token_ids, self.image_rows, strict=True)
        ]
        return [row for row, keep in enumerate(used) if keep]

    def restricted_to(self, modality: str) -> Examples:
        """Copy the examples as they are loaded for a text student or for an image student."""
        if modality == "image":
            return replace(self, token_ids=((),) * len(self))
        pixels = _map_pixels(None, (0, 1, 1, 3))
        return replace(self, pixels=pixels, image_rows=(range(0),) * len(self))

    def digest(self) -> str:
        """Compute the SHA-256 (hex) of everything that training uses."""
        hasher = hashlib.sha256()
        hasher.update(repr((self.post_ids, self.token_ids, self.image_rows)).encode())
        hasher.update(np.ascontiguousarray(self.pixels).data)
        hasher.update(self.labels.tobytes())
        return hasher.hexdigest()


def load_examples(
    posts: Path,
    labels: dict[str, NDArray[np.float32]],
    tokenizer: Tokenizer | None,
    params: TrainParams,
    pixel_file: Path | None,
) -> Examples:
    """Load, tokenise and decode the posts of one fold.

    Args:
        posts: Folder of post shards.
        labels: Labels (A,) by post id; determines the order of the examples.
        tokenizer: The tokenizer; None for examples without captions.
        params: Uses `max_images`, `max_tokens` and the keys of the image encoder.
        pixel_file: File to write decoded images to, which the caller deletes; None for examples
            without images.

    Returns:
        The examples; unreadable images are left out, as in scoring.

    Raises:
        CorpusError: If a labelled post is missing from the corpus.
        StorageError: If decoded images cannot be written.
    """
    captions: dict[str, str] = {}
    image_rows: dict[str, range] = {}
    total = 0
    image_input = image_input_of(params) if pixel_file else None
    size = image_input.size if image_input else 1
    try:
        with (pixel_file or Path(os.devnull)).open("wb") as file:
            for row, images in _decode_posts(posts, labels, params.max_images, image_input):
                captions[row["post_id"]] = row["caption"]
                image_rows[row["post_id"]] = range(total, total + len(images))
                total += len(images)
                file.writelines(image.tobytes() for image in images)
    except OSError as error:
        raise StorageError(
            f"cannot write decoded images to {pixel_file}: {error.strerror or error}",
            do="free space there, or set TMPDIR to a folder on a larger disk",
        ) from error
    if missing := [post_id for post_id in labels if post_id not in captions]:
        raise CorpusError(
            f"{len(missing)} labelled posts are missing from {posts}",
            seen=missing[0],
            do="run `dvc repro` to make labels match the posts",
        )
    return Examples(
        post_ids=tuple(labels),
        token_ids=tokenise_captions([captions[p] for p in labels], tokenizer, params.max_tokens),
        pixels=_map_pixels(pixel_file, (total, size, size, 3)),
        image_rows=tuple(image_rows[p] for p in labels),
        labels=np.stack(list(labels.values())).astype(np.float32),
    )


def _decode_posts(
    posts: Path, labels: Collection[str], max_images: int, image_input: ImageInput | None
) -> Iterator[tuple[dict[str, Any], list[NDArray[np.uint8]]]]:
    """Read the labelled posts, and decode their images on all cores."""
    columns = ["post_id", "caption", *(["images"] if image_input else [])]
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(labels), desc="reading posts", unit="post", disable=None) as progress,
    ):
        for batch in iter_posts(list_shards(posts), columns, ROW_GROUP_POSTS):
            labelled = [row for row in batch.to_pylist() if row["post_id"] in labels]
            encoded = [
                [image["bytes"] for image in row.get("images", [])][:max_images] for row in labelled
            ]
            decoded = pool.map(partial(_decode_all, image_input or ImageInput()), encoded)
            yield from zip(labelled, decoded, strict=True)
            progress.update(len(labelled))


def _decode_all(wanted: ImageInput, images: Sequence[bytes | None]) -> list[NDArray[np.uint8]]:
    decoded = []
    for data in images:
        with suppress(UnreadableImageError):  # as in scoring, which uses the remaining images
            decoded.append(decode_square(data or b"", wanted.size, wanted.preprocessing))
    return decoded


def tokenise_captions(
    captions: Sequence[str], tokenizer: Tokenizer | None, max_tokens: int
) -> tuple[tuple[int, ...], ...]:
    """Tokenise captions exactly as for scoring; an empty caption has no tokens."""
    if tokenizer is None:
        return tuple(() for _ in captions)
    tokenizer.enable_truncation(max_tokens)
    encodings = tokenizer.encode_batch([caption.strip() for caption in captions])
    tokenizer.no_truncation()
    return tuple(
        tuple(encoding.ids) if caption.strip() else ()
        for encoding, caption in zip(encodings, captions, strict=True)
    )


def _map_pixels(file: Path | None, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    if file is None or shape[0] == 0:  # an empty file cannot be memory-mapped
        return np.zeros(shape, np.uint8)
    return np.memmap(file, np.uint8, "r", shape=shape)


class PostDataset(Dataset[dict[str, Any]]):
    """A data set of examples, optionally with random augmentation and dropout of inputs.

    Random numbers come from torch's global generator, which the Trainer seeds and saves with each
    checkpoint, so that a resumed run draws the same numbers as an uninterrupted one.
    """

    #: Collates posts to a batch.
    collate = staticmethod(lambda posts: collate_posts(posts))

    def __init__(
        self,
        examples: Examples,
        rows: Sequence[int],
        *,
        modality_dropout: float = 0.0,
        token_dropout: float = 0.0,
        augment: bool = False,
    ) -> None:
        """Select rows of the examples.

        Args:
            examples: The posts of a fold.
            rows: Rows to use.
            modality_dropout: Share of posts with both modalities from which one is hidden.
            token_dropout: Share of tokens to drop.
            augment: Whether to shift and brighten images.
        """
        from torchvision.transforms import v2

        self.examples = examples
        self.rows = list(rows)
        self.modality_dropout = modality_dropout
        self.token_dropout = token_dropout
        size = examples.pixels.shape[1]
        self.augmentation = (
            v2.Compose(
                [
                    # A padded crop is 40 times as fast as an affine shift.
                    v2.RandomCrop(size, padding=round(_MAX_SHIFT * size), fill=127),
                    v2.ColorJitter(brightness=0.2),
                ]
            )
            if augment
            else None
        )

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.rows)

    @property
    def labels(self) -> NDArray[np.float32]:
        """Labels (N, A)."""
        return self.examples.labels[self.rows]

    @property
    def lengths(self) -> list[int]:
        """Caption lengths in tokens, by which batches are grouped."""
        return [len(self.examples.token_ids[row]) for row in self.rows]

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return one post: `token_ids`, `pixels` uint8 (m, S, S, 3) and `labels` (A,)."""
        row = self.rows[item]
        tokens = self.examples.token_ids[row]
        span = self.examples.image_rows[row]
        hidden = choose_hidden_modality(self.modality_dropout) if tokens and len(span) else None
        if hidden == "text":
            tokens = ()
        elif hidden == "image":
            span = range(0)
        if self.token_dropout and tokens:
            kept = (torch.rand(len(tokens)) >= self.token_dropout).tolist()
            kept[0] = True  # never drop the whole caption
            tokens = tuple(token for token, keep in zip(tokens, kept, strict=True) if keep)
        pixels = torch.from_numpy(np.array(self.examples.pixels[span.start : span.stop]))
        if self.augmentation is not None and len(pixels):
            channels_first = pixels.permute(0, 3, 1, 2)  # (m, 3, S, S)
            augmented = [self.augmentation(image) for image in channels_first]
            pixels = torch.stack(augmented).permute(0, 2, 3, 1)
        return {"token_ids": tokens, "pixels": pixels, "labels": self.examples.labels[row]}


def choose_hidden_modality(share: float) -> str | None:
    """Draw `text` or `image` with probability `share`, else None: the modality to hide."""
    if not share or torch.rand(()) >= share:
        return None
    return "text" if torch.rand(()) < 0.5 else "image"


def collate_posts(posts: Iterable[dict[str, Any]]) -> dict[str, Tensor]:
    """Collate B posts to the keyword arguments of `Student.forward`, and `labels` (B, A)."""
    posts = list(posts)
    width = max(1, *(len(post["token_ids"]) for post in posts))
    input_ids = torch.zeros(len(posts), width, dtype=torch.int64)  # (B, T)
    attention_mask = torch.zeros_like(input_ids)
    attention_mask[:, 0] = 1  # attention over no token is NaN; has_text hides this one
    for row, post in enumerate(posts):
        length = len(post["token_ids"])
        input_ids[row, :length] = torch.tensor(post["token_ids"], dtype=torch.int64)
        attention_mask[row, :length] = 1
    counts = torch.tensor([len(post["pixels"]) for post in posts])
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "pixels": torch.cat([post["pixels"] for post in posts]),  # (M, S, S, 3)
        "image_of": torch.repeat_interleave(torch.arange(len(posts)), counts),  # (M,)
        "has_text": torch.tensor([[float(bool(post["token_ids"]))] for post in posts]),  # (B, 1)
        "has_image": (counts > 0).float().unsqueeze(1),  # (B, 1)
        "labels": torch.from_numpy(np.stack([post["labels"] for post in posts])),  # (B, A)
    }
