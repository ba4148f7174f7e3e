"""The export: graphs agree with PyTorch, and are reproducible to the byte."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import load_file
from tests.post_shards import jpeg
from tests.tiny_artifact import tiny_tokenizer
from torch import Tensor, nn

from postbias.axes import Axis
from postbias.errors import ArtifactError
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Manifest, Modality
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.encoders import ImageEncoder, TextEncoder
from postbias.student.export import export_student
from postbias.student.int8_loss import EncoderInputs, QuantizationPosts
from postbias.student.network import Student
from postbias.student.onnx_export import GraphExport, export_graph, make_canonical

SIZE, TOKENS = 32, 24
CAPTIONS = ["hello world", "a", "girls are great at maths and boys can cook", "x y z 1 2 3"]


def small_student(
    modality: Modality = "fusion", *, seed: int = 0, bounded: bool = False
) -> Student:
    """Build a small student from the real classes."""
    from transformers import AutoModel, BertConfig

    torch.manual_seed(seed)
    text = image = None
    if modality != "image":
        config = BertConfig(
            vocab_size=tiny_tokenizer().get_vocab_size(), hidden_size=32, num_hidden_layers=1,
            num_attention_heads=2, intermediate_size=64,
        )  # fmt: skip
        backbone = AutoModel.from_config(config)
        backbone.pooler = None
        text = TextEncoder(backbone, 32)
    if modality != "text":
        layers = [
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ]
        image = ImageEncoder(nn.Sequential(*layers), 16)
    student = Student(text, image, hidden=16, n_axes=2, dropout=0.5, bounded=bounded)
    student.head.center.fill_(5.0)
    student.head.scale.fill_(2.0)
    return student


def manifest_of(modality: Modality) -> Manifest:
    return Manifest(
        modality=modality,
        axes=(Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0)),
        max_images=4,
        rubric="test@0",
        training_digest="0",
        n_train=1,
        text_encoder=None if modality == "image" else "small",
        max_tokens=None if modality == "image" else TOKENS,
        image_encoder=None if modality == "text" else "small",
        image_size=None if modality == "text" else SIZE,
    )


def export(
    folder: Path,
    modality: Modality = "fusion",
    *,
    seed: int = 0,
    captions: Sequence[str] = CAPTIONS,
    held_out: EncoderInputs | None = None,
) -> tuple[Student, Artifact]:
    student = small_student(modality, seed=seed)
    tokenizer = None if modality == "image" else tiny_tokenizer()
    inputs = make_inputs(modality, captions)
    posts = QuantizationPosts(inputs, held_out if held_out is not None else inputs)
    return student, export_student(student, manifest_of(modality), tokenizer, posts, folder)


def make_inputs(modality: Modality, captions: Sequence[str], seed: int = 0) -> EncoderInputs:
    """Make captions, and random images with a contrast that depends on the seed."""
    tokenizer = None if modality == "image" else tiny_tokenizer()
    rng = np.random.default_rng(seed)
    n_images = 0 if modality == "text" else 12
    return EncoderInputs(
        rng.integers(0, 256 >> seed, (n_images, SIZE, SIZE, 3), np.uint8),
        [tokenizer.encode(caption).ids[:TOKENS] for caption in captions] if tokenizer else [],
    )


def run(path: Path, feeds: dict[str, Any]) -> Any:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, Artifact]:
    return export(tmp_path_factory.mktemp("export") / "fusion")


def test_scores_of_a_bounded_student_are_in_range_before_clipping(tmp_path: Path) -> None:
    student = small_student("text", bounded=True)
    student.head.center.fill_(0.0)
    student.head.scale.fill_(10.0)
    with torch.no_grad():
        student.head.last_layer.weight.mul_(1000)
    tokenizer = tiny_tokenizer()
    ids = [tokenizer.encode(caption).ids[:TOKENS] for caption in CAPTIONS]
    inputs = EncoderInputs(np.zeros((0, SIZE, SIZE, 3), np.uint8), ids)
    posts = QuantizationPosts(inputs, inputs)
    export_student(student, manifest_of("text"), tokenizer, posts, tmp_path)
    embedding = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    feeds = {"text": embedding, "has_text": np.ones((50, 1), np.float32)}
    scores = run(tmp_path / "onnx" / "head.onnx", feeds)
    assert scores.min() >= 0
    assert scores.max() <= 10
    assert scores.max() - scores.min() > 9


@pytest.mark.parametrize(("batch", "length"), [(1, 3), (1, TOKENS), (5, 7)])
def test_the_text_graph_agrees_with_pytorch(
    exported: tuple[Student, Artifact], batch: int, length: int
) -> None:
    student, artifact = exported
    assert student.text is not None
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 70, (batch, length))
    mask = (np.arange(length) <= rng.integers(0, length, (batch, 1))).astype(np.int64)
    feeds = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        inputs = {name: torch.from_numpy(x) for name, x in feeds.items()}
        expected = student.text.eval()(**inputs)
    actual = run(artifact.folder / "onnx" / "text.onnx", feeds)
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_the_image_and_head_graphs_agree_with_pytorch(
    exported: tuple[Student, Artifact], batch: int
) -> None:
    student, artifact = exported
    assert student.image is not None
    student.eval()
    rng = np.random.default_rng(batch)
    pixels = rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    has = rng.integers(0, 2, (2, batch, 1)).astype(np.float32)
    feeds = {
        "text": rng.normal(size=(batch, 32)).astype(np.float32), "has_text": has[0],
        "image": rng.normal(size=(batch, 16)).astype(np.float32), "has_image": has[1],
    }  # fmt: skip
    with torch.no_grad():
        image = student.image(torch.from_numpy(pixels))
        scores = student.head(**{name: torch.from_numpy(x) for name, x in feeds.items()})
    onnx_folder = artifact.folder / "onnx"
    actual = run(onnx_folder / "image.onnx", {"pixels": pixels})
    np.testing.assert_allclose(actual, image.numpy(), atol=1e-4)
    np.testing.assert_allclose(run(onnx_folder / "head.onnx", feeds), scores.numpy(), atol=1e-4)


def test_the_artifact_gives_the_scores_of_the_student(exported: tuple[Student, Artifact]) -> None:
    student, artifact = exported
    from postbias.posts.images import decode_square

    image = jpeg(np.random.default_rng(3))
    ids = torch.tensor([tiny_tokenizer().encode("hello world").ids])
    with torch.no_grad():
        expected = student.eval()(
            input_ids=ids, attention_mask=torch.ones_like(ids),
            pixels=torch.from_numpy(decode_square(image, SIZE))[None], image_of=torch.tensor([0]),
            has_text=torch.ones(1, 1), has_image=torch.ones(1, 1),
        ).numpy()[0].clip(0, 10)  # fmt: skip
    for precision, tolerance in (("fp32", 1e-4), ("int8", 0.1)):
        with Scorer.open(artifact.folder, precision=precision) as scorer:  # type: ignore[arg-type]
            (result,) = scorer.score([PostInput("hello world", (image,))])
        actual = [result.scores[axis].value for axis in ("bias", "orientation")]
        np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_int8_graphs_ship_with_their_measured_loss(exported: tuple[Student, Artifact]) -> None:
    precision = exported[1].manifest.precision
    assert {name: graph.ships for name, graph in precision.items()} == {
        "head": "fp32", "image": "int8", "text": "int8"
    }  # fmt: skip
    for name in ("image", "text"):
        assert 0 < (precision[name].loss or 0) < 0.01


def test_the_weights_file_has_the_weights_of_the_student(
    exported: tuple[Student, Artifact],
) -> None:
    student, artifact = exported
    saved = load_file(artifact.folder / "weights.safetensors")
    state = student.state_dict()
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[name], state[name]) for name in state)


def test_no_graph_contains_a_path_or_a_stack_trace(exported: tuple[Student, Artifact]) -> None:
    for path in exported[1].folder.rglob("*.onnx"):
        data = path.read_bytes()
        for word in (b"site-packages", b"stack_trace", b".py", str(Path.cwd()).encode()):
            assert word not in data, (path.name, word)


def test_another_process_writes_the_same_bytes(
    exported: tuple[Student, Artifact], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.test_export import export\n"
        "print(export(Path(sys.argv[1]))[1].digest)"
    )
    root = Path(__file__).resolve().parents[2]
    completed = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=root, capture_output=True, text=True, check=True
    )
    assert completed.stdout.split()[-1] == exported[1].digest


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_student_of_one_modality_has_no_file_of_the_other(
    tmp_path: Path, modality: Modality
) -> None:
    _, artifact = export(tmp_path, modality)
    other = "image" if modality == "text" else "text"
    assert not list(tmp_path.rglob(f"{other}.onnx"))
    assert (tmp_path / "tokenizer.json").exists() == (modality == "text")
    with Scorer.open(tmp_path) as scorer:
        post = PostInput("hello", (jpeg(np.random.default_rng(0)),))
        assert scorer.score([post])[0].modalities == modality
    assert artifact.manifest.graphs == (modality, "head")


def test_a_graph_with_too_large_an_int8_loss_ships_in_fp32_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("postbias.student.export.MAX_INT8_LOSS", 1e-9)
    with caplog.at_level(logging.WARNING):
        _, artifact = export(tmp_path, "text")
    precision = artifact.manifest.precision["text"]
    assert precision.ships == "fp32"
    assert (precision.loss or 0) > 1e-9
    assert "the text graph ships in fp32" in caplog.text
    assert not (tmp_path / "onnx" / "int8" / "text.onnx").exists()
    with Scorer.open(tmp_path, precision="int8") as scorer:
        assert scorer.score([PostInput("hello")])[0].status == "ok"


@pytest.mark.parametrize("modality", ["text", "image"])
def test_the_int8_loss_is_measured_on_held_out_inputs(tmp_path: Path, modality: Modality) -> None:
    held_out = make_inputs(modality, ["words that calibration has not seen", "z"], seed=2)
    same, artifact = tmp_path / "same", tmp_path / "other"
    export(same, modality)
    _, exported = export(artifact, modality, held_out=held_out)
    graphs = [Path("onnx") / "int8" / f"{modality}.onnx", Path("onnx") / f"{modality}.onnx"]
    assert (same / graphs[0]).read_bytes() == (artifact / graphs[0]).read_bytes()
    if modality == "image":
        feeds: list[dict[str, Any]] = [{"pixels": held_out.pixels}]
    else:
        rows = [np.array([ids], np.int64) for ids in held_out.token_ids]
        feeds = [{"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows]
    scores = []
    for graph in graphs:
        embeddings = np.concatenate([run(artifact / graph, feed) for feed in feeds])
        head = {modality: embeddings, f"has_{modality}": np.ones((len(embeddings), 1), np.float32)}
        scores.append(run(artifact / "onnx" / "head.onnx", head))
    expected = (np.abs(scores[0] - scores[1]).mean(axis=0) / 10).max()
    assert exported.manifest.precision[modality].loss == pytest.approx(float(expected), rel=0.01)


@pytest.mark.parametrize("modality", ["text", "image"])
def test_without_held_out_inputs_nothing_is_quantized(
    tmp_path: Path, modality: Modality, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = EncoderInputs(np.zeros((0, SIZE, SIZE, 3), np.uint8), [])
    _, artifact = export(tmp_path, modality, held_out=nothing)
    assert artifact.manifest.precision[modality].ships == "fp32"
    assert f"the {modality} graph ships in fp32: no input to measure" in caplog.text


def test_without_captions_nothing_is_quantized(tmp_path: Path) -> None:
    _, artifact = export(tmp_path, "text", captions=[])
    assert artifact.manifest.precision["text"].ships == "fp32"


@pytest.mark.parametrize("metric", ["mae", "rmse", "spearman"])
def test_a_graph_ships_in_fp32_if_int8_loses_too_much_of_the_metric(
    tmp_path: Path, metric: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels equal to the fp32 scores, but for a tiny error, make any change of int8 a loss."""
    plain, artifact = make_inputs("image", []), export(tmp_path / "first", "image")[1]
    head = {"has_image": np.ones((len(plain.pixels), 1), np.float32)}
    head["image"] = run(artifact.folder / "onnx" / "image.onnx", {"pixels": plain.pixels})
    exact = run(artifact.folder / "onnx" / "head.onnx", head)[:, 0]

    def ships(labels: Any) -> str:
        inputs = dataclasses.replace(plain, image_labels=np.asarray(labels, np.float32))
        student, posts = small_student("image"), QuantizationPosts(plain, inputs, metric)
        exported = export_student(student, manifest_of("image"), None, posts, tmp_path / "second")
        return exported.manifest.precision["image"].ships

    noise = np.random.default_rng(0).normal(size=len(exact))
    if metric != "spearman":  # int8 keeps the order of these few scores
        assert ships(exact + 1e-6 * noise) == "fp32"
        assert f"of the {metric} of posts with image only" in caplog.text
    assert ships(exact + 3 * noise) == "int8"


def test_an_export_replaces_all_files_of_an_older_one(tmp_path: Path) -> None:
    export(tmp_path, "image")
    (tmp_path / "onnx" / "stale.onnx").write_bytes(b"old")
    _, artifact = export(tmp_path, "image", seed=1)
    assert not (tmp_path / "onnx" / "stale.onnx").exists()
    assert Artifact.open(tmp_path).digest == artifact.digest


def test_exporting_does_not_change_the_student(tmp_path: Path) -> None:
    student = small_student("image").train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    rng = np.random.default_rng(0)
    inputs = EncoderInputs(rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8), [])
    posts = QuantizationPosts(inputs, inputs)
    export_student(student, manifest_of("image"), None, posts, tmp_path)
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())


class _Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class _Thrice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 3


def test_a_graph_that_differs_from_pytorch_is_an_error() -> None:
    inputs = {"x": torch.ones(2, 3)}
    wrong = GraphExport(
        _Twice(), inputs, {"x": torch.ones(4, 3)}, {0: "batch"}, "scores", _Thrice()
    )
    with pytest.raises(ArtifactError, match="of the exported graph differs from PyTorch's"):
        export_graph(wrong)
    right = dataclasses.replace(wrong, reference=_Twice())
    assert [output.name for output in export_graph(right).graph.output] == ["scores"]


def test_a_graph_with_branches_is_an_error() -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, [1]) for name in ("x", "y")
    )
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    with pytest.raises(ArtifactError, match="branches"):
        make_canonical(model)
