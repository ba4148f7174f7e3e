"""Prediction intervals of scores: by modalities and, if the student has them, by language."""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Sequence

from postbias.axes import Axis
from postbias.posts.languages import UNKNOWN, choose_language_group, identify_languages
from postbias.scoring.manifest import Manifest
from postbias.scoring.post_scores import AxisScore, PostInput
from postbias.scoring.text_inputs import read_caption


def preload_languages(manifest: Manifest) -> None:
    """Load the model that identifies languages, if the student needs it: it takes a second."""
    if manifest.language_intervals:
        identify_languages(())


def identify_for_intervals(posts: Sequence[PostInput], manifest: Manifest) -> list[str]:
    """Identify the language of captions, if the student has intervals by language.

    Args:
        posts: The posts. (N,)
        manifest: The student.

    Returns:
        Code of each post; `unknown` for all if all languages have the same intervals. (N,)
    """
    if not manifest.language_intervals:
        return [UNKNOWN] * len(posts)
    return identify_languages([read_caption(post) for post in posts])


def add_interval(
    manifest: Manifest, axis: Axis, modalities: str, language: str, value: float
) -> AxisScore:
    """Add the interval to a score, both clipped to the range of the axis.

    Args:
        manifest: The student.
        axis: The axis.
        modalities: Modalities that the score was computed from.
        language: Language of the caption, or `unknown`.
        value: The score.
    """
    value = min(max(value, axis.low), axis.high)
    interval = manifest.intervals.get(axis.name, {}).get(modalities)
    by_language = manifest.language_intervals.get(axis.name, {}).get(modalities, {})
    if group := choose_language_group(language, by_language):
        interval = by_language[group]
    if interval is None:
        return AxisScore(value, None, None)
    lo = min(max(value + interval.lo, axis.low), axis.high)
    hi = min(max(value + interval.hi, axis.low), axis.high)
    return AxisScore(value, lo, hi)
