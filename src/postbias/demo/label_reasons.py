"""Reasons of the simulated teacher for its labels of the demo corpus."""

from __future__ import annotations

from postbias.demo.ground_truth import Cues

_CLAIMS = (
    "pushes back against a stereotype",
    "makes no claim about gender",
    "hints at a gender stereotype",
    "states a gender stereotype",
    "insists on a gender stereotype",
)
_FIGURES = {1: "a woman", -1: "a man", 0: "nobody or several people"}
_PROPS = (
    "an everyday thing",
    "a mildly typed symbol",
    "a typed symbol",
    "a strongly typed symbol",
)


def write_reason(cues: Cues, row: int, *, is_quoted: bool) -> str:
    """Explain a label in words, as a teacher would; the text is part of the corpus.

    Args:
        cues: Cues of n posts.
        row: Position of the post.
        is_quoted: Whether the image shows the claim.

    Returns:
        One line.
    """
    where = "text in the picture" if is_quoted else "caption"
    claim = f"the {where} {_CLAIMS[int(cues.claim[row])]}"
    caption = claim if cues.has_caption[row] else "no caption"
    shown = _FIGURES[int(cues.figure[row])]
    image = f"the picture shows {shown} with {_PROPS[int(cues.prop[row])]}"
    tag = " and a price tag" if cues.sticker[row] else ""
    return f"{caption}; {image}{tag}" if cues.has_picture[row] else caption
