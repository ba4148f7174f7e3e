"""Publishing to and downloading from a hub on loopback, through the real `huggingface_hub`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.conftest import ROOT
from tests.hub_server import LFS_FROM, READER, WRITER, HubServer
from tests.pipeline.servers import free_port, serving
from tests.published_student import REPO, hub_environment, write_publishable_repo

from postbias.errors import HubError
from postbias.hub.hub_access import parse_reference
from postbias.hub.space_folder import PORT
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_publishable_repo(tmp_path_factory.mktemp("scored"))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def postbias(paths: Paths, hub: HubServer, tmp_path: Path) -> Command:
    """The command in the repository, with a token and a hub; of its own cache."""

    def run(*arguments: str, token: str = WRITER, cache: str = "cache") -> object:
        code = "from postbias.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=paths.root,
            env=hub_environment(hub.url, tmp_path, token=token, cache=cache),
            capture_output=True,
            text=True,
            check=False,
        )

    return run  # type: ignore[return-value]


def test_a_published_student_scores_like_the_local_one(
    postbias: Command, hub: HubServer, paths: Paths
) -> None:
    published = postbias("publish", REPO, "--license", "mit")

    assert published.returncode == 0, published.stderr
    commit = hub.repos[f"models/{REPO}"].refs["main"]
    assert f"hf://{REPO}@{commit}" in published.stdout
    for name in (f"hf://{REPO}", f"hf://{REPO}@{commit}"):
        scored = postbias("score-one", "--caption", "a garden", "--model", name, "--json", token="")
        assert scored.returncode == 0, scored.stderr
        with Scorer.open(paths.champion) as scorer:
            (expected,) = scorer.score([PostInput("a garden")])
        assert json.loads(scored.stdout)["bias"] == pytest.approx(expected.scores["bias"].value)


def test_the_card_on_the_hub_has_metrics_languages_and_the_limits(
    postbias: Command, hub: HubServer
) -> None:
    from huggingface_hub import ModelCard

    assert postbias("publish", REPO, "--license", "mit").returncode == 0
    files = _files(hub)
    card = ModelCard(files["README.md"].decode())
    data = card.data.to_dict()
    assert (data["license"], data["library_name"]) == ("mit", "postbias")
    assert "en" in data["language"]
    (index,) = data["model-index"]
    metrics = {m["type"]: m["value"] for r in index["results"] for m in r["metrics"]}
    assert metrics["mae"] == 0.9
    assert "## Out-of-scope use" in card.text
    assert f'postbias.load("hf://{REPO}")' in card.text
    assert "mlflow" not in card.text
    assert {"student.json", "rubric.yaml", "example.json", "tokenizer.json"} <= set(files)
    assert any(len(content) >= LFS_FROM for content in files.values()), "LFS was not tried"
    assert not any(name.endswith((".pkl", ".pt", ".bin", ".pickle")) for name in files)


def test_an_interrupted_upload_is_resumed(postbias: Command, hub: HubServer) -> None:
    hub.refuse_uploads = 1
    refused = postbias("publish", REPO)
    assert refused.returncode == 1
    assert "cannot publish to hf://" in refused.stderr
    assert "Traceback" not in refused.stderr
    arrived = set(hub.objects)

    assert postbias("publish", REPO).returncode == 0
    assert all(hub.uploads[oid] == 1 for oid in arrived)
    assert "student.json" in _files(hub)


def test_an_interrupted_download_is_repeated(postbias: Command, hub: HubServer) -> None:
    assert postbias("publish", REPO).returncode == 0
    hub.break_downloads = 1
    found = postbias("score-one", "--caption", "x", "--model", f"hf://{REPO}")
    assert found.returncode == 0, found.stderr
    assert not hub.break_downloads, "no transfer was interrupted"


def test_a_private_repository_needs_a_token(postbias: Command, hub: HubServer) -> None:
    assert postbias("publish", REPO, "--private").returncode == 0
    assert hub.repos[f"models/{REPO}"].is_private
    arguments = ("score-one", "--caption", "x", "--model", f"hf://{REPO}")
    stranger = postbias(*arguments, token="")
    assert stranger.returncode == 1
    assert "no such repository, or no access to it" in stranger.stderr
    assert "set HF_TOKEN" in stranger.stderr
    assert postbias(*arguments, token=READER).returncode == 0
    refused = postbias("publish", REPO, token=READER)
    assert refused.returncode == 1
    assert "status 403; check the token in HF_TOKEN" in refused.stderr
    assert postbias("publish", REPO, token="").returncode == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://owner/none", "no such repository"),
        (f"hf://{REPO}@v9", "no such revision"),
        ("hf://owner", "not the name of a repository"),
        ("hf://owner/../../etc", "not the name of a repository"),
    ],
)
def test_a_wrong_name_is_a_plain_error(postbias: Command, name: str, message: str) -> None:
    assert postbias("publish", REPO).returncode == 0
    found = postbias("score-one", "--caption", "x", "--model", name)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_a_changed_file_is_not_scored_with(postbias: Command, hub: HubServer) -> None:
    assert postbias("publish", REPO).returncode == 0
    repo = hub.repos[f"models/{REPO}"]
    files = _files(hub)
    changed = bytearray(files["onnx/int8/text.onnx"])
    changed[-1] ^= 1
    hub.objects[hashlib.sha256(changed).hexdigest()] = bytes(changed)
    repo.commit(files | {"onnx/int8/text.onnx": bytes(changed)})
    found = postbias("score-one", "--caption", "x", "--model", f"hf://{REPO}")
    assert found.returncode == 1
    assert "damaged: onnx/int8/text.onnx" in found.stderr
    repo.commit({"README.md": b"nothing"})
    assert postbias("score-one", "--caption", "x", "--model", f"hf://{REPO}").returncode == 1


def test_without_a_connection_a_downloaded_student_scores(
    postbias: Command, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert postbias("publish", REPO).returncode == 0
    arguments = ("score-one", "--caption", "x", "--model", f"hf://{REPO}", "--json")
    online = postbias(*arguments)
    monkeypatch.setattr(hub, "url", "http://127.0.0.1:9")
    offline = postbias(*arguments)
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout == online.stdout
    fresh = postbias(*arguments, cache="empty")
    assert fresh.returncode == 1
    assert "check the connection and HF_ENDPOINT" in fresh.stderr


def test_a_second_student_replaces_all_files_of_the_first(
    postbias: Command, hub: HubServer
) -> None:
    assert postbias("publish", REPO).returncode == 0
    repo = hub.repos[f"models/{REPO}"]
    repo.commit(_files(hub) | {"onnx/old.onnx": b"of an earlier student"})
    assert postbias("publish", REPO).returncode == 0
    assert "onnx/old.onnx" not in _files(hub)


def test_a_card_of_another_student_is_not_published(
    postbias: Command, hub: HubServer, paths: Paths
) -> None:
    file = paths.cards / "model_card.md"
    card = file.read_text()
    file.write_text(card.replace(Artifact.open(paths.champion).digest, "0" * 64))
    try:
        found = postbias("publish", REPO)
    finally:
        file.write_text(card)
    assert found.returncode == 1
    assert "describes another student" in found.stderr
    assert not hub.repos.get(f"models/{REPO}")


def test_a_data_set_holds_ids_and_scores_only(
    postbias: Command, hub: HubServer, paths: Paths, tmp_path: Path
) -> None:
    arguments = ("publish-dataset", REPO, "--personal-data", "ids of synthetic posts")
    assert postbias("publish-dataset", REPO).returncode == 2
    preview = tmp_path / "preview"
    assert postbias(*arguments, "--preview", str(preview)).returncode == 0
    assert not hub.repos

    assert postbias(*arguments, "--labels").returncode == 0
    files = {name: c for name, c in _files(hub, "datasets").items() if name != ".gitattributes"}
    assert set(files) == {"scores.parquet", "labels.parquet", "README.md"}
    assert "ids of synthetic posts" in files["README.md"].decode()
    scores = pq.read_table(preview / "scores.parquet")
    assert scores.num_rows == pq.read_table(paths.scores).num_rows
    assert not {"author", "posted_at", "caption"} & set(scores.column_names)
    (tmp_path / "labels.parquet").write_bytes(files["labels.parquet"])
    assert "reason" not in pq.read_schema(tmp_path / "labels.parquet").names


def test_a_space_serves_the_page_for_single_posts_to_everyone(
    postbias: Command, hub: HubServer, paths: Paths, tmp_path: Path
) -> None:
    assert postbias("publish", REPO).returncode == 0
    space = tmp_path / "space"
    written = postbias("publish", REPO, "--space", str(space), token="")
    assert written.returncode == 0, written.stderr
    assert postbias("publish", REPO, "--space", str(space)).returncode == 1
    front = (space / "README.md").read_text().split("---")[1]
    assert "sdk: docker" in front
    assert f"app_port: {PORT}" in front
    pinned = (space / "requirements.txt").read_text().splitlines()
    assert {"fastapi", "huggingface-hub", "onnxruntime", "httpx2"} <= {
        line.partition("==")[0] for line in pinned
    }
    assert not any(line.startswith(("torch", "mlflow", "dvc")) for line in pinned)
    last = (space / "Dockerfile").read_text().splitlines()[-1]
    program, *arguments = json.loads(last.removeprefix("CMD "))
    assert program == "python"
    port = free_port()
    environment = hub_environment(hub.url, tmp_path, token="", cache="of-space")
    environment |= {"HF_TOKEN": "", "PORT": str(port), "PYTHONPATH": ""}
    command = [sys.executable, "-P", "-c", _RUN_HERE, str(space), *arguments]
    with serving(command, port, "/api/student", tmp_path / "log", **environment):
        student = _ask(port, "GET", "/api/student")
        assert student[0] == 200
        assert json.loads(student[1])["has_posts_only"]
        body = json.dumps({"caption": "a garden", "images": []})
        origin = {"Origin": "https://owner-space.example", "Host": "owner-space.example"}
        status, answer = _ask(port, "POST", "/api/score", body, **origin)
        assert status == 200, answer
        with Scorer.open(paths.champion) as scorer:
            (expected,) = scorer.score([PostInput("a garden")])
        assert f"{expected.scores['bias'].value:.4g}"[:4] in answer
        assert _ask(port, "POST", "/api/score", body, Origin="https://evil.example")[0] == 403
        for path in ("/api/uploads", "/api/pages", "/report", "/api/corpora"):
            assert _ask(port, "GET", path)[0] == 404


def test_a_published_student_is_served_over_http(
    postbias: Command, paths: Paths, tmp_path: Path
) -> None:
    assert postbias("publish", REPO).returncode == 0
    model = tmp_path / "model"
    packaged = postbias("package", f"hf://{REPO}", str(model))
    assert packaged.returncode == 0, packaged.stderr
    assert postbias("package", f"hf://{REPO}", str(model)).returncode == 1
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with serving(command, port, "/ping", tmp_path / "log", HF_ENDPOINT="http://127.0.0.1:9"):
        body = json.dumps({"dataframe_records": [{"caption": "a garden"}]})
        status, answer = _ask(port, "POST", "/invocations", body)
    assert status == 200, answer
    (prediction,) = json.loads(answer)["predictions"]
    with Scorer.open(paths.champion) as scorer:
        (expected,) = scorer.score([PostInput("a garden")])
    assert prediction["bias"] == pytest.approx(expected.scores["bias"].value)


def test_names_of_repositories() -> None:
    assert parse_reference("hf://a/b@refs/pr/1").revision == "refs/pr/1"
    assert str(parse_reference("a/b")) == "hf://a/b"
    for name in ("", "a", "a/b/c", "hf:/a/b", "a/b@", "a/..", "a--b/c", "a/b@x y", "a/b\n"):
        with pytest.raises(HubError):
            parse_reference(name)


def test_reading_the_name_imports_nothing_of_the_hub() -> None:
    code = "import sys, postbias.loading, postbias.hub.hub_access as h; h.parse_reference('a/b');"
    code += "assert not {'torch', 'huggingface_hub', 'httpx2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


#: Runs a script of a folder, and checks that the code is that of the folder.
_RUN_HERE = """
import os, runpy, sys
folder = sys.argv[1]
os.chdir(folder)
sys.path.insert(0, folder)
import postbias
assert postbias.__file__.startswith(folder), postbias.__file__
runpy.run_path(sys.argv[2], run_name="__main__")
"""


def _ask(
    port: int, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Content-Type": "application/json"} | headers
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _files(hub: HubServer, kind: str = "models") -> dict[str, bytes]:
    repo = hub.repos[f"{kind}/{REPO}"]
    return repo.commits[repo.refs["main"]]
