"""Record the inputs of a transformer's linear layers, for the quantization of these layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from postbias.student.graph_inputs import Feeds
from postbias.student.onnx_export import open_session

_MAX_ROWS = 8192  # rows of an input, after which recording stops
_KEPT = 8  # every so many rows, one is kept


class LinearInput:
    """What the input of a linear layer looks like; its rows are tokens or patches.

    Attributes:
        n_rows: Number of rows seen.
        gram: Sum of the outer products of these rows with themselves, float64 (K, K).
    """

    def __init__(self, width: int) -> None:
        """Start without rows.

        Args:
            width: Number of columns, K.
        """
        self.n_rows = 0
        self.gram = torch.zeros(width, width, dtype=torch.float64)
        # Allocated at once: small tensors that stay between large ones that go fragment memory, and
        # 256 captions through an encoder of six layers took 7 GB.
        self._kept = torch.empty(_MAX_ROWS // _KEPT, width)
        self._n_kept = 0

    @property
    def rows(self) -> Tensor:
        """An eighth of the rows, float32 (M, K)."""
        return self._kept[: self._n_kept]

    def add(self, rows: Tensor) -> None:
        """Add rows, float32 (N, K)."""
        self.gram += rows.T @ rows
        kept = rows[-self.n_rows % _KEPT :: _KEPT][: len(self._kept) - self._n_kept]
        self._kept[self._n_kept : self._n_kept + len(kept)] = kept
        self._n_kept += len(kept)
        self.n_rows += len(rows)


def record_linear_inputs(
    model: onnx.ModelProto, names: Collection[str], runs: Iterable[Feeds]
) -> dict[str, LinearInput]:
    """Run a graph and record the inputs of linear layers.

    Args:
        model: The fp32 graph; not changed.
        names: Values (..., K) of the graph that are inputs of linear layers.
        runs: Inputs of the graph, by name; not all are used if there are more than 8,192 rows.

    Returns:
        The recorded inputs by name.
    """
    wanted = sorted(names)
    if not wanted:
        return {}
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    for name in wanted:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        observed.graph.output.append(value)
    session = open_session(observed)
    recorded = dict[str, LinearInput]()
    for feeds in runs:
        for name, value in zip(wanted, session.run(wanted, dict(feeds)), strict=True):
            rows = torch.from_numpy(value).flatten(0, -2)
            if name not in recorded:
                recorded[name] = LinearInput(rows.shape[1])
            recorded[name].add(rows)
        if all(linear_input.n_rows >= _MAX_ROWS for linear_input in recorded.values()):
            break
    return recorded
