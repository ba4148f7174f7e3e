"""A post has the same score through every interface and with any file names."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.tiny_artifact import write_tiny_artifact

import postbias
from postbias.cli import main
from postbias.loading import as_post
from postbias.posts.shards import read_table
from postbias.posts.text_cleaning import clean_text
from postbias.scoring.bulk import LocalBackend
from postbias.scoring.file_scoring import ScoringJob, score_files
from postbias.scoring.request import read_post, read_rows
from postbias.scoring.scorer import Scorer

CAPTIONS = [
    "a\ud800b", "a\udfffb", "a\ufffdb", "a\ud83d\ude00b", "a\x00b", "\x00", "\ud800", "a\r\nb\rc",
    " \r\n ", "a?b", "ab", "She leads the team every morning.", "Heute backen wir Kuchen.",
    "El jardín es muy bonito hoy.",
]  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["", "by language"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    return write_tiny_artifact(folder, "text", by_language=request.param).folder


def test_a_caption_has_one_score_in_a_request_from_python_and_in_bulk(
    student: Path, tmp_path: Path
) -> None:
    table = tmp_path / "in.jsonl"
    posts = [{"post_id": str(n), "caption": caption} for n, caption in enumerate(CAPTIONS)]
    table.write_text("".join(f"{json.dumps(post)}\n" for post in posts))
    with Scorer.open(student) as scorer:
        rows = read_rows(json.loads(json.dumps([{"caption": caption} for caption in CAPTIONS])))
        requests = scorer.score([read_post(row) for row in rows])
        score_files(ScoringJob(table, tmp_path / "out.parquet"), LocalBackend(scorer, batch_size=4))
    with postbias.load(student) as model:
        python = list(model.score(CAPTIONS))
    bulk = read_table(tmp_path / "out.parquet").to_pylist()
    assert requests == python
    assert [row["status"] for row in bulk] == [result.status for result in python]
    scores = [result.scores["bias"].value if result.scores else None for result in python]
    assert [row["bias"] for row in bulk] == pytest.approx(scores)
    assert scores[0] == scores[1] == scores[2] != scores[CAPTIONS.index("a?b")]
    for name, end in (("bias_lo", 1), ("bias_hi", 2)):
        ends = [result.scores["bias"][end] if result.scores else None for result in python]
        assert [row[name] for row in bulk] == pytest.approx(ends)


@pytest.mark.parametrize("name", ["a.jpg", "a.heic", "a.png", "a.txt", "a", "a.JPEG.tmp"])
def test_an_image_is_read_by_its_content_and_not_by_its_name(tmp_path: Path, name: str) -> None:
    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(data, "JPEG")
    (tmp_path / name).write_bytes(data.getvalue())
    (tmp_path / "in.csv").write_text(f"post_id,caption,images\n1,,{name}\n")
    student = write_tiny_artifact(tmp_path / "student", "image").folder
    with Scorer.open(student) as scorer:
        row = {"image": base64.b64encode(data.getvalue()).decode()}
        (request,) = scorer.score([read_post(row)])
        (python,) = scorer.score([as_post({"image": tmp_path / name})])
        score_files(
            ScoringJob(tmp_path / "in.csv", tmp_path / "out.parquet"),
            LocalBackend(scorer, batch_size=4),
        )
    (bulk,) = read_table(tmp_path / "out.parquet").to_pylist()
    assert request == python
    assert (request.status, bulk["status"], bulk["n_images"]) == ("ok", "ok", 1)
    assert bulk["bias"] == pytest.approx(request.scores["bias"].value)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("a\x00b\r\nc\rd", "ab\nc\nd"),
        ("é\ufffd", "é\ufffd"),
    ],
)
def test_clean_text_is_valid_and_cleaned_once(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned == clean_text(cleaned)
    assert cleaned.encode().decode() == cleaned


def test_a_damaged_table_is_scored_with_a_warning_and_code_1(student: Path, tmp_path: Path) -> None:
    lines = ["post_id,caption,author", *(f"{i},caption {i},ann" for i in range(20)), *["few"] * 5]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.parquet"
    arguments = ["score", str(tmp_path / "in.csv"), str(out), "--model", str(student)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "scored 20 of 20 posts" in result.stdout
    assert "WARNING: 5 of 25 records (20%) could not be read" in result.stderr
    assert str(tmp_path / "out.rejects.parquet") in result.stderr
    assert read_table(out).num_rows == 20


def test_a_table_is_scored_in_the_encoding_that_is_given(student: Path, tmp_path: Path) -> None:
    caption = "\u043c\u0430\u043c\u0430"
    for name, encoding in (("one.csv", "utf-8"), ("two.csv", "koi8-r")):
        (tmp_path / name).write_text(f"post_id,caption\n1,{caption}\n", encoding=encoding)
        out = tmp_path / f"{name}.parquet"
        arguments = ["score", str(tmp_path / name), str(out), "--model", str(student)]
        assert CliRunner().invoke(main, [*arguments, "--encoding", encoding]).exit_code == 0
    one, two = (read_table(tmp_path / f"{name}.csv.parquet") for name in ("one", "two"))
    assert one["bias"] == two["bias"]
