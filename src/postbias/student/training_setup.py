"""Load the labelled posts of one training job; build its data sets and its untrained student."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postbias.errors import CorpusError
from postbias.posts.image_text import ocr_engine_name
from postbias.posts.image_text_table import read_seen_texts
from postbias.student import distributed
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.dataset import Examples, PostDataset, load_examples, tokenise_captions
from postbias.student.encoder_settings import (
    describe_image_encoder,
    describe_text_encoder,
    load_image_encoder_of,
    load_text_encoder_of,
    load_tokenizer_of,
    package_versions,
)
from postbias.student.fold_labels import LabelsByPost
from postbias.student.freezing import freeze
from postbias.student.int8_loss import QuantizationPosts, draw_encoder_inputs
from postbias.student.network import Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from postbias.params import Params
    from postbias.paths import Paths

#: Minimum number of posts in the train and in the valid fold.
MIN_POSTS = 10
_N_CALIBRATION, _N_HELD_OUT = 256, 256
_RECIPE = 4  # increase when unchanged params and posts lead to different weights or graphs


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A student to train.

    Attributes:
        paths: The repository.
        params: All parameters.
        modality: `fusion`, `text` or `image`.
        scratch: Folder for decoded images; the caller deletes it.
    """

    paths: Paths
    params: Params
    modality: str
    scratch: Path

    @property
    def has_text(self) -> bool:
        """Whether the student reads captions."""
        return self.modality != "image"

    @property
    def has_image(self) -> bool:
        """Whether the student reads images."""
        return self.modality != "text"

    @property
    def has_fusion_encoders(self) -> bool:
        """Whether the student takes the fusion student's encoders and trains a head only."""
        train = self.params.train
        return (
            train.ablation == "heads" and self.modality != "fusion" and "fusion" in train.modalities
        )

    @property
    def starts_from_parts(self) -> bool:
        """Whether the student starts from a text student and an image student."""
        return self.modality == "fusion" and self.params.train.fusion == "parts"

    @property
    def has_ocr(self) -> bool:
        """Whether the text encoder sees the text inside images."""
        return self.params.images.ocr and self.has_text

    def manifest_fields(self) -> dict[str, Any]:
        """Return the fields of the artifact's manifest that params determine."""
        train = self.params.train
        return {
            "modality": self.modality,
            "max_images": train.max_images,
            **(describe_text_encoder(train) if self.has_text else {}),
            **(describe_image_encoder(train) if self.has_image else {}),
            "ocr": ocr_engine_name() if self.has_ocr else None,
            "versions": package_versions(train),
        }


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A training job with its data loaded.

    Attributes:
        job: What to train.
        tokenizer: Tokenizer of the captions; None for an image student.
        train: The train fold.
        valid: The valid fold.
        fixed_epochs: Number of epochs by modality; empty to choose the best epoch on the valid
            fold.
    """

    job: TrainingJob
    tokenizer: Tokenizer | None
    train: Examples
    valid: Examples
    fixed_epochs: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_axes(self) -> int:
        """Number of labelled axes."""
        return int(self.train.labels.shape[1])

    @property
    def n_epochs(self) -> int | None:
        """Number of epochs; None to choose the best epoch on the valid fold."""
        return self.fixed_epochs.get(self.job.modality)

    def for_modality(self, modality: str) -> TrainingSetup:
        """Copy the setup for a student of another modality, with the same posts.

        Captions and images must have been loaded for both.
        """
        other = replace(self, job=replace(self.job, modality=modality))
        if modality == "fusion" or other.job.has_fusion_encoders:
            return other
        train, valid = (fold.restricted_to(modality) for fold in (self.train, self.valid))
        return replace(other, train=train, valid=valid)

    def cache_key(self, seed: int) -> str:
        """Compute the SHA-256 (hex) of everything that determines the trained weights."""
        params = self.job.params
        left_out = {"modalities", "seeds", "ablation", "launch"}
        left_out |= {"cross_fit", "transfer", "distil_from"}  # the labels are in the data's digest
        group = params.train.model_dump(mode="json", exclude=left_out)
        data = [self.train.digest(), self.valid.digest()]
        device = choose_device(params.train.device)
        environment = [
            _RECIPE,
            self.job.has_fusion_encoders,
            params.threads,
            device,
            uses_bf16(params.train.precision, device),
            list(package_versions(params.train).values()),
            distributed.process_count(),
        ]
        used = [self.job.modality, *(["fusion"] if self.job.has_fusion_encoders else [])]
        epochs = [self.fixed_epochs.get(modality) for modality in used]
        parts = [data, group, self.job.modality, seed, environment, epochs]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def usable_rows(self) -> tuple[list[int], list[int]]:
        """Select the posts that have an input for this student.

        Returns:
            Row numbers in the train fold and in the valid fold.

        Raises:
            CorpusError: If either fold has fewer than `MIN_POSTS` such posts, or if a fusion
                student lacks captions or images altogether.
        """
        modality = self.job.modality
        if modality == "fusion" and not (len(self.train.pixels) and any(self.train.token_ids)):
            raise CorpusError(
                "a fusion student needs captions and images, and the train fold has only one of"
                " the two",
                do="set train.modalities to [text] or [image]",
            )
        rows = self.train.usable_rows(modality), self.valid.usable_rows(modality)
        for fold, usable in zip(("train", "valid"), rows, strict=True):
            if len(usable) < MIN_POSTS:
                raise CorpusError(
                    f"too few posts in the {fold} fold have an input for the {modality} student",
                    seen=len(usable),
                    allowed=f"at least {MIN_POSTS}",
                    do=f"remove {modality} from train.modalities, or label more such posts",
                )
        return rows

    def datasets(self) -> tuple[PostDataset, PostDataset]:
        """Build the data sets of the usable posts.

        Returns:
            The train fold with augmentation, and the valid fold without.

        Raises:
            CorpusError: If there are too few usable posts.
        """
        train_rows, valid_rows = self.usable_rows()
        params = self.job.params.train
        return (
            PostDataset(
                self.train,
                train_rows,
                modality_dropout=params.modality_dropout if self.job.modality == "fusion" else 0.0,
                token_dropout=params.token_dropout,
                augment=params.augment,
            ),
            PostDataset(self.valid, valid_rows),
        )

    def new_student(self) -> Student:
        """Build an untrained student; random weights come from torch's global generator.

        Raises:
            ParamsError: If params freeze more layers than an encoder has.
            WeightsError: If pretrained weights cannot be loaded.
        """
        train = self.job.params.train
        text = image = None
        if self.job.has_text:
            assert self.tokenizer is not None
            text = load_text_encoder_of(train, self.tokenizer)
        if self.job.has_image:
            image = load_image_encoder_of(train)
        student = Student(
            text,
            image,
            hidden=train.head_hidden,
            n_axes=self.n_axes,
            dropout=train.dropout,
            bounded=train.loss == "cross_entropy",
            linear=train.head == "linear",
            late_fusion=self.job.starts_from_parts,
        )
        if self.job.has_fusion_encoders:
            freeze(student, text="all", image="all")
        else:
            freeze(student, text=train.freeze.text, image=train.freeze.image)
        return student

    def quantization_posts(self) -> QuantizationPosts:
        """Draw inputs of the train fold to quantize with, and of the valid fold to measure on."""
        seed, select_by = self.job.params.seed, self.job.params.train.select_by
        return QuantizationPosts(
            calibration=draw_encoder_inputs(self.train, _N_CALIBRATION, seed),
            held_out=draw_encoder_inputs(self.valid, _N_HELD_OUT, seed),
            metric="mae" if select_by == "loss" else select_by,
        )


def load_training_setup(
    job: TrainingJob,
    folds: Mapping[str, LabelsByPost],
    fixed_epochs: Mapping[str, int] | None = None,
) -> TrainingSetup:
    """Load, tokenise and decode the posts of a training job.

    A student with the fusion student's encoders gets captions and images, whatever its modality:
    the fusion student may have to be trained first.

    Args:
        job: What to train.
        folds: Labels by fold, as `read_fold_labels` returns them.
        fixed_epochs: Number of epochs by modality; None to choose the best epoch on the valid fold.

    Returns:
        The job with its data.

    Raises:
        CorpusError: If a fold is empty, or a labelled post is missing from the corpus.
        WeightsError: If a pretrained tokenizer cannot be loaded.
    """
    train = job.params.train
    for fold in ("train", "valid"):
        if not folds[fold]:
            raise CorpusError(
                f"no labelled post in the {fold} fold", seen=0, allowed=f"at least {MIN_POSTS}",
                do="label more posts, or increase this fold's share in split.shares",
            )  # fmt: skip
    tokenizer = None
    if job.has_text or job.has_fusion_encoders:
        texts = read_seen_texts(job.paths, job.params, list(folds["train"]))
        tokenizer = load_tokenizer_of(train, texts)

    def load_fold(fold: str) -> Examples:
        pixel_file = job.scratch / fold if job.has_image or job.has_fusion_encoders else None
        examples = load_examples(job.paths.sampled_posts, folds[fold], tokenizer, train, pixel_file)
        if tokenizer is None or not job.params.images.ocr:
            return examples
        texts = read_seen_texts(job.paths, job.params, examples.post_ids)
        return replace(examples, token_ids=tokenise_captions(texts, tokenizer, train.max_tokens))

    return TrainingSetup(job, tokenizer, load_fold("train"), load_fold("valid"), fixed_epochs or {})
