"""`postbias explain` and `score-one --explain`, as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

from postbias.cli import main
from postbias.cli.terminal_explanations import format_explanation
from postbias.explanation.explanation_records import (
    Explanation,
    ModalityShares,
    NearestPost,
    RegionContribution,
    WordContribution,
)
from postbias.explanation.image_regions import RelativeBox
from postbias.scoring.post_scores import AxisScore, PostScore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_artifact(tmp_path / "student")
    (tmp_path / "image.jpg").write_bytes(jpeg(np.random.default_rng(0)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_the_text_of_an_explanation() -> None:
    score = PostScore("ok", {"bias": AxisScore(6.5, 5.0, 8.0)}, "high", "image+text", 1, "")
    half = 0.5
    explanation = Explanation(
        score=score,
        axis="bias",
        text="Ladies belong\x1b[31m home",
        words=(
            WordContribution("Ladies", 0, 6, "caption", 0.25),
            WordContribution("belong\x1b[31m", 7, 18, "caption", 1.5),
            WordContribution("home", 19, 23, "image_text", -0.75),
        ),
        regions=tuple(
            RegionContribution(0, RelativeBox(x, y, x + half, y + half), 0.1 + x - 3 * y)
            for y in (0, half)
            for x in (0, half)
        ),
        shares=ModalityShares(3.5, 2.25, 0.75),
        nearest=(NearestPost("17", 0.912, {"bias": 7.0}, "states a stereotype"),),
        notes=("something to know",),
    )
    upper = "  +0.10  +0.10  +0.10  +0.10  +0.60  +0.60  +0.60  +0.60"
    lower = "  -1.40* -1.40* -1.40* -1.40* -0.90  -0.90  -0.90  -0.90"
    assert format_explanation(explanation) == "\n".join(
        [
            "bias, in points",
            "    3.50  without any content",
            "   +2.25  caption",
            "   +0.75  images",
            "    6.50  score",
            "",
            "words that move the score (3 of 3)",
            "   +1.50  ++++++++++++++++++++  belong [31m",
            "   -0.75  ----------            home  (text in an image)",
            "   +0.25  +++                   Ladies",
            "",
            "image 1: points that each region adds",
            *[upper] * 4,
            *[lower] * 4,
            "  * strongest region: 0% to 50% from the left, 50% to 100% from the top",
            "",
            "most similar labelled posts of the training data",
            "  0.91  17  bias 7",
            "        states a stereotype",
            "",
            "note: something to know",
        ]
    )


def test_words_without_effect_are_not_listed() -> None:
    score = PostScore("ok", {"bias": AxisScore(5.0, None, None)}, "moderate", "text", 0, "")
    explanation = Explanation(
        score=score,
        axis="bias",
        text="tea",
        words=(WordContribution("tea", 0, 3, "caption", 0.001),),
        regions=(RegionContribution(2, RelativeBox(0, 0, 1, 1), -0.25),),
        shares=ModalityShares(5.0, 0.0, 0.0),
    )
    text = format_explanation(explanation)
    assert "words: none changes the score" in text
    assert "image 3: points that each region adds\n  -0.25  the whole image" in text


@pytest.mark.usefixtures("folder")
def test_a_post_is_explained_on_the_command_line() -> None:
    post = ("--model", "student", "--caption", "real men lift", "--image", "image.jpg")
    done = run("explain", *post)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].split() == ["axis", "score", "interval"]
    assert "words that move the score" in done.stdout
    assert "strongest region" in done.stdout
    assert "not tested" in done.stdout
    assert run("score-one", "--explain", *post).stdout == done.stdout
    orientation = run("explain", "--axis", "orientation", *post)
    assert "orientation, in points" in orientation.stdout


@pytest.mark.usefixtures("folder")
def test_the_json_of_an_explanation_has_the_score_beside_it() -> None:
    post = ("--model", "student", "--caption", "real men lift", "--image", "image.jpg", "--json")
    answer = json.loads(run("explain", *post).stdout)
    explanation = answer.pop("explanation")
    assert answer == json.loads(run("score-one", *post).stdout)
    assert sum(explanation["shares"].values()) == pytest.approx(answer["bias"], abs=1e-3)
    assert [word["text"] for word in explanation["words"]] == ["real", "men", "lift"]


@pytest.mark.usefixtures("folder")
def test_a_post_without_a_score_has_no_explanation() -> None:
    done = run("explain", "--model", "student")
    assert (done.exit_code, done.stdout) == (
        1,
        "not scored: no_content (no caption and no image)\n",
    )
    empty = run("score-one", "--explain", "--model", "student", "--json")
    assert empty.exit_code == 1
    assert json.loads(empty.stdout)["explanation"] is None
    wrong = run("explain", "--model", "student", "--caption", "x", "--axis", "colour")
    assert wrong.exit_code == 1
    assert "no such axis" in wrong.output
