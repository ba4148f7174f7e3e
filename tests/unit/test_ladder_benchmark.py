"""benchmarks/ladder.py prepares posts of which only some have a label, and valid parameters."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import ladder

from postbias.params import Params
from postbias.paths import Paths
from postbias.student.fold_labels import read_fold_labels


def _options(corpus: str, data: Path) -> Namespace:
    return Namespace(corpus=corpus, data=data, labels=80, encoder=data / "encoder", threads=1)


def test_some_posts_of_the_train_fold_lose_their_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(500)])
    posts = pd.DataFrame(
        {
            "post_id": [f"p{n:03d}" for n in range(300)],
            "caption": [" ".join(rng.choice(words, 9)) for _ in range(300)],
            "bias": rng.choice([0, 10], 300),
            "fold": np.repeat(["train", "dev", "test"], [200, 50, 50]),
        }
    )
    posts.to_csv(tmp_path / "edos.csv", index=False)
    options = _options("edos", tmp_path)
    paths = Paths(tmp_path / "work", tmp_path / "work")
    ladder.prepare_edos(paths, ladder.base_params(options, "text"), options)
    folds = read_fold_labels(paths)
    # Part of the given dev fold becomes calib, as the split does it.
    assert len(folds["train"]) == 80
    assert len(folds["valid"]) + len(folds["calib"]) == 50
    assert ladder.count_posts(paths) == (80, 120)
    label_of = dict(zip(posts["post_id"], posts["bias"], strict=True))
    assert all(values[0] == label_of[post_id] for post_id, values in folds["train"].items())


@pytest.mark.parametrize("corpus", ["demo", "edos"])
def test_the_settings_of_every_student_are_valid(corpus: str, tmp_path: Path) -> None:
    base = ladder.base_params(_options(corpus, tmp_path), "text").model_dump(mode="json")
    if corpus == "demo":
        base["train"]["text_encoder"] = "scratch"
    students = ladder.STUDENTS[corpus]
    on_ladder = {"distil_from": ladder.FULL, "transfer": 10}
    for settings in (
        students["full"],
        students["pocket"],
        {**students["pocket"], **students["ladder"], **on_ladder},
    ):
        text = json.dumps(base | {"train": base["train"] | settings})
        assert Params.model_validate_json(text).train.head_hidden > 0
