"""The parameter groups of the stages split and train."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from postbias.params.base import Count, Group, Share

Modality = Literal["fusion", "text", "image"]
Loss = Literal["mse", "huber", "cross_entropy"]
FrozenLayers = Annotated[int, Field(ge=0)] | Literal["all"]


class FoldShares(Group):
    """Share of the labelled posts in each fold; the shares add up to 1."""

    train: Share = Field(description="to train students")
    valid: Share = Field(description="to choose the epoch and the champion")
    calib: Share = Field(description="to fit prediction intervals")
    test: Share = Field(description="for all reported results")

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = self.train + self.valid + self.calib + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the four shares must add up to 1, not {total:g}")
        if min(self.train, self.valid, self.test) == 0:
            raise ValueError("train, valid and test must each be above 0")
        return self


class SplitParams(Group):
    """How labelled posts are assigned to folds."""

    shares: FoldShares = Field(description="share of each fold; they add up to 1")
    caption_similarity: Annotated[float, Field(ge=0.3, le=1)] = Field(
        description="minimum Jaccard similarity of 5-character shingles for two captions to be"
        " near-duplicates"
    )
    image_distance: Annotated[int, Field(ge=0, le=64)] = Field(
        description="maximum number of differing bits of their 64-bit perceptual hashes for two"
        " images of similar colours to be near-duplicates"
    )
    folds: str | None = Field(
        description="CSV or Parquet file with predefined folds by post_id; null to assign all folds"
        " at random"
    )
    folds_column: str = Field(
        description="column of that file; values: train, valid (or dev), calib, test"
    )


class ScratchText(Group):
    """Size of a text encoder with random weights (text_encoder: scratch)."""

    vocab_size: Annotated[int, Field(ge=300)] = Field(
        description="maximum vocabulary size of the byte-level BPE tokenizer, which is trained on"
        " the train fold"
    )
    hidden: Count = Field(description="width of the hidden states")
    layers: Count = Field(description="number of transformer layers")
    heads: Count = Field(description="number of attention heads")


class FreezeParams(Group):
    """Number of layers of the pretrained encoders to freeze, counted from the input."""

    text: FrozenLayers = Field(
        description="transformer layers; the first includes the embeddings; all for the encoder"
    )
    image: FrozenLayers = Field(
        description="blocks of the network (ResNet: two for the stem, then four"
        " stages); all for the encoder"
    )


class TrainParams(Group):
    """What students are trained, and how."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = Field(
        description="a student is trained for each: fusion (caption and images), text, image"
    )
    ablation: Literal["heads", "whole"] = Field(
        description="how the text and image students of the modality ablation are trained. heads:"
        " train only a head on the fusion student's encoders, in seconds; whole: train their own"
        " encoders"
    )
    fusion: Literal["joint", "parts"] = Field(
        description="how the fusion student is trained. joint: as a whole; parts: the text and"
        " image students first, then from their weighted mean on, which it keeps unless joint"
        " training is better on the valid fold (with ablation: whole)"
    )
    launch: Annotated[str, Field(pattern=r"^(python|torchrun( [\w.:=-]+)*)$")] = Field(
        description="command that runs stages/train.py: python, or torchrun --nproc-per-node N for"
        " N GPUs"
    )
    seeds: Count = Field(
        description="number of training runs per student, with consecutive seeds from seed on; the"
        " best on the valid fold is kept"
    )
    cross_fit: Annotated[int, Field(ge=2, le=20)] | None = Field(
        description="number of students for cross-fitting (usually 5), each of which scores the"
        " labelled posts that it was not trained on; the student that ships is trained on all"
        " labels but those of the test fold; null trains one student on the train fold only"
    )
    transfer: Count | None = Field(
        description="number of unlabelled posts that the student that ships also learns from, with"
        " the mean score of the cross-fitted students, or the score of the full student, as label;"
        " null for none"
    )
    distil_from: Annotated[str, Field(pattern=r"^full_students/[^/]+$")] | None = Field(
        description="folder in full_students/ with a finished, larger student, whose scores the"
        " posts of transfer and the train fold are labelled with; null for labels of the teacher"
        " alone"
    )
    text_encoder: str = Field(
        description="hub name or folder of a Hugging Face encoder; scratch for random weights"
    )
    text_layers: Count | None = Field(
        description="keep only the first layers of a pretrained text encoder, this many; null for"
        " all"
    )
    text_vocabulary: Annotated[int, Field(ge=300)] | None = Field(
        description="keep only the tokens of a pretrained text encoder that are most frequent in"
        " the captions of the train fold, this many (WordPiece: BERT, MiniLM, E5); null for all"
    )
    text_pooling: Literal["auto", "mean", "cls"] = Field(
        description="how the hidden states of a caption's tokens become one embedding: their mean,"
        " or the state of the first token; auto for the encoder's own convention"
    )
    text_prefix: str | None = Field(
        description="text put before every caption; null for what the encoder needs (`query: ` for"
        " E5), an empty text for none"
    )
    text_scratch: ScratchText = Field(description="size for text_encoder: scratch")
    image_encoder: str = Field(
        description="a torchvision classifier, or timm/ and a network of timm"
    )
    image_weights: str = Field(
        description="pretrained (or imagenet) for the published weights, a file of weights, or none"
        " for random weights"
    )
    freeze: FreezeParams = Field(
        description="frozen layers; with all for every encoder, posts are embedded once into store/"
        " and only heads are trained"
    )
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = Field(
        description="width and height in pixels of the images that the encoder reads; null for the"
        " encoder's own size"
    )
    image_fit: Literal["auto", "stretch", "crop"] = Field(
        description="how an image is made square: stretch uses the whole image, crop its centre;"
        " auto for the encoder's own convention (torchvision: stretch; timm: usually crop)"
    )
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = Field(
        description="maximum number of tokens of a caption"
    )
    max_images: Count = Field(description="maximum number of images of a carousel that are used")
    head: Literal["mlp", "linear"] = Field(
        description="mlp: a hidden layer, trained by gradient descent; linear: a linear layer,"
        " fitted by ridge regression to embeddings of the pretrained encoders before they are"
        " trained (LP-FT), which is all if they are frozen"
    )
    head_hidden: Count = Field(
        description="width of the hidden layer of an mlp head, and of the correction for posts with"
        " both modalities of fusion: parts"
    )
    dropout: Share = Field(description="dropout in the head")
    modality_dropout: Share = Field(
        description="fusion: share of training posts whose caption or images are hidden"
    )
    token_dropout: Share = Field(
        description="share of a caption's tokens that are dropped at random in training"
    )
    head_epochs: Annotated[int, Field(ge=0)] = Field(
        description="epochs in which only an mlp head is trained, on embeddings of the pretrained"
        " encoders, before everything is trained (LP-FT); 0 for none"
    )
    epochs: Count = Field(description="maximum number of epochs")
    evaluations_per_epoch: Count = Field(
        description="evaluations on the valid fold per epoch, at equal distances"
    )
    patience: Count = Field(
        description="evaluations without improvement on the valid fold before training stops"
    )
    average: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        description="evaluate and keep an average of the weights, whose mean age is this share of"
        " the steps so far; null for the weights themselves"
    )
    select_by: Literal["loss", "mae", "rmse", "spearman"] = Field(
        description="criterion on the valid fold for the weights to keep: the loss over all axes,"
        " or a metric of the main axis"
    )
    batch_size: Count = Field(description="posts per update of the weights")
    micro_batch_size: Count | None = Field(
        description="posts per forward pass; gradients are accumulated up to batch_size; null for"
        " one pass per update. Halved automatically when memory runs out"
    )
    lr_text: Annotated[float, Field(gt=0)] = Field(description="learning rate of the text encoder")
    lr_image: Annotated[float, Field(gt=0)] = Field(
        description="learning rate of the image encoder"
    )
    lr_head: Annotated[float, Field(gt=0)] = Field(description="learning rate of the head")
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        description="learning rate of an encoder's first layer relative to its last; geometric in"
        " between. 1 for equal rates"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="weight decay of AdamW")
    warmup: Share = Field(
        description="share of steps with a rising learning rate, before it falls as a cosine"
    )
    loss: Loss = Field(
        description="training loss; cross_entropy limits scores to the range, and suits labels"
        " concentrated at its ends"
    )
    augment: bool = Field(description="shift and brighten training images at random")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        description="auto: bf16 autocast if the CPU or GPU supports it in hardware (AMX,"
        " AVX512-BF16, CUDA from Ampere on), else fp32, which is then several times faster"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="auto: CUDA, else MPS, else CPU"
    )

    @model_validator(mode="after")
    def _can_cross_fit(self) -> Self:
        if self.cross_fit is None:
            if self.transfer is not None and self.distil_from is None:
                raise ValueError("transfer requires cross_fit or distil_from, whose students score"
                                 " these posts")  # fmt: skip
            return self
        if self.distil_from is not None:
            raise ValueError("cross_fit requires distil_from: null, since a full student has seen"
                             " the labels that a cross-fitted student must not see")  # fmt: skip
        if self.seeds > 1:
            raise ValueError("cross_fit requires seeds: 1, since no fold is left to choose a seed")
        if self.launch != "python":
            raise ValueError("cross_fit requires launch: python")
        if self.fusion != "joint" or self.head_epochs or self.average is not None:
            raise ValueError("cross_fit requires fusion: joint, head_epochs: 0 and average: null")
        if self.head == "linear":
            raise ValueError("cross_fit requires head: mlp")
        if self.evaluations_per_epoch > 1:
            raise ValueError("cross_fit requires evaluations_per_epoch: 1")
        return self

    @model_validator(mode="after")
    def _can_distil(self) -> Self:
        if self.distil_from is not None and self.launch != "python":
            raise ValueError("distil_from requires launch: python")
        is_reduced = self.text_layers is not None or self.text_vocabulary is not None
        if is_reduced and self.text_encoder == "scratch":
            raise ValueError("text_layers and text_vocabulary require a pretrained text_encoder;"
                             " for one with random weights, set text_scratch")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _has_one_start(self) -> Self:
        if self.head == "linear" and self.head_epochs:
            raise ValueError("head: linear requires head_epochs: 0, since ridge regression fits it")
        return self

    @model_validator(mode="after")
    def _parts_are_whole(self) -> Self:
        if self.fusion == "parts" and self.ablation != "whole":
            raise ValueError("fusion: parts trains the text and image students' own encoders: set"
                             " ablation to whole, or fusion to joint")  # fmt: skip
        return self
