"""dvc.yaml, the stage scripts and the parameters agree."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.conftest import ROOT
from tests.import_closure import reachable_modules

from postbias.params import Params, load_params

_STAGES: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(
    (ROOT / "dvc.yaml").read_text(encoding="utf-8")
)["stages"]
_SCRIPTS = sorted((ROOT / "stages").glob("*.py"))


def _script(stage: dict[str, Any]) -> Path:
    return ROOT / next(word for word in stage["cmd"].split() if word.startswith("stages/"))


def _names(entries: list[str | dict[str, object]]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_each_stage_has_one_script_and_each_script_is_a_stage() -> None:
    assert {name: _script(stage).stem for name, stage in _STAGES.items()} == {
        script.stem: script.stem for script in _SCRIPTS
    }


@pytest.mark.parametrize("name", _STAGES)
def test_code_deps_are_the_modules_that_the_script_can_import(name: str) -> None:
    stage = _STAGES[name]
    code = [dep for dep in stage["deps"] if dep.endswith(".py")]
    script = _script(stage)
    expected = [script.relative_to(ROOT).as_posix(), *reachable_modules(script)]
    assert code == expected, "run `make deps`"


@pytest.mark.parametrize("name", _STAGES)
def test_a_stage_that_writes_json_depends_on_how_numbers_are_rounded(name: str) -> None:
    stage = _STAGES[name]
    outs = _names([*stage.get("outs", []), *stage.get("metrics", [])])
    assert any(out.endswith(".json") for out in outs)
    assert "src/postbias/json_files.py" in stage["deps"]


def test_appended_posts_are_an_input_of_the_stages_about_all_posts_only() -> None:
    reads_data = {
        name for name, stage in _STAGES.items() if {"data", "data/posts"} & {*stage["deps"]}
    }
    assert reads_data == {"sample", "infer", "cascade", "people", "report"}
    others = [script for script in _SCRIPTS if script.stem not in reads_data]
    assert [s.name for s in others if "data/posts" in s.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("name", _STAGES)
def test_outputs_are_in_build_or_reports(name: str) -> None:
    stage = _STAGES[name]
    outs = _names([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])
    assert [out for out in outs if not out.startswith(("build/", "reports/"))] == []


@pytest.mark.parametrize("name", _STAGES)
def test_params_of_a_stage_exist(name: str) -> None:
    params = load_params(ROOT / "params.yaml")
    for key in _STAGES[name]["params"]:
        node: Any = params
        for part in key.split("."):
            assert part in type(node).model_fields, key
            node = getattr(node, part)


def test_training_depends_on_all_of_its_params_that_are_not_in_its_command() -> None:
    fields = type(load_params(ROOT / "params.yaml").train).model_fields
    listed = {key for key in _STAGES["train"]["params"] if key.startswith("train.")}
    # In the matrix and in the command: adding a student must not retrain the others.
    assert listed == {f"train.{name}" for name in fields} - {"train.modalities", "train.launch"}


def test_training_runs_again_when_a_full_student_changes() -> None:
    # The folder that train.distil_from must be in: DVC cannot depend on a path that may be null.
    assert [name for name, stage in _STAGES.items() if "full_students" in stage["deps"]] == [
        "train"
    ]
    assert (ROOT / "full_students" / "README.md").is_file()


def test_every_group_of_params_is_used_by_a_stage() -> None:
    used = {key.partition(".")[0] for stage in _STAGES.values() for key in stage["params"]}
    assert used == set(Params.model_fields)


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda script: script.stem)
def test_a_stage_script_is_one_short_documented_main_without_loops(
    script: Path,
) -> None:
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 40
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert functions == ["main"]
    loops = (ast.For, ast.While, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)
    assert not any(isinstance(node, loops) for node in ast.walk(tree))
    docstring = " ".join((ast.get_docstring(tree) or "").lower().split())
    assert docstring.startswith(f"{script.stem}: ")
    assert all(word in docstring for word in ("reads ", "writes ", "params: "))
