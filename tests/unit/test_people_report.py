"""The stage people and its section of the report, on ratings with a known relation to labels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tests.scored_repo import write_scored_repo

from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.people.people_report import collect_metrics, study_people
from postbias.people.rating_records import Outcome, Rating
from postbias.people.rating_sample import draw_rating_sample
from postbias.people.rating_table import write_ratings
from postbias.people.rating_tasks import list_tasks
from postbias.population.scored_corpus import load_scored_corpus
from postbias.report.findings import gather_findings
from postbias.teacher.rubric import load_rubric

_RATERS = ("ann", "ben")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("repo"))


def _params(paths: Paths, file: str | None) -> Params:
    params = load_params(paths.params)
    evaluate = params.evaluate.model_copy(update={"bootstrap": 200})
    rating = params.rating.model_copy(update={"file": file, "n": 150, "repeat_share": 0.2})
    return params.model_copy(update={"evaluate": evaluate, "rating": rating})


def rate(paths: Paths, *, shift: float = 0.0, sponsored: float = 0.0, noise: float = 0.0) -> Params:
    """Write ratings of a drawn sample: labels plus what the teacher does not see."""
    params = _params(paths, "ratings.csv")
    corpus = load_scored_corpus(paths)
    rows = {post_id: i for i, post_id in enumerate(corpus.table["post_id"].to_pylist())}
    is_sponsored = np.array([s is True for s in corpus.table["sponsored"].to_pylist()])
    rubric = load_rubric(paths.root / params.annotate.rubric)
    items = draw_rating_sample(paths, params)
    rng = np.random.default_rng(0)
    ratings = []
    for slot, rater in enumerate(_RATERS):
        for task in list_tasks(items, rater, slot, params.rating.repeat_share):
            row = rows[task.post_id]
            bias = corpus.labels["bias"][row] + shift + sponsored * is_sponsored[row]
            scores = {"bias": bias + rng.normal(0, noise), "orientation": 5.0}
            scores["bias"] = float(np.clip(scores["bias"], 0, 10))
            nonce = f"{rater}-{len(ratings)}"
            ratings.append(Rating(nonce, rater, task, Outcome.RATED, scores, "", 9.0, "", ""))
    write_ratings(paths.root / "ratings.csv", ratings, items, rubric.axes)
    return params


def _all(findings: dict[str, Any], name: str, part: str) -> dict[str, float]:
    found: dict[str, float] = findings["estimates"]["all"][name][part]
    return found


def test_people_who_agree_with_the_teacher_leave_its_estimates(paths: Paths) -> None:
    findings = study_people(paths, rate(paths))
    error = _all(findings, "bias", "teacher_error")
    assert error["value"] == pytest.approx(0, abs=0.15)
    assert error["lo"] <= 0 <= error["hi"]
    assert findings["verdict"]["bias"] == "reliable"
    people, alone = (_all(findings, "bias", part) for part in ("people", "ratings_only"))
    # The teacher's labels of all other posts make the interval much narrower.
    assert people["hi"] - people["lo"] < 0.7 * (alone["hi"] - alone["lo"])
    assert findings["ratings"]["answers"] == {"rated": 2 * 180}


def test_a_bias_of_the_teacher_is_removed_in_means_shares_and_differences(paths: Paths) -> None:
    unbiased = study_people(paths, rate(paths, noise=0.3))
    biased = study_people(paths, rate(paths, shift=0.5, sponsored=1.5, noise=0.3))
    share_sponsored = 0.25
    moved = _all(biased, "bias", "people")["value"] - _all(unbiased, "bias", "people")["value"]
    assert moved == pytest.approx(0.5 + 1.5 * share_sponsored, abs=0.25)
    assert _all(biased, "bias", "teacher_error")["hi"] < 0
    assert (
        _all(biased, "share_high", "people")["value"]
        > _all(unbiased, "share_high", "people")["value"]
    )

    def sponsorship(findings: dict[str, Any]) -> float:
        found = next(d for d in findings["estimates"]["differences"] if d["kind"] == "sponsored")
        value: float = found["bias"]["people"]["value"]
        return value

    assert sponsorship(biased) - sponsorship(unbiased) == pytest.approx(1.5, abs=0.5)
    terms = [f["estimates"]["regression"]["terms"]["sponsored"] for f in (unbiased, biased)]
    slopes = [term["people"]["value"] for term in terms]
    assert slopes[1] - slopes[0] == pytest.approx(1.5, abs=0.5)
    metrics = collect_metrics(biased)
    assert metrics["people.bias.value"] == _all(biased, "bias", "people")["value"]
    assert metrics["people.bias.teacher_mae"] > 0.4


def test_the_report_says_first_what_people_say(paths: Paths) -> None:
    params = rate(paths, shift=1.0, noise=0.5)
    study_people(paths, params)
    page = gather_findings(paths, params, {}).page()
    answer = page.partition('<section id="answer">')[2].partition("</section>")[0]
    first = re.findall(r"<p>(.*?)</p>", answer)[0]
    assert first.startswith("People would rate the posts ")
    assert "points too low" in first
    assert "from ratings of 150 posts by 2 people" in first.replace("estimated ", "")
    section = page.partition('<section id="people">')[2].partition("</section>")[0]
    for text in ("mean orientation", "posts rated high", "teacher and the mean of the raters"):
        assert text in section
    assert section.count("<tr>") > 15
    for title in ("people differ most from each other", "teacher differs most from people"):
        posts = section.partition(title)[2].partition("<h3>")[0].split('<article class="post">')[1:]
        assert len(posts) == 5
        assert any('src="data:image/jpeg;base64,' in post for post in posts)
        for post in posts:
            values = re.findall(r"<dt>(.*?)</dt><dd>([\d.]+)</dd>", post)
            assert [name for name, _ in values] == ["ann", "ben", "Teacher", "Student"]
    ratings = [
        [float(value) for _, value in re.findall(r"<dt>(ann|ben)</dt><dd>([\d.]+)</dd>", post)]
        for post in section.partition("differ most from each other")[2]
        .partition("<h3>")[0]
        .split('<article class="post">')[1:]
    ]
    gaps = [round(abs(one - two), 1) for one, two in ratings]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 1
    none_shown = params.model_copy(
        update={"report": params.report.model_copy(update={"examples": 0})}
    )
    assert "differ most" not in gather_findings(paths, none_shown, {}).page()


def test_without_ratings_there_is_no_section(paths: Paths) -> None:
    params = _params(paths, None)
    assert study_people(paths, params) == {"ratings": None, "variants": {}}
    assert collect_metrics({"ratings": None, "variants": {}}) == {}
    page = gather_findings(paths, params, {}).page()
    assert 'id="people"' not in page
    assert "People would" not in page


def test_rows_that_cannot_be_used_are_counted_and_named(paths: Paths) -> None:
    params = rate(paths)
    path = paths.root / "ratings.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[5] = "only,three,cells"
    path.write_text("\n".join(lines), encoding="utf-8")
    findings = study_people(paths, params)
    assert findings["ratings"]["faults"] == 1
    assert findings["ratings"]["fault_examples"][0].startswith("ratings.csv:6: ")


def test_few_ratings_give_agreement_but_no_estimate(paths: Paths) -> None:
    params = rate(paths)
    path = paths.root / "ratings.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:6]), encoding="utf-8")
    findings = study_people(paths, params)
    assert _all(findings, "bias", "people")["value"] is None
    page = gather_findings(paths, params, {}).page()
    assert "There are too few ratings by people" in page


def test_only_the_ratings_of_the_demo_are_called_simulated(paths: Paths) -> None:
    params = rate(paths)
    study_people(paths, params)
    (paths.data / "truth.parquet").touch()
    try:
        page = gather_findings(paths, params, {}).page()
        assert "Synthetic demo corpus" in page
        assert "ratings are simulated" not in page
        demo = params.rating.model_copy(update={"file": "ratings/demo.csv"})
        page = gather_findings(paths, params.model_copy(update={"rating": demo}), {}).page()
        assert "ratings are simulated" in page
    finally:
        (paths.data / "truth.parquet").unlink()


def test_the_gate_says_whether_the_teacher_may_stand_in_for_a_rater(paths: Paths) -> None:
    def verdict(params: Params) -> str:
        study_people(paths, params)
        page = gather_findings(paths, params, {}).page()
        row = page.partition("<tr><td>teacher may stand in for a rater on bias")[2]
        return re.findall(r"<td[^>]*>(.*?)</td>", row.partition("</tr>")[0])[-1]

    assert verdict(rate(paths, noise=1.0)) == "✓ yes"
    assert verdict(rate(paths, shift=3.0, noise=0.3)) == "✗ no"
    assert verdict(_params(paths, None)) == "not rated"
