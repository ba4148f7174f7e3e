"""Tests of explanations: removal curves, planted cues and their summary over authors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.explained_posts import ExplainedPosts
from postbias.evaluation.explanation_json import faithfulness_to_json
from postbias.evaluation.faithfulness import MIN_EXPLAINED_POSTS, measure_faithfulness
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.planted_cues import PlantedCues, find_planted_objects, find_words
from postbias.explanation.explain import list_read_words
from postbias.explanation.explanation_records import RegionContribution, WordContribution
from postbias.explanation.image_regions import RelativeBox
from postbias.explanation.occlusion import TextPart, occlude_regions, occlude_words
from postbias.explanation.post_variants import VariantScorer, read_post_parts
from postbias.explanation.removal_curves import compare_region_order, compare_word_order
from postbias.scoring.scorer import PostInput, Scorer

RNG = np.random.default_rng(0)
CAPTION = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture(scope="module")
def additive(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("students") / "additive"
    write_tiny_artifact(folder, "text", is_additive=True)
    return Scorer.open(folder)


def _compare(scorer: Scorer, contributions: list[float] | None) -> tuple[float, float]:
    read = read_post_parts(scorer, PostInput(CAPTION))
    variants = VariantScorer(scorer, read)
    words = list_read_words(scorer, read)
    parts = occlude_words(variants, words, 0, 56)
    if contributions is not None:
        parts = [TextPart((i,), value) for i, value in enumerate(contributions)]
    result = compare_word_order(variants, words, parts, 0, np.random.default_rng(0))
    assert result is not None
    return result.deletion, result.insertion


def test_the_true_order_of_an_additive_student_beats_random_order_and_its_reverse_loses(
    additive: Scorer,
) -> None:
    read = read_post_parts(additive, PostInput(CAPTION))
    words = list_read_words(additive, read)
    parts = occlude_words(VariantScorer(additive, read), words, 0, 56)
    right = _compare(additive, None)
    wrong = _compare(additive, [-part.contribution for part in parts])
    assert min(right) > 0
    assert max(wrong) < 0
    # Removing the largest first is the mirror image of removing the smallest first.
    assert right[0] == pytest.approx(-wrong[1], abs=1e-6)


def test_the_area_is_that_of_the_measured_curve(additive: Scorer) -> None:
    """Recompute one curve with scores of the scorer itself."""
    read = read_post_parts(additive, PostInput(CAPTION))
    words = list_read_words(additive, read)
    variants = VariantScorer(additive, read)
    parts = occlude_words(variants, words, 0, 56)
    order = sorted(range(12), key=lambda i: -parts[i].contribution)
    areas = {}
    for name, removed_first in (("first", order), ("last", order[::-1])):
        curve = []
        for n in (0, 2, 3, 6, 9, 12):  # the shares 0.1, 0.25, 0.45 and 0.7 of 12 words
            kept = sorted(removed_first[n:])
            text = " ".join(CAPTION.split()[i] for i in kept)
            (row,) = variants.score([type(read.whole)(text)])
            curve.append(float(row[0]))
        areas[name] = np.trapezoid(curve, np.array([0, 2, 3, 6, 9, 12]) / 12)
    deletion, insertion = _compare(additive, None)
    assert deletion + insertion == pytest.approx(areas["last"] - areas["first"], abs=1e-5)


def test_a_part_alone_has_no_order(additive: Scorer) -> None:
    read = read_post_parts(additive, PostInput("one"))
    words = list_read_words(additive, read)
    variants = VariantScorer(additive, read)
    parts = occlude_words(variants, words, 0, 10)
    assert compare_word_order(variants, words, parts, 0, RNG) is None


def test_the_regions_of_a_linear_student_beat_random_order(tmp_path: Path) -> None:
    write_tiny_artifact(tmp_path / "student", "image")
    pixels_post = PostInput("", (jpeg(RNG), jpeg(RNG)))
    with Scorer.open(tmp_path / "student") as scorer:
        variants = VariantScorer(scorer, read_post_parts(scorer, pixels_post))
        parts = occlude_regions(variants, 0, 56)
        result = compare_region_order(variants, parts, 0, np.random.default_rng(1))
    assert result is not None
    assert min(result.deletion, result.insertion) > 0


def test_explanations_of_the_demo_find_the_planted_cues() -> None:
    reports = Path(__file__).resolve().parents[2] / "reports"
    evaluation = json.loads((reports / "evaluate.json").read_text(encoding="utf-8"))
    champion = evaluation["explanations"][evaluation["champion"]["modality"]]
    for part in ("words", "regions"):
        assert champion[part]["faithful"] is True
    for cue in champion["planted"].values():
        # For the champion's words no more: the evaluation explains 100 posts, and three random
        # words contain one of a claim in two thirds of those that have one.
        assert cue["found"]["value"] > cue["chance"]
    by_text = evaluation["explanations"]["text"]
    for cue in (champion["planted"]["objects"], by_text["planted"]["words"]):
        assert cue["found"]["lo"] > cue["chance"]


def _word(text: str, start: int, contribution: float) -> WordContribution:
    return WordContribution(text, start, start + len(text), "caption", contribution)


def test_a_planted_word_counts_if_it_is_among_the_top_three() -> None:
    text = "ladies belong in the kitchen"
    starts = [text.index(word) for word in text.split()]
    cues = PlantedCues(words=[(6, 17)], boxes=[])  # "belong in"

    def find(*contributions: float) -> tuple[bool, float]:
        words = [
            _word(word, start, value)
            for word, start, value in zip(text.split(), starts, contributions, strict=True)
        ]
        hit = find_words(words, cues)
        assert hit is not None
        return hit.is_found, hit.chance

    chance = 1 - 1 / 10  # only one of the ten triples has neither word
    assert find(0.9, -0.5, 0.1, 0.4, 0.2) == (True, pytest.approx(chance))
    assert find(0.9, 0.0, 0.0, 0.4, -0.2) == (False, pytest.approx(chance))
    assert find_words([], cues) is None
    assert find_words([_word("a", 0, 1.0)], PlantedCues([], [])) is None


def test_a_planted_object_counts_if_it_has_the_centre_of_the_region_that_raises_most() -> None:
    halves = [
        RegionContribution(1, RelativeBox(0, 0, 0.5, 1), -0.7),
        RegionContribution(1, RelativeBox(0.5, 0, 1, 1), 0.2),
    ]
    right = PlantedCues([], [(1, (0.6, 0.3, 0.9, 0.8))])
    hit = find_planted_objects(halves, right)
    assert hit is not None
    assert (hit.is_found, hit.chance) == (True, 0.5)
    other_image = PlantedCues([], [(0, (0.6, 0.3, 0.9, 0.8))])
    missed = find_planted_objects(halves, other_image)
    assert missed is not None
    assert (missed.is_found, missed.chance) == (False, 0.0)
    assert find_planted_objects([], right) is None
    assert find_planted_objects(halves, PlantedCues([(0, 1)], [])) is None


def _evaluation_set(n: int) -> EvaluationSet:
    names = tuple(f"p{i:03}" for i in range(n))
    fold = LabelledFold(names, names, (CAPTION,) * n, np.zeros((n, 2)))
    return EvaluationSet.create(fold, (), 200, np.random.default_rng(0))


def test_a_student_is_faithful_if_its_order_beats_random_order_significantly(
    additive: Scorer,
) -> None:
    n = MIN_EXPLAINED_POSTS + 5
    words = CAPTION.split()
    posts = {i: PostInput(" ".join(RNG.permutation(words)[:8])) for i in range(n)}
    planted = {i: PlantedCues([(0, 3)], []) for i in range(n)}
    test = _evaluation_set(n)
    result = measure_faithfulness(
        test, additive, ExplainedPosts(posts, planted), (np.random.default_rng(1), 0.05)
    )
    assert result.orders["words"].is_faithful is True
    assert result.orders["words"].n == n
    assert "regions" not in result.orders
    report = faithfulness_to_json(result)
    assert report["words"]["deletion"]["lo"] > 0
    assert report["words"]["deletion"]["p"] < 0.05
    assert report["planted"]["words"]["n"] == n
    assert 0 < report["planted"]["words"]["chance"] < 1
    few = ExplainedPosts({i: posts[i] for i in range(5)}, {})
    too_few = measure_faithfulness(test, additive, few, (np.random.default_rng(1), 0.05))
    assert too_few.orders["words"].is_faithful is None


def test_a_student_that_reacts_to_nothing_is_not_faithful(tmp_path: Path) -> None:
    """A blank image has no region that matters: no order is better than another."""
    write_tiny_artifact(tmp_path / "student", "image")
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 120, 120)).save(file, "PNG")
    n = MIN_EXPLAINED_POSTS
    posts = {i: PostInput("", (file.getvalue(),)) for i in range(n)}
    with Scorer.open(tmp_path / "student") as scorer:
        result = measure_faithfulness(
            _evaluation_set(n), scorer, ExplainedPosts(posts, {}), (np.random.default_rng(1), 0.05)
        )
    assert result.orders["regions"].is_faithful is False
