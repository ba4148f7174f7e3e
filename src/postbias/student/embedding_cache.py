"""The fast path: posts are embedded once by encoders that no longer change; heads learn from that.

Embeddings are kept on disk, keyed by the encoder's weights and the content that it read, so that
every seed, modality and later run finds them. Knows nothing of labels beyond carrying them.
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

from postbias.student.dataset import hide_one_modality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from postbias.student.dataset import Examples
    from postbias.student.network import Student

logger = logging.getLogger(__name__)

# Batches always have this many rows, and captions of one batch the same length. Matrix products
# then run the same kernels for a row whatever stands beside it: what is in the store does not
# depend on what else was embedded with it, to the last bit.
_ROWS = 16
_PART_ROWS = 2048  # embeddings after which a part is written

Forward = Callable[[Sequence[int]], Tensor]


class EmbeddingStore:
    """Embeddings of one encoder on disk, by the digest of what it read.

    Parts are only ever added, each written whole or not at all, so that a killed run leaves
    nothing that the next one must not use.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Open a store.

        Args:
            folder: Of this encoder; made when something is written.
            dim: Width D of its embeddings.
        """
        self._folder = folder
        self._dim = dim

    def read(self) -> dict[bytes, NDArray[np.float32]]:
        """Return every embedding (D,) by its key."""
        found: dict[bytes, NDArray[np.float32]] = {}
        for part in sorted(self._folder.glob("*.parquet")):
            table = pq.read_table(part)
            flat = table["embedding"].combine_chunks().flatten().to_numpy()
            rows = flat.reshape(-1, self._dim)
            found.update(zip(table["key"].to_pylist(), rows, strict=True))
        return found

    def write(self, embeddings: dict[bytes, NDArray[np.float32]]) -> None:
        """Add embeddings.

        Args:
            embeddings: (D,) by key; nothing is written if there are none.
        """
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
    """Posts as their embeddings: what a head learns from."""

    def __init__(
        self,
        parts: dict[str, Tensor],
        labels: NDArray[np.float32],
        *,
        modality_dropout: float = 0.0,
    ) -> None:
        """Hold embeddings.

        Args:
            parts: `text` (N, Dt) with `has_text` (N, 1), `image` (N, Di) with `has_image` (N, 1),
                or one of the two pairs.
            labels: (N, A).
            modality_dropout: Share of posts with both modalities that lose one, at random.
        """
        self.parts = parts
        self.labels = labels
        self.modality_dropout = modality_dropout

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.labels)

    @property
    def lengths(self) -> list[int]:
        """All the same: embeddings have no length."""
        return [0] * len(self)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return one post: its row of each part, and `labels` (A,)."""
        post: dict[str, Any] = {name: part[item] for name, part in self.parts.items()}
        hidden = (
            hide_one_modality(self.modality_dropout)
            if bool(post.get("has_text", 0)) and bool(post.get("has_image", 0))
            else None
        )
        if hidden:
            post[f"has_{hidden}"] = torch.zeros(1)
        post["labels"] = torch.from_numpy(self.labels[item])
        return post

    @staticmethod
    def collate(posts: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Make a batch: the keyword arguments of `Head.forward`, and `labels` (B, A).

        Args:
            posts: B posts.

        Returns:
            Tensors by name.
        """
        return {name: torch.stack([post[name] for post in posts]) for name in posts[0]}


class Embedder:
    """Runs a student's encoders over examples, and remembers."""

    def __init__(self, student: Student, store: Path, *, device: str, bf16: bool) -> None:
        """Choose encoders.

        Args:
            student: Whose encoders; put in evaluation mode and on the device.
            store: Folder of all encoders' embeddings.
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
        """Embed posts; what the store has is not computed again.

        Args:
            examples: The posts of a fold.
            rows: Which of them, N.

        Returns:
            `text` (N, Dt), `has_text` (N, 1), `image` (N, Di), `has_image` (N, 1), as far as the
            student has the encoders; zeros where a post lacks a modality.
        """
        parts: dict[str, Tensor] = {}
        if self._student.text is not None:
            captions = [examples.token_ids[row] for row in rows]
            parts |= self._captions(captions, self._student.text_dim)
        if self._student.image is not None:
            parts |= self._pictures(examples, rows)
        return parts

    def _captions(self, captions: Sequence[tuple[int, ...]], dim: int) -> dict[str, Tensor]:
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, tokens in enumerate(captions):
            by_length[len(tokens)].append(row)
        by_length.pop(0, None)
        keys = [_digest(np.asarray(tokens, np.int64)) for tokens in captions]

        def forward(batch: Sequence[int]) -> Tensor:
            assert self._student.text is not None
            ids = torch.tensor([captions[row] for row in batch], device=self._device)
            embedded: Tensor = self._student.text(ids, torch.ones_like(ids))
            return embedded

        found = self._compute("text", keys, list(by_length.values()), forward)
        text = torch.zeros(len(captions), dim)
        for row, (tokens, key) in enumerate(zip(captions, keys, strict=True)):
            if tokens:
                text[row] = torch.tensor(found[key])
        has = torch.tensor([[float(bool(tokens))] for tokens in captions])
        return {"text": text, "has_text": has}

    def _pictures(self, examples: Examples, rows: Sequence[int]) -> dict[str, Tensor]:
        pixels = examples.pixels
        pictures = [picture for row in rows for picture in examples.images[row]]
        keys = {picture: _digest(pixels[picture]) for picture in pictures}

        def forward(batch: Sequence[int]) -> Tensor:
            assert self._student.image is not None
            chosen = np.stack([pixels[pictures[item]] for item in batch])
            embedded: Tensor = self._student.image(torch.from_numpy(chosen).to(self._device))
            return embedded

        ordered = [keys[picture] for picture in pictures]
        found = self._compute("image", ordered, [list(range(len(pictures)))], forward)
        image = torch.zeros(len(rows), self._student.image_dim)
        for place, row in enumerate(rows):
            if span := examples.images[row]:
                image[place] = torch.from_numpy(np.mean([found[keys[p]] for p in span], axis=0))
        has = torch.tensor([[float(len(examples.images[row]) > 0)] for row in rows])
        return {"image": image, "has_image": has}

    @torch.no_grad()
    def _compute(
        self, name: str, keys: Sequence[bytes], groups: Sequence[Sequence[int]], forward: Forward
    ) -> dict[bytes, NDArray[np.float32]]:
        """Return embeddings by key; each group holds items of one shape."""
        store = self._stores[name]
        found = store.read()
        new: dict[bytes, NDArray[np.float32]] = {}
        missing = [[i for i in group if keys[i] not in found] for group in groups]
        total = sum(map(len, missing))
        autocast = torch.autocast(self._device, torch.bfloat16, enabled=self._bf16)
        with autocast, tqdm(total=total, desc=f"embedding {name}", disable=None) as progress:
            for group in missing:
                for start in range(0, len(group), _ROWS):
                    batch = group[start : start + _ROWS]
                    full = [*batch, *[batch[-1]] * (_ROWS - len(batch))]
                    embedded = forward(full)[: len(batch)].float().cpu().numpy()
                    new |= {keys[i]: row for i, row in zip(batch, embedded, strict=True)}
                    progress.update(len(batch))
                    if len(new) >= _PART_ROWS:  # what a killed run has done is not done again
                        store.write(new)
                        found |= new
                        new = {}
        store.write(new)
        logger.info("%s: %d embedded, %d found", name, total, len(keys) - total)
        return found | new

    def _encoder_key(self, encoder: nn.Module) -> str:
        """Digest of all that an embedding depends on besides what is read."""
        how = f"{self._device} {self._bf16} {torch.get_num_threads()} {torch.__version__}"
        hasher = hashlib.sha256(how.encode())
        for name, value in sorted(encoder.state_dict().items()):
            hasher.update(name.encode())
            hasher.update(value.cpu().contiguous().numpy().tobytes())
        return hasher.hexdigest()[:24]


def _digest(content: NDArray[Any]) -> bytes:
    shape = repr((content.shape, content.dtype.str)).encode()
    return hashlib.sha256(shape + content.tobytes()).digest()
