"""Embed posts once with frozen encoders, and train heads on the cached embeddings.

Embeddings are stored on disk by the digests of the encoder's weights and of its input, and shared
by all seeds, modalities and later runs.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from postbias.student.dataset import choose_hidden_modality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from postbias.student.dataset import Examples
    from postbias.student.network import Student

logger = logging.getLogger(__name__)

# Every batch has this many rows, and all its captions have the same length. Matrix products then
# use the same kernels for a row whatever the other rows are, so that an embedding does not depend
# on the rest of its batch, to the last bit.
_BATCH_ROWS = 16
_PART_ROWS = 2048  # embeddings per file of the store

Forward = Callable[[Sequence[int]], Tensor]


class EmbeddingStore:
    """Embeddings of one encoder on disk, by the digest of the input.

    Files are only added, each atomically: every file that a killed run leaves can be used.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Open a store.

        Args:
            folder: Folder of this encoder; created on the first write.
            dim: Width D of the embeddings.
        """
        self._folder = folder
        self._dim = dim

    def read(self) -> dict[bytes, NDArray[np.float32]]:
        """Read all embeddings (D,) by key; damaged files are skipped, to be written again."""
        embeddings: dict[bytes, NDArray[np.float32]] = {}
        for part in sorted(self._folder.glob("*.parquet")):
            try:
                table = pq.read_table(part)
            except (OSError, pa.ArrowException):
                logger.warning("%s is damaged: its embeddings are computed again", part)
                continue
            flat = table["embedding"].combine_chunks().flatten().to_numpy()
            rows = flat.reshape(-1, self._dim)
            embeddings.update(zip(table["key"].to_pylist(), rows, strict=True))
        return embeddings

    def write(self, embeddings: dict[bytes, NDArray[np.float32]]) -> None:
        """Add embeddings (D,) by key, if there are any."""
        if not embeddings:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        keys = sorted(embeddings)
        flat = pa.array(np.concatenate([embeddings[key] for key in keys]), pa.float32())
        table = pa.table(
            {
                "key": pa.array(keys, pa.binary(32)),
                "embedding": pa.FixedSizeListArray.from_arrays(flat, self._dim),
            }
        )
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        temporary = self._folder / f".{name}.{os.getpid()}.tmp"
        pq.write_table(table, temporary)
        temporary.replace(self._folder / f"{name}.parquet")


class EmbeddedDataset(Dataset[dict[str, Any]]):
    """A data set of embedded posts, to train a head on."""

    def __init__(
        self,
        parts: dict[str, Tensor],
        labels: NDArray[np.float32],
        *,
        modality_dropout: float = 0.0,
    ) -> None:
        """Combine embeddings and labels.

        Args:
            parts: `text` (N, Dt) with `has_text` (N, 1), `image` (N, Di) with `has_image` (N, 1),
                or one of the two pairs.
            labels: Labels (N, A).
            modality_dropout: Share of posts with both modalities from which one is hidden.
        """
        self.parts = parts
        self.labels = labels
        self.modality_dropout = modality_dropout

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.labels)

    @property
    def lengths(self) -> list[int]:
        """Zeros: embeddings have no length to group batches by."""
        return [0] * len(self)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return one post: its row of each part, and `labels` (A,)."""
        post: dict[str, Any] = {name: part[item] for name, part in self.parts.items()}
        hidden = (
            choose_hidden_modality(self.modality_dropout)
            if bool(post.get("has_text", 0)) and bool(post.get("has_image", 0))
            else None
        )
        if hidden:
            post[f"has_{hidden}"] = torch.zeros(1)
        post["labels"] = torch.from_numpy(self.labels[item])
        return post

    @staticmethod
    def collate(posts: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate posts to the keyword arguments of `Head.forward`, and `labels` (B, A)."""
        return {name: torch.stack([post[name] for post in posts]) for name in posts[0]}


class Embedder:
    """Embed examples with a student's encoders, and cache the result."""

    def __init__(self, student: Student, store: Path, *, device: str, bf16: bool) -> None:
        """Prepare the encoders.

        Args:
            student: Student with the encoders; put in evaluation mode and moved to the device.
            store: Folder for the embeddings of all encoders.
            device: `cpu`, `cuda` or `mps`.
            bf16: Whether to compute in bf16.
        """
        self._student = student.eval().to(device)
        self._device = device
        self._bf16 = bf16
        self._stores = {
            name: EmbeddingStore(store / f"{name}-{self._encoder_key(encoder)}", encoder.dim)
            for name, encoder in (("text", student.text), ("image", student.image))
            if encoder is not None
        }

    def embed(self, examples: Examples, rows: Sequence[int]) -> dict[str, Tensor]:
        """Embed posts, unless their embeddings are in the store.

        Args:
            examples: The posts of a fold.
            rows: Rows to embed, N in number.

        Returns:
            For each encoder of the student: `text` (N, Dt) and `has_text` (N, 1), `image` (N, Di)
            and `has_image` (N, 1). Embeddings of a missing modality are zero.
        """
        parts: dict[str, Tensor] = {}
        if self._student.text is not None:
            captions = [examples.token_ids[row] for row in rows]
            parts |= self._embed_captions(captions, self._student.text_dim)
        if self._student.image is not None:
            parts |= self._embed_images(examples, rows)
        return parts

    def _embed_captions(self, captions: Sequence[tuple[int, ...]], dim: int) -> dict[str, Tensor]:
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, tokens in enumerate(captions):
            by_length[len(tokens)].append(row)
        by_length.pop(0, None)
        keys = [_digest(np.asarray(tokens, np.int64)) for tokens in captions]

        def forward(batch: Sequence[int]) -> Tensor:
            assert self._student.text is not None
            ids = torch.tensor([captions[row] for row in batch], device=self._device)
            embeddings: Tensor = self._student.text(ids, torch.ones_like(ids))
            return embeddings

        by_key = self._compute("text", keys, list(by_length.values()), forward)
        text = torch.zeros(len(captions), dim)
        for row, (tokens, key) in enumerate(zip(captions, keys, strict=True)):
            if tokens:
                text[row] = torch.tensor(by_key[key])
        has = torch.tensor([[float(bool(tokens))] for tokens in captions])
        return {"text": text, "has_text": has}

    def _embed_images(self, examples: Examples, rows: Sequence[int]) -> dict[str, Tensor]:
        pixels = examples.pixels
        images = [image for row in rows for image in examples.image_rows[row]]
        keys = {image: _digest(pixels[image]) for image in images}

        def forward(batch: Sequence[int]) -> Tensor:
            assert self._student.image is not None
            stacked = np.stack([pixels[images[item]] for item in batch])
            embeddings: Tensor = self._student.image(torch.from_numpy(stacked).to(self._device))
            return embeddings

        ordered = [keys[image] for image in images]
        by_key = self._compute("image", ordered, [list(range(len(images)))], forward)
        means = torch.zeros(len(rows), self._student.image_dim)
        for position, row in enumerate(rows):
            if span := examples.image_rows[row]:
                mean = np.mean([by_key[keys[image]] for image in span], axis=0)
                means[position] = torch.from_numpy(mean)
        has = torch.tensor([[float(len(examples.image_rows[row]) > 0)] for row in rows])
        return {"image": means, "has_image": has}

    @torch.no_grad()
    def _compute(
        self, name: str, keys: Sequence[bytes], groups: Sequence[Sequence[int]], forward: Forward
    ) -> dict[bytes, NDArray[np.float32]]:
        """Compute the embeddings that the store lacks, and return all by key.

        Args:
            name: `text` or `image`.
            keys: Key of each item.
            groups: Items that can be stacked to a batch, because their inputs have one shape.
            forward: Encodes a batch of items.

        Returns:
            Embeddings (D,) by key.
        """
        store = self._stores[name]
        stored = store.read()
        new: dict[bytes, NDArray[np.float32]] = {}
        missing = [[i for i in group if keys[i] not in stored] for group in groups]
        total = sum(map(len, missing))
        autocast = torch.autocast(self._device, torch.bfloat16, enabled=self._bf16)
        with autocast, tqdm(total=total, desc=f"embedding {name}", disable=None) as progress:
            for group in missing:
                for start in range(0, len(group), _BATCH_ROWS):
                    batch = group[start : start + _BATCH_ROWS]
                    full = [*batch, *[batch[-1]] * (_BATCH_ROWS - len(batch))]
                    embeddings = forward(full)[: len(batch)].float().cpu().numpy()
                    new |= {keys[i]: row for i, row in zip(batch, embeddings, strict=True)}
                    progress.update(len(batch))
                    if len(new) >= _PART_ROWS:  # a killed run loses at most one part
                        store.write(new)
                        stored |= new
                        new = {}
        store.write(new)
        logger.info("%s: %d embedded, %d read from the cache", name, total, len(keys) - total)
        return stored | new

    def _encoder_key(self, encoder: nn.Module) -> str:
        """Digest everything that an embedding depends on, except the input."""
        environment = (
            f"{self._device} {self._bf16} {torch.get_num_threads()} {torch.__version__}"
            f" {encoder.settings}"
        )
        hasher = hashlib.sha256(environment.encode())
        for name, value in sorted(encoder.state_dict().items()):
            hasher.update(name.encode())
            hasher.update(value.cpu().contiguous().numpy().tobytes())
        return hasher.hexdigest()[:24]


def _digest(content: NDArray[Any]) -> bytes:
    shape = repr((content.shape, content.dtype.str)).encode()
    return hashlib.sha256(shape + content.tobytes()).digest()
