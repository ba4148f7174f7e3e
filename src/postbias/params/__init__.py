"""What `params.yaml` may say.

Strict types, no unknown keys, no NaN. Secrets and endpoints are not parameters: they come from the
environment. Field descriptions are the source of `docs/params.md`.

    group.py      what every group is
    labelling.py  sample, annotate
    students.py   split, train
    claims.py     evaluate, infer, report
    file.py       the whole file: Params, load_params, flatten
"""

from postbias.params.claims import (
    AuditParams,
    DriftParams,
    EvaluateParams,
    GateParams,
    InferParams,
    ReportCostParams,
    ReportParams,
)
from postbias.params.file import Params, flatten, load_params
from postbias.params.group import Group
from postbias.params.labelling import (
    AnnotateParams,
    BatchParams,
    CostParams,
    EndpointParams,
    ImagesSentParams,
    LimitsParams,
    SampleParams,
)
from postbias.params.students import (
    FoldShares,
    Modality,
    ScratchText,
    SplitParams,
    TrainParams,
)

__all__ = [
    "AnnotateParams",
    "AuditParams",
    "BatchParams",
    "CostParams",
    "DriftParams",
    "EndpointParams",
    "EvaluateParams",
    "FoldShares",
    "GateParams",
    "Group",
    "ImagesSentParams",
    "InferParams",
    "LimitsParams",
    "Modality",
    "Params",
    "ReportCostParams",
    "ReportParams",
    "SampleParams",
    "ScratchText",
    "SplitParams",
    "TrainParams",
    "flatten",
    "load_params",
]
