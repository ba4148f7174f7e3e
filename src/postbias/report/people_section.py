"""The report's section on ratings by people: sentences and table rows."""

from __future__ import annotations

from typing import Any

from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import translatable as _t
from postbias.report.answer import summarize_answer
from postbias.report.people_sentences import (
    describe_calibration,
    describe_replacement,
    describe_verdict,
    summarize_people,
)
from postbias.report.wording import group_name

Json = dict[str, Any]

_TERMS = {"years": "per year"}
_PAIRS = {
    "person_people": _t("one person and the mean of the others"),
    "teacher_people": _t("teacher and the mean of the raters"),
    "student_people": _t("student and the mean of the raters"),
    "student_teacher": _t("student and teacher"),
}


def lay_out_opinions(
    population: Json, people: Json, axis: str, bounds: tuple[float, float]
) -> Json:
    """Lay out what teacher, people and variants of the teacher say.

    Args:
        population: The content of `reports/population.json`.
        people: The content of `reports/people.json`.
        axis: The main axis.
        bounds: Its range.

    Returns:
        Variables of the template: `answer`, `people`, `stand_in` and `variants`.
    """
    return {
        "answer": summarize_results(population, people, axis, bounds),
        "people": lay_out_people(people, axis),
        "stand_in": lay_out_stand_in(people, axis),
        "variants": lay_out_variants(people, axis),
    }


def lay_out_people(people: Json, axis: str) -> Json | None:
    """Lay out the section.

    Args:
        people: The content of `reports/people.json`.
        axis: The main axis.

    Returns:
        Variables of the template; None without ratings.
    """
    if people["ratings"] is None:
        return None
    agreement = people["agreement"][axis]
    return {
        "ratings": people["ratings"],
        "verdict": describe_verdict(people["verdict"][axis], agreement["people"]["alpha"]),
        "calibration": describe_calibration(people["calibration"][axis], axis),
        "replacement": describe_replacement(people["replacement"][axis], axis),
        "estimates": [
            {"name": _name_quantity(name), "is_share": name.startswith("share_"), **estimate}
            for name, estimate in people["estimates"]["all"].items()
        ],
        "differences": [
            {
                "name": _name_difference(d["kind"], d["one"], d["two"]),
                **d[axis],
            }
            for d in people["estimates"]["differences"]
        ],
        "regression": _name_terms(people["estimates"]["regression"]),
        "agreement": people["agreement"],
        "retest": agreement["retest"],
        "raters": agreement["raters"],
        # Which person is compared with the others is arbitrary, and so is the sign.
        "pairs": [
            (_(title), {**agreement["pairs"][name], "has_direction": name != "person_people"})
            for name, title in _PAIRS.items()
        ],
    }


def lay_out_stand_in(people: Json, axis: str) -> Json:
    """Lay out the gate's line on the teacher: whether it may stand in for a rater.

    Args:
        people: The content of `reports/people.json`.
        axis: The main axis.

    Returns:
        `axis`, the `winning_rate` of the alternative annotator test and the `verdict`: `passed`,
        `failed`, or `not_rated` if nobody rated, or too few posts have two ratings.
    """
    result = people["replacement"][axis] if people["ratings"] else None
    if result is None or result["passed"] is None:
        return {"axis": axis, "winning_rate": None, "verdict": "not_rated"}
    verdict = "passed" if result["passed"] else "failed"
    return {"axis": axis, "winning_rate": result["winning_rate"], "verdict": verdict}


def lay_out_variants(people: Json, axis: str) -> list[Json]:
    """Lay out the section on variants of the teacher: one entry per variant.

    Args:
        people: The content of `reports/people.json`.
        axis: The main axis.
    """
    return [
        {
            "name": name,
            "posts": found["posts"],
            "pair": found["agreement"][axis],
            "conclusions": [
                {"name": _name_conclusion(conclusion["groups"], axis), **conclusion}
                for conclusion in found["conclusions"]
            ],
        }
        for name, found in people["variants"].items()
    ]


def summarize_results(
    population: Json, people: Json, axis: str, bounds: tuple[float, float]
) -> list[str]:
    """Summarize what people say, if there are ratings, and then what the teacher says.

    Args:
        population: The content of `reports/population.json`.
        people: The content of `reports/people.json`.
        axis: The main axis.
        bounds: Its range.

    Returns:
        One paragraph each.
    """
    by_people = summarize_people(people, axis, bounds)
    by_teacher = summarize_answer(population, axis, bounds)
    if by_people is None:
        return by_teacher
    level = _("By the teacher's standard: {level}").format(level=by_teacher[0])
    return [by_people, level, *by_teacher[1:]]


def _name_difference(kind: str, one: str, two: str) -> str:
    return _("{one} minus {two}").format(one=group_name(kind, one), two=group_name(kind, two))


def _name_conclusion(groups: tuple[str, str, str] | None, axis: str) -> str:
    return _name_mean(axis) if groups is None else _name_difference(*groups)


def _name_mean(axis: str) -> str:
    return _("mean {axis}").format(axis=axis)


def _name_quantity(name: str) -> str:
    if not name.startswith("share_"):
        return _name_mean(name)
    band = name.removeprefix("share_").replace("_", " ")
    return _("posts rated {band}").format(band=group_name("band", band))


def _name_terms(regression: Json | None) -> Json | None:
    if regression is None:
        return None
    terms = {_name_term(name): term for name, term in regression["terms"].items()}
    return regression | {"terms": terms}


def _name_term(term: str) -> str:
    kind, _separator, code = term.partition(" ")
    return group_name(kind, code) if code else group_name("term", _TERMS.get(term, term))
