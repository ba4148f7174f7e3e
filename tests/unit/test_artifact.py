"""Artifacts are read and written completely or refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_artifact import write_tiny_artifact

from postbias.axes import Axis
from postbias.errors import ArtifactError
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import GraphPrecision, Interval, Manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_artifact(tmp_path / "student")
    return tmp_path / "student"


@pytest.mark.parametrize("modality", ["fusion", "text", "image"])
def test_an_artifact_is_read_as_it_was_written(tmp_path: Path, modality: Any) -> None:
    written = write_tiny_artifact(tmp_path / modality, modality)
    assert Artifact.open(tmp_path / modality) == written
    assert Manifest.from_json(written.manifest.to_json()) == written.manifest


def test_the_digest_depends_on_the_content_and_not_on_the_path(tmp_path: Path) -> None:
    here, there = (write_tiny_artifact(tmp_path / name) for name in ("here", "there"))
    other = write_tiny_artifact(tmp_path / "other", seed=1)
    assert here.digest == there.digest
    assert here.digest != other.digest
    assert len(here.digest) == 64


def test_the_digest_covers_the_manifest(folder: Path) -> None:
    before = Artifact.open(folder)
    intervals = {axis.name: {"text": Interval(-1, 1, 9)} for axis in before.manifest.axes}
    after = write_artifact(folder, dataclasses.replace(before.manifest, intervals=intervals))
    assert after.manifest.intervals == intervals
    assert after.manifest.files == before.manifest.files
    assert after.digest != before.digest


def test_files_that_are_not_listed_do_not_change_the_digest(folder: Path) -> None:
    before = Artifact.open(folder).digest
    (folder / ".DS_Store").write_bytes(b"x")
    assert Artifact.open(folder).digest == before


def test_a_missing_file_is_named(folder: Path) -> None:
    for name in Artifact.open(folder).manifest.files:
        moved = (folder / name).rename(folder / "moved")
        with pytest.raises(ArtifactError, match=f"incomplete: {name}; saw 'no such file'"):
            Artifact.open(folder)
        moved.rename(folder / name)


def test_a_truncated_file_is_named(folder: Path) -> None:
    path = folder / "onnx" / "head.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"incomplete: onnx/head\.onnx; saw '\d+ bytes'"):
        Artifact.open(folder)


def test_a_flipped_byte_is_detected_when_the_file_is_read(folder: Path) -> None:
    path = folder / "onnx" / "head.onnx"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    artifact = Artifact.open(folder)
    with pytest.raises(ArtifactError, match=r"damaged: onnx/head\.onnx"):
        artifact.read("onnx/head.onnx")
    with pytest.raises(ArtifactError, match=r"damaged: onnx/head\.onnx"):
        _ = artifact.digest


def test_a_file_that_disappears_later_is_an_artifact_error(folder: Path) -> None:
    artifact = Artifact.open(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match="cannot read"):
        _ = artifact.digest
    with pytest.raises(ArtifactError, match="cannot read"):
        artifact.read("weights.safetensors")


@pytest.mark.parametrize("where", ["missing", "empty", "a file"])
def test_a_folder_without_a_student_is_a_clear_error(tmp_path: Path, where: str) -> None:
    path = tmp_path / "path"
    if where == "empty":
        path.mkdir()
    elif where == "a file":
        path.write_text("x")
    with pytest.raises(ArtifactError, match=r"no student in .*dvc repro"):
        Artifact.open(path)


def test_a_missing_champion_is_called_so_and_the_gate_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(tmp_path / "champion")
    message = str(caught.value)
    assert message.startswith("no champion: ")
    assert 'if `dvc repro` ended with "no champion", the best student failed the gate' in message
    assert "see reports/evaluate.json" in message
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(tmp_path / "fusion")
    assert "no champion" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"format_version": 2}, "unknown format_version; saw 2; allowed: 1"),
        ({"modality": "video"}, "has invalid fields: modality"),
        ({"axes": []}, "has invalid fields: axes"),
        ({"axes": [{"name": "bias", "low": 10, "high": 0}]}, "has invalid fields: axes"),
        ({"max_images": 0}, "has invalid fields: max_images"),
        ({"max_images": "four"}, "is damaged"),
        ({"image_size": None}, "has invalid fields: image_size"),
        ({"max_tokens": None}, "has invalid fields: max_tokens"),
        ({"intervals": {"other": {}}}, "has invalid fields: intervals"),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": ""}}}, "has invalid fields: files"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": ""}}}, "has invalid fields: files"),
        ({"surprise": 1}, "is damaged"),
        ({"axes": 3}, "is damaged"),
    ],
)
def test_an_inconsistent_manifest_is_refused(
    folder: Path, change: dict[str, Any], fault: str
) -> None:
    path = folder / "student.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtifactError, match=fault):
        Artifact.open(folder)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "{", '{"format_version": 1}', "\ud7ff"])
def test_a_damaged_manifest_is_one_clear_error(folder: Path, text: str) -> None:
    (folder / "student.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"student\.json is damaged"):
        Artifact.open(folder)


def test_writing_requires_every_file_and_leaves_no_partial_manifest(folder: Path) -> None:
    manifest = Artifact.open(folder).manifest
    (folder / "student.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is missing"):
        write_artifact(folder, manifest)
    assert not (folder / "student.json").exists()


def test_a_graph_that_ships_as_fp32_runs_as_fp32(folder: Path) -> None:
    manifest = Artifact.open(folder).manifest
    assert manifest.graph_file("text", "int8") == "onnx/int8/text.onnx"
    assert manifest.graph_file("text", "fp32") == "onnx/text.onnx"
    assert manifest.graph_file("head", "int8") == "onnx/head.onnx"
    lossy = dataclasses.replace(manifest, precision={"text": GraphPrecision("fp32", 0.2)})
    assert lossy.graph_file("text", "int8") == "onnx/text.onnx"
    assert "onnx/int8/text.onnx" not in lossy.required_files()


def test_the_size_counts_the_files_that_scoring_loads(folder: Path) -> None:
    artifact = Artifact.open(folder)
    names = ["onnx/int8/image.onnx", "onnx/int8/text.onnx", "onnx/head.onnx", "tokenizer.json",
             "student.json"]  # fmt: skip
    assert artifact.size_bytes("int8") == sum((folder / name).stat().st_size for name in names)


@pytest.mark.parametrize(
    ("axis", "bands"),
    [
        (Axis("bias", 0, 10), {0: "low", 3.49: "low", 3.5: "moderate", 6.49: "moderate",
                               6.5: "high", 10: "high"}),
        (Axis("tone", -1, 1), {-1: "low", -0.31: "low", -0.3: "moderate", 0.31: "high"}),
    ],
)  # fmt: skip
def test_bands_begin_at_35_and_65_percent_of_the_range(axis: Axis, bands: dict[float, str]) -> None:
    assert {value: axis.band(value) for value in bands} == bands
