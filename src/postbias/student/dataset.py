"""Labelled posts as training examples: token ids, decoded pictures, labels.

Captions are tokenised and pictures decoded once, by the policy that scoring uses
(`postbias.posts.images`); pictures lie in a file on disk, so that memory does not grow with their
number. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from postbias.errors import CorpusError, UnreadableImageError
from postbias.posts.images import decode
from postbias.posts.shards import ROW_GROUP_POSTS, iter_posts, list_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from postbias.params import TrainParams


_SHIFT = 0.08  # share of a picture's side by which augmentation shifts it at most


@dataclass(frozen=True, slots=True)
class Examples:
    """Posts of one fold, in the order asked for.

    Attributes:
        post_ids: One id per post.
        token_ids: Token ids of each caption, cut to `max_tokens`; empty for an empty caption.
        pixels: All pictures, uint8 (M, S, S, 3).
        images: Rows of `pixels` that belong to each post.
        labels: float32 (N, A).
    """

    post_ids: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]
    pixels: NDArray[np.uint8]
    images: tuple[range, ...]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.post_ids)

    def usable(self, modality: str) -> list[int]:
        """Return the rows from which a student of this modality can learn.

        Args:
            modality: `fusion`, `text` or `image`.

        Returns:
            Rows that have a caption, a readable picture, or (fusion) either.
        """
        has_text = [bool(tokens) for tokens in self.token_ids]
        has_image = [len(rows) > 0 for rows in self.images]
        usable = {
            "text": has_text,
            "image": has_image,
            "fusion": [text or image for text, image in zip(has_text, has_image, strict=True)],
        }[modality]
        return [row for row, keep in enumerate(usable) if keep]

    def digest(self) -> str:
        """Return the SHA-256 of everything that training can see of these posts."""
        hasher = hashlib.sha256()
        hasher.update(repr((self.post_ids, self.token_ids, self.images)).encode())
        hasher.update(np.ascontiguousarray(self.pixels).data)
        hasher.update(self.labels.tobytes())
        return hasher.hexdigest()


def load_examples(
    posts: Path,
    labels: dict[str, NDArray[np.float32]],
    tokenizer: Tokenizer | None,
    params: TrainParams,
    scratch_file: Path | None,
) -> Examples:
    """Read, tokenise and decode the posts of one fold.

    Args:
        posts: Folder of post shards.
        labels: Labels (A,) by post id; its order is the order of the examples.
        tokenizer: The tokenizer, or None to leave captions out.
        params: Sizes; `image_size` and `max_images` bound the pictures.
        scratch_file: Where decoded pictures go, or None to leave pictures out; the caller removes
            it when done.

    Returns:
        The examples; a picture that cannot be read is left out, as in scoring.

    Raises:
        CorpusError: If a labelled post is not in the corpus.
    """
    captions: dict[str, str] = {}
    images: dict[str, range] = {}
    total = 0
    columns = ["post_id", "caption", *(["images"] if scratch_file else [])]
    size, max_images = params.image_size, params.max_images
    with (
        (scratch_file or Path(os.devnull)).open("wb") as file,
        ThreadPoolExecutor() as pool,
        tqdm(total=len(labels), desc="reading posts", unit="post", disable=None) as progress,
    ):
        for batch in iter_posts(list_shards(posts), columns, ROW_GROUP_POSTS):
            wanted = [row for row in batch.to_pylist() if row["post_id"] in labels]
            raw = [
                [image["bytes"] for image in row.get("images", [])][:max_images] for row in wanted
            ]
            for row, decoded in zip(wanted, pool.map(partial(_decode_all, size), raw), strict=True):
                captions[row["post_id"]] = row["caption"]
                images[row["post_id"]] = range(total, total + len(decoded))
                total += len(decoded)
                file.writelines(picture.tobytes() for picture in decoded)
            progress.update(len(wanted))
    if missing := [post_id for post_id in labels if post_id not in captions]:
        raise CorpusError(
            f"{len(missing)} labelled posts are not in {posts}",
            seen=missing[0],
            do="run `dvc repro` so that labels match the posts",
        )
    return Examples(
        post_ids=tuple(labels),
        token_ids=_tokenise([captions[p] for p in labels], tokenizer, params.max_tokens),
        pixels=_map_pixels(scratch_file, (total, size, size, 3)),
        images=tuple(images[p] for p in labels),
        labels=np.stack(list(labels.values())).astype(np.float32),
    )


def _decode_all(size: int, images: Sequence[bytes | None]) -> list[NDArray[np.uint8]]:
    decoded = []
    for data in images:
        with suppress(UnreadableImageError):  # judged by what is left, exactly as in scoring
            decoded.append(decode(data or b"", size))
    return decoded


def _tokenise(
    captions: Sequence[str], tokenizer: Tokenizer | None, max_tokens: int
) -> tuple[tuple[int, ...], ...]:
    if tokenizer is None:
        return tuple(() for _ in captions)
    tokenizer.enable_truncation(max_tokens)
    encoded = tokenizer.encode_batch([caption.strip() for caption in captions])
    tokenizer.no_truncation()
    return tuple(
        tuple(one.ids) if caption.strip() else ()
        for one, caption in zip(encoded, captions, strict=True)
    )


def _map_pixels(file: Path | None, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    if file is None or shape[0] == 0:  # an empty file cannot be mapped
        return np.zeros(shape, np.uint8)
    return np.memmap(file, np.uint8, "r", shape=shape)


class PostDataset(Dataset[dict[str, Any]]):
    """Examples as the collator wants them; in training, pictures are shifted and brightened.

    Randomness comes from torch's global generator, which the trainer seeds and saves with every
    checkpoint: a resumed run then draws what an uninterrupted one draws.
    """

    #: Makes a batch of posts.
    collate = staticmethod(lambda posts: collate(posts))

    def __init__(
        self,
        examples: Examples,
        rows: Sequence[int],
        *,
        modality_dropout: float = 0.0,
        token_dropout: float = 0.0,
        augment: bool = False,
    ) -> None:
        """Choose examples.

        Args:
            examples: The posts of a fold.
            rows: Which of them.
            modality_dropout: Share of posts with both modalities that lose one, chosen at random.
            token_dropout: Share of tokens that are left out at random.
            augment: Whether pictures are shifted and brightened at random.
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
                    # A padded crop shifts 40 times as fast as an affine map.
                    v2.RandomCrop(size, padding=round(_SHIFT * size), fill=127),
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
        """Caption lengths in tokens, to batch captions of similar length."""
        return [len(self.examples.token_ids[row]) for row in self.rows]

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return one post: `token_ids`, `pixels` uint8 (m, S, S, 3) and `labels` (A,)."""
        row = self.rows[item]
        tokens = self.examples.token_ids[row]
        span = self.examples.images[row]
        hidden = hide_one_modality(self.modality_dropout) if tokens and len(span) else None
        if hidden == "text":
            tokens = ()
        elif hidden == "image":
            span = range(0)
        if self.token_dropout and tokens:
            kept = (torch.rand(len(tokens)) >= self.token_dropout).tolist()
            kept[0] = True  # a caption stays a caption
            tokens = tuple(token for token, keep in zip(tokens, kept, strict=True) if keep)
        pixels = torch.from_numpy(np.array(self.examples.pixels[span.start : span.stop]))
        if self.augmentation is not None and len(pixels):
            first = pixels.permute(0, 3, 1, 2)  # (m, 3, S, S)
            pixels = torch.stack([self.augmentation(p) for p in first]).permute(0, 2, 3, 1)
        return {"token_ids": tokens, "pixels": pixels, "labels": self.examples.labels[row]}


def hide_one_modality(share: float) -> str | None:
    """Choose at random whether a post with both modalities loses one, and which.

    Args:
        share: Of posts that lose one.

    Returns:
        `text`, `image`, or None for most.
    """
    if not share or torch.rand(()) >= share:
        return None
    return "text" if torch.rand(()) < 0.5 else "image"


def collate(posts: Iterable[dict[str, Any]]) -> dict[str, Tensor]:
    """Make a batch of what `PostDataset` gives.

    Args:
        posts: B posts.

    Returns:
        The keyword arguments of `Student.forward`, and `labels` float32 (B, A).
    """
    posts = list(posts)
    width = max(1, *(len(post["token_ids"]) for post in posts))
    input_ids = torch.zeros(len(posts), width, dtype=torch.int64)  # (B, T)
    attention_mask = torch.zeros_like(input_ids)
    attention_mask[:, 0] = 1  # attention over nothing is not a number; has_text hides this token
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
