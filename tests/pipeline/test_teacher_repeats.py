"""What repeated requests measure: the randomness of the model, or the wording of the prompt."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tests.teacher_corpus import make_corpus, make_params, point_at, post
from tests.teacher_server import TeacherServer

from postbias.errors import ParamsError
from postbias.paths import Paths
from postbias.teacher.annotate import annotate
from postbias.teacher.prompts import MAX_WORDINGS, system_prompt
from postbias.teacher.rubric import load_rubric

ROOT = Path(__file__).resolve().parents[2]


def label_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> tuple[Paths, list[list[str]]]:
    """Label 55 posts twice, and return the distinct system prompts of each post."""
    paths = make_corpus(tmp_path, [post(i) for i in range(55)])
    params = make_params(temperature=temperature, repeats=2, repeat_share=1.0)
    with TeacherServer(noise=2.0) as server:
        point_at(monkeypatch, server)
        annotate(paths, params)
        n_sent = server.stats.requests
        annotate(paths, params)
        assert server.stats.requests == n_sent, "a finished run must send nothing"
        bodies = server.stats.bodies[1:]
    assert len(bodies) == 110
    prompts: dict[str, list[str]] = {}
    for body in bodies:
        system, user = body["messages"]
        prompts.setdefault(json.dumps(user), []).append(
            json.dumps([system, *body["response_format"]])
        )
    return paths, list(prompts.values())


def teacher_report(paths: Paths) -> dict[str, object]:
    report: dict[str, object] = json.loads((paths.reports / "labels.json").read_text())["teacher"]
    return report


def test_at_temperature_zero_a_repeat_rewords_the_prompt_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, prompts = label_twice(tmp_path, monkeypatch, 0.0)
    assert Counter(len(set(sent)) for sent in prompts) == {2: 55}
    report = teacher_report(paths)
    assert report["retest_measures"] == "rewording"
    assert report["retest"]["bias"]["n"] == 55  # type: ignore[index]


def test_above_temperature_zero_a_repeat_sends_the_same_prompt_and_measures_sampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, prompts = label_twice(tmp_path, monkeypatch, 0.7)
    assert Counter(len(set(sent)) for sent in prompts) == {1: 55}
    report = teacher_report(paths)
    assert report["retest_measures"] == "sampling"
    assert report["retest"]["bias"]["n"] == 55  # type: ignore[index]


@pytest.mark.parametrize("name", ["gender_bias", "one_axis"])
def test_wordings_differ_say_the_same_and_are_not_longer(name: str) -> None:
    rubric = load_rubric(ROOT / "rubrics" / f"{name}.yaml")
    prompts = [system_prompt(rubric, "json_object", n) for n in range(MAX_WORDINGS)]
    assert len(set(prompts)) == MAX_WORDINGS
    assert max(len(prompt.encode()) for prompt in prompts) == len(prompts[0].encode())
    for axis in rubric.axes:
        for prompt in prompts:
            assert all(anchor.meaning in prompt for anchor in axis.anchors)
            assert axis.question in prompt
            assert f"`{axis.name}`" in prompt
    if len(rubric.axes) > 1:
        for first, second in pairwise(prompts):
            assert (first.index("Axis `bias`") < first.index("Axis `orientation`")) != (
                second.index("Axis `bias`") < second.index("Axis `orientation`")
            )
    assert rubric.reordered(5).ref == rubric.ref


def test_more_repeats_than_wordings_need_a_temperature(tmp_path: Path) -> None:
    paths = make_corpus(tmp_path, [post(0)])
    with pytest.raises(ParamsError, match=r"saw .*repeats: 9.*at most 8.*temperature above 0"):
        annotate(paths, make_params(temperature=0.0, repeats=9))
