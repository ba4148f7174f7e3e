"""One PyTorch module becomes one ONNX graph: exported, made canonical, checked.

Knows nothing of students, artifacts or files. The same module gives the same bytes: names are made
canonical, and traces, which hold paths, are removed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from postbias.errors import ArtifactError

#: What an output may differ from PyTorch's: absolutely, or relative to the largest value if that
#: is above 1.
TOLERANCE = 1e-4

_OPSET = 20
_OUTPUT = "the_output"


@dataclass(frozen=True, slots=True)
class Export:
    """What to export, and by which names.

    Attributes:
        module: The module; its `forward` takes the inputs by name.
        example: Inputs of at least two rows, so that no size is taken for a constant; None for
            an argument that the graph will not have.
        check: Inputs of other sizes, to compare with PyTorch.
        dynamic: Names of the inputs' free dimensions, by position.
        output: What to call the output.
        reference: What the graph must agree with: the module, or what the module stands for.
    """

    module: nn.Module
    example: Mapping[str, Tensor | None]
    check: Mapping[str, Tensor | None]
    dynamic: Mapping[int, str]
    output: str
    reference: nn.Module


def export_graph(export: Export) -> onnx.ModelProto:
    """Export a module and check it against PyTorch.

    Args:
        export: The module, its inputs and its names.

    Returns:
        A self-contained graph with canonical names.

    Raises:
        ArtifactError: If it does not give what PyTorch gives.
    """
    free = {at: torch.export.Dim(name) for at, name in export.dynamic.items()}
    shapes = {
        name: None if value is None else {at: dim for at, dim in free.items() if at < value.dim()}
        for name, value in export.example.items()
    }
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # Of names of dimensions and deprecations inside torch: nothing a user could act on.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                export.module,
                kwargs=dict(export.example),
                input_names=[name for name, value in export.example.items() if value is not None],
                output_names=[_OUTPUT],
                dynamic_shapes=shapes,
                opset_version=_OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None
    model = make_canonical(program.model_proto, {_OUTPUT: export.output})
    _check(export, model)
    return model


def make_canonical(
    model: onnx.ModelProto, renamed: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Rename what is inside a graph by position, and drop what is only said of it.

    Args:
        model: The graph; not changed.
        renamed: New names of outputs; none to keep them.

    Returns:
        The same computation, in the same bytes for the same computation.

    Raises:
        ArtifactError: If a node holds a graph of its own, whose names would be lost.
    """
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    graph = clean.graph
    inner = [name for node in graph.node for name in node.output if name]
    names = {name: f"v{at}" for at, name in enumerate(inner)}
    names |= {constant.name: f"c{at}" for at, constant in enumerate(graph.initializer)}
    names |= {value.name: value.name for value in (*graph.input, *graph.output)}
    names |= renamed or {}
    for at, node in enumerate(graph.node):
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ArtifactError(
                "the exported encoder branches, which cannot be shipped",
                seen=node.op_type,
                do="choose another encoder",
            )
        node.name = f"n{at}"
        node.input[:] = [names.get(name, "") for name in node.input]
        node.output[:] = [names.get(name, "") for name in node.output]
    for value in (*graph.initializer, *graph.output):
        value.name = names[value.name]
    del graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph, clean):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    graph.name = "student"
    clean.producer_name, clean.producer_version = "postbias", ""
    return clean


def _check(export: Export, model: onnx.ModelProto) -> None:
    """Compare a graph with its reference on the inputs kept for that."""
    with torch.no_grad():
        wanted = export.reference(**export.check).numpy()
    feeds = {name: value.numpy() for name, value in export.check.items() if value is not None}
    seen = open_session(model).run([export.output], feeds)[0]
    largest = float(np.abs(seen - wanted).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not largest <= allowed:
        raise ArtifactError(
            f"the exported graph does not give what PyTorch gives ({export.output})",
            seen=f"a difference of {largest:.3g}",
            allowed=f"{allowed:.3g}",
            do="choose another encoder, and report this one",
        )


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Load a graph to run it here and now.

    Args:
        model: The graph.

    Returns:
        A session on one thread.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
