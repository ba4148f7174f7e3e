"""The groups that decide which posts are labelled, by whom and at what price: sample, annotate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from postbias.params.group import Count, Group, Share


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
