"""Export a PyTorch module to an ONNX graph, and check the graph against the module.

The same module always gives the same bytes: names are made canonical, and stack traces, which
contain paths, are removed.
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

#: Maximum difference from PyTorch's output: absolute, or relative to the largest value if that is
#: above 1.
TOLERANCE = 1e-4

_OPSET = 20
_OUTPUT = "the_output"


@dataclass(frozen=True, slots=True)
class GraphExport:
    """A module to export, with its inputs and names.

    Attributes:
        module: The module; its `forward` takes the inputs by name.
        example_inputs: At least two rows, because the exporter treats a size of 1 as a constant.
            None for an argument that the graph will not have.
        check_inputs: Inputs of other sizes, on which graph and `reference` are compared.
        dynamic_dims: Names of the inputs' dynamic dimensions, by position.
        output: Name of the output.
        reference: The module that the graph must agree with; differs from `module` if that is a
            reformulation for the export.
    """

    module: nn.Module
    example_inputs: Mapping[str, Tensor | None]
    check_inputs: Mapping[str, Tensor | None]
    dynamic_dims: Mapping[int, str]
    output: str
    reference: nn.Module


def export_graph(export: GraphExport) -> onnx.ModelProto:
    """Export a module and check it against PyTorch.

    Args:
        export: The module, its inputs and its names.

    Returns:
        A self-contained graph with canonical names.

    Raises:
        ArtifactError: If the graph's output differs from PyTorch's.
    """
    dims = {at: torch.export.Dim(name) for at, name in export.dynamic_dims.items()}
    shapes = {
        name: None if value is None else {at: dim for at, dim in dims.items() if at < value.dim()}
        for name, value in export.example_inputs.items()
    }
    inputs = [name for name, value in export.example_inputs.items() if value is not None]
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # About dimension names, and deprecations inside torch: users cannot act on them.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                export.module,
                kwargs=dict(export.example_inputs),
                input_names=inputs,
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
    """Rename nodes and values by position, and remove documentation and metadata.

    Args:
        model: The graph; not changed.
        renamed: New names of outputs, if any.

    Returns:
        An equivalent graph; equal computations give equal bytes.

    Raises:
        ArtifactError: If a node has a subgraph, whose names would not be renamed.
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
                "the exported encoder contains branches, which are not supported",
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


def _check(export: GraphExport, model: onnx.ModelProto) -> None:
    """Compare the graph's output with the reference's on the check inputs."""
    inputs = export.check_inputs
    with torch.no_grad():
        expected = export.reference(**inputs).numpy()
    feeds = {name: value.numpy() for name, value in inputs.items() if value is not None}
    actual = open_session(model).run([export.output], feeds)[0]
    difference = float(np.abs(actual - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # also true for NaN
        raise ArtifactError(
            f"the output `{export.output}` of the exported graph differs from PyTorch's",
            seen=f"a difference of {difference:.3g}",
            allowed=f"at most {allowed:.3g}",
            do="choose another encoder, and report this one as a bug",
        )


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Load a graph into a CPU session with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
