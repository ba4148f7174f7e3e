"""Students of the real architectures with random weights, which do not affect size and speed.

`full`: ResNet-18 at 224 px and DistilBERT. `nano`: MobileNetV3-small at 224 px and a BERT of 4
layers and width 128. `pocket`: MobileNetV4-conv-small at 128 px and a BERT of 2 layers and width
128. `text`: the caption encoder of `pocket` alone. `tiny`: captions only, one layer of width 32, so
that everything but the encoder can be measured with many posts.

    python benchmarks/random_students.py STUDENT FOLDER
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bulk_scoring import MAX_TOKENS, real_captions, train_tokenizer
from encoders import TEXT
from photographs import draw_photographs
from transformers import AutoConfig, AutoModel

from postbias.axes import Axis
from postbias.posts.images import decode_square
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Manifest
from postbias.student.encoders import TextEncoder
from postbias.student.export import export_student
from postbias.student.image_encoders import load_image_encoder, read_image_input
from postbias.student.int8_loss import EncoderInputs, QuantizationPosts
from postbias.student.network import Student


@dataclass(frozen=True, slots=True)
class RandomStudent:
    """Architecture of a student.

    Attributes:
        text: Shape of the caption encoder, as in its config.json.
        image: Name of the image encoder; None for a student of captions.
        size: Side of its images in pixels.
    """

    text: dict[str, Any]
    image: str | None
    size: int | None


_TWO_LAYERS = TEXT["google/bert_uncased_L-4_H-128_A-2"] | {"num_hidden_layers": 2}
_ONE_LAYER = _TWO_LAYERS | {
    "num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64,
}  # fmt: skip
STUDENTS = {
    "full": RandomStudent(TEXT["distilbert-base-uncased"], "resnet18", 224),
    "nano": RandomStudent(TEXT["google/bert_uncased_L-4_H-128_A-2"], "mobilenet_v3_small", 224),
    "pocket": RandomStudent(_TWO_LAYERS, "timm/mobilenetv4_conv_small.e2400_r224_in1k", 128),
    "text": RandomStudent(_TWO_LAYERS, None, None),
    "tiny": RandomStudent(_ONE_LAYER, None, None),
}


def build_student(name: str, folder: Path) -> Artifact:
    """Export a student.

    Args:
        name: A key of `STUDENTS`.
        folder: Folder to write to.

    Returns:
        Its artifact.
    """
    torch.manual_seed(0)
    wanted, tokenizer = STUDENTS[name], train_tokenizer()
    shape = dict(wanted.text)
    backbone = AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
    text = TextEncoder(backbone, backbone.config.hidden_size)
    image, reads = None, None
    if wanted.image is not None:
        reads = read_image_input(wanted.image, wanted.size)
        image = load_image_encoder(wanted.image, "none", reads)
    student = Student(text, image, hidden=128, n_axes=2, dropout=0.1).eval()
    manifest = Manifest(
        modality="text" if reads is None else "fusion",
        axes=(Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0)),
        max_images=4,
        rubric="none",
        training_digest="none",
        n_train=0,
        text_encoder=name,
        max_tokens=MAX_TOKENS,
    )
    pixels = np.empty((0, 1, 1, 3), np.uint8)
    if reads is not None:
        manifest = dataclasses.replace(
            manifest,
            image_encoder=wanted.image,
            image_size=reads.size,
            image_preprocessing=reads.preprocessing,
        )
        decoded = [
            decode_square(data, reads.size, reads.preprocessing) for data in draw_photographs(32)
        ]
        pixels = np.stack(decoded)  # (32, S, S, 3)
    inputs = EncoderInputs(pixels, [tokenizer.encode(text).ids for text in real_captions(32)])
    posts = QuantizationPosts(inputs, inputs)
    return export_student(student, manifest, tokenizer, posts, folder)


if __name__ == "__main__":
    student_folder = Path(sys.argv[2])
    built = build_student(sys.argv[1], student_folder)
    print(f"{student_folder}: int8 {built.size_bytes('int8') / 1e6:.1f} MB")
