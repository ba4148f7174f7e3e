"""Ready-made params files, with encoders of the real architecture and random weights."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import ROOT
from tests.post_shards import jpeg

from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student import export
from postbias.student.distillation import distil_artifact

TEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "distilbert-base-uncased": {"model_type": "distilbert", "vocab_size": 30522},
    "jhu-clsp/mmBERT-small": {
        "model_type": "modernbert",
        "vocab_size": 256_000,
        "hidden_size": 384,
        "num_hidden_layers": 22,
        "num_attention_heads": 6,
        "intermediate_size": 1152,
    },
    "google/bert_uncased_L-4_H-128_A-2": {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 512,
    },
    "jhu-clsp/ettin-encoder-17m": {
        "model_type": "modernbert",
        "vocab_size": 50368,
        "hidden_size": 256,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "intermediate_size": 384,
    },
    "sentence-transformers/all-MiniLM-L6-v2": {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
}
MEGABYTE = 1e6


def write_text_checkpoint(folder: Path, name: str) -> None:
    """Write the files that the hub has for a model, with random weights."""
    from transformers import AutoConfig, AutoModel, BertTokenizerFast

    settings = dict(TEXT_CONFIGS[name])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    AutoModel.from_config(config).save_pretrained(folder)
    characters = [chr(code) for code in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    pieces += [f"##{character}" for character in characters]
    pieces += [f"word{i}" for i in range(config.vocab_size - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def write_image_checkpoint(path: Path, name: str) -> None:
    from safetensors.torch import save_file
    from torchvision import models

    if name.startswith("timm/"):
        import timm

        network = timm.create_model(name.removeprefix("timm/"))
    else:
        network = models.get_model(name, weights=None)
    save_file(network.state_dict(), path)


def thin_folds(paths: Paths) -> None:
    """Keep a quarter of the posts that every evaluation of training looks at, and the intervals."""
    split = read_table(paths.split, SPLIT).to_pylist()
    kept = [row for at, row in enumerate(split) if at % 4 == 0 or row["fold"] in ("train", "test")]
    write_table(pa.Table.from_pylist(kept, SPLIT), paths.split, SPLIT)


@pytest.mark.parametrize(
    ("file", "max_mb"),
    [
        pytest.param("resnet18-distilbert.yaml", 80, marks=pytest.mark.slow),
        ("nano.yaml", 10),
        ("pocket.yaml", 10),
        pytest.param("small.yaml", 25, marks=pytest.mark.slow),
        pytest.param("small-data.yaml", 35, marks=pytest.mark.slow),
        pytest.param("multilingual.yaml", None, marks=pytest.mark.slow),
    ],
)
def test_ready_made_params_train_export_and_score(
    trained: tuple[Paths, Params],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    max_mb: float | None,
) -> None:
    # So few posts and epochs leave it to chance whether int8 or fp32 scores are closer to labels.
    monkeypatch.setattr(export, "MAX_METRIC_LOSS", float("inf"))
    ready = load_params(ROOT / "params" / file).model_dump(mode="json")
    text, image = tmp_path / "text", tmp_path / "image.safetensors"
    text.mkdir()
    write_text_checkpoint(text, ready["train"]["text_encoder"])
    write_image_checkpoint(image, ready["train"]["image_encoder"])
    ready["train"] |= {"text_encoder": str(text), "image_weights": str(image), "epochs": 1}
    if ready["train"]["distil_from"] is not None:
        ready["train"]["transfer"] = None  # all posts have labels here
    ready["annotate"] = trained[1].model_dump(mode="json")["annotate"]
    params = Params.model_validate_json(json.dumps(ready))
    root = tmp_path / "repo"
    shutil.copytree(trained[0].root, root, ignore=shutil.ignore_patterns("store", "students"))
    shutil.copytree(trained[0].students / "fusion", root / "full_students" / "fusion")
    thin_folds(Paths(root, root))
    folder = tmp_path / "artifact"

    result = distil_artifact(
        folder,
        Paths(root, root),
        params,
        "fusion",
        lambda _: nullcontext(lambda *_: None),
        share=0.05,
    )

    is_frozen = any(ready["train"]["freeze"].values())
    trained_parameters = result.report["trained_parameters"]
    assert (trained_parameters < result.report["parameters"]) is is_frozen
    if max_mb is not None:
        assert Artifact.open(folder).size_bytes("int8") <= max_mb * MEGABYTE
    image = jpeg(np.random.default_rng(0), 300, 240)
    with Scorer.open(folder, precision="int8") as scorer:
        both, alone = scorer.score([PostInput("a caption", (image,)), PostInput("a caption")])
    assert (both.status, both.modalities) == ("ok", "image+text")
    assert (alone.status, alone.modalities) == ("ok", "text")
    assert both.scores["bias"].lo is not None
