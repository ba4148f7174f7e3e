"""Variants of the teacher: which posts they label, and whether conclusions depend on them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tests.scored_repo import write_scored_repo

from postbias.errors import ParamsError, RubricError
from postbias.params import Params, VariantsParams, VariantTeacher, load_params
from postbias.paths import Paths
from postbias.people.people_report import study_people
from postbias.population.scored_corpus import load_scored_corpus
from postbias.report.findings import gather_findings
from postbias.teacher.rubric import load_rubric
from postbias.teacher.variant_labels import choose_posts, label_variants

_SPONSORSHIP = ["sponsored", "sponsored", "organic"]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return write_scored_repo(tmp_path / "repo")


def _params(paths: Paths, *teachers: VariantTeacher, n: int = 250) -> Params:
    params = load_params(paths.params)
    rating = params.rating.model_copy(update={"file": None})
    evaluate = params.evaluate.model_copy(update={"bootstrap": 100})
    variants = VariantsParams(n=n, teachers=teachers)
    return params.model_copy(update={"rating": rating, "variants": variants, "evaluate": evaluate})


def _recorded(name: str, **changes: Any) -> VariantTeacher:
    fields = {"name": name, "rubric": None, "model": None, "labels": f"{name}.csv"}
    return VariantTeacher(**(fields | changes))


def _write(paths: Paths, name: str, sponsored: float, noise: float = 0.2) -> None:
    """Write labels that differ from the teacher's by noise, and for sponsored posts."""
    corpus = load_scored_corpus(paths)
    rng = np.random.default_rng(1)
    is_sponsored = np.array([s is True for s in corpus.table["sponsored"].to_pylist()])
    bias = corpus.labels["bias"] + sponsored * is_sponsored + rng.normal(0, noise, len(corpus))
    with (paths.root / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["post_id", "bias", "orientation"])
        for post_id, value in zip(corpus.table["post_id"].to_pylist(), bias, strict=True):
            if np.isfinite(value):
                writer.writerow([post_id, round(float(np.clip(value, 0, 10)), 2), 5])


def test_a_larger_number_of_posts_keeps_those_of_a_smaller_one(paths: Paths) -> None:
    rubric = load_rubric(paths.root / "rubrics" / "gender_bias.yaml")
    few, more = (choose_posts(paths, rubric, _params(paths, n=n)) for n in (50, 120))
    assert len(few) == 50
    assert len(more) == 120
    assert set(few) <= set(more)


def test_only_conclusions_that_the_variant_sees_otherwise_change(paths: Paths) -> None:
    _write(paths, "same", 0.0, noise=0.0)
    _write(paths, "opposite", -4.0)
    params = _params(paths, _recorded("same"), _recorded("opposite"))
    report = label_variants(paths, params)
    assert report["same"]["labelled"] == report["opposite"]["labelled"] > 240
    variants = study_people(paths, params)["variants"]
    same, opposite = variants["same"], variants["opposite"]
    assert same["agreement"]["bias"]["correlation"]["value"] > 0.95
    assert not any(conclusion["changed"] for conclusion in same["conclusions"])
    sponsored = next(c for c in opposite["conclusions"] if c["groups"] == _SPONSORSHIP)
    assert (sponsored["teacher"], sponsored["variant"]) == ("higher", "lower")
    assert sponsored["shift"]["hi"] < -2
    assert opposite["changed"] == np.mean([c["changed"] for c in opposite["conclusions"]])
    page = gather_findings(paths, params, {}).page()
    section = page.partition('<section id="variants">')[2].partition("</section>")[0]
    assert "significantly higher → significantly lower" in section
    assert "With the variant <strong>same</strong>, 0 of" in section


def test_rejected_posts_of_a_variant_are_counted(paths: Paths) -> None:
    _write(paths, "short", 0.0)
    path = paths.root / "short.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:200]))
    report = label_variants(paths, _params(paths, _recorded("short")))["short"]
    assert report["labelled"] + sum(report["rejected"].values()) >= report["posts"] == 250
    assert report["rejected"]["no_label"] == 250 - report["labelled"]


def test_without_variants_there_is_no_section(paths: Paths) -> None:
    params = _params(paths)
    assert label_variants(paths, params) == {}
    assert study_people(paths, params)["variants"] == {}
    assert 'id="variants"' not in gather_findings(paths, params, {}).page()


def test_a_variant_with_other_axes_or_without_a_source_is_refused(paths: Paths) -> None:
    _write(paths, "axes", 0.0)
    text = (paths.root / "rubrics" / "gender_bias.yaml").read_text(encoding="utf-8")
    other = text.replace("- name: orientation", "- name: target")
    (paths.root / "rubrics" / "other.yaml").write_text(other, encoding="utf-8")
    with pytest.raises(RubricError, match="has other axes"):
        label_variants(paths, _params(paths, _recorded("axes", rubric="rubrics/other.yaml")))
    with pytest.raises(ParamsError, match="variant model needs an endpoint"):
        label_variants(paths, _params(paths, _recorded("model", model="m", labels=None)))
    with pytest.raises(ValidationError, match="another rubric, model or file"):
        _recorded("nothing", labels=None)
    with pytest.raises(ValidationError, match="different names"):
        VariantsParams(n=1, teachers=(_recorded("a"), _recorded("a")))
