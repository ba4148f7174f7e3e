"""Find the words that carry the claim in a caption of the demo corpus.

They are what the template of the claim fixes ("belong in", "full stop"), not what fills its slots:
who and which activity is meant says little about how strong the claim is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from postbias.demo.caption_writer import LEXICONS, CaptionCues
from postbias.demo.ground_truth import NEUTRAL
from postbias.demo.lexicon import choose_forms

# A choice `[a|b]`, a slot `{x}`, or text between them.
_PIECE = re.compile(r"\[(?P<choice>[^\[\]]*)\]|\{(?P<slot>\w+)\}|(?P<text>[^\[\]{}]+)")


def find_claim_words(caption: str, cues: CaptionCues) -> list[tuple[int, int]]:
    """Find the parts of a caption that carry its claim.

    Args:
        cues: Cues of the caption.

    Returns:
        Start and end of each part, in order; none for a neutral claim, or if the caption does not
        state it.
    """
    if cues.claim == NEUTRAL or cues.gender == 0:
        return []
    for pattern in _claim_patterns(cues.language, cues.topic, cues.claim, cues.gender):
        if match := pattern.search(caption):
            return [match.span(group) for group in range(1, pattern.groups + 1)]
    return []


@cache
def _claim_patterns(language: str, topic: str, claim: int, gender: int) -> list[re.Pattern[str]]:
    """Return one pattern per template of a claim; its groups are what the template fixes."""
    words = LEXICONS[language]
    column = 0 if gender < 0 else 1
    activities, place = words.topics[topic]
    persons = words.persons[column]
    they, poss, them = words.pronouns[column]
    slots = {
        "act": activities,
        "place": (place,),
        "G": words.groups[column],
        "S": persons,
        "S1": tuple(person.split(" ", 1)[-1] for person in persons),
        "K": words.kin[column],
        "they": (they,),
        "poss": (poss,),
        "them": (them,),
    }
    return [
        re.compile("".join(_piece_patterns(choose_forms(template, column), slots)), re.IGNORECASE)
        for template in words.claims[claim]
    ]


def _piece_patterns(template: str, slots: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for piece in _PIECE.finditer(template):
        if piece["slot"]:
            yield f"(?:{_any_of(slots[piece['slot']])})"
        elif piece["choice"] is not None:
            yield f"({_any_of(tuple(piece['choice'].split('|')))})"
        else:
            yield f"({re.escape(piece['text'])})"


def _any_of(texts: tuple[str, ...]) -> str:
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
