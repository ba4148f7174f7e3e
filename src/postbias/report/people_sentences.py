"""Sentences of the report about what people say, how far they agree, and what the teacher adds."""

from __future__ import annotations

from typing import Any

from postbias.axes import BAND_NAMES
from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import join_sentences, ngettext
from postbias.localisation.messages import translatable as _t
from postbias.localisation.number_formats import format_count
from postbias.report.wording import format_interval, format_percent, format_points

Json = dict[str, Any]

_HIGH = f"share_{BAND_NAMES[-1]}"
_ANSWERS = {
    "rated": _t("{n} ratings"),
    "cannot_tell": _t("{n} times “cannot tell”"),
    "skipped": _t("{n} skipped"),
}
_VERDICTS = {
    "reliable": _t(
        "Raters agree well enough for statements about single posts (Krippendorff's alpha {alpha}, "
        "95% interval {interval}; 1 is perfect agreement, 0 is chance)."
    ),
    "tentative": _t(
        "Raters agree well enough for tentative statements about single posts (Krippendorff's "
        "alpha {alpha}, 95% interval {interval}; 1 is perfect agreement, 0 is chance)."
    ),
    "unreliable": _t(
        "Raters agree too little for statements about single posts; means of many posts suffer "
        "less, because errors of raters cancel out in them (Krippendorff's alpha {alpha}, 95% "
        "interval {interval}; 1 is perfect agreement, 0 is chance)."
    ),
}


def describe_ratings(ratings: Json, is_simulated: bool) -> str:
    """Say who rated how many posts, how long it took, and how they answered.

    Args:
        ratings: `ratings` of `reports/people.json`.
        is_simulated: Whether a program made the ratings.
    """
    n = len(ratings["raters"])
    raters = (
        ngettext("{n} simulated person", "{n} simulated people", n)
        if is_simulated
        else ngettext("{n} person", "{n} people", n)
    ).format(n=n)
    answers = _(", ").join(
        _(_ANSWERS[outcome]).format(n=format_count(count))
        for outcome, count in ratings["answers"].items()
    )
    sentence = (
        _("{raters} rated {posts} posts: {answers}.")
        if ratings["median_seconds"] is None
        else _(
            "{raters} rated {posts} posts, in {seconds} seconds per post at the median: {answers}."
        )
    ).format(
        raters=raters,
        posts=format_count(ratings["posts"]),
        seconds=format_points(ratings["median_seconds"], 0),
        answers=answers,
    )
    faults = _("{n} rows of the file could not be used.").format(n=format_count(ratings["faults"]))
    return join_sentences([sentence, faults if ratings["faults"] else ""])


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
        return _("There are too few ratings by people for an estimate of what they would say.")
    n_raters = len(people["ratings"]["raters"])
    text = ngettext(
        "People would rate the posts {mean} on {axis} on average, on a scale from {low} to {high} "
        "(95% interval {interval}), and {share} of them ({share_interval}) as high: estimated from "
        "ratings of {n_posts} posts by {n_raters} person, the teacher's labels and the student's "
        "scores.",
        "People would rate the posts {mean} on {axis} on average, on a scale from {low} to {high} "
        "(95% interval {interval}), and {share} of them ({share_interval}) as high: estimated from "
        "ratings of {n_posts} posts by {n_raters} people, the teacher's labels and the student's "
        "scores.",
        n_raters,
    ).format(
        mean=format_points(mean["people"]["value"]),
        axis=axis,
        low=f"{bounds[0]:g}",
        high=f"{bounds[1]:g}",
        interval=format_interval(mean["people"]),
        share=format_percent(high["people"]["value"]),
        share_interval=format_interval(high["people"], is_share=True),
        n_posts=format_count(people["ratings"]["posts"]),
        n_raters=n_raters,
    )
    return join_sentences([text, _describe_teacher_error(mean)])


def describe_verdict(verdict: str, alpha: Json) -> str:
    """Say in one sentence what the agreement of the raters permits."""
    if verdict not in _VERDICTS:
        return _("Too few posts were rated by several people to say how far they agree.")
    return _(_VERDICTS[verdict]).format(
        alpha=format_points(alpha["value"]), interval=format_interval(alpha)
    )


def describe_replacement(replacement: Json, axis: str) -> str:
    """Say in one sentence whether the teacher may stand in for a rater."""
    if replacement["passed"] is None:
        return _(
            "Whether the teacher may stand in for a rater is not known: the alternative annotator "
            "test needs two raters with 30 posts in common."
        )
    raters = replacement["raters"]
    n_won = sum(one["won"] for one in raters.values())
    sentence = (
        _(
            "By the alternative annotator test, the teacher may stand in for a rater on {axis}: it "
            "agrees with the other raters as well as the one that it replaces, within the "
            "tolerance of the test, for {n_won} of {n} raters, and half of them are required."
        )
        if replacement["passed"]
        else _(
            "By the alternative annotator test, the teacher may not stand in for a rater on "
            "{axis}: it agrees with the other raters as well as the one that it replaces, within "
            "the tolerance of the test, for {n_won} of {n} raters, and half of them are required."
        )
    )
    return sentence.format(axis=axis, n_won=n_won, n=len(raters))


def describe_calibration(calibration: Json | None, axis: str) -> str:
    """Say in one sentence whether the teacher's labels need calibration to people."""
    if calibration is None or not calibration["gain"]:
        return _("There are too few ratings to calibrate the teacher to people.")
    method = calibration["method"]
    rmse = {name: format_points(value) for name, value in calibration["rmse"].items()}
    if method == "none":
        return _(
            "No calibration of the teacher's {axis} to people helps: the error on held-out posts "
            "(root mean square) is {none} points without, {linear} with a linear and {isotonic} "
            "with an isotonic one."
        ).format(axis=axis, **rmse)
    sentence = (
        _(
            "An isotonic calibration of the teacher's {axis} to people reduces the error on "
            "held-out posts (root mean square) from {before} to {after} points."
        )
        if method == "isotonic"
        else _(
            "A linear calibration of the teacher's {axis} to people reduces the error on held-out "
            "posts (root mean square) from {before} to {after} points."
        )
    )
    return sentence.format(axis=axis, before=rmse["none"], after=rmse[method])


def _describe_teacher_error(mean: Json) -> str:
    error, teacher = mean["teacher_error"], mean["teacher"]
    if error["value"] is None:
        return ""
    alone = format_points(teacher["value"])
    if error["lo"] <= 0 <= error["hi"]:
        return _("The teacher alone says {alone}, which is not significantly different.").format(
            alone=alone
        )
    limits = sorted(abs(error[key]) for key in ("lo", "hi"))
    sentence = (
        _("The teacher alone says {alone}: {error} points too high (95% interval {lo} to {hi}).")
        if error["value"] > 0
        else _(
            "The teacher alone says {alone}: {error} points too low (95% interval {lo} to {hi})."
        )
    )
    return sentence.format(
        alone=alone,
        error=format_points(abs(error["value"])),
        lo=format_points(limits[0]),
        hi=format_points(limits[1]),
    )
