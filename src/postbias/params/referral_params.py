"""The parameter group of the cascade from student to teacher."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from postbias.params.base import Group, Share


class CascadeParams(Group):
    """Which scored posts the teacher labels, because the student is most likely to be wrong."""

    share: Share | None = Field(
        description="share of the scored posts that the teacher decides, those with a label"
        " included; null for posts with a label only, or if budget_usd is set"
    )
    budget_usd: Annotated[float, Field(ge=0)] | None = Field(
        description="cost of the labels to request, at the cost of the labels so far; null for no"
        " such limit"
    )

    @model_validator(mode="after")
    def _choose_one(self) -> Self:
        if self.share is not None and self.budget_usd is not None:
            raise ValueError("set share or budget_usd, not both")
        return self
