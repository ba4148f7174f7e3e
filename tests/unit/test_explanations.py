"""Explanations: exact on students that are known, within a budget, refused if they failed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.post_shards import jpeg
from tests.tiny_artifact import AXES, write_tiny_artifact

import postbias
from postbias.errors import InputError
from postbias.explanation.explain import MAX_CALLS, explain_post
from postbias.explanation.explanation_records import Explanation
from postbias.explanation.faithfulness_verdicts import VERDICTS, read_verdicts
from postbias.explanation.image_regions import mean_colour
from postbias.explanation.text_spans import PLACEHOLDER
from postbias.posts.images import decode_square
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer

RNG = np.random.default_rng(0)
IMAGES = tuple(jpeg(RNG) for _ in range(10))
CAPTION = "Real men don't cook, full stop. #ad"


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    for modality in ("fusion", "text", "image"):
        write_tiny_artifact(folder / modality, modality)  # type: ignore[arg-type]
    write_tiny_artifact(folder / "additive", "text", is_additive=True)
    return folder


def explain(folder: Path, post: PostInput, axis: str | None = None) -> Explanation:
    with Scorer.open(folder) as scorer:
        return explain_post(scorer, post, axis)


def test_the_words_of_an_additive_student_are_explained_exactly(students: Path) -> None:
    folder = students / "additive"
    constants = {
        (graph, each.name): numpy_helper.to_array(each)
        for graph, file in (("text", "onnx/int8/text.onnx"), ("head", "onnx/head.onnx"))
        for each in onnx.load(folder / file).graph.initializer
    }
    of_token = constants["text", "table"] @ constants["head", "weight"][:-1]  # (V, A)
    for column, axis in enumerate(AXES):
        explanation = explain(folder, PostInput(CAPTION), axis.name)
        assert [word.text for word in explanation.words] == [
            "Real", "men", "don't", "cook", "full", "stop", "#ad",
        ]  # fmt: skip
        with Scorer.open(folder) as scorer:
            for word in explanation.words:
                tokens, mask = (
                    scorer.graphs.tokenize(text)[1:-1] for text in (word.text, PLACEHOLDER)
                )
                expected = of_token[tokens, column].sum() - of_token[mask, column].sum()
                assert word.contribution == pytest.approx(expected, abs=1e-4)


def test_the_regions_of_a_linear_student_are_explained_exactly(students: Path) -> None:
    folder = students / "image"
    weight = next(
        numpy_helper.to_array(each)
        for each in onnx.load(folder / "onnx/head.onnx").graph.initializer
        if each.name == "weight"
    )
    pixels = decode_square(IMAGES[0], 16).astype(np.float64)
    difference = (pixels - mean_colour(pixels.astype(np.uint8))) / 255 * 1.02 / pixels[:, :, 0].size
    explanation = explain(folder, PostInput("", IMAGES[:1]))
    for region in explanation.regions:
        left, top, right, bottom = (round(16 * side) for side in region.box)
        expected = difference[top:bottom, left:right].sum(axis=(0, 1)) @ weight[:3, 0]
        assert region.contribution == pytest.approx(expected, abs=1e-4)
    assert sum(_area(region.box) for region in explanation.regions) == pytest.approx(1)


def _area(box: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


@pytest.mark.parametrize("modality", ["fusion", "text", "image"])
def test_shares_are_the_shapley_values_of_the_scores_of_the_parts(
    students: Path, modality: str
) -> None:
    both, caption, images = (
        PostInput(CAPTION, IMAGES[:2]),
        PostInput(CAPTION),
        PostInput("", IMAGES[:2]),
    )
    shares = explain(students / modality, both).shares
    assert shares is not None
    nothing = shares.baseline

    def value(post: PostInput) -> float:
        with Scorer.open(students / modality) as scorer:
            (result,) = scorer.score([post])
        return result.scores["bias"].value if result.status == "ok" else nothing

    of_caption = (value(caption) - nothing + value(both) - value(images)) / 2
    assert shares.caption == pytest.approx(of_caption, abs=1e-5)
    assert nothing + shares.caption + shares.image == pytest.approx(value(both), abs=1e-5)
    assert nothing == pytest.approx(5.0)  # the constant of the tiny student
    if modality == "text":
        assert shares.image == 0
    if modality == "image":
        assert shares.caption == 0


@pytest.mark.parametrize("seed", range(12))
def test_captions_in_phrases_leave_fewer_calls_for_regions(students: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = []
    for length in (8, 5, 5, 3, 1, 1, 1, 1):  # more words than are masked one by one
        words += [*rng.choice(list("aeiou"), length - 1), f"{rng.choice(list('aeiou'))}."]
    post = PostInput(" ".join(words), IMAGES[:1])
    assert explain(students / "fusion", post).n_calls <= MAX_CALLS


@pytest.mark.parametrize(
    "post",
    [
        PostInput(CAPTION),
        PostInput("", IMAGES[:1]),
        PostInput("المرأة مكانها المطبخ، والرجل يعمل 🚫", IMAGES[:1]),
        PostInput("女の子は料理が上手であるべきだ。" * 40, IMAGES[:2]),
        PostInput("👩‍👩‍👧‍👦🇩🇪👍🏽✨" * 30),
        PostInput("word " * 5000, IMAGES),
        PostInput("a,b." * 4000, IMAGES[:1]),
        PostInput("?!... #", (b"broken", *IMAGES[:3])),
        PostInput("\u202eevil\u200b\x00\ud800 text", IMAGES[:1]),
        PostInput("x"),
        PostInput("#" * 300),
    ],
)
@pytest.mark.parametrize("modality", ["fusion", "text", "image"])
def test_any_post_is_explained_within_sixty_calls(
    students: Path, modality: str, post: PostInput
) -> None:
    explanation = explain(students / modality, post)
    assert explanation.n_calls <= MAX_CALLS == 60
    if not explanation.is_scored:
        assert (explanation.words, explanation.regions, explanation.shares) == ((), (), None)
        return
    for word in explanation.words:
        assert word.text == explanation.text[word.start : word.end]
    starts = [word.start for word in explanation.words]
    assert starts == sorted(starts)
    for image in {region.image for region in explanation.regions}:
        boxes = [region.box for region in explanation.regions if region.image == image]
        assert sum(map(_area, boxes)) == pytest.approx(1)
    numbers = [part.contribution for part in (*explanation.words, *explanation.regions)]
    assert np.isfinite(numbers).all()
    json.dumps(explanation.as_json(), allow_nan=False)
    (score,) = score_alone(students / modality, post)
    assert explanation.score == score


def score_alone(folder: Path, post: PostInput) -> list[postbias.PostScore]:
    with Scorer.open(folder) as scorer:
        return scorer.score([post])


def test_a_post_without_content_has_no_explanation(students: Path) -> None:
    for post in (PostInput(""), PostInput(" \n", (b"broken",))):
        explanation = explain(students / "fusion", post)
        assert not explanation.is_scored
        assert explanation.n_calls == 0


def test_long_text_is_explained_word_by_word_where_it_matters(students: Path) -> None:
    words = " ".join(["ab", "ba", "cd"] * 10)
    text = explain(students / "text", PostInput(words))
    assert len(text.words) == 30  # all fit into the budget
    with_image = explain(students / "fusion", PostInput(words, IMAGES[:1]))
    lengths = [len(part.text.split()) for part in with_image.words]
    assert sum(lengths) == 30
    assert min(lengths) == 1
    assert max(lengths) > 1


def test_text_beyond_the_limit_of_tokens_is_not_explained_and_a_note_says_so(
    students: Path,
) -> None:
    explanation = explain(students / "text", PostInput("ab " * 200))
    assert explanation.words[-1].end < len(explanation.text)
    assert any("too long" in note for note in explanation.notes)


def test_images_that_cannot_be_read_keep_their_number(students: Path) -> None:
    explanation = explain(students / "fusion", PostInput("", (b"broken", *IMAGES[:2])))
    assert {region.image for region in explanation.regions} == {1, 2}


def test_an_unknown_axis_is_refused(students: Path) -> None:
    with pytest.raises(InputError, match="no such axis"):
        explain(students / "text", PostInput("hello"), "colour")


@pytest.mark.parametrize(
    ("faithful", "n_words", "n_regions", "sentences"),
    [
        ({"words": True, "regions": True}, 7, 28, []),
        ({"words": False, "regions": True}, 0, 28, ["the words are not shown"]),
        ({"words": True, "regions": False}, 7, 0, ["the regions are not shown"]),
        ({"words": True}, 7, 28, ["not tested whether the regions"]),
        (None, 7, 28, ["not tested whether the words", "not tested whether the regions"]),
    ],
)
def test_what_failed_its_test_is_not_shown(
    tmp_path: Path,
    faithful: dict[str, bool] | None,
    n_words: int,
    n_regions: int,
    sentences: list[str],
) -> None:
    artifact = write_tiny_artifact(tmp_path / "student")
    if faithful is not None:
        content = {"digest": artifact.digest, "axis": "bias", "faithful": faithful}
        (tmp_path / "student" / VERDICTS).write_text(json.dumps(content), encoding="utf-8")
    with postbias.load(tmp_path / "student") as model:
        explanation = model.explain({"caption": CAPTION, "image": IMAGES[0]})
        other = model.explain(CAPTION, "orientation")
    assert len(explanation.words) == n_words
    assert len(explanation.regions) >= n_regions
    assert bool(explanation.regions) == bool(n_regions)
    assert len(explanation.notes) == len(sentences)
    for note, sentence in zip(explanation.notes, sentences, strict=True):
        assert sentence in note
    assert explanation.shares is not None
    assert len(other.words) == 7  # another axis was not tested, so nothing is refused
    assert len(other.notes) == 1


def test_the_tests_of_another_student_do_not_count(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path / "student")
    assert read_verdicts(artifact) is None
    file = tmp_path / "student" / VERDICTS
    for content in ('{"digest": "0", "axis": "bias", "faithful": {}}', "[]", "not JSON"):
        file.write_text(content, encoding="utf-8")
        assert read_verdicts(artifact) is None


def test_a_student_of_the_pipeline_is_found_in_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    artifact = write_tiny_artifact(tmp_path / "build" / "students" / "text", "text")
    report = {
        "main": {"axis": "bias"},
        "students": {"text": {"digest": artifact.digest}, "image": {"digest": "other"}},
        "explanations": {
            "image": {"regions": {"faithful": True}},
            "text": {"words": {"faithful": False}, "regions": {"faithful": None}},
        },
    }
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "evaluate.json").write_text(json.dumps(report), encoding="utf-8")
    verdicts = read_verdicts(Artifact.open(artifact.folder))
    assert verdicts is not None
    assert (verdicts.axis, verdicts.is_faithful) == ("bias", {"words": False})
