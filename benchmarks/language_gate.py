"""Simulate the gate's lines on languages: how often they reject harmless and harmful students.

    python -m benchmarks.language_gate --replications 2000

Every language has as many test posts and authors as the gate asks for at least. The errors of the
student and of the baseline share a part per author, as those of posts by one author do. A harmless
student has errors of the same distribution as the baseline; a harmful one has larger errors in one
language. Prints shares with Monte-Carlo standard errors.
"""

from __future__ import annotations

import argparse

import numpy as np

from postbias.evaluation.gate import GateEvidence, evaluate_gate
from postbias.evaluation.language_results import LanguageResult
from postbias.evaluation.slices import MIN_SLICE_AUTHORS, MIN_SLICE_POSTS
from postbias.params import load_params
from postbias.paths import Paths
from postbias.posts.authorship import AuthorCounts
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import resampled_mean

N_LANGUAGES = 8
_RESAMPLES = 300
_SPREAD, _BETWEEN_AUTHORS = 1.0, 0.5


def share_rejected(
    excess: float, replications: int, rng: np.random.Generator, *, posts: int = MIN_SLICE_POSTS
) -> float:
    """Return the share of students of which a line on a language fails.

    Args:
        excess: How much larger the student's errors are in one language, as a share.
        replications: Number of students.
        posts: Test posts per language, three per author.
    """
    limits = load_params(Paths.find().params).evaluate.gate
    n_authors = posts * MIN_SLICE_AUTHORS // MIN_SLICE_POSTS
    author = np.repeat(np.arange(n_authors), MIN_SLICE_POSTS // MIN_SLICE_AUTHORS)
    names = [str(number) for number in author]
    n_rejected = 0
    for _ in range(replications):
        languages = {}
        for number in range(N_LANGUAGES):
            scale = 1 + excess * (number == 0)
            shared = rng.normal(0, _BETWEEN_AUTHORS, (2, n_authors))[:, author]
            own = rng.normal(0, _SPREAD, (2, len(author)))
            student, baseline = np.abs(shared + own) * [[scale], [1.0]]
            resamples = resample_authors(names, _RESAMPLES, rng)
            advantage = resampled_mean(baseline - student, resamples)
            counts = AuthorCounts(n_authors, 0)
            result = LanguageResult(str(number), posts, counts, posts, {}, None, advantage)
            assert result.p_worse is not None
            languages[result.language] = result.p_worse
        evidence = GateEvidence(
            metric="mae", student=np.ones(2), student_fp32=1.0, baselines={}, scores=np.arange(2.0),
            labels=np.arange(2.0), n_leaks=0, languages=languages,
        )  # fmt: skip
        lines = evaluate_gate(evidence, limits)
        n_rejected += any(
            not line.is_passed for name, line in lines.items() if name.startswith("language_")
        )
    return n_rejected / replications


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--replications", type=int, default=2000)
    n = parser.parse_args().replications
    print(f"{N_LANGUAGES} languages; share of students rejected, Monte-Carlo standard error")
    for posts in (MIN_SLICE_POSTS, 4 * MIN_SLICE_POSTS):
        for excess in (0.0, 0.5, 1.0):
            share = share_rejected(excess, n, np.random.default_rng(1), posts=posts)
            error = np.sqrt(share * (1 - share) / n)
            print(f"{posts} posts, errors {1 + excess:g} times as large: {share:.3f} ({error:.3f})")


if __name__ == "__main__":
    main()
