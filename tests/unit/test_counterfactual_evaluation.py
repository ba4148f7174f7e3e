"""Swapped words and images in the evaluation of a small repository."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.tiny_artifact import AXES
from tests.unit import evaluation_corpus as corpus

from postbias.demo.ground_truth import Cues, draw_cues
from postbias.demo.random_states import STATES, save_generator, states_column
from postbias.errors import InputError
from postbias.evaluation.counterfactuals import CaptionSample, measure_counterfactuals
from postbias.evaluation.evaluate import evaluate
from postbias.evaluation.evaluation_json import evaluation_to_json, headline_metrics
from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.word_swaps import load_word_pairs
from postbias.paths import Paths
from postbias.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return corpus.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def copied(template: Paths, tmp_path: Path) -> Paths:
    root = tmp_path / "copy"
    shutil.copytree(template.root, root)
    return Paths(root, root)


def _write_pairs(folder: Path, n_scenes: int) -> None:
    rng = np.random.default_rng(2)
    rows = ["file,scene,gender"]
    for scene in range(n_scenes):
        for gender in ("man", "woman"):
            colour = tuple(rng.integers(256, size=3).tolist())
            image = Image.new("RGB", (30, 30), colour)
            image.save(folder / f"{scene}_{gender}.png")
            rows.append(f"{scene}_{gender}.png,scene {scene},{gender}")
    (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")


def test_paired_images_are_measured_for_every_student_that_reads_images(copied: Paths) -> None:
    _write_pairs(copied.root / "rubrics" / "image_pairs", 40)
    evaluation = evaluate(copied, corpus.demo_params())
    report = evaluation_to_json(evaluation)
    assert set(report["image_audit"]) == {"fusion", "image"}
    for by_source in report["image_audit"].values():
        assert set(by_source) == {"pairs"}
        result = by_source["pairs"]
        assert (result["n"], result["units"], result["unscored"]) == (40, 40, 0)
        assert result["judged"]
        assert 0 < result["change"]["lo"] < result["change"]["value"] < result["change"]["hi"]
        assert len(result["scenes"]) == 40
        assert result["control"] is None  # one pair per scene
        changes = [scene["change"]["value"] for scene in result["scenes"].values()]
        assert np.mean(changes) == pytest.approx(result["change"]["value"])
    line = report["gate"]["image_pairs_change"]
    assert line["value"] == report["image_audit"]["fusion"]["pairs"]["change"]["value"]
    assert line["limit"] == report["gate"]["repeat_change"]["limit"] - 0.02 == 0.08
    assert "image_swap_change" not in report["gate"]
    headlines = headline_metrics(report)
    assert headlines["image_audit.image.pairs_change"] > 0


def test_images_of_the_demo_are_redrawn_and_measured(copied: Paths) -> None:
    ids = [corpus.post_id(i) for i in range(corpus.N)]
    cues = draw_cues(corpus.N, np.random.default_rng(3))
    columns = {field.name: pa.array(getattr(cues, field.name)) for field in fields(Cues)}
    states = [
        [save_generator(np.random.default_rng(i))] * int(cues.has_picture[i])
        for i in range(corpus.N)
    ]
    table = pa.table({"post_id": ids, **columns, STATES: states_column(states)})
    pq.write_table(table, copied.sampled_file("data/truth.parquet"))
    evaluation = evaluate(copied, corpus.demo_params())
    report = evaluation_to_json(evaluation)
    rows = [ids.index(post_id) for post_id in evaluation.test_set.fold.post_ids]
    for student in ("fusion", "image"):
        result = report["image_audit"][student]["redrawn"]
        assert result["n"] == np.count_nonzero(cues.figure[rows])
        assert 10 < result["units"] <= 50
        assert result["control"] is None
        assert result["change"]["lo"] <= result["change"]["value"] <= result["change"]["hi"]
        assert sum(scene["n"] for scene in result["scenes"].values()) == result["n"]
    change = report["image_audit"]["fusion"]["redrawn"]["change"]["value"]
    assert report["gate"]["image_swap_change"]["value"] == change
    assert {"image_swap_direction"} == {
        name for name in report["gate"] if name.startswith("image_")
    } - {"image_swap_change"}


def test_without_pairs_no_image_is_audited(template: Paths) -> None:
    report = evaluation_to_json(evaluate(template, corpus.demo_params()))
    assert report["image_audit"] == {"fusion": {}, "image": {}}
    assert not any(name.startswith("image_") for name in report["gate"])


def test_a_folder_of_pairs_that_is_not_there_stops_the_evaluation(copied: Paths) -> None:
    shutil.rmtree(copied.root / "rubrics" / "image_pairs")
    with pytest.raises(InputError, match=r"cannot read the table of paired images"):
        evaluate(copied, corpus.demo_params())


def test_captions_are_counted_as_swapped_unswapped_or_unaudited(template: Paths) -> None:
    captions = ["a woman", "no such word", "kobieta i on", "ok", " ", "una mujer", "nada"]
    languages = ["en", "en", "pl", "unknown", "unknown", "es", "es"]
    ids = tuple(f"p{number}" for number in range(len(captions)))
    fold = LabelledFold(ids, ids, tuple(captions), np.zeros((len(ids), 2)))
    test = EvaluationSet.create(fold, AXES, 50, np.random.default_rng(0))
    sample = CaptionSample(
        rows=np.arange(len(ids)),
        languages=languages,
        pairs=load_word_pairs(template.root / "rubrics" / "gender_words.csv"),
        orientation="orientation",
    )
    with Scorer.open(template.students / "text") as scorer:
        swaps = measure_counterfactuals(test, scorer, sample).swaps
    assert swaps.languages == {"en": 1, "es": 1}
    assert swaps.unswapped == {"en": 1, "es": 1}
    assert swaps.unaudited == {"pl": 1, "unknown": 1}


def test_every_sampled_caption_of_the_evaluation_is_counted_once(template: Paths) -> None:
    evaluation = evaluate(template, corpus.demo_params())
    swap = evaluation_to_json(evaluation)["audit"]["text"]["swap"]
    counts = Counter(swap["languages"]) + Counter(swap["unswapped"]) + Counter(swap["unaudited"])
    captions = evaluation.test_set.fold.captions
    assert sum(counts.values()) == sum(bool(caption.strip()) for caption in captions)
