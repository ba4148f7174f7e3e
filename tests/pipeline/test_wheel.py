"""The wheel scores in an environment with the core dependencies only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.hub_server import WRITER, HubServer
from tests.published_student import REPO, hub_environment, write_publishable_repo
from tests.tiny_artifact import write_tiny_artifact

from postbias.scoring.artifact import Artifact

_UV = shutil.which("uv", path=f"{os.environ['PATH']}{os.pathsep}{ROOT / '.uv' / 'bin'}")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    assert _UV is not None, "uv is not installed: run `make setup`"
    command = [_UV, "build", "--quiet", "--wheel", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", folder, source], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel and its core dependencies into an empty environment; return its bin/."""
    return _install(str(wheel), tmp_path_factory.mktemp("light"))


def _install(requirement: str, folder: Path) -> Path:
    """Install a package into an empty environment; return its bin/."""
    assert _UV is not None
    environment = folder / "venv"
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([_UV, "pip", "install", "--quiet", "--python", python, requirement], check=True)
    return environment / "bin"


@pytest.fixture
def run(light: Path, tmp_path: Path) -> Run:
    """Run a program of the light environment in an empty folder, without this one's packages."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run_program(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [light / name, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run_program


@pytest.mark.slow
def test_the_wheel_does_not_hold_the_generator_of_the_demo_corpus(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "postbias/loading.py" in names
    assert "postbias/localisation/catalogues/zh.po" in names
    assert "postbias/app/templates/rate.html.j2" in names
    assert [name for name in names if name.startswith(("postbias/demo", "tests", "stages"))] == []


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert _UV is not None
    source = wheel.parent / "source"
    command = [_UV, "build", "--quiet", "--python", sys.executable, "--out-dir", tmp_path]
    subprocess.run([*command, source], check=True)  # the wheel is built from the sdist
    (built,) = tmp_path.glob("*.whl")
    assert built.name == wheel.name
    with zipfile.ZipFile(built) as one, zipfile.ZipFile(wheel) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {
            i.filename: i.CRC for i in other.infolist()
        }
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "pyproject.toml"} <= set(names)
    assert [name for name in names if name.startswith(("tests", "stages", ".dvc", "data"))] == []


@pytest.mark.slow
def test_a_light_installation_has_neither_torch_nor_mlflow_nor_dvc(run: Run) -> None:
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    heavy = ["torch", "transformers", "mlflow", "dvc", "ray", "sklearn", "scipy", "matplotlib"]
    assert run("python", "-I", "-c", code, *heavy).stdout.strip() == "[]"


@pytest.mark.slow
def test_a_light_installation_scores_a_table_and_one_post(run: Run, tmp_path: Path) -> None:
    student = write_tiny_artifact(tmp_path / "student").folder
    (tmp_path / "in.csv").write_text("post_id,caption\n1,she leads\n2,\n3,he cooks\n")
    bulk = run("postbias", "score", "--model", student, "in.csv", "out.csv")
    assert (bulk.returncode, "scored 2 of 3 posts" in bulk.stdout) == (0, True), bulk.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    single = run("postbias", "score-one", "--model", student, "--caption", "she leads", "--json")
    assert single.returncode == 0, single.stderr
    assert json.loads(single.stdout)["status"] == "ok"
    table = run("postbias", "score-one", "--model", student, "--caption", "she leads")
    assert (table.returncode, "bias" in table.stdout) == (0, True), table.stderr


@pytest.mark.slow
def test_a_light_installation_identifies_languages_where_intervals_depend_on_them(
    run: Run, tmp_path: Path
) -> None:
    student = write_tiny_artifact(tmp_path / "student", "text", by_language=True).folder
    widths = {"She leads the team every morning.": 0.5, "Heute backen wir Kuchen.": 1.0, "ok": 2.0}
    for caption, width in widths.items():
        single = run("postbias", "score-one", "--model", student, "--caption", caption, "--json")
        assert single.returncode == 0, single.stderr
        found = json.loads(single.stdout)
        expected = max(0, found["bias"] - width), min(10, found["bias"] + width)
        assert (found["bias_lo"], found["bias_hi"]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["score-one", "--caption", "x", "--model", "models:/postbias@champion"], "pipeline"),
        (["score", "--engine", "ray", "--model", "student", "in.csv", "out.csv"], "cluster"),
        (["sync"], "pipeline"),
        (["doctor"], "pipeline"),
        (["annotate", "--help"], None),
    ],
)
def test_a_command_that_needs_an_extra_names_it_in_one_line(
    run: Run, tmp_path: Path, arguments: list[str], extra: str | None
) -> None:
    write_tiny_artifact(tmp_path / "student")
    (tmp_path / "in.csv").write_text("post_id,caption\n1,she leads\n")
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tmp_path)
    result = run("postbias", *arguments)
    if extra is None:
        assert (result.returncode, result.stderr) == (0, "")
        return
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"'postbias[{extra}]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_scores_from_a_published_repository(
    wheel: Path, tmp_path: Path
) -> None:
    paths = write_publishable_repo(tmp_path / "repo")
    programs = _install(f"{wheel}[hub]", tmp_path)
    (tmp_path / "in.csv").write_text("post_id,caption\n1,she leads\n2,\n3,he cooks\n")
    with HubServer() as hub:

        def run_command(
            program: str | Path, *arguments: str, folder: Path = tmp_path, token: str = ""
        ) -> subprocess.CompletedProcess[str]:
            environment = hub_environment(hub.url, tmp_path, token=token)
            if program == programs / "postbias":
                environment.pop("PYTHONPATH", None)
            return subprocess.run(
                [program, *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        code = "from postbias.cli import main; main()"
        publish = ("-c", code, "publish", REPO)
        published = run_command(sys.executable, *publish, folder=paths.root, token=WRITER)
        assert published.returncode == 0, published.stderr
        scored = run_command(
            programs / "postbias", "score", "--model", f"hf://{REPO}", "in.csv", "out.csv"
        )
    assert (scored.returncode, "scored 2 of 3 posts" in scored.stdout) == (0, True), scored.stderr
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert len(rows) == 4
    assert Artifact.open(paths.champion).digest in rows[1]
