"""Choose the languages whose prediction intervals are fitted separately, and fit them.

Group-conditional ("Mondrian") conformal prediction (Vovk 2012, "Conditional validity of inductive
conformal predictors"): intervals have their nominal coverage within each group, as long as the
groups do not depend on labels. Here they depend on captions and authors only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from postbias.evaluation.calibration_scores import CalibrationScores
from postbias.posts.languages import (
    OTHER_LANGUAGES,
    UNKNOWN,
    choose_language_group,
    identify_languages,
)
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_selected_posts, read_table
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.conformal import Offsets, fit_offsets, resample_offsets

if TYPE_CHECKING:
    from postbias.evaluation.labelled_folds import LabelledFold
    from postbias.paths import Paths

#: Minimum of calib posts and of their authors for intervals of a language: nominal 90% intervals
#: then cover 89.8% with a standard deviation of 2.0 points, the tolerance of the gate, and fewer
#: than 85% in 1.3% of calib folds (`benchmarks/language_intervals.py`).
MIN_LANGUAGE_CALIB_POSTS, MIN_LANGUAGE_CALIB_AUTHORS = 300, 60

#: Groups of languages by modalities; `other` for the languages without a group of their own.
LanguageGroups = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class CaptionLanguages:
    """Language of the caption, and author, of labelled posts.

    Attributes:
        languages: Result of `identify_languages` by post id.
        authors: Author by post id.
    """

    languages: Mapping[str, str]
    authors: Mapping[str, str]

    @classmethod
    def of_fold(cls, fold: LabelledFold) -> Self:
        """Identify the languages of a fold."""
        codes = identify_languages(fold.captions)
        return cls(
            dict(zip(fold.post_ids, codes, strict=True)),
            dict(zip(fold.post_ids, fold.authors, strict=True)),
        )

    @classmethod
    def read(cls, paths: Paths, ids: Sequence[str]) -> Self:
        """Read the captions and authors of labelled posts, and identify the languages.

        Args:
            paths: The repository, with sampled posts and the split.
            ids: Distinct ids of the posts.
        """
        captions = read_selected_posts(paths.sampled_posts, ids, ["caption"])["caption"]
        split = read_table(paths.split, SPLIT, ["post_id", "author"])
        pairs = zip(split["post_id"].to_pylist(), split["author"].to_pylist(), strict=True)
        codes = identify_languages(captions.to_pylist())
        return cls(dict(zip(ids, codes, strict=True)), dict(pairs))

    def choose_groups(self, scores: CalibrationScores) -> dict[str, tuple[str, ...]]:
        """Choose the languages with enough posts by enough authors, by modalities.

        The other identified languages are one group, if they have enough together. A division into
        a single group would fit the same intervals again.

        Args:
            scores: Residuals of the posts that intervals are fitted to.

        Returns:
            At least two groups for each of some modalities with captions; usually empty.
        """
        by_language: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for post_id, modalities in zip(scores.post_ids, scores.modalities, strict=True):
            if "text" in modalities and self.languages[post_id] != UNKNOWN:
                by_language[modalities][self.languages[post_id]].append(post_id)
        chosen = {}
        for modalities, posts in by_language.items():
            groups = sorted(code for code, ids in posts.items() if self._has_enough(ids))
            rest = [x for code, ids in posts.items() if code not in groups for x in ids]
            if self._has_enough(rest):
                groups.append(OTHER_LANGUAGES)
            if len(groups) > 1:
                chosen[modalities] = tuple(groups)
        return chosen

    def find_rows(
        self, scores: CalibrationScores, groups: LanguageGroups
    ) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
        """Find the residuals of each group.

        Args:
            scores: The residuals.
            groups: Groups by modalities.

        Returns:
            Mask over the residuals by modalities, then group. (n,)
        """
        group_of = self.assign(scores.post_ids, scores.modalities, groups)
        modalities = np.asarray(scores.modalities, dtype=object)
        return {
            used: {code: (modalities == used) & (group_of == code) for code in codes}
            for used, codes in groups.items()
        }

    def assign(
        self, post_ids: Sequence[str], modalities: Sequence[str | None], groups: LanguageGroups
    ) -> npt.NDArray[np.object_]:
        """Assign posts to the groups as the scorer does.

        Args:
            post_ids: The posts. (n,)
            modalities: Modalities that each score was computed from; None without a score. (n,)
            groups: Groups by modalities.

        Returns:
            Group of each post; None for those whose intervals are those of all languages. (n,)
        """
        pairs = zip(post_ids, modalities, strict=True)
        codes = [
            choose_language_group(self.languages[post_id], groups.get(used or "", ()))
            for post_id, used in pairs
        ]
        return np.asarray(codes, dtype=object)

    def _has_enough(self, post_ids: Sequence[str]) -> bool:
        n_authors = len({self.authors[post_id] for post_id in post_ids})
        enough = len(post_ids) >= MIN_LANGUAGE_CALIB_POSTS
        return enough and n_authors >= MIN_LANGUAGE_CALIB_AUTHORS


def fit_language_intervals(
    residuals: Array,
    rows: Mapping[str, Mapping[str, npt.NDArray[np.bool_]]],
    coverage: float,
    *,
    span: float,
) -> dict[str, dict[str, Offsets]]:
    """Fit the offsets of prediction intervals for each group of languages.

    Args:
        residuals: Label minus shipped score. (n,)
        rows: Result of `find_rows`; a post is at most once in a group.
        coverage: Nominal coverage.
        span: Width of the axis.

    Returns:
        Offsets by modalities, then group.
    """
    return {
        used: {
            code: fit_offsets(residuals[mask], np.ones(np.count_nonzero(mask)), coverage, span)
            for code, mask in groups.items()
        }
        for used, groups in rows.items()
    }


def resample_language_intervals(
    residuals: Array,
    rows: Mapping[str, Mapping[str, npt.NDArray[np.bool_]]],
    coverage: float,
    *,
    span: float,
    resamples: Resamples,
) -> dict[str, dict[str, Array]]:
    """Fit the offsets on the data and on every resample; see `fit_language_intervals`.

    Args:
        residuals: Label minus score. (n,)
        rows: Result of `find_rows`.
        coverage: Nominal coverage.
        span: Width of the axis.
        resamples: Resamples of the authors of these residuals.

    Returns:
        Lower and upper offset per replicate, by modalities, then group. (1 + R, 2)
    """
    return {
        used: {
            code: resample_offsets(
                residuals[mask],
                np.ones(np.count_nonzero(mask)),
                coverage,
                span,
                Resamples(resamples.authors[mask], resamples.counts),
            )
            for code, mask in groups.items()
        }
        for used, groups in rows.items()
    }
