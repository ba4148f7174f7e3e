"""The groups that decide what is claimed and shown: evaluate, infer, report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from postbias.params.group import Count, Group


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
    learning_curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        description="shares of the train fold, ascending, on which the first student is trained"
        " again, to see what more labels would buy; [] for none"
    )
    audit: AuditParams = Field(description="what students are asked beyond the test fold")
    gate: GateParams = Field(description="conditions of promotion")

    @field_validator("learning_curve")
    @classmethod
    def _ascends(cls, shares: list[float]) -> list[float]:
        if sorted(set(shares)) != shares:
            raise ValueError(f"shares must be different and ascending, not {shares}")
        return shares


class DriftParams(Group):
    """When the posts that are scored are said to differ from those that the student knows."""

    sample: Annotated[int, Field(ge=100)] = Field(
        description="posts of the corpus that are compared, chosen by chance"
    )
    max_distance: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of posts that may lie in other bins of caption length, language, images"
        " per post or score (total variation), beyond what chance brings"
    )
    max_shift: Annotated[float, Field(gt=0)] = Field(
        description="how far the mean embedding may move, in sd of the reference (root mean square"
        " over dimensions), beyond what chance brings"
    )


class InferParams(Group):
    """How the champion scores every post."""

    precision: Literal["int8", "fp32"] = Field(description="which graphs of the artifact run")
    batch_size: Count = Field(description="posts per batch; does not change the scores")
    device: Literal["auto", "cpu", "cuda", "coreml"] = Field(
        description="where the graphs run; auto takes CUDA or CoreML where onnxruntime offers them,"
        " else the CPU. Only CPUs run int8; another device changes scores in their last digits"
    )
    drift: DriftParams = Field(description="comparison of the corpus with what was learned from")


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
