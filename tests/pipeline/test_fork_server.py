"""Stages that a fork server runs do the same as stages that run by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, clean_environment, run_command
from tests.small_repo import make_small_repo

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only on Linux"),
    pytest.mark.timeout(900),
]

#: A command for the server: waits until it is ready, and then runs a test's own code.
_BELOW_SERVER = dedent("""\
    import os, socket, subprocess, sys, time
    from pathlib import Path
    address = Path(os.environ["POSTBIAS_FORK_SERVER"])
    def wait(*, exists):
        while address.exists() is not exists:
            time.sleep(0.02)
    wait(exists=True)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(address))  # as a first stage; then the packages are imported
    wait(exists=False)
    wait(exists=True)
    exec(sys.argv[1])
""")

#: A stage script that describes its process.
_SCRIPT = dedent("""\
    import json, os, sys, threading
    from postbias.tracking.fork_server import run_in_fork
    run_in_fork()
    found = {
        "argv": sys.argv[1:], "folder": os.getcwd(), "name": __name__, "file": __file__,
        "path": sys.path, "own": os.environ.get("OWN"), "mask": os.umask(0),
        "input": os.read(0, 9).decode(), "is_fork": "torch" in sys.modules,
    }
    import numpy as np
    import postbias.paths
    import torch
    # Both start threads of their own, which a fork does not inherit.
    values = np.ones((400, 400))
    found["product"] = float((values @ values).sum())
    found["torch"] = float((torch.ones(400, 400) @ torch.ones(400, 400)).sum())
    found["code"] = getattr(postbias.paths, "VERSION", "first")
    print(json.dumps(found))
    import tempfile, weakref
    weakref.finalize(tempfile, print, "cleaned up", file=sys.stderr)
    if "fail" in sys.argv:
        raise ValueError("fails")
    if "wait" in sys.argv:
        import time
        print(os.getpid(), flush=True)
        time.sleep(600)
    sys.exit(7 if "seven" in sys.argv else 0)
""")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, which a test changes, and the script of a stage."""
    root = tmp_path_factory.mktemp("forks")
    (root / "src").mkdir()
    (root / "src" / "postbias").symlink_to(ROOT / "src" / "postbias")
    (root / "stages").mkdir()
    (root / "stages" / "describe.py").write_text(_SCRIPT)
    (root / "below.py").write_text(_BELOW_SERVER)
    return root


@pytest.fixture(scope="module")
def results(folder: Path) -> Mapping[str, Any]:
    """What several stages below one server did, by name; importing its packages takes long."""
    package = folder / "src" / "postbias"
    code = dedent(f"""\
        import json, signal
        stage = [{sys.executable!r}, "stages/describe.py"]
        def run(*arguments):
            done = subprocess.run([*stage, *arguments], env=os.environ | {{"OWN": "value"}},
                                  input="input", capture_output=True, text=True)
            return done.returncode, done.stdout, done.stderr
        def stop(number):
            process = subprocess.Popen([*stage, "wait"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, text=True)
            process.stdout.readline()
            fork = int(process.stdout.readline())
            process.send_signal(number)
            code, deadline = process.wait(), time.monotonic() + 60
            while Path(f"/proc/{{fork}}").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            return code, not Path(f"/proc/{{fork}}").exists()
        os.umask(0o027)
        results = {{"plain": run("a", "b"), "seven": run("seven"), "fail": run("fail")}}
        results["terminated"], results["killed"] = stop(signal.SIGTERM), stop(signal.SIGKILL)
        os.environ["RANK"] = "0"
        results["torchrun"] = run()
        del os.environ["RANK"]
        package = Path({str(package)!r})
        import shutil
        source = package.resolve()
        package.unlink()
        shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
        with (package / "paths.py").open("a") as file:
            file.write("VERSION = 'second'\\n")
        results["changed"] = run()
        Path("results.json").write_text(json.dumps(results))
        sys.exit(5)
    """)
    done = _serve(folder, sys.executable, "below.py", code)
    assert done.returncode == 5, done.stderr
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def _serve(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "postbias.tracking.fork_server", *command],
        cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
    )  # fmt: skip


def _described(result: tuple[int, str, str]) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(result[1].splitlines()[0])
    return described


def test_a_fork_has_what_the_stage_was_started_with(
    results: Mapping[str, Any], folder: Path
) -> None:
    forked = _described(results["plain"])
    assert forked.pop("is_fork")
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OWN": "value"}
    alone = subprocess.run(
        [sys.executable, "stages/describe.py", "a", "b"],
        cwd=folder, env=environment, input="input", capture_output=True, text=True, check=True,
        umask=0o027,
    )  # fmt: skip
    expected = json.loads(alone.stdout)
    assert not expected.pop("is_fork")
    assert forked == expected | {"code": "first"}


def test_a_stage_ends_as_its_fork_does(results: Mapping[str, Any]) -> None:
    assert results["plain"][0] == 0
    assert results["seven"][0] == 7
    code, _, errors = results["fail"]
    assert code == 1
    assert 'raise ValueError("fails")' in errors


def test_a_fork_cleans_up_when_it_ends(results: Mapping[str, Any]) -> None:
    for name in ("plain", "seven", "fail"):
        assert "cleaned up" in results[name][2]


def test_a_fork_ends_with_its_stage(results: Mapping[str, Any]) -> None:
    assert results["terminated"] == [128 + signal.SIGTERM, True]
    assert results["killed"] == [-signal.SIGKILL, True]


def test_a_fork_runs_the_code_that_is_there_when_its_stage_starts(
    results: Mapping[str, Any],
) -> None:
    changed = _described(results["changed"])
    assert (changed["is_fork"], changed["code"]) == (True, "second")


def test_a_process_of_torchrun_runs_by_itself(results: Mapping[str, Any]) -> None:
    assert not _described(results["torchrun"])["is_fork"]


def test_what_forks_share_has_started_no_thread_and_asked_for_no_gpu() -> None:
    code = dedent("""\
        import threading
        import torch
        asked = []
        for name in ("_cuda_getDeviceCount", "_cuda_init"):
            if function := getattr(torch._C, name, None):
                setattr(torch._C, name, lambda *a, f=function, n=name: (asked.append(n), f(*a))[1])
        from postbias.tracking.fork_server import import_packages
        import_packages()
        print(threading.active_count(), asked, torch.cuda.is_initialized())
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "1 [] False"


#: The server with other packages to import; real ones take long and play no part here.
_LIGHT_SERVER = dedent("""\
    import sys
    from postbias.tracking import fork_server
    fork_server.PACKAGES = tuple(sys.argv.pop(1).split(","))
    fork_server.run_command()
""")


def _serve_light(folder: Path, packages: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-c", _LIGHT_SERVER, packages, *command],
        cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(folder)])},
    )  # fmt: skip


@pytest.fixture
def light(tmp_path: Path) -> Path:
    """A stage that prints its process and the parent of it and waits; what runs code below."""
    (tmp_path / "below.py").write_text(_BELOW_SERVER)
    # Long enough for `_BELOW_SERVER` to notice that it is imported.
    (tmp_path / "slow.py").write_text("import time; time.sleep(1)\n")
    (tmp_path / "stage.py").write_text(
        "import os, sys, time\n"
        "from postbias.tracking.fork_server import run_in_fork\n"
        "run_in_fork()\n"
        "print(os.getpid(), os.getppid(), flush=True)\n"
        "time.sleep(float(sys.argv[1]))\n"
    )
    return tmp_path


def test_a_stage_that_is_killed_while_it_connects_does_not_end_the_server(light: Path) -> None:
    code = dedent(f"""\
        length = (100).to_bytes(8)
        for start in (b"", length[:3], length, length + b"{{"):
            with socket.socket(socket.AF_UNIX) as stage:
                stage.connect(str(address))
                if start:
                    socket.send_fds(stage, [start], [0, 1, 2])
        run = [{sys.executable!r}, "stage.py", "0"]
        print(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[1])
        print(os.getppid())
    """)
    done = _serve_light(light, "slow", sys.executable, "below.py", code)
    assert done.returncode == 0, done.stderr
    parent_of_stage, server = done.stdout.split()
    assert parent_of_stage == server


def test_a_stage_without_its_server_ends_with_its_fork(light: Path) -> None:
    code = dedent(f"""\
        import signal
        stage = subprocess.Popen([{sys.executable!r}, "stage.py", "600"], stdout=subprocess.PIPE,
                                 text=True)
        fork, server = map(int, stage.stdout.readline().split())
        assert server == os.getppid()
        os.kill(server, signal.SIGKILL)
        code, deadline = stage.wait(), time.monotonic() + 60
        while Path(f"/proc/{{fork}}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        print(code, Path(f"/proc/{{fork}}").exists())
    """)
    done = _serve_light(light, "slow", sys.executable, "below.py", code)
    assert done.stdout.split() == [str(128 + signal.SIGKILL), "False"], done.stderr


def test_imports_stop_when_the_command_has_ended(light: Path) -> None:
    (light / "first.py").write_text("import time; time.sleep(3)\n")
    (light / "second.py").write_text("open('imported', 'w').close()\n")
    command = (sys.executable, "stage.py", "0")  # ends while the first package is imported
    done = _serve_light(light, "first,second", *command)
    assert done.returncode == 0, done.stderr
    assert not (light / "imported").exists()


def test_mlflow_is_imported_with_the_settings_of_a_stage(light: Path) -> None:
    names = ["MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL"]
    (light / "settings.py").write_text(
        f"import os\nprint([os.environ.get(name) for name in {names}])\n"
    )
    wait = "import time; time.sleep(3)"
    command = (sys.executable, "-c", f"import runpy; runpy.run_path('stage.py'); {wait}", "0")
    done = _serve_light(light, "settings", *command)
    assert "['true', 'WARNING']" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        yield make_small_repo(tmp_path_factory.mktemp("pipeline") / "repository")


@pytest.mark.slow
def test_forks_write_the_same_outputs(repository: Path) -> None:
    """Digests of all outputs, a student's weights among them, do not depend on the server."""
    repro, digests = ("dvc", "repro", "--force", "train"), []
    then = _BELOW_SERVER.replace("exec(sys.argv[1])", "os.execvp(sys.argv[1], sys.argv[1:])")
    for command in (
        repro,
        (sys.executable, "-m", "postbias.tracking.fork_server", sys.executable, "-c", then, *repro),
    ):
        alone = {"PYTHONPATH": str(repository / "src"), "POSTBIAS_FORK_SERVER": ""}
        run_command(repository, *command, **alone)
        lock = yaml.safe_load((repository / "dvc.lock").read_text())
        digests.append({name: stage["outs"] for name, stage in lock["stages"].items()})
    assert {"sample", "annotate", "split", "train@text"} <= set(digests[0])
    assert digests[0] == digests[1]
