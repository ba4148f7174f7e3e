"""The report's section on ratings by people: sentences and table rows."""

from __future__ import annotations

from typing import Any

from postbias.axes import BAND_NAMES
from postbias.report.answer import summarize_answer
from postbias.report.wording import (
    format_interval,
    format_percent,
    format_points,
    group_name,
)

Json = dict[str, Any]

_HIGH = f"share_{BAND_NAMES[-1]}"
_VERDICTS = {
    "reliable": "Raters agree well enough for statements about single posts",
    "tentative": "Raters agree well enough for tentative statements about single posts",
    "unreliable": "Raters agree too little for statements about single posts; means of many posts"
    " suffer less, because errors of raters cancel out in them",
}
_PAIRS = {
    "person_people": "one person and the mean of the others",
    "teacher_people": "teacher and the mean of the raters",
    "student_people": "student and the mean of the raters",
    "student_teacher": "student and teacher",
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
        "pairs": [(title, agreement["pairs"][name]) for name, title in _PAIRS.items()],
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
    return [by_people, f"By the teacher's standard: {by_teacher[0]}", *by_teacher[1:]]


def summarize_people(people: Json, axis: str, bounds: tuple[float, float]) -> str | None:
    """Say in one paragraph what people would say of all posts; None without ratings.

    Args:
        people: The content of `reports/people.json`.
        axis: The main axis.
        bounds: Its range.
    """
    if people["ratings"] is None:
        return None
    mean, high = people["estimates"]["all"][axis], people["estimates"]["all"][_HIGH]
    if mean["people"]["value"] is None:
        return "There are too few ratings by people for an estimate of what they would say."
    n_raters = len(people["ratings"]["raters"])
    text = (
        f"People would rate the posts {format_points(mean['people']['value'])} on {axis} on "
        f"average, on a scale from {bounds[0]:g} to {bounds[1]:g} (95% interval "
        f"{format_interval(mean['people'])}), and {format_percent(high['people']['value'])} of "
        f"them ({format_interval(high['people'], is_share=True)}) as high: estimated from ratings "
        f"of {people['ratings']['posts']:,} posts by {n_raters} "
        f"{'person' if n_raters == 1 else 'people'}, the teacher's labels and the student's scores."
    )
    return f"{text} {_describe_teacher_error(mean)}"


def describe_verdict(verdict: str, alpha: Json) -> str:
    """Say in one sentence what the agreement of the raters permits."""
    if verdict not in _VERDICTS:
        return "Too few posts were rated by several people to say how far they agree."
    return (
        f"{_VERDICTS[verdict]} (Krippendorff's alpha {format_points(alpha['value'])}, 95% interval "
        f"{format_interval(alpha)}; 1 is perfect agreement, 0 is chance)."
    )


def describe_replacement(replacement: Json, axis: str) -> str:
    """Say in one sentence whether the teacher may stand in for a rater."""
    if replacement["passed"] is None:
        return (
            "Whether the teacher may stand in for a rater is not known: the alternative annotator "
            "test needs two raters with 30 posts in common."
        )
    raters = replacement["raters"]
    n_won = sum(one["won"] for one in raters.values())
    verdict = "may" if replacement["passed"] else "may not"
    return (
        f"By the alternative annotator test, the teacher {verdict} stand in for a rater on {axis}: "
        f"it is significantly close to the other raters in {n_won} of {len(raters)} comparisons "
        "with one rater each, and needs half of them."
    )


def describe_calibration(calibration: Json | None, axis: str) -> str:
    """Say in one sentence whether the teacher's labels need calibration to people."""
    if calibration is None or not calibration["gain"]:
        return "There are too few ratings to calibrate the teacher to people."
    rmse, method = calibration["rmse"], calibration["method"]
    if method == "none":
        return (
            f"No calibration of the teacher's {axis} to people helps: the error on held-out posts "
            f"(root mean square) is {format_points(rmse['none'])} points without, "
            f"{format_points(rmse['linear'])} with a linear and {format_points(rmse['isotonic'])} "
            "with an isotonic one."
        )
    article = "An" if method == "isotonic" else "A"
    return (
        f"{article} {method} calibration of the teacher's {axis} to people reduces the error on "
        f"held-out posts (root mean square) from {format_points(rmse['none'])} to "
        f"{format_points(rmse[method])} points."
    )


def _describe_teacher_error(mean: Json) -> str:
    error, teacher = mean["teacher_error"], mean["teacher"]
    if error["value"] is None:
        return ""
    alone = f"The teacher alone says {format_points(teacher['value'])}"
    if error["lo"] <= 0 <= error["hi"]:
        return f"{alone}, which is not significantly different."
    limits = sorted(abs(error[key]) for key in ("lo", "hi"))
    return (
        f"{alone}: {format_points(abs(error['value']))} points too "
        f"{'high' if error['value'] > 0 else 'low'} (95% interval {format_points(limits[0])} to "
        f"{format_points(limits[1])})."
    )


def _name_difference(kind: str, one: str, two: str) -> str:
    return f"{group_name(kind, one)} minus {group_name(kind, two)}"


def _name_conclusion(groups: tuple[str, str, str] | None, axis: str) -> str:
    return f"mean {axis}" if groups is None else _name_difference(*groups)


def _name_quantity(name: str) -> str:
    if not name.startswith("share_"):
        return f"mean {name}"
    band = name.removeprefix("share_").replace("_", " ")
    return f"posts rated {band}"


def _name_terms(regression: Json | None) -> Json | None:
    if regression is None:
        return None
    names = {"years": "per year"}
    terms = {
        names.get(name, _name_language(name)): term for name, term in regression["terms"].items()
    }
    return regression | {"terms": terms}


def _name_language(term: str) -> str:
    kind, _, code = term.partition(" ")
    return group_name(kind, code) if code else term
