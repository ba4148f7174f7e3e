"""Families of text encoders: tiny checkpoints of the true architecture through the real loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import save_file
from tests.tiny_artifact import AXES, tiny_tokenizer

from postbias.errors import ParamsError, WeightsError
from postbias.params import ScratchText
from postbias.scoring.manifest import Manifest
from postbias.scoring.manifest_records import TextConvention
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.export import export_student
from postbias.student.int8_loss import EncoderInputs, QuantizationPosts
from postbias.student.network import Student
from postbias.student.text_conventions import read_convention
from postbias.student.text_encoders import load_text_encoder, load_tokenizer

SCRATCH = ScratchText(vocab_size=320, hidden=16, layers=1, heads=2)
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "vocab_size": 96}  # fmt: skip
ROBERTA = TINY | {"max_position_embeddings": 34, "pad_token_id": 0}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", TINY),  # MiniLM and E5-small too
    "distilbert": (
        "distilbert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 96},
    ),
    "roberta": ("roberta", ROBERTA),
    "xlm-roberta": ("xlm-roberta", ROBERTA),  # multilingual E5 too
    "modernbert": (  # Ettin and mmBERT too
        "modernbert",
        TINY | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2,
                "sep_token_id": 3, "global_attn_every_n_layers": 2, "local_attention": 8},
    ),
}  # fmt: skip
CAPTIONS = ["hello world", "a", "girls are great at maths and boys can cook", "x y z 1 2 3"]


def write_checkpoint(folder: Path, family: str, **settings: Any) -> Path:
    """Write a folder as on the hub, with random weights."""
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    kind, fields = FAMILIES[family]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **fields, **settings)
    AutoModel.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), pad_token="[PAD]", unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]", sep_token="[SEP]",  # noqa: S106
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_pooling(folder: Path, pooling: dict[str, Any]) -> None:
    """Write the files with which sentence-transformers states the pooling."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", pooling)


def write_static(folder: Path, layout: str) -> np.ndarray:
    """Write a static encoder; return its table."""
    table = np.random.default_rng(0).normal(size=(96, 24)).astype(np.float32)
    inner = folder if layout == "model2vec" else folder / "0_StaticEmbedding"
    inner.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(inner / "tokenizer.json"))
    key = "embeddings" if layout == "model2vec" else "embedding.weight"
    save_file({key: torch.from_numpy(table)}, inner / "model.safetensors")
    if layout == "model2vec":
        write_json(folder / "config.json", {"model_type": "model2vec", "normalize": True})
    else:
        kind = "sentence_transformers.models.StaticEmbedding"
        module = {"idx": 0, "name": "0", "path": "0_StaticEmbedding", "type": kind}
        write_json(folder / "modules.json", [module])
    return table


def export_text(folder: Path, name: Path, convention: TextConvention) -> Student:
    """Load a checkpoint as training does, and export it as a student."""
    tokenizer = load_tokenizer(str(name), [], 320, convention.prefix)
    encoder = load_text_encoder(str(name), SCRATCH, tokenizer, convention, max_tokens=24)
    torch.manual_seed(0)
    student = Student(encoder, None, hidden=16, n_axes=2, dropout=0.0).eval()
    manifest = Manifest(
        modality="text", axes=AXES, max_images=1, rubric="test@0", training_digest="0", n_train=1,
        text_encoder=name.name, max_tokens=24, text_convention=convention,
    )  # fmt: skip
    ids = [tokenizer.encode(caption).ids[:24] for caption in CAPTIONS]
    inputs = EncoderInputs(np.zeros((0, 32, 32, 3), np.uint8), ids)
    export_student(student, manifest, tokenizer, QuantizationPosts(inputs, inputs), folder)
    return student


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_student_of_every_family_scores_as_in_pytorch(
    family: str, pooling: Any, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "encoder", family)
    convention = TextConvention(pooling, "query: " if pooling == "cls" else "")
    student = export_text(tmp_path / "student", checkpoint, convention)
    expected = []
    with torch.no_grad():
        for caption in CAPTIONS:
            tokenizer = tiny_tokenizer()
            tokenizer.enable_truncation(24)
            row = torch.tensor([tokenizer.encode(convention.prefix + caption).ids])
            scores = student(
                input_ids=row, attention_mask=torch.ones_like(row), has_text=torch.ones(1, 1)
            )
            expected.append(scores[0, 0].clamp(0, 10).item())
    for precision, tolerance in (("fp32", 1e-4), ("int8", 0.05)):
        with Scorer.open(tmp_path / "student", precision=precision) as scorer:  # type: ignore[arg-type]
            found = [s.scores["bias"].value for s in scorer.score(list(map(PostInput, CAPTIONS)))]
            alone = [scorer.score([PostInput(c)])[0].scores["bias"].value for c in CAPTIONS]
        np.testing.assert_allclose(found, expected, atol=tolerance)
        assert found == alone
    assert scorer.manifest.text_convention == convention
    assert scorer.manifest.precision["text"].ships == "int8"


@pytest.mark.parametrize("layout", ["model2vec", "sentence-transformers"])
def test_static_embeddings_are_averaged_over_the_captions_own_tokens(
    layout: str, tmp_path: Path
) -> None:
    table = write_static(tmp_path / "static", layout)
    export_text(tmp_path / "student", tmp_path / "static", TextConvention())
    ids = tiny_tokenizer().encode(CAPTIONS[0], add_special_tokens=False).ids
    with Scorer.open(tmp_path / "student", precision="fp32") as scorer:
        tokens = scorer.graphs.tokenize(CAPTIONS[0])
    assert tokens == ids
    session = ort.InferenceSession(tmp_path / "student" / "onnx" / "text.onnx")
    row = np.array([ids], np.int64)
    found = session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0]
    np.testing.assert_allclose(found[0], table[ids].mean(0), atol=1e-5)


def test_the_weights_and_the_mapping_of_model2vec_are_applied(tmp_path: Path) -> None:
    table = write_static(tmp_path, "model2vec")
    mapping = np.arange(96)[::-1].copy() // 2
    weights = np.linspace(0.5, 2, 96)
    tensors = {"embeddings": table[:48].copy(), "mapping": mapping, "weights": weights}
    save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, tmp_path / "model.safetensors")
    tokenizer = load_tokenizer(str(tmp_path), [], 320)
    encoder = load_text_encoder(str(tmp_path), SCRATCH, tokenizer)
    ids = torch.tensor([[5, 70, 9]])
    expected = (table[:48][mapping] * weights[:, None])[[5, 70, 9]].mean(0)
    with torch.no_grad():
        found = encoder(ids, torch.ones_like(ids))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_trained_tokenizer_does_not_cut_words_at_vowel_signs() -> None:
    tokenizer = load_tokenizer("scratch", ["लड़कियाँ खाना बनाना जानती हैं ☀️"] * 3, 2000)
    tokens = tokenizer.encode("बनाना जानती ☀️ लड़कियाँ").tokens
    assert len(tokens) == 4 + 2  # each word is one token, wherever it stands, and so is the emoji


@pytest.mark.parametrize("prefix", ["query: ", "Represent: ", "a"])
def test_a_prefix_gives_the_tokens_of_prefix_and_caption(prefix: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "bert")
    tokenizer = load_tokenizer(str(checkpoint), [], 320, prefix)
    scratch = load_tokenizer("scratch", CAPTIONS, 320, prefix)
    plain = load_tokenizer("scratch", CAPTIONS, 320)
    for caption in CAPTIONS:
        assert tokenizer.encode(caption).ids == tiny_tokenizer().encode(prefix + caption).ids
        assert scratch.encode(caption).ids == plain.encode(prefix + caption).ids


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_the_pooling_is_read_from_the_encoders_files(
    config: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write_pooling(tmp_path, config)
    assert read_convention(str(tmp_path), "auto", None).pooling == expected
    assert read_convention(str(tmp_path), "mean", None).pooling == "mean"
    assert read_convention(str(tmp_path), "cls", None).pooling == "cls"


@pytest.mark.parametrize(
    "config",
    [{"pooling_mode": "max"}, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}],
)
def test_other_poolings_are_errors_unless_params_decide(
    config: dict[str, Any], tmp_path: Path
) -> None:
    write_pooling(tmp_path, config)
    with pytest.raises(ParamsError, match=r"not supported.*set train.text_pooling"):
        read_convention(str(tmp_path), "auto", None)
    assert read_convention(str(tmp_path), "cls", None).pooling == "cls"


@pytest.mark.parametrize(
    ("config", "pooling"),
    [({"model_type": "modernbert", "classifier_pooling": "cls"}, "cls"),
     ({"model_type": "modernbert", "classifier_pooling": "mean"}, "mean"),
     ({"model_type": "bert"}, "mean")],
)  # fmt: skip
def test_encoders_without_such_files_pool_by_family(
    config: dict[str, Any], pooling: str, tmp_path: Path
) -> None:
    write_json(tmp_path / "config.json", config)
    assert read_convention(str(tmp_path), "auto", None) == TextConvention(pooling, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "config", "prefix"),
    [
        ("multilingual-e5-small", None, "query: "),
        ("e5-base-v2", {}, "query: "),
        ("bge-small", {"prompts": {"query": "Represent this: "}}, ""),
        ("some-e5", {"prompts": {"query": "q: ", "passage": "p: "}}, "q: "),
        ("nomic", {"prompts": {"Classification": "classify: ", "query": "q: "}}, "classify: "),
        ("own", {"prompts": {"a": "A: "}, "default_prompt_name": "a"}, "A: "),
        ("the5th", None, ""),
    ],
)
def test_the_prefix_is_read_from_the_encoders_files_or_known_by_family(
    name: str, config: dict[str, Any] | None, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    if config is not None:
        write_json(tmp_path / name / "config_sentence_transformers.json", config)
    assert read_convention(str(tmp_path / name), "auto", None).prefix == prefix
    assert read_convention(str(tmp_path / name), "auto", "").prefix == ""
    assert read_convention(str(tmp_path / name), "auto", "x: ").prefix == "x: "


def test_damaged_files_of_conventions_are_ignored(tmp_path: Path) -> None:
    for name in ("modules.json", "config.json", "config_sentence_transformers.json"):
        (tmp_path / name).write_text("{")
    assert read_convention(str(tmp_path), "auto", None) == TextConvention()


@pytest.mark.parametrize(("family", "longest"), [("bert", 512), ("roberta", 33)])
def test_more_tokens_than_the_encoder_can_read_are_an_error(
    family: str, longest: int, tmp_path: Path
) -> None:
    name = str(write_checkpoint(tmp_path, family))
    tokenizer = load_tokenizer(name, [], 320)
    load_text_encoder(name, SCRATCH, tokenizer, max_tokens=longest)
    with pytest.raises(ParamsError, match=f"train.max_tokens.*4 to {longest}"):
        load_text_encoder(name, SCRATCH, tokenizer, max_tokens=longest + 1)


def test_a_tokenizer_of_another_encoder_is_an_error(tmp_path: Path) -> None:
    name = str(write_checkpoint(tmp_path, "bert"))
    tokenizer = load_tokenizer("scratch", ["hello"], 320)
    with pytest.raises(WeightsError, match="more tokens than the encoder"):
        load_text_encoder(name, SCRATCH, tokenizer)


def test_a_checkpoint_in_half_precision_is_loaded_in_full(tmp_path: Path) -> None:
    from transformers import AutoModel

    name = str(write_checkpoint(tmp_path, "bert"))
    AutoModel.from_pretrained(name).half().save_pretrained(name)
    encoder = load_text_encoder(name, SCRATCH, load_tokenizer(name, [], 320))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
