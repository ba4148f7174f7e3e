"""The report's section on the faithfulness of explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postbias.evaluation.planted_cues import TOP_WORDS

Json = Mapping[str, Any]

_PARTS = {"words": "Words", "regions": "Image regions"}
_CUES = {
    "words": f"a word of the planted claim among the top {TOP_WORDS} words",
    "objects": "a planted object in the region that raises the score most",
}


def lay_out_explanations(evaluate: Json) -> Json:
    """Lay out how faithful the champion's explanations are.

    Args:
        evaluate: The content of `reports/evaluate.json`.

    Returns:
        `rows` by part, `cues` of the demo, the number `n` of explained posts, and a `sentence` for
        the example posts.
    """
    result = (evaluate.get("explanations") or {}).get(evaluate["chosen"], {})
    rows = [{"name": name, **result[part]} for part, name in _PARTS.items() if part in result]
    cues = [
        {"name": name, **result["planted"][cue]}
        for cue, name in _CUES.items()
        if cue in result.get("planted", {})
    ]
    return {
        "n": result.get("n", 0),
        "rows": rows,
        "cues": cues,
        "sentence": _describe_outcome(rows),
    }


def _describe_outcome(rows: Sequence[Json]) -> str:
    if not rows:
        return "Whether they are better than random order was not tested."
    refused = [row["name"].lower() for row in rows if row["faithful"] is False]
    untested = [row["name"].lower() for row in rows if row["faithful"] is None]
    sentences = []
    if refused:
        sentences.append(
            f"No {' and '.join(refused)} are marked: removing them in the order of their "
            "contributions changes scores no faster than in random order."
        )
    if untested:
        sentences.append(
            f"For {' and '.join(untested)} there were too few posts to test whether they are "
            "better than random order."
        )
    return " ".join(sentences)
