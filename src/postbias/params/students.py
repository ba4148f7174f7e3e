"""The groups that decide what the students are and what they learn from: split, train."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from postbias.params.group import Count, Group, Share

Modality = Literal["fusion", "text", "image"]
Loss = Literal["mse", "huber", "cross_entropy"]
Frozen = Annotated[int, Field(ge=0)] | Literal["all"]


class FoldShares(Group):
    """How much of the labelled posts each fold gets; the shares add up to 1."""

    train: Share = Field(description="the students learn from it")
    valid: Share = Field(description="epoch and champion are chosen on it")
    calib: Share = Field(description="intervals are measured on it")
    test: Share = Field(description="every claim is made on it")

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = self.train + self.valid + self.calib + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the four shares must add up to 1, not {total:g}")
        if min(self.train, self.valid, self.test) == 0:
            raise ValueError("train, valid and test must each be above 0")
        return self


class SplitParams(Group):
    """Which fold each labelled post belongs to."""

    shares: FoldShares = Field(description="share of each fold; they add up to 1")
    caption_similarity: Annotated[float, Field(ge=0.3, le=1)] = Field(
        description="captions whose runs of 5 characters have at least this Jaccard similarity are"
        " near-duplicates"
    )
    image_distance: Annotated[int, Field(ge=0, le=64)] = Field(
        description="images of like colours whose 64-bit perceptual hashes differ in at most so"
        " many bits are near-duplicates"
    )
    folds: str | None = Field(
        description="file (CSV or Parquet) with given folds, by post_id; null to draw all folds"
    )
    folds_column: str = Field(description="its column: train, valid (or dev), calib, test")


class ScratchText(Group):
    """Size of a text encoder trained from random weights (text_encoder: scratch)."""

    vocab_size: Annotated[int, Field(ge=300)] = Field(
        description="byte-level BPE tokens, learned on the train fold"
    )
    hidden: Count = Field(description="width")
    layers: Count = Field(description="transformer blocks")
    heads: Count = Field(description="attention heads")


class FreezeParams(Group):
    """Layers of pretrained encoders that keep their weights, counted from the input."""

    text: Frozen = Field(
        description="transformer layers, their embeddings frozen with the first; or all"
    )
    image: Frozen = Field(
        description="blocks of the torchvision network (ResNet: two for the stem, four stages); or"
        " all"
    )


class TrainParams(Group):
    """The students."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = Field(
        description="one student each: fusion, text, image"
    )
    ablation: Literal["heads", "whole"] = Field(
        description="how the text and image students are made beside a fusion student: heads: they"
        " keep its trained encoders and learn a head, in seconds; whole: each trains its own"
    )
    launch: Annotated[str, Field(pattern=r"^(python|torchrun( [\w.:=-]+)*)$")] = Field(
        description="what runs stages/train.py: python; or, to train on several GPUs, torchrun"
        " --nproc-per-node and their number"
    )
    seeds: Count = Field(
        description="times each student is trained, from seed on; the best on the valid fold ships"
    )
    text_encoder: str = Field(
        description="hub name or folder of a Hugging Face encoder; or scratch: random weights"
    )
    text_scratch: ScratchText = Field(description="its size, for text_encoder: scratch")
    image_encoder: str = Field(description="name of a torchvision classifier")
    image_weights: str = Field(
        description="imagenet, a file of weights, or none: random weights, trained from scratch"
    )
    freeze: FreezeParams = Field(
        description="layers that keep their weights; with all of every encoder, posts are embedded"
        " once into store/ and only heads are trained"
    )
    image_size: Annotated[int, Field(ge=32, le=1024)] = Field(description="pixels, both sides")
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = Field(description="tokens of a caption")
    max_images: Count = Field(description="images of a carousel that are looked at")
    head_hidden: Count = Field(description="width of the head's hidden layer")
    dropout: Share = Field(description="dropout in the head")
    modality_dropout: Share = Field(
        description="fusion: share of training posts from which the caption or the image is hidden"
    )
    token_dropout: Share = Field(
        description="share of a caption's tokens that are left out at random in training"
    )
    epochs: Count = Field(description="epochs at most")
    patience: Count = Field(description="epochs without a better valid score before stopping")
    select_by: Literal["loss", "mae", "rmse", "spearman"] = Field(
        description="what chooses the epoch to keep, on the valid fold: the loss over all axes, or"
        " a metric of the main axis"
    )
    batch_size: Count = Field(description="posts per update of the weights")
    micro_batch_size: Count | None = Field(
        description="posts per pass; passes are added up to batch_size; null: all at once. Halved"
        " by itself when memory runs out"
    )
    lr_text: Annotated[float, Field(gt=0)] = Field(description="learning rate, text encoder")
    lr_image: Annotated[float, Field(gt=0)] = Field(description="learning rate, image encoder")
    lr_head: Annotated[float, Field(gt=0)] = Field(description="learning rate, head")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="AdamW weight decay")
    warmup: Share = Field(description="share of steps with a rising learning rate, then cosine")
    loss: Loss = Field(
        description="training loss; cross_entropy is for labels that crowd at the ends: its scores "
        "cannot leave the range"
    )
    augment: bool = Field(description="shift and brighten training images at random")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        description="auto: bf16 autocast where the processor or GPU has instructions for it (AMX,"
        " AVX512-BF16, CUDA from Ampere on), else fp32, which is several times faster there"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="auto: CUDA, else MPS, else CPU"
    )
