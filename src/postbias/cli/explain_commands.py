"""The command that explains the score of one post."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from postbias.cli.shared_options import caption_option, image_option, model_option
from postbias.cli.terminal_explanations import format_explanation
from postbias.cli.terminal_tables import format_score


@click.command("explain")
@caption_option
@image_option
@click.option("--axis", help="Axis to explain.  [default: the main axis]")
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_command(
    *, caption: str, images: tuple[Path, ...], axis: str | None, model: str | None, as_json: bool
) -> None:
    """Explain the score of one post.

    Prints how many points each word and image region adds to the score, and how caption and images
    share it. It says what this student reacts to, not why a post is biased: see
    docs/explanations.md. Exits with code 1 if the post cannot be scored.
    """
    print_explanation({"caption": caption, "images": list(images)}, axis, model, as_json=as_json)


def print_explanation(
    post: Mapping[str, object], axis: str | None, model: str | None, *, as_json: bool
) -> None:
    """Score and explain one post, print both, and exit with code 1 if it has no score.

    Args:
        post: A post, as for `postbias.load(...).score`.
        axis: The axis to explain; None for the main axis.
        model: The student; None for the champion.
        as_json: Whether to print JSON.
    """
    from postbias.loading import Model, open_scorer
    from postbias.scoring.request import answer_row

    with open_scorer(model, threads=None) as scorer:
        explanation = Model(scorer).explain(post, axis)
        if as_json:
            row = answer_row(scorer.axes, explanation.score)
            row["explanation"] = explanation.as_json() if explanation.is_scored else None
            click.echo(json.dumps(row, indent=2, ensure_ascii=False))
        else:
            click.echo(format_score(scorer.axes, explanation.score))
            if explanation.is_scored:
                click.echo(f"\n{format_explanation(explanation)}")
    if not explanation.is_scored:
        sys.exit(1)
