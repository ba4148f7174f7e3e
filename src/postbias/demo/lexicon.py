"""Type of the lexicons from which synthetic captions are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Words = tuple[str, ...]
Pair = tuple[Words, Words]  # masculine, feminine

_BY_GENDER = re.compile(r"<([^<>/]*)/([^<>/]*)>")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and templates of one language.

    In templates, `[a|b]` is a choice, `{x}` a slot, and `<a/b>` the masculine and the feminine form
    of a word that agrees with the group.

    Attributes:
        groups: Plural nouns for a gender.
        persons: Singular nouns for a gender, with article.
        kin: Relatives of the author.
        pronouns: Subject, possessive and object pronoun.
        address: Forms of address to a group.
        gender_tags: Hashtags of the addressed group.
        claims: Templates per claim, in the order of `ground_truth.CLAIMS`; the neutral ones mention
            a gender too.
        plain: Neutral templates that mention no gender.
        topics: Activities and place of each topic.
        topic_tags: Hashtags of each topic.
        fillers: Neutral templates that surround the claim.
        adjectives: Words for the slots of fillers.
        things: Words for the slots of fillers.
        days: Words for the slots of fillers.
        brand_lines: Templates that mention a brand.
        ad_tags: Hashtags of sponsored posts.
        giveaways: Whole captions that several authors post verbatim.
        stop: What ends a sentence.
        comma: What separates an address from the claim.
        space: What separates sentences.
    """

    groups: Pair
    persons: Pair
    kin: Pair
    pronouns: Pair
    address: Pair
    gender_tags: Pair
    claims: tuple[Words, Words, Words, Words, Words]
    plain: Words
    topics: Mapping[str, tuple[Words, str]]
    topic_tags: Mapping[str, Words]
    fillers: Words
    adjectives: Words
    things: Words
    days: Words
    brand_lines: Words
    ad_tags: Words
    giveaways: Words
    stop: str = "."
    comma: str = ", "
    space: str = " "


def choose_forms(template: str, column: int) -> str:
    """Resolve the forms `<a/b>` of a template: 0 for masculine, 1 for feminine."""
    return _BY_GENDER.sub(lambda match: match.group(column + 1), template)
