"""Ways to learn binary labels of captions: two linear baselines and the pipeline's students.

Each method is a function of a prepared repository that scores every post of its test fold. The
baselines learn from all other posts that the split kept; the pipeline divides these into train,
valid and calib.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from postbias.axes import Axis
from postbias.evaluation.baselines import RIDGE_PENALTIES, TOKEN_PATTERN
from postbias.evaluation.labelled_folds import LabelledFold, load_labelled_folds, score_folds
from postbias.params import Params
from postbias.paths import Paths
from postbias.scoring.scorer import Scorer
from postbias.student.compute_device import uses_bf16
from postbias.student.dataset import tokenise_captions
from postbias.student.distillation import distil_student
from postbias.student.encoder_settings import load_text_encoder_of, load_tokenizer_of

_AXES = (Axis("bias", 0, 10),)
_TOKENS_PER_BATCH = 4096

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a method.

    Attributes:
        scores: Score by post id of the test fold.
        precision: Precision in which the student's encoder ships; None for a baseline.
    """

    scores: Mapping[str, float]
    precision: str | None = None


def score_tfidf_ridge(paths: Paths, _: Params) -> Result:
    """Score with ridge regression on the TF-IDF weights of words and word pairs."""
    captions, labels, test = _read(paths)
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=TOKEN_PATTERN
    )
    model = GridSearchCV(
        make_pipeline(vectorizer, Ridge(solver="sparse_cg")), {"ridge__alpha": RIDGE_PENALTIES}
    )
    return _result(test, model.fit(captions, labels).predict(test.captions))


def score_frozen_features(paths: Paths, params: Params) -> Result:
    """Score with ridge regression on embeddings of the pretrained text encoder."""
    captions, labels, test = _read(paths)
    torch.set_num_threads(params.threads)
    embeddings = embed([*captions, *test.captions], params)
    model = RidgeCV(np.logspace(-2, 4, 13)).fit(embeddings[: len(captions)], labels)
    return _result(test, model.predict(embeddings[len(captions) :]))


def score_student(paths: Paths, params: Params) -> Result:
    """Train a student as the stage `train` does, and score with its int8 artifact."""
    (modality,) = params.train.modalities
    distil_student(paths, params, modality, lambda _: nullcontext(lambda *_: None))
    test = load_labelled_folds(paths, _AXES)["test"]
    with Scorer.open(paths.students / modality, threads=params.threads) as scorer:
        (scored,) = score_folds(paths, [(scorer, test)], _AXES)
        precision = scorer.manifest.precision["text"].ships
    return _result(test, scored.by_axis["bias"].values, precision)


@torch.no_grad()
def embed(captions: list[str], params: Params) -> NDArray[np.float32]:
    """Embed captions with the text encoder of the params, without training it.

    Returns:
        Embeddings (n, D).
    """
    tokenizer = load_tokenizer_of(params.train, captions)
    encoder = load_text_encoder_of(params.train, tokenizer).eval()
    tokens = tokenise_captions(captions, tokenizer, params.train.max_tokens)
    embeddings = np.zeros((len(captions), encoder.dim), np.float32)
    order = sorted((row for row in range(len(tokens)) if tokens[row]), key=lambda r: len(tokens[r]))
    while order:
        size = max(1, _TOKENS_PER_BATCH // len(tokens[order[-1]]))
        rows = order[-size:]
        del order[-size:]
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(tokens[row]) for row in rows], batch_first=True
        )
        lengths = torch.tensor([len(tokens[row]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=uses_bf16("auto", "cpu")):
            embeddings[rows] = encoder(ids, mask).numpy()
    return embeddings


def _read(paths: Paths) -> tuple[list[str], Floats, LabelledFold]:
    """Return captions and labels to learn from, and the test fold."""
    folds = load_labelled_folds(paths, _AXES)
    known = [folds[fold] for fold in ("train", "valid", "calib")]
    captions = [caption for fold in known for caption in fold.captions]
    return captions, np.concatenate([fold.labels[:, 0] for fold in known]), folds["test"]


def _result(test: LabelledFold, values: Floats, precision: str | None = None) -> Result:
    """Arrange scores by post id; a post without a score would have to be a reject."""
    if not np.isfinite(values).all():
        raise ValueError(f"{np.isnan(values).sum()} posts of the test fold have no score")
    scores = dict(zip(test.post_ids, np.asarray(values, float).tolist(), strict=True))
    return Result(scores, precision)
