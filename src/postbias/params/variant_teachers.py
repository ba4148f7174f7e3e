"""The parameter group of variants of the teacher."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from postbias.params.base import Count, Group


class VariantTeacher(Group):
    """Another teacher: another model, a reworded rubric, or recorded labels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")] = Field(
        description="name in the report"
    )
    rubric: str | None = Field(
        description="rubric file with the same axes in other words; null for annotate.rubric"
    )
    model: str | None = Field(description="model at the endpoint; null for annotate.endpoint.model")
    labels: str | None = Field(
        description="CSV or Parquet file of recorded labels; null to request them from the endpoint"
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if (self.rubric, self.model, self.labels) == (None, None, None):
            raise ValueError("a variant needs another rubric, model or file of labels")
        return self


class VariantsParams(Group):
    """Variants of the teacher, to see whether conclusions depend on model and prompt."""

    n: Count = Field(description="number of labelled posts that each variant labels too")
    teachers: tuple[VariantTeacher, ...] = Field(description="the variants; [] for none")

    @model_validator(mode="after")
    def _name_apart(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError(f"variants must have different names, not {', '.join(names)}")
        return self
