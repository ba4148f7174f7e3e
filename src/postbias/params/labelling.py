"""The parameter groups of the stages sample and annotate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from postbias.params.base import Count, Group, Share


class SampleParams(Group):
    """Which posts are labelled."""

    n: Count | None = Field(description="number of posts to label; null for all distinct posts")
    method: Literal["simple", "stratified", "active"] = Field(
        description="simple random sample; or a stratified one with the same number from each"
        " stratum; or active: a simple random sample of n posts, and the rounds that"
        " `postbias next-posts` adds to it"
    )
    stratify_by: tuple[Literal["sponsored", "media_type", "platform", "has_image"], ...] = Field(
        description="columns whose combinations define the strata (method: stratified)"
    )
    max_per_author: Count | None = Field(
        description="maximum number of posts per author, chosen at random; null for no limit"
    )
    imports: Count | None = Field(
        description="number of imports to sample from, the first ones, so that posts added later by"
        " `postbias import --append` change neither sample nor student; null for all imports"
    )


class ImagesSentParams(Group):
    """Which images are sent to the endpoint, and in what size."""

    max_images: Annotated[int, Field(ge=0, le=64)] = Field(
        description="maximum number of images per post, the first ones; 0 for captions only"
    )
    max_side_px: Annotated[int, Field(ge=28, le=4096)] = Field(
        description="maximum length of the longer side; smaller images cost less and show less"
    )
    jpeg_quality: Annotated[int, Field(ge=30, le=95)] = Field(
        description="JPEG quality of the images that are sent"
    )


class LimitsParams(Group):
    """Limits of the load on the endpoint; they affect no label."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="maximum number of requests in flight, not counting overdue ones, which give up"
        " their slot (at most as many again); halved after each 429, then raised step by step"
    )
    requests_per_minute: Count | None = Field(description="maximum request rate; null for no limit")
    tokens_per_minute: Count | None = Field(
        description="maximum rate of input and output tokens; null for no limit"
    )
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        description="timeout of one request, from connecting to the last byte"
    )
    tries: Count = Field(
        description="attempts to send a request that fails in transit before the post is rejected"
    )
    outage_s: Annotated[float, Field(gt=0)] = Field(
        description="seconds to wait for an unavailable endpoint before the stage stops"
    )


class CostParams(Group):
    """Prices of the endpoint, and the cost cap."""

    usd_per_million_input: Annotated[float, Field(ge=0)] | None = Field(
        description="price of a million input tokens in US dollars; null if unknown or free"
    )
    usd_per_million_output: Annotated[float, Field(ge=0)] | None = Field(
        description="price of a million output tokens in US dollars"
    )
    batch_factor: Share = Field(description="price in batch mode, as a share of these prices")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        description="maximum total cost of all replies in this reply store; null for no cap"
    )

    @model_validator(mode="after")
    def _price_cap(self) -> Self:
        prices = (self.usd_per_million_input, self.usd_per_million_output)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError("set both prices, or neither")
        if self.max_cost_usd is not None and None in prices:
            raise ValueError("max_cost_usd requires both prices")
        return self


class BatchParams(Group):
    """Batch mode: files of requests, processed within a day at about half the price."""

    max_requests: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="maximum number of requests per batch"
    )
    max_mb: Annotated[float, Field(gt=0)] = Field(description="maximum file size in megabytes")
    poll_s: Annotated[float, Field(gt=0)] = Field(description="seconds between two status requests")


class EndpointParams(Group):
    """An OpenAI-compatible endpoint; its URL and key come from the environment."""

    model: str | None = Field(description="name of the model at the endpoint")
    mode: Literal["live", "batch"] = Field(
        description="live: one request per post, answered at once; batch: files of requests,"
        " cheaper and slower"
    )
    images: ImagesSentParams
    mask_mentions: bool = Field(
        description="replace @names in captions by @user before they are sent"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        description="sampling temperature of the model; null for the model's default"
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        description="maximum number of output tokens per reply; reasoning models need thousands"
    )
    attempts: Count = Field(description="requests for a valid reply before the post is rejected")
    repeats: Count = Field(
        description="number of replies for a repeated post; its label is their mean; at"
        " temperature 0 each repeat rewords the prompt (at most 8), otherwise repeats measure"
        " sampling variation"
    )
    repeat_share: Share = Field(
        description="share of posts with repeated requests, to estimate the teacher's test-retest"
        " error"
    )
    limits: LimitsParams
    cost: CostParams
    batch: BatchParams


class AnnotateParams(Group):
    """Source of the labels, and the rubric."""

    teacher: Literal["recorded", "openai"] = Field(
        description="recorded: labels from a file, given by a teacher or by people; openai: any"
        " OpenAI-compatible endpoint"
    )
    rubric: str = Field(description="rubric file: axes, scales, anchors and prompt")
    labels: str | None = Field(
        description="CSV or Parquet file of recorded labels: post_id, one column per axis, and"
        " optionally reason"
    )
    endpoint: EndpointParams = Field(description="settings for teacher: openai")

    @model_validator(mode="after")
    def _name_model(self) -> Self:
        if self.teacher == "openai" and not self.endpoint.model:
            raise ValueError("teacher: openai requires endpoint.model, the name of the model")
        return self
