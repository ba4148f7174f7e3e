"""What a trained student must do, whatever its weights are: invariance, direction, evidence."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from postbias.errors import GateError
from postbias.evaluation.evaluate import Evaluation, evaluate
from postbias.evaluation.evaluation_json import as_report, slice_rows
from postbias.evaluation.outputs import promote, write_outcome
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.schema import labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.distillation import distil_student

Behaved = tuple[Paths, Params]


@pytest.fixture(scope="module")
def found(behaved: Behaved) -> Evaluation:
    return evaluate(*behaved)


def test_the_fusion_student_is_chosen_and_passes_the_gate(found: Evaluation) -> None:
    failed = {name: line for name, line in found.gate.items() if not line.passed}
    assert found.chosen == "fusion"
    assert failed == {}
    assert {"uses_image", "uses_caption", "swap_change", "swap_direction"} <= set(found.gate)


def test_shuffling_either_branch_costs_the_fusion_student_much(found: Evaluation) -> None:
    checks = as_report(found)["checks"]
    for check in ("shuffled_image", "shuffled_caption"):
        loss = checks[check]["loss"]
        assert loss["lo"] > 0
        assert loss["p"] < 0.01
        assert checks[check]["shuffled"]["value"] > 1.5 * checks[check]["intact"]["value"]


def test_without_pictures_the_fusion_student_stands_beside_the_text_student(
    found: Evaluation,
) -> None:
    """No image student was trained here: nothing to compare posts without caption with."""
    report = as_report(found)
    assert set(report["missing"]) == {"image"}
    missing = report["missing"]["image"]
    difference = missing["fusion"]["value"] - missing["text"]["value"]
    assert missing["loss"]["value"] == pytest.approx(difference)
    assert missing["n"] == report["checks"]["shuffled_image"]["n"]
    # Beside what a picture is worth, next to nothing.
    assert missing["loss"]["value"] < 0.2 * missing["fusion"]["value"]
    assert missing["fusion"]["value"] > report["students"]["fusion"]["test"]["bias"]["mae"]["value"]


def test_more_feminine_words_raise_the_orientation_and_leave_the_bias(found: Evaluation) -> None:
    for audit in as_report(found)["audit"].values():
        assert audit["swap"]["judged"]
        assert audit["swap"]["shift"]["lo"] > 1
        assert audit["swap"]["right"]["value"] > 0.9
        assert audit["swap"]["change"]["value"] < 0.15
        moved = audit["swap"]["change"]["value"] * 10
        assert moved < audit["swap"]["shift"]["value"] / 2


def test_every_odd_caption_is_survived_and_nothing_is_scored_from_nothing(
    found: Evaluation,
) -> None:
    for audit in as_report(found)["audit"].values():
        assert audit["faults"] == []
        assert audit["odd"]["empty"] == audit["odd"]["blank"] == "no_content"
        assert audit["odd"]["very_long"] == audit["odd"]["emoji"] == "ok"


def test_coverage_is_near_what_was_promised_by_axis_and_group(found: Evaluation) -> None:
    for by_axis in as_report(found)["coverage"].values():
        for by_group in by_axis.values():
            assert 0.8 < by_group["all"]["coverage"]["value"] <= 1
            assert by_group["all"]["n"] == sum(
                one["n"] for group, one in by_group.items() if group != "all"
            )


def test_slices_of_a_dimension_hold_every_scored_post_once(found: Evaluation) -> None:
    report = as_report(found)
    for name, dimensions in report["slices"].items():
        assert set(dimensions) == {
            "sponsored",
            "language",
            "media_type",
            "caption_length",
            "n_images",
            "modalities",
        }
        for kinds in dimensions.values():
            assert sum(one["n"] for one in kinds.values()) == report["students"][name]["n"]["test"]
    rows = list(slice_rows(report))
    assert {row["value"] for row in rows if row["dimension"] == "sponsored"} == {"yes", "no"}
    assert all(row["tiny"] for row in rows if row["n"] < 30)


def test_a_caption_scores_the_same_with_other_posts_around_it_and_other_spaces(
    behaved: Behaved,
) -> None:
    paths, _ = behaved
    captions = ["women belong in the kitchen", "river coffee", "men walk the lake", "x" * 5000]
    with Scorer.open(paths.students / "text") as scorer:
        alone = [scorer.score([PostInput(caption)])[0] for caption in captions]
        together = scorer.score([PostInput(f"  {caption}\n") for caption in captions])
    assert [one.scores for one in alone] == [one.scores for one in together]


def _meaningless(old: np.ndarray, kind: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    return {
        "random": rng.uniform(0, 10, old.shape),
        "constant": np.full(old.shape, 7.5),
        "shuffled": rng.permutation(old),
    }[kind]


@pytest.mark.parametrize("kind", ["random", "constant", "shuffled"])
def test_students_of_labels_that_mean_nothing_fail_the_gate(
    behaved: Behaved, tmp_path: Path, kind: str
) -> None:
    """Trained on them and judged on them, as the pipeline would."""
    paths, params = behaved
    ignored = shutil.ignore_patterns("store", "students")
    shutil.copytree(paths.root, tmp_path / "copy", ignore=ignored)
    copied = Paths(tmp_path / "copy", tmp_path / "copy")
    schema = labels_schema(("bias", "orientation"))
    table = read_table(copied.labels, schema)
    for axis in ("bias", "orientation"):
        new = _meaningless(table[axis].to_numpy(), kind)
        table = table.set_column(table.schema.get_field_index(axis), axis, [new])
    write_table(table, copied.labels, schema)
    train = params.train.model_copy(update={"modalities": ("text",), "epochs": 3})
    params = params.model_copy(update={"train": train})
    distil_student(copied, params, "text", lambda _: nullcontext(lambda *_: None))
    evaluation = evaluate(copied, params)
    write_outcome(evaluation, copied)
    with pytest.raises(GateError, match="beats_constant"):
        promote(evaluation, copied)
    assert not copied.champion.exists()
