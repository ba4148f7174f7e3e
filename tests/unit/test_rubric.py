"""Rubric files: validation, prompt, reply schema and digest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postbias.errors import RubricError
from postbias.teacher.rubric import Rubric, load_rubric

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("gender_bias", "gender_bias_reworded", "gender_bias_zh", "one_axis")


def edited(tmp_path: Path, old: str, new: str, name: str = "one_axis") -> Path:
    text = (ROOT / "rubrics" / f"{name}.yaml").read_text()
    assert old in text
    path = tmp_path / "rubric.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_the_prompt_of_a_shipped_rubric_contains_every_question_anchor_and_example(
    name: str,
) -> None:
    rubric = load_rubric(ROOT / "rubrics" / f"{name}.yaml")
    prompt = rubric.render_prompt()
    for axis in rubric.axes:
        assert axis.question in prompt
        for anchor in axis.anchors:
            assert f"- {anchor.score:g}: {anchor.meaning}" in prompt
            assert all(example in prompt for example in anchor.examples)


@pytest.mark.parametrize("name", ["gender_bias_reworded", "gender_bias_zh"])
def test_a_variant_of_the_rubric_has_the_same_axes_scales_and_anchors(name: str) -> None:
    variant, default = (load_rubric(ROOT / "rubrics" / f"{n}.yaml") for n in (name, "gender_bias"))
    for own, other in zip(variant.axes, default.axes, strict=True):
        assert (own.name, own.low, own.high, own.step) == (
            other.name,
            other.low,
            other.high,
            other.step,
        )
        shape = [
            [(anchor.score, len(anchor.examples)) for anchor in axis.anchors]
            for axis in (own, other)
        ]
        assert shape[0] == shape[1]
    assert variant.digest != default.digest


def test_the_shipped_rubric_has_bias_as_main_axis_and_orientation_as_second() -> None:
    rubric = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
    assert rubric.axis_names == ("bias", "orientation")
    assert {(axis.low, axis.high) for axis in rubric.axes} == {(0, 10)}


def test_the_reply_schema_has_the_reason_first_and_allows_only_scores_on_the_scale() -> None:
    schema = load_rubric(ROOT / "rubrics" / "gender_bias.yaml").reply_schema()
    assert list(schema["properties"]) == ["reason", "bias", "orientation"]
    assert schema["required"] == ["reason", "bias", "orientation"]
    assert schema["properties"]["bias"] == {"type": "integer", "enum": list(range(11))}


def test_half_steps_give_a_scale_of_numbers(tmp_path: Path) -> None:
    rubric = load_rubric(edited(tmp_path, "step: 1", "step: 0.5"))
    assert rubric.axes[0].points == tuple(i / 2 for i in range(21))
    assert rubric.reply_schema()["properties"]["bias"]["type"] == "number"


def test_the_digest_depends_on_the_content_but_not_on_comments(tmp_path: Path) -> None:
    def digest(old: str, new: str) -> str:
        return load_rubric(edited(tmp_path, old, new)).digest

    unchanged = digest("# A rubric", "# Another comment on a rubric")
    assert unchanged == load_rubric(ROOT / "rubrics" / "one_axis.yaml").digest
    assert digest("Openly sexist.", "Plainly sexist.") != unchanged
    assert re.fullmatch(r"[0-9a-f]{12}", unchanged)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("      - score: 0\n", "      - score: 1\n", "first anchor must be at low"),
        ("score: 5", "score: 50", "anchors must ascend"),
        ("name: bias", "name: status", "is a column of"),
        ("name: bias", "name: bias_lo", "is a column of"),
        ("name: bias", "name: Bias", "should match pattern"),
        ("low: 0", "low: 11", "must be below high"),
        ("step: 1", "step: 0.3", "evenly"),
        ("step: 1", "step: 0.01", "at most 201 points"),
        ("step: 1", "step: .nan", "finite"),
        ("{axes}", "", "must contain {axes} exactly once"),
        ("version: 1", "version: one", "valid integer"),
        ("version: 1", "version: 1\ncolour: red", "colour: unknown key"),
        ("language: en", "language: English", "should match pattern"),
    ],
)
def test_each_fault_of_a_rubric_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(RubricError, match=re.escape(message)):
        load_rubric(edited(tmp_path, old, new))


def test_all_faults_of_a_rubric_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text("name: x\nversion: 0\naxes: [{name: bias, low: 0, high: 10, question: q}]\n")
    with pytest.raises(RubricError) as caught:
        load_rubric(path)
    for fault in ("version: ", "axes.0.anchors: missing", "prompt: missing", "reply: missing"):
        assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"axes: [", b"\xff\xfe", b"- 1", b"", b"d: 2020-01-01"])
def test_a_file_that_is_not_a_rubric_gives_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_bytes(content)
    with pytest.raises(RubricError, match="rubric") as caught:
        load_rubric(path)
    assert "\n" not in str(caught.value)


def test_a_missing_rubric_names_the_parameter_to_set(tmp_path: Path) -> None:
    with pytest.raises(RubricError, match=r"annotate\.rubric"):
        load_rubric(tmp_path / "none.yaml")


def test_axes_with_equal_names_are_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, "name: orientation", "name: bias", "gender_bias")
    with pytest.raises(RubricError, match="different names"):
        load_rubric(path)


def test_a_rubric_is_frozen() -> None:
    rubric = load_rubric(ROOT / "rubrics" / "one_axis.yaml")
    with pytest.raises(AttributeError):
        rubric.name = "other"  # type: ignore[misc]
    assert isinstance(rubric, Rubric)
