"""The schema of `params.yaml`: one pydantic model per group of keys, and the file as a whole.

The descriptions of the fields are the source of `docs/params.md`. Secrets and server addresses are
not parameters: they come from the environment.

    base.py         base class and shared number types
    labelling.py    groups sample and annotate
    post_images.py  group images
    rating.py       group rating
    students.py     groups split and train
    results.py      groups evaluate, infer and report
    referral_params.py   group cascade
    variant_teachers.py  group variants
    params_file.py  the whole file: Params, load_params, flatten_params
"""

from postbias.params.base import Group
from postbias.params.labelling import (
    AnnotateParams,
    BatchParams,
    CostParams,
    EndpointParams,
    ImagesSentParams,
    LimitsParams,
    SampleParams,
)
from postbias.params.params_file import Params, flatten_params, load_params
from postbias.params.post_images import ImagesParams
from postbias.params.rating import RatingParams
from postbias.params.referral_params import CascadeParams
from postbias.params.results import (
    AuditParams,
    DriftParams,
    EvaluateParams,
    GateParams,
    InferParams,
    ReportCostParams,
    ReportParams,
)
from postbias.params.students import (
    FoldShares,
    Modality,
    ScratchText,
    SplitParams,
    TrainParams,
)
from postbias.params.variant_teachers import VariantsParams, VariantTeacher

__all__ = [
    "AnnotateParams",
    "AuditParams",
    "BatchParams",
    "CascadeParams",
    "CostParams",
    "DriftParams",
    "EndpointParams",
    "EvaluateParams",
    "FoldShares",
    "GateParams",
    "Group",
    "ImagesParams",
    "ImagesSentParams",
    "InferParams",
    "LimitsParams",
    "Modality",
    "Params",
    "RatingParams",
    "ReportCostParams",
    "ReportParams",
    "SampleParams",
    "ScratchText",
    "SplitParams",
    "TrainParams",
    "VariantTeacher",
    "VariantsParams",
    "flatten_params",
    "load_params",
]
