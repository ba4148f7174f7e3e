"""`postbias verify` with real git and DVC: findings, and clones that are kept or removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import clean_environment, run_command
from tests.small_repo import add_data, commit, make_small_repo

from postbias.cli.terminal_tables import format_verification
from postbias.errors import ReproductionError
from postbias.paths import Paths
from postbias.reproduce.compare import compare_metrics, compare_outputs, read_lock
from postbias.reproduce.verify import verify

# Fast stages, so that most guarantees of `verify` can be tested.
_PIPELINE = """
stages:
  sample:
    cmd: python stages/step.py data/labels.csv build/sample.txt
    deps: [data, stages/step.py]
    outs: [build/sample.txt]
  train:
    cmd: python stages/step.py build/sample.txt build/student.txt
    deps: [build/sample.txt, stages/step.py]
    outs: [build/student.txt]
  evaluate:
    cmd: python stages/step.py report.json reports/evaluate.json
    deps: [build/student.txt, report.json, stages/step.py]
    outs: [reports/evaluate.json: {cache: false}]
"""

_STEP = """
import os, sys
from pathlib import Path
import postbias
assert Path(postbias.__file__).is_relative_to(Path.cwd()), postbias.__file__
leaked = [name for name in os.environ if name.startswith(("MLFLOW_T", "OPENAI_"))]
assert not leaked, leaked
source, target = map(Path, sys.argv[1:])
target.parent.mkdir(exist_ok=True)
target.write_bytes(source.read_bytes())
"""


def _number(value: float | None, lo: float | None, hi: float | None) -> dict[str, float | None]:
    return {"value": value, "lo": lo, "hi": hi}


def _report(mae: float = 1.0) -> dict[str, object]:
    bias = {
        "mae": _number(mae, mae - 0.2, mae + 0.2),
        "r2": _number(0.5, 0.4, 0.6),
        "spearman": _number(None, None, None),
    }
    return {
        "main": {"axis": "bias"},
        "students": {"text": {"test": {"bias": bias}}},
        "baselines": {},
    }


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verify") / "home"
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        make_small_repo(root, n_posts=20)
        (root / "dvc.yaml").write_text(_PIPELINE, encoding="utf-8")
        (root / "stages" / "step.py").write_text(_STEP, encoding="utf-8")
        (root / "report.json").write_text(json.dumps(_report()), encoding="utf-8")
        run_command(root, "dvc", "repro", PYTHONPATH=str(root / "src"))
        commit(root)
    return root


@pytest.fixture
def home(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that tests may change, with a separate temporary folder and another environment."""
    root, clones = tmp_path / "home", tmp_path / "clones"
    clones.mkdir()
    run_command(tmp_path, "git", "clone", "-q", str(quick), str(root))
    run_command(root, "dvc", "pull", "-q", "data.dvc")
    monkeypatch.setattr("tempfile.tempdir", str(clones))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.invalid")
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-clones")
    return root


def _run(root: Path) -> tuple[dict[str, tuple[str, bool]], list[str], str]:
    messages: list[str] = []
    result = verify(Paths(root, root), messages.append)
    return (
        {row.output: (row.verdict, row.is_ok) for row in result.rows},
        messages,
        format_verification(result),
    )


def _kept(root: Path) -> list[Path]:
    return list((root.parent / "clones").iterdir())


def test_equal_runs_of_what_is_committed_are_reproducible_and_leave_nothing(home: Path) -> None:
    (home / "report.json").write_text("{}", encoding="utf-8")
    rows, messages, table = _run(home)
    assert all(is_ok for _, is_ok in rows.values())
    assert rows["build/student.txt"] == ("same", True)
    assert rows["text.bias.mae"] == ("within 0.8 to 1.2", True)
    assert table.splitlines()[0].split() == ["stage", "output", "run", "1", "run", "2",
                                             "committed", "verdict"]  # fmt: skip
    assert table.endswith("\n\nreproducible")
    assert "warning: 1 uncommitted change(s) are not verified" in messages
    # Both runs executed every stage: nothing came from a cache.
    assert sum(line.startswith("Running stage") for line in messages) == 6
    assert _kept(home) == []
    assert run_command(home, "git", "status", "--porcelain").stdout == " M report.json\n"


def test_a_nondeterministic_stage_is_named_and_the_clones_are_kept(home: Path) -> None:
    step = home / "stages" / "step.py"
    chance = "if 'student' in sys.argv[2]: target.write_bytes(os.urandom(8))\n"
    step.write_text(_STEP + chance, encoding="utf-8")
    commit(home)
    rows, messages, table = _run(home)
    assert rows["build/student.txt"] == ("DIFFERS between the runs", False)
    assert rows["build/sample.txt"] == ("same", True)
    assert table.endswith("NOT reproducible: 1 row(s) differ")
    (kept,) = _kept(home)
    assert messages[-1] == f"kept for inspection: {kept}"
    assert (kept / "run2" / "build" / "student.txt").is_file()


def test_other_data_fail_but_a_reproducible_other_student_does_not(home: Path) -> None:
    (home / "data" / "labels.csv").write_text("post_id,bias\n", encoding="utf-8")
    add_data(home)
    commit(home)
    rows, _, _ = _run(home)
    assert rows["build/sample.txt"] == ("DIFFERS from dvc.lock", False)
    assert rows["build/student.txt"] == (
        "equal in both runs, differs from committed: see metrics",
        True,
    )


def test_a_failing_stage_ends_with_its_own_message_and_the_clone_is_kept(home: Path) -> None:
    (home / "stages" / "step.py").write_text("raise SystemExit('no luck')\n", encoding="utf-8")
    commit(home)
    messages: list[str] = []
    with pytest.raises(ReproductionError, match=r"`dvc repro` failed in .*run1.*") as caught:
        verify(Paths(home, home), messages.append)
    assert "\n" not in str(caught.value)
    assert "no luck" in messages
    assert len(_kept(home)) == 1


def test_missing_committed_results_are_reported_before_cloning(home: Path) -> None:
    run_command(home, "git", "rm", "-q", "--cached", "dvc.lock")
    commit_without = ("git", "commit", "-q", "-m", "no lock")
    run_command(home, *commit_without)
    with pytest.raises(ReproductionError, match="must be committed"):
        verify(Paths(home, home), lambda _: None)
    assert _kept(home) == []


def test_ctrl_c_removes_the_clones(home: Path) -> None:
    (home / "stages" / "step.py").write_text("import time; time.sleep(60)\n", encoding="utf-8")
    commit(home)
    clones = home.parent / "clones"
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("postbias")), "verify"],
        cwd=home,
        env=os.environ | {"TMPDIR": str(clones)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Running stage"):
            break
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert _kept(home) == []


def test_metrics_agree_inside_the_committed_interval_and_not_outside() -> None:
    def verdicts(first: float, second: float) -> list[bool]:
        return [row.is_ok for row in compare_metrics(_report(first), _report(second), _report(1))]

    assert verdicts(1.1, 0.9) == [True, True, True]
    assert verdicts(1.1, 1.3) == [False, True, True]
    lost = _report()
    lost["students"] = {}
    assert not any(row.is_ok for row in compare_metrics(lost, _report(), _report())[:2])


def test_a_report_of_another_format_is_an_error() -> None:
    with pytest.raises(ReproductionError, match=r"evaluate\.json lacks a key"):
        compare_metrics({}, {}, {})


def test_outputs_that_only_one_side_has_are_distinguished() -> None:
    new, old = ("train@text", "build/new"), ("train@image", "build/old")
    rows = compare_outputs({new: "1"}, {new: "1"}, {old: "2"})
    assert [(row.verdict, row.is_ok) for row in rows] == [
        ("NOT in dvc.lock", False),
        ("obsolete entry of dvc.lock: no stage writes it", True),
    ]


@pytest.mark.parametrize("text", ["stages: [", "nonsense", "stages: {a: {outs: [{}]}}", "\x00"])
def test_a_damaged_dvc_lock_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    with pytest.raises(ReproductionError, match=r"cannot read .*dvc\.lock") as caught:
        read_lock(tmp_path / "dvc.lock")
    assert "\n" not in str(caught.value)
