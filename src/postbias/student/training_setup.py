"""One cell of the ablation matrix: which posts, encoders and sizes a student of one modality gets.

Reads the folds and makes examples, data sets and untrained students from them; trains nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.errors import CorpusError
from postbias.posts.schema import SPLIT, axes_of, labels_schema
from postbias.posts.shards import read_table, take_posts
from postbias.student import distributed as processes
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.dataset import Examples, PostDataset, load_examples
from postbias.student.encoders import load_image_encoder, load_text_encoder, load_tokenizer
from postbias.student.export import Calibration
from postbias.student.network import Student

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from postbias.params import Params
    from postbias.paths import Paths

#: Posts below which a fold says nothing.
MIN_POSTS = 10
#: Packages whose version changes what is learned or shipped.
VERSIONS = ("onnxruntime", "tokenizers", "torch", "torchvision", "transformers")

_N_CALIBRATION = 256
_RECIPE = 3  # higher when the same params and posts begin to give other weights or graphs

Labels = dict[str, "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the ablation matrix, and the folder that its decoded pictures may lie in.

    Attributes:
        paths: The repository.
        params: All parameters.
        modality: `fusion`, `text` or `image`.
        scratch: A folder that the caller removes when done.
    """

    paths: Paths
    params: Params
    modality: str
    scratch: Path

    @property
    def has_text(self) -> bool:
        """Whether this student reads captions."""
        return self.modality != "image"

    @property
    def has_image(self) -> bool:
        """Whether this student looks at pictures."""
        return self.modality != "text"

    @property
    def borrows(self) -> bool:
        """Whether this student keeps the fusion student's encoders and learns a head only."""
        train = self.params.train
        return (
            train.ablation == "heads" and self.modality != "fusion" and "fusion" in train.modalities
        )

    def sizes(self) -> dict[str, Any]:
        """Return the fields of the artifact's manifest that params decide."""
        train = self.params.train
        return {
            "modality": self.modality,
            "max_images": train.max_images,
            "text_encoder": Path(train.text_encoder).name if self.has_text else None,
            "max_tokens": train.max_tokens if self.has_text else None,
            "image_encoder": train.image_encoder if self.has_image else None,
            "image_size": train.image_size if self.has_image else None,
            "versions": {package: version(package) for package in VERSIONS},
        }


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one student learns from.

    Attributes:
        cell: Its cell of the matrix.
        tokenizer: For captions, or None without them.
        train: The train fold.
        valid: The valid fold.
    """

    cell: Cell
    tokenizer: Tokenizer | None
    train: Examples
    valid: Examples

    @property
    def n_axes(self) -> int:
        """How many axes labels have."""
        return int(self.train.labels.shape[1])

    def of(self, modality: str) -> Lesson:
        """Return the same posts as another modality sees them.

        Args:
            modality: `fusion`, `text` or `image`; captions and pictures must have been read.

        Returns:
            The lesson.
        """
        return replace(self, cell=replace(self.cell, modality=modality))

    def key(self, seed: int) -> str:
        """Return the digest of all that a trained student depends on.

        Args:
            seed: Of its random numbers.

        Returns:
            SHA-256 as hex.
        """
        params = self.cell.params
        left_out = {"modalities", "seeds", "ablation", "launch"}
        group = params.train.model_dump(mode="json", exclude=left_out)
        seen = [self.train.digest(), self.valid.digest()]
        device = choose_device(params.train.device)
        how = [
            _RECIPE,
            self.cell.borrows,
            params.threads,
            device,
            uses_bf16(params.train.precision, device),
            [version(package) for package in VERSIONS],
            processes.count(),
        ]
        parts = [seen, group, self.cell.modality, seed, how]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def usable(self) -> tuple[list[int], list[int]]:
        """Choose the rows of the train and the valid fold that this student can learn from.

        Returns:
            Row numbers of each.

        Raises:
            CorpusError: If there are too few.
        """
        modality = self.cell.modality
        if modality == "fusion" and not (len(self.train.pixels) and any(self.train.token_ids)):
            raise CorpusError(
                "a fusion student needs captions and pictures, and the train fold lacks one of"
                " them",
                do="set train.modalities to [text] or [image]",
            )
        rows = self.train.usable(modality), self.valid.usable(modality)
        for fold, found in zip(("train", "valid"), rows, strict=True):
            if len(found) < MIN_POSTS:
                raise CorpusError(
                    f"too few posts of the {fold} fold have what a {modality} student looks at",
                    seen=len(found),
                    allowed=f"at least {MIN_POSTS}",
                    do=f"remove {modality} from train.modalities, or label more such posts",
                )
        return rows

    def datasets(self) -> tuple[PostDataset, PostDataset]:
        """Make data sets of the posts that this student can learn from.

        Returns:
            The train fold, with augmentation, and the valid fold, without.

        Raises:
            CorpusError: If one has too few posts.
        """
        train_rows, valid_rows = self.usable()
        params = self.cell.params.train
        return (
            PostDataset(
                self.train,
                train_rows,
                modality_dropout=params.modality_dropout if self.cell.modality == "fusion" else 0.0,
                token_dropout=params.token_dropout,
                augment=params.augment,
            ),
            PostDataset(self.valid, valid_rows),
        )

    def new_student(self) -> Student:
        """Return an untrained student; what is random in it comes from torch's generator."""
        train = self.cell.params.train
        text = image = None
        if self.cell.has_text:
            assert self.tokenizer is not None
            text = load_text_encoder(train.text_encoder, train.text_scratch, self.tokenizer)
        if self.cell.has_image:
            image = load_image_encoder(train.image_encoder, train.image_weights)
        return Student(
            text,
            image,
            hidden=train.head_hidden,
            n_axes=self.n_axes,
            dropout=train.dropout,
            bounded=train.loss == "cross_entropy",
        )

    def calibration(self) -> Calibration:
        """Return posts of the train fold that say which values activations take."""
        rng = np.random.default_rng(self.cell.params.seed)

        def choose(total: int) -> NDArray[np.int64]:
            return np.sort(rng.choice(total, min(total, _N_CALIBRATION), replace=False))

        captions = [tokens for tokens in self.train.token_ids if tokens]
        return Calibration(
            pixels=np.ascontiguousarray(self.train.pixels[choose(len(self.train.pixels))]),
            token_ids=[captions[row] for row in choose(len(captions))],
        )


def read_folds(paths: Paths, *, share: float = 1.0) -> dict[str, Labels]:
    """Read the labels of the folds that training may see.

    Args:
        paths: The repository.
        share: Share of the train fold to keep, for a learning curve. Which posts is decided by
            their ids alone, so that a smaller share is part of a larger one.

    Returns:
        Labels (A,) by post id for `train`, `valid` and `calib`, in the order of the split.
    """
    labels = read_table(paths.labels)
    axes = axes_of(labels.schema, spread="_sd")
    labels = read_table(paths.labels, labels_schema(axes))
    values = np.column_stack([labels[axis].to_numpy() for axis in axes]).astype(np.float32)
    by_id = dict(zip(labels["post_id"].to_pylist(), values, strict=True))
    folds: dict[str, Labels] = {"train": {}, "valid": {}, "calib": {}}
    split = read_table(paths.split, SPLIT)
    for post_id, fold in zip(split["post_id"].to_pylist(), split["fold"].to_pylist(), strict=True):
        if fold in folds:
            folds[fold][post_id] = by_id[post_id]
    if share < 1:
        ranked = sorted(folds["train"], key=lambda p: hashlib.sha256(p.encode()).digest())
        kept = set(ranked[: round(share * len(ranked))])
        folds["train"] = {p: values for p, values in folds["train"].items() if p in kept}
    return folds


def read_lesson(cell: Cell, folds: dict[str, Labels]) -> Lesson:
    """Read, tokenise and decode what a student learns from.

    Args:
        cell: Its cell of the matrix.
        folds: What `read_folds` gave.

    Returns:
        The lesson; with captions and pictures for a student that borrows its encoders.

    Raises:
        CorpusError: If a fold has no post, or a labelled post is not in the corpus.
        WeightsError: If a pretrained tokenizer cannot be had.
    """
    train = cell.params.train
    for fold in ("train", "valid"):
        if not folds[fold]:
            raise CorpusError(
                f"the {fold} fold holds no labelled post", seen=0, allowed=f"at least {MIN_POSTS}",
                do="label more posts, or give this fold a larger share",
            )  # fmt: skip
    tokenizer = None
    if cell.has_text or cell.borrows:
        ids = list(folds["train"])
        captions = take_posts(cell.paths.posts, ids, ["caption"])["caption"].to_pylist()
        tokenizer = load_tokenizer(train.text_encoder, captions, train.text_scratch.vocab_size)

    def examples(fold: str) -> Examples:
        pictures = cell.scratch / fold if cell.has_image or cell.borrows else None
        return load_examples(cell.paths.posts, folds[fold], tokenizer, train, pictures)

    return Lesson(cell, tokenizer, examples("train"), examples("valid"))
