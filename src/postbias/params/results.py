"""The parameter groups of the stages that follow training: evaluate, infer and report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from postbias.params.base import Count, Group


class AuditParams(Group):
    """Tests of a student beyond its accuracy on the test fold."""

    word_pairs: str = Field(
        description="CSV of word pairs (language, masculine, feminine) for the counterfactual word"
        " swap, which should hardly change the main axis; a file without rows disables the test"
    )
    image_pairs: str = Field(
        description="folder with a table `pairs.csv` (file, scene, gender) of images that show the"
        " same scene with a man and with a woman, for the counterfactual image swap, which should"
        " hardly change the main axis; a table without rows disables the test"
    )
    orientation: str | None = Field(
        description="axis on which more feminine wording, and an image of a woman instead of a man,"
        " must score higher; null, or a name that is not in the rubric, disables the test"
    )


class GateParams(Group):
    """Requirements that a student must meet to become champion."""

    min_spread: Annotated[float, Field(ge=0)] = Field(
        description="minimum ratio of the scores' standard deviation to the labels'"
    )
    max_int8_loss: Annotated[float, Field(ge=0)] = Field(
        description="maximum relative loss of the main metric by int8"
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="significance level of the gate's one-sided tests, and of the comparison with"
        " the previous champion"
    )
    coverage_tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="how far the intervals' true coverage may be below nominal"
    )
    max_swap_change: Annotated[float, Field(ge=0)] = Field(
        description="maximum mean change of the main axis by the counterfactual word swap, and by"
        " the counterfactual image swap, as a share of the axis' range"
    )
    max_repeat_change: Annotated[float, Field(ge=0)] = Field(
        description="maximum mean change of the main axis when the caption is repeated, as a share"
        " of the axis' range"
    )


class EvaluateParams(Group):
    """How students are evaluated."""

    main_metric: Literal["mae", "rmse", "spearman"] = Field(
        description="metric by which the champion is chosen; the constant baseline is the best"
        " constant for this metric"
    )
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        description="number of bootstrap replications, clustered by author"
    )
    coverage: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="nominal coverage of the intervals"
    )
    learning_curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        description="shares of the train fold, ascending, on which the first of train.modalities is"
        " trained to draw a learning curve; [] for none"
    )
    audit: AuditParams = Field(description="further tests")
    gate: GateParams = Field(description="requirements for promotion")

    @field_validator("learning_curve")
    @classmethod
    def _ascends(cls, shares: list[float]) -> list[float]:
        if sorted(set(shares)) != shares:
            raise ValueError("shares must be distinct and in ascending order")
        return shares


class DriftParams(Group):
    """When scored posts are reported to differ from the training posts."""

    sample: Annotated[int, Field(ge=100)] = Field(
        description="number of randomly chosen posts that are compared"
    )
    max_distance: Annotated[float, Field(gt=0, le=1)] = Field(
        description="maximum total variation distance between the distributions of caption length,"
        " language, images per post or score, in excess of sampling error"
    )
    max_shift: Annotated[float, Field(gt=0)] = Field(
        description="maximum shift of the mean embedding, in standard deviations of the reference"
        " (root mean square over dimensions), in excess of sampling error"
    )


class InferParams(Group):
    """How the champion scores all posts."""

    precision: Literal["int8", "fp32"] = Field(description="precision of the graphs that are run")
    batch_size: Count = Field(description="posts per batch; does not affect the scores")
    device: Literal["auto", "cpu", "cuda", "coreml"] = Field(
        description="execution backend; auto: CUDA or CoreML if onnxruntime provides them, else the"
        " CPU. int8 runs on CPUs only; other devices change the last digits of the scores"
    )
    drift: DriftParams = Field(description="comparison of the corpus with the training posts")


class ReportCostParams(Group):
    """Inputs to the report's cost estimates. Actual charges of the teacher take precedence."""

    teacher_usd_per_post: Annotated[float, Field(ge=0)] | None = Field(
        description="teacher's price per post in US dollars; null if unknown"
    )
    student_posts_per_s: Annotated[float, Field(gt=0)] | None = Field(
        description="posts per second that the champion scores on your machine; null if unknown"
    )
    machine_usd_per_hour: Annotated[float, Field(ge=0)] = Field(
        description="price of the machine per hour in US dollars"
    )


class ReportParams(Group):
    """Content of the report."""

    language: Literal["en", "zh"] = Field(
        description="language of the page: English or Chinese (Simplified). Names of the rubric,"
        " captions, the teacher's reasons and the cards stay as they are"
    )
    brands: str | None = Field(
        description="CSV of brands (name, aliases); null for the most frequently mentioned accounts"
    )
    min_posts: Count = Field(
        description="minimum number of posts for a brand or language to be shown separately"
    )
    max_brands: Count = Field(description="maximum number of brands, those with the most posts")
    examples: Annotated[int, Field(ge=0, le=50)] = Field(
        description="number of largest errors shown with image and caption, and maximum number of"
        " typical posts"
    )
    cost: ReportCostParams
