"""The notebook runs from its first cell to its last in a repository whose pipeline has run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from tests.conftest import ROOT
from tests.scored_repo import write_scored_repo

from postbias.params import load_params
from postbias.report.findings import gather_findings, write_findings

_NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


# Event loop and sockets of the kernel, which are closed late.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_cell_runs(tmp_path: Path) -> None:
    paths = write_scored_repo(tmp_path)
    write_findings(gather_findings(paths, load_params(paths.params), {}), paths)
    plots = paths.reports / "plots"
    plots.mkdir(exist_ok=True)
    rows = "model,axis,metric,value,lo,hi\nfusion,bias,mae,0.9,0.8,1.0\n"
    (plots / "comparison.csv").write_text(rows, encoding="utf-8")
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [
        str(output.get("text", "")) + str(output.get("data", {}))
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]
    text = "\n".join(shown)
    assert "image-only" not in text
    assert "fusion *" in text
    assert "no_content" in text
    assert "share_high" in text


def test_the_notebook_is_valid_and_committed_without_outputs() -> None:
    notebook: Any = nbformat.read(_NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
