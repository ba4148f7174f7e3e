"""What `params.yaml` may say.

Reads with ruamel.yaml, DVC's own parser (PyYAML reads `1e-4` as text), and checks with pydantic:
strict types, no unknown keys, no NaN; all faults are reported at once, each with its key, the value
seen and what is allowed. Secrets and endpoints are not parameters: they come from the environment.

Field descriptions are the source of `docs/params.md`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from postbias.errors import ParamsError

Modality = Literal["fusion", "text", "image"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Group(BaseModel):
    """Base of all parameter groups: strict, frozen, closed."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class SampleParams(Group):
    """Which posts are labelled."""

    n: Count | None = Field(description="posts to label; null labels every distinct post")
    method: Literal["simple", "stratified"] = Field(
        description="simple random, or the same number from each stratum"
    )
    stratify_by: tuple[Literal["sponsored", "media_type", "platform", "has_image"], ...] = Field(
        description="columns whose combinations are the strata (method: stratified)"
    )
    max_per_author: Count | None = Field(
        description="at most so many posts of one author, chosen at random; null for no cap"
    )


class ImagesSentParams(Group):
    """Which pictures an endpoint is sent, and how large."""

    max_images: Annotated[int, Field(ge=0, le=64)] = Field(
        description="pictures of a post that are sent, the first ones; 0 sends captions only"
    )
    max_side_px: Annotated[int, Field(ge=28, le=4096)] = Field(
        description="their longer side at most; smaller costs less and shows less"
    )
    jpeg_quality: Annotated[int, Field(ge=30, le=95)] = Field(
        description="quality at which they are encoded again"
    )


class LimitsParams(Group):
    """How hard an endpoint may be pressed; changes no label."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="requests in flight at most; halved after each 429, then won back"
    )
    requests_per_minute: Count | None = Field(description="null for no limit")
    tokens_per_minute: Count | None = Field(description="input and output; null for no limit")
    timeout_s: Annotated[float, Field(gt=0)] = Field(description="for one whole request")
    tries: Count = Field(
        description="times that a request which fails on its way is sent before it is a reject"
    )
    outage_s: Annotated[float, Field(gt=0)] = Field(
        description="seconds to wait for an endpoint that is down before stopping"
    )


class CostParams(Group):
    """What the endpoint charges, and how much it may."""

    usd_per_million_input: Annotated[float, Field(ge=0)] | None = Field(
        description="US dollars per million input tokens; null if unknown or free"
    )
    usd_per_million_output: Annotated[float, Field(ge=0)] | None = Field(
        description="US dollars per million output tokens"
    )
    batch_factor: Share = Field(description="share of these prices that batch mode costs")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        description="all that may ever be spent from this reply store; null for no cap"
    )

    @model_validator(mode="after")
    def _price_cap(self) -> Self:
        prices = (self.usd_per_million_input, self.usd_per_million_output)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError("give both prices or neither")
        if self.max_cost_usd is not None and None in prices:
            raise ValueError("max_cost_usd needs both prices: without them no cap can be kept")
        return self


class BatchParams(Group):
    """Batch mode: files of requests, answered within a day, at about half the price."""

    max_requests: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="requests per batch at most"
    )
    max_mb: Annotated[float, Field(gt=0)] = Field(description="megabytes per file at most")
    poll_s: Annotated[float, Field(gt=0)] = Field(description="seconds between two looks at it")


class EndpointParams(Group):
    """An OpenAI-compatible endpoint; its URL and key come from the environment."""

    model: str | None = Field(description="the model's name at the endpoint")
    mode: Literal["live", "batch"] = Field(
        description="live: one request per post; batch: files of requests, cheaper and later"
    )
    images: ImagesSentParams
    mask_mentions: bool = Field(description="replace @names in captions by @user before sending")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        description="of the model; null for its own default"
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        description="output tokens of one reply at most; thinking models need thousands"
    )
    attempts: Count = Field(
        description="times that the model is asked for a usable reply before the post is a reject"
    )
    repeats: Count = Field(description="times that a repeated post is asked; its label is the mean")
    repeat_share: Share = Field(
        description="share of the posts that are repeated, which measures the teacher's own error"
    )
    limits: LimitsParams
    cost: CostParams
    batch: BatchParams


class AnnotateParams(Group):
    """Who labels them, and by which rubric."""

    teacher: Literal["recorded", "openai"] = Field(
        description="recorded: labels read from a file (a teacher's recorded answers, or "
        "people's); openai: any OpenAI-compatible endpoint"
    )
    rubric: str = Field(description="rubric file: axes, scale, anchors, prompt")
    labels: str | None = Field(
        description="recorded labels (CSV or Parquet): post_id, one column per axis, reason?"
    )
    endpoint: EndpointParams = Field(description="used by teacher: openai")

    @model_validator(mode="after")
    def _name_model(self) -> Self:
        if self.teacher == "openai" and not self.endpoint.model:
            raise ValueError("teacher: openai needs endpoint.model, the model's name")
        return self


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


class TrainParams(Group):
    """The students."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = Field(
        description="one student each: fusion, text, image"
    )
    text_encoder: str = Field(
        description="hub name or folder of a Hugging Face encoder; or scratch: random weights"
    )
    text_scratch: ScratchText = Field(description="its size, for text_encoder: scratch")
    image_encoder: str = Field(description="name of a torchvision classifier")
    image_weights: str = Field(
        description="imagenet, a file of weights, or none: random weights, trained from scratch"
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
    select_by: Literal["mae", "rmse", "spearman"] = Field(
        description="metric of the main axis on the valid fold that chooses the epoch to keep"
    )
    batch_size: Count = Field(description="posts per step")
    lr_text: Annotated[float, Field(gt=0)] = Field(description="learning rate, text encoder")
    lr_image: Annotated[float, Field(gt=0)] = Field(description="learning rate, image encoder")
    lr_head: Annotated[float, Field(gt=0)] = Field(description="learning rate, head")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="AdamW weight decay")
    warmup: Share = Field(description="share of steps with a rising learning rate, then cosine")
    loss: Literal["mse", "huber"] = Field(description="training loss")
    augment: bool = Field(description="shift and brighten training images at random")
    precision: Literal["fp32", "bf16"] = Field(description="bf16 autocast is faster on most CPUs")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="auto: CUDA, else MPS, else CPU"
    )


class AuditParams(Group):
    """What students are asked beyond the test fold's own posts."""

    word_pairs: str = Field(
        description="CSV of word pairs (language, masculine, feminine) whose swapping must change"
        " the main axis by little; with no rows nothing is swapped"
    )
    orientation: str | None = Field(
        description="axis on which more feminine wording must score higher; null, or a name that"
        " the rubric lacks, if there is none"
    )


class GateParams(Group):
    """What a student must show before it may become champion."""

    min_spread: Annotated[float, Field(ge=0)] = Field(
        description="sd of its scores over sd of the labels, at least"
    )
    max_int8_loss: Annotated[float, Field(ge=0)] = Field(
        description="share of the main metric that int8 may cost"
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="level of the gate's one-sided tests, and of the test against the old champion"
    )
    coverage_tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="how far below nominal the intervals' true coverage may be"
    )
    max_swap_change: Annotated[float, Field(ge=0)] = Field(
        description="mean change of the main axis, as a share of its range, that swapping gendered"
        " words may make"
    )
    max_repeat_change: Annotated[float, Field(ge=0)] = Field(
        description="the same for a caption that is written twice"
    )


class EvaluateParams(Group):
    """How students are judged."""

    main_metric: Literal["mae", "rmse", "spearman"] = Field(
        description="what the champion must win by; the constant is the best one for it"
    )
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        description="bootstrap replications, clustered by author"
    )
    coverage: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="nominal coverage of the intervals"
    )
    audit: AuditParams = Field(description="what students are asked beyond the test fold")
    gate: GateParams = Field(description="conditions of promotion")


class InferParams(Group):
    """How the champion scores every post."""

    precision: Literal["int8", "fp32"] = Field(description="which graphs of the artifact run")
    batch_size: Count = Field(description="posts per batch; does not change the scores")


class ReportCostParams(Group):
    """What the report reckons costs with; what the teacher really charged goes before it."""

    teacher_usd_per_post: Annotated[float, Field(ge=0)] | None = Field(
        description="US dollars that a teacher would charge for one post; null if unknown"
    )
    student_posts_per_s: Annotated[float, Field(gt=0)] | None = Field(
        description="posts that the champion scores per second on your machine; null if unknown"
    )
    machine_usd_per_hour: Annotated[float, Field(ge=0)] = Field(
        description="US dollars that the machine costs per hour"
    )


class ReportParams(Group):
    """What the report shows."""

    brands: str | None = Field(
        description="CSV of brands (name, aliases); null takes the accounts mentioned most"
    )
    min_posts: Count = Field(
        description="brands and languages with fewer posts are not shown by themselves"
    )
    max_brands: Count = Field(description="brands shown at most, those with most posts")
    examples: Annotated[int, Field(ge=0, le=50)] = Field(
        description="worst errors shown with picture and caption, and at most so many typical posts"
    )
    cost: ReportCostParams


class Params(Group):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="seed of everything random")
    threads: Count = Field(
        description="CPU threads of training and scoring; another number gives other bytes"
    )
    sample: SampleParams
    annotate: AnnotateParams
    split: SplitParams
    train: TrainParams
    evaluate: EvaluateParams
    infer: InferParams
    report: ReportParams


def load_params(path: Path) -> Params:
    """Read and check a parameter file.

    Args:
        path: The YAML file, usually `params.yaml`.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: If the file cannot be read or says anything that is not allowed; the message
            names every fault.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(
            "no parameter file", seen=str(path), do="copy one of params/*.yaml to params.yaml"
        ) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ParamsError(f"{path} is not readable YAML: {_one_line(error)}") from error
    try:
        # Through JSON: strict mode then still takes YAML's lists for tuples.
        return Params.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ParamsError(_describe(path, error)) from error
    except TypeError as error:
        raise ParamsError(f"{path} holds a value of no known type: {_one_line(error)}") from error


def flatten(group: BaseModel, prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """Flatten a group to dotted keys, as MLflow shows parameters.

    Args:
        group: Any parameter group.
        prefix: Dotted prefix of the keys.

    Returns:
        One scalar per dotted key; lists become comma-separated text.
    """
    flat: dict[str, str | int | float | bool | None] = {}
    for name in type(group).model_fields:
        value, key = getattr(group, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return flat


def _describe(path: Path, error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        seen = "" if fault["type"] == "missing" else f" (saw {fault['input']!r:.80})"
        faults.append(f"{key}: {_allowed(fault['type'], fault['msg'])}{seen}")
    known = "docs/params.md lists all keys and what they take"
    return f"{path.name} has {len(faults)} fault(s): {'; '.join(faults)}; {known}"


def _allowed(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key, remove it or check its spelling"
    if kind == "missing":
        return "missing key, add it"
    return message.removeprefix("Value error, ")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
