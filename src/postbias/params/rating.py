"""The parameter group of human ratings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from postbias.params.base import Count, Group, Share


class RatingParams(Group):
    """Which posts people rate, and their recorded ratings."""

    n: Count = Field(description="number of labelled posts to draw for `postbias rate`")
    raters: Count = Field(description="number of raters")
    overlap: Share = Field(
        description="share of these posts that every rater gets; each of the others goes to one"
        " rater"
    )
    repeat_share: Share = Field(
        description="share of a rater's posts that are shown a second time, to measure the rater's"
        " own consistency"
    )
    include: str | None = Field(
        description="CSV file with a column post_id: posts that every rater gets in addition; null"
        " for none"
    )
    file: str | None = Field(
        description="recorded ratings, as `postbias ratings export` writes them; null for none"
    )
    epsilon: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="alternative annotator test: how far the teacher may lag behind a rater; 0.2"
        " if raters are experts, 0.15 if they are trained, 0.1 for crowd workers"
    )
