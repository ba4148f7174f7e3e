"""Properties that every trained student must have: invariance, direction, use of its inputs."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from postbias.errors import GateError
from postbias.evaluation.evaluate import Evaluation, evaluate
from postbias.evaluation.evaluation_json import evaluation_to_json, slice_rows
from postbias.evaluation.outputs import write_champion, write_evaluation
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.schema import labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.distillation import distil_student

Trained = tuple[Paths, Params]


@pytest.fixture(scope="module")
def evaluation(trained: Trained) -> Evaluation:
    return evaluate(*trained)


def test_the_fusion_student_is_chosen_and_passes_the_gate(evaluation: Evaluation) -> None:
    failed = {name: line for name, line in evaluation.gate.items() if not line.is_passed}
    assert evaluation.chosen == "fusion"
    assert failed == {}
    assert {"uses_image", "uses_caption", "swap_change", "swap_direction"} <= set(evaluation.gate)


def test_the_fusion_student_is_much_worse_if_either_modality_is_shuffled(
    evaluation: Evaluation,
) -> None:
    checks = evaluation_to_json(evaluation)["checks"]
    for check in ("shuffled_image", "shuffled_caption"):
        loss = checks[check]["loss"]
        assert loss["lo"] > 0
        assert loss["p"] < 0.01
        assert checks[check]["shuffled"]["value"] > 1.5 * checks[check]["intact"]["value"]


def test_without_images_the_fusion_student_is_about_as_good_as_the_text_student(
    evaluation: Evaluation,
) -> None:
    """Posts without caption are not compared: no image student was trained here."""
    report = evaluation_to_json(evaluation)
    assert set(report["missing"]) == {"image"}
    missing = report["missing"]["image"]
    difference = missing["fusion"]["value"] - missing["text"]["value"]
    assert missing["loss"]["value"] == pytest.approx(difference)
    assert missing["n"] == report["checks"]["shuffled_image"]["n"]
    # Small compared with the contribution of the image.
    assert missing["loss"]["value"] < 0.2 * missing["fusion"]["value"]
    assert missing["fusion"]["value"] > report["students"]["fusion"]["test"]["bias"]["mae"]["value"]


def test_more_feminine_words_raise_the_orientation_and_hardly_change_the_bias(
    evaluation: Evaluation,
) -> None:
    for audit in evaluation_to_json(evaluation)["audit"].values():
        assert audit["swap"]["judged"]
        assert audit["swap"]["shift"]["lo"] > 1
        assert audit["swap"]["right"]["value"] > 0.9
        assert audit["swap"]["change"]["value"] < 0.15
        change = audit["swap"]["change"]["value"] * 10
        assert change < audit["swap"]["shift"]["value"] / 2


def test_odd_captions_are_scored_and_empty_ones_are_not(
    evaluation: Evaluation,
) -> None:
    for audit in evaluation_to_json(evaluation)["audit"].values():
        assert audit["faults"] == []
        assert audit["odd"]["empty"] == audit["odd"]["blank"] == "no_content"
        assert audit["odd"]["very_long"] == audit["odd"]["emoji"] == "ok"


def test_coverage_is_near_nominal_for_each_axis_and_group(evaluation: Evaluation) -> None:
    for by_axis in evaluation_to_json(evaluation)["coverage"].values():
        for by_group in by_axis.values():
            assert 0.8 < by_group["all"]["coverage"]["value"] <= 1
            assert by_group["all"]["n"] == sum(
                entry["n"] for group, entry in by_group.items() if group != "all"
            )


def test_the_slices_of_a_dimension_contain_each_scored_post_once(evaluation: Evaluation) -> None:
    report = evaluation_to_json(evaluation)
    for name, dimensions in report["slices"].items():
        assert set(dimensions) == {
            "sponsored",
            "language",
            "media_type",
            "caption_length",
            "n_images",
            "modalities",
        }
        for slices in dimensions.values():
            assert (
                sum(entry["n"] for entry in slices.values())
                == report["students"][name]["n"]["test"]
            )
    rows = list(slice_rows(report))
    assert {row["value"] for row in rows if row["dimension"] == "sponsored"} == {"yes", "no"}
    assert all(row["tiny"] for row in rows if row["n"] < 30)


def test_a_score_does_not_depend_on_the_batch_or_on_surrounding_whitespace(
    trained: Trained,
) -> None:
    paths, _ = trained
    captions = ["women belong in the kitchen", "river coffee", "men walk the lake", "x" * 5000]
    with Scorer.open(paths.students / "text") as scorer:
        alone = [scorer.score([PostInput(caption)])[0] for caption in captions]
        batched = scorer.score([PostInput(f"  {caption}\n") for caption in captions])
    assert [post.scores for post in alone] == [post.scores for post in batched]


def _uninformative(old: np.ndarray, kind: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    return {
        "random": rng.uniform(0, 10, old.shape),
        "constant": np.full(old.shape, 7.5),
        "shuffled": rng.permutation(old),
    }[kind]


@pytest.mark.parametrize("kind", ["random", "constant", "shuffled"])
def test_students_of_uninformative_labels_fail_the_gate(
    trained: Trained, tmp_path: Path, kind: str
) -> None:
    """Train and evaluate on the same uninformative labels, as the pipeline would."""
    paths, params = trained
    ignored = shutil.ignore_patterns("store", "students")
    shutil.copytree(paths.root, tmp_path / "copy", ignore=ignored)
    copied = Paths(tmp_path / "copy", tmp_path / "copy")
    schema = labels_schema(("bias", "orientation"))
    table = read_table(copied.labels, schema)
    for axis in ("bias", "orientation"):
        new = _uninformative(table[axis].to_numpy(), kind)
        table = table.set_column(table.schema.get_field_index(axis), axis, [new])
    write_table(table, copied.labels, schema)
    train = params.train.model_copy(update={"modalities": ("text",), "epochs": 3})
    params = params.model_copy(update={"train": train})
    distil_student(copied, params, "text", lambda _: nullcontext(lambda *_: None))
    evaluation = evaluate(copied, params)
    write_evaluation(evaluation, copied)
    with pytest.raises(GateError, match="beats_constant"):
        write_champion(evaluation, copied)
    assert not copied.champion.exists()
