"""Train a fusion student and its two halves on one draw of a synthetic corpus, and test them."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from benchmarks.code_digest import ROOT, code_digest
from benchmarks.fusion_corpora import CORPORA, Posts, draw_posts

from postbias.axes import Axis
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.stats.bootstrap import Array
from postbias.student.dataset import Examples, PostDataset, tokenise_captions
from postbias.student.encoder_settings import load_tokenizer_of
from postbias.student.network import Student
from postbias.student.training import train_or_load
from postbias.student.training_setup import TrainingJob, TrainingSetup

#: In this order, a fusion student that starts from the others finds them in the store.
STUDENTS = ("text", "image", "fusion")

_STORE = ROOT / "store" / "fusion_trials"
_CODE = ("fusion_corpora.py", "fusion_training.py", "train")
_N_TEST = 2000
_VALID_SHARE = 0.2
_BATCH = 200
_AXIS = Axis("bias", 0, 10)


@dataclass(frozen=True, slots=True)
class Trial:
    """One draw of a corpus, and how students are trained on it.

    Attributes:
        corpus: Name of the corpus.
        n_labels: Number of posts for training and validation.
        draw: Number of the draw.
        params: Params as JSON.
    """

    corpus: str
    n_labels: int
    draw: int
    params: str

    @property
    def file(self) -> Path:
        """File of its result, named by everything that determines it."""
        described = [asdict(CORPORA[self.corpus]), asdict(self), code_digest(*_CODE)]
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        return _STORE / f"{digest.hexdigest()[:32]}.json"


def run(trial: Trial) -> None:
    """Train the three students of a trial, test them, and write the result.

    The result has `r2` by student, and `t`: the paired t statistic of the test posts' squared
    errors, positive if fusion is better than the better half.
    """
    logging.getLogger("postbias").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    params = Params.model_validate_json(trial.params)
    rng = np.random.default_rng([trial.draw, trial.n_labels])
    posts = draw_posts(CORPORA[trial.corpus], trial.n_labels + _N_TEST, rng)
    labels = posts.labels[trial.n_labels :]
    errors: dict[str, Array] = {}
    with tempfile.TemporaryDirectory(prefix="postbias-trial-") as folder:
        for modality in STUDENTS:
            setup, test = _open_setup(posts, trial.n_labels, params, modality, Path(folder))
            trained = train_or_load(setup, (_AXIS,), lambda _: nullcontext(lambda *_: None))
            errors[modality] = (_score(trained.student, test) - labels) ** 2
    r2 = {modality: 1 - squared.mean() / labels.var() for modality, squared in errors.items()}
    gain = errors["text" if r2["text"] > r2["image"] else "image"] - errors["fusion"]
    t = gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain))) if gain.any() else 0.0
    write_json(trial.file, {"r2": r2, "t": t})


def _open_setup(
    posts: Posts, n_labels: int, params: Params, modality: str, folder: Path
) -> tuple[TrainingSetup, Examples]:
    """Return the training setup of a student, and the test posts."""
    n_train = n_labels - round(_VALID_SHARE * n_labels)
    tokenizer = load_tokenizer_of(params.train, posts.captions[:n_train])
    tokens = tokenise_captions(posts.captions, tokenizer, params.train.max_tokens)

    def examples(start: int, stop: int) -> Examples:
        return Examples(
            post_ids=tuple(f"p{row}" for row in range(start, stop)),
            token_ids=tokens[start:stop],
            pixels=posts.pixels[start:stop],
            image_rows=tuple(range(row, row + 1) for row in range(stop - start)),
            labels=posts.labels[start:stop, None].astype(np.float32),
        )

    job = TrainingJob(Paths(folder, folder), params, modality, folder)
    setup = TrainingSetup(job, tokenizer, examples(0, n_train), examples(n_train, n_labels))
    return setup, examples(n_labels, n_labels + _N_TEST)


@torch.no_grad()
def _score(student: Student, test: Examples) -> Array:
    """Score posts with a student, clipped to the axis as an artifact's scores are. (n,)."""
    student.eval()
    posts = PostDataset(test, range(len(test)))
    scores = []
    for start in range(0, len(posts), _BATCH):
        batch = PostDataset.collate([posts[i] for i in range(start, start + _BATCH)])
        del batch["labels"]
        scores.append(student(**batch)[:, 0].numpy())
    return np.clip(np.concatenate(scores).astype(float), _AXIS.low, _AXIS.high)
