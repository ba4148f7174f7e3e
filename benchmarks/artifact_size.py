"""Measure the size of the int8 artifact of `params/nano.yaml`.

Counts the files that scoring loads (graphs, tokenizer, manifest) in megabytes of 10^6 bytes. The
weights are random, which does not affect size. `bulk_scoring` reports the full student. Prints one
JSON object.

    python benchmarks/artifact_size.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bulk_scoring import make_student, real_captions
from photographs import draw_photographs
from transformers import BertConfig, BertModel

from postbias.student.encoders import TextEncoder
from postbias.student.image_encoders import load_image_encoder
from postbias.student.network import Student


def main() -> None:
    """Export the student and print its size."""
    captions, files = real_captions(64), draw_photographs(32)
    # google/bert_uncased_L-4_H-128_A-2
    shape = BertConfig(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=2, intermediate_size=512
    )
    nano = Student(
        TextEncoder(BertModel(shape, add_pooling_layer=False), 128),
        load_image_encoder("mobilenet_v3_small", "none"),
        hidden=256, n_axes=2, dropout=0.1,
    ).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        _, _, artifact = make_student(Path(name) / "nano", captions, files, nano)
        size = {"nano_mb": round(artifact.size_bytes("int8") / 1e6, 2)}
    print(json.dumps({"artifact": size}, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
