"""The words that one language offers to a synthetic caption.

Pairs are (masculine, feminine). Knows nothing of how a caption is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Words = tuple[str, ...]
Pair = tuple[Words, Words]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of one language; `[a|b]` is a choice and `{x}` a slot.

    Attributes:
        groups: Plural nouns, masculine and feminine.
        persons: One of them, with article.
        kin: Someone of the author's own.
        pronouns: Subject, possessive and object pronoun.
        address: Ways to call on a group.
        gender_tags: Hashtags of those who are called on.
        claims: Templates per claim, in the order of `truth.CLAIMS`; the neutral ones are gendered.
        plain: Neutral sentences that speak of nobody.
        topics: Activities and the place of each topic.
        topic_tags: Hashtags of each topic.
        fillers: Sentences that say nothing about anybody.
        adjectives: For fillers.
        things: For fillers.
        days: For fillers.
        brand_lines: Sentences that name a brand.
        ad_tags: Hashtags of sponsored posts.
        giveaways: Whole captions that several authors post word for word.
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
