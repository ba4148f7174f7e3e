"""The reporting checklist has the core items of GUIDE-LLM."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.scored_repo import write_scored_repo

from postbias.params import load_params
from postbias.report.findings import gather_findings

GUIDE_LLM_CORE = [
    "A.1",
    "A.2",
    "B.1",
    "B.2",
    "B.3",
    "B.4",
    "B.5",
    "C.1",
    "C.2",
    "D.1",
    "E.1",
    "E.2",
    "F.1",
    "G.1",
]


@pytest.mark.parametrize("teacher", ["recorded", "openai"])
def test_the_checklist_has_every_core_item_once_and_says_what_the_author_must_add(
    tmp_path: Path, teacher: str
) -> None:
    paths = write_scored_repo(tmp_path)
    params = load_params(paths.params)
    if teacher == "openai":
        endpoint = params.annotate.endpoint.model_copy(update={"model": "some-model"})
        annotate = params.annotate.model_copy(update={"teacher": teacher, "endpoint": endpoint})
        params = params.model_copy(update={"annotate": annotate})
        labels = json.loads((paths.reports / "labels.json").read_text(encoding="utf-8"))
        labels["teacher"]["models"] = {"some-model-2026": 432}
        (paths.reports / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    text = gather_findings(paths, params, {}).cards["llm_checklist.md"]
    rows = dict(re.findall(r"^\| ([A-G]\.\d) [^|]+ \| (.+) \|$", text, re.MULTILINE))
    assert list(rows) == GUIDE_LLM_CORE
    assert rows["G.1"] == "**author**"
    if teacher == "openai":
        assert (
            "requested: `some-model`; answered by: `some-model-2026` (432 replies)" in rows["B.1"]
        )
        assert "separate calls" in rows["B.2"]
        assert "temperature 0.0" in rows["B.3"]
        assert "none: each post" in rows["B.5"]
        assert "caption, @names masked, and at most 4 images" in rows["C.1"]
    else:
        assert [item for item in rows if rows[item] == "**author**"] == [
            "B.2", "B.3", "B.5", "C.2", "G.1",
        ]  # fmt: skip
