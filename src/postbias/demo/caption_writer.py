"""Write the captions of the demo corpus from cues.

A caption has one sentence that carries the claim, sometimes preceded by an address to a group, and
neutral sentences around it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from postbias.demo.ground_truth import BRANDS, CLAIMS, LANGUAGES, NEUTRAL, TOPICS, Cues
from postbias.demo.lexicon import Lexicon, choose_forms
from postbias.demo.lexicon_ar_hi import ARABIC, HINDI
from postbias.demo.lexicon_de_pt import GERMAN, PORTUGUESE
from postbias.demo.lexicon_en import ENGLISH
from postbias.demo.lexicon_es_fr import FRENCH, SPANISH
from postbias.demo.lexicon_zh import CHINESE

_ALL = (ENGLISH, SPANISH, FRENCH, GERMAN, PORTUGUESE, CHINESE, ARABIC, HINDI)
LEXICONS = dict(zip(LANGUAGES, _ALL, strict=True))
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_EMOJI = ("✨", "🌿", "☀️", "😂", "🙌", "💛", "📸", "🎉", "☕", "🔥", "😍", "👀", "🍋", "🌈", "💫")


@dataclass(frozen=True, slots=True)
class CaptionCues:
    """Cues of one caption.

    Attributes:
        language: One of `LANGUAGES`.
        topic: One of `TOPICS`.
        claim: Index into `CLAIMS`.
        gender: 1 for feminine, -1 for masculine, 0 for neither.
        address: Whether the caption addresses the group first.
        brand: Name of a brand to mention, or None.
        sponsored: Whether the caption marks the post as an advertisement.
    """

    language: str
    topic: str
    claim: int
    gender: int
    address: bool
    brand: str | None
    sponsored: bool


def caption_cues_of(cues: Cues, row: int) -> CaptionCues:
    """Select the caption cues of one post.

    Args:
        cues: Cues of n posts.
        row: Position of the post.

    Returns:
        The cues of its caption.
    """
    brand = int(cues.brand[row])
    return CaptionCues(
        language=LANGUAGES[int(cues.language[row])],
        topic=TOPICS[int(cues.topic[row])],
        claim=int(cues.claim[row]),
        gender=int(cues.gender[row]),
        address=bool(cues.address[row]),
        brand=BRANDS[brand] if brand >= 0 else None,
        sponsored=bool(cues.sponsored[row]),
    )


def write_quote(cues: CaptionCues, rng: np.random.Generator) -> str:
    """Write the sentence that carries the claim, to be shown in an image."""
    words = LEXICONS[cues.language]
    return _to_sentence(_write_claim(cues, words, rng), words)


def write_caption(cues: CaptionCues, rng: np.random.Generator, *, is_quoted: bool = False) -> str:
    """Write one caption.

    Args:
        cues: The cues to express.
        rng: Source of randomness.
        is_quoted: Whether the image shows the claim, of which the caption then says nothing.

    Returns:
        Two to four sentences, often with emoji, and hashtags.
    """
    words = LEXICONS[cues.language]
    sentences = [] if is_quoted else [_to_sentence(_write_claim(cues, words, rng), words)]
    cues = replace(cues, address=False) if is_quoted else cues
    fillers = rng.permutation(len(words.fillers))[: 1 + rng.integers(2)]
    neutral = [_fill(words.fillers[i], _filler_slots(words, rng), rng) for i in fillers]
    if cues.brand:
        neutral.append(_fill(_pick(words.brand_lines, rng), {"brand": cues.brand}, rng))
    for sentence in neutral:
        sentences.insert(int(rng.integers(len(sentences) + 1)), sentence)
    for _ in range(rng.integers(3)):
        sentences.insert(int(rng.integers(1, len(sentences) + 1)), _pick(_EMOJI, rng))
    text = words.space.join(sentences)
    if rng.random() < 0.12:
        text = text.lower()
    tags = _write_hashtags(cues, words, rng)
    return text + _pick((" ", "\n", "\n.\n", "\n\n"), rng) + tags if tags else text


def write_giveaway(language: str, rng: np.random.Generator) -> str:
    """Pick one of the giveaway captions that many authors post verbatim, in one of `LANGUAGES`."""
    return _pick(LEXICONS[language].giveaways, rng)


def edit_caption(caption: str, rng: np.random.Generator) -> str:
    """Edit the beginning or end of a caption, as a repost does."""
    edits = (
        f"Repost: {caption}",
        f"{caption} {_pick(_EMOJI, rng)}",
        f"{caption} #repost",
        caption.replace("\n", " "),
    )
    return _pick(edits, rng)


def _write_claim(cues: CaptionCues, words: Lexicon, rng: np.random.Generator) -> str:
    """Write the sentence that carries the claim."""
    activities, place = words.topics[cues.topic]
    slots = {"act": _pick(activities, rng), "place": place}
    if cues.gender == 0:
        if cues.claim != NEUTRAL:
            raise ValueError(f"a {CLAIMS[cues.claim]} claim needs a gender")
        return _fill(_pick(words.plain, rng), slots, rng)
    gender = 0 if cues.gender < 0 else 1
    they, poss, them = words.pronouns[gender]
    person = _pick(words.persons[gender], rng)
    slots |= {
        "G": _pick(words.groups[gender], rng),
        "S": person,
        "S1": person.split(" ", 1)[-1],
        "K": _pick(words.kin[gender], rng),
        "they": they,
        "poss": poss,
        "them": them,
    }
    template = choose_forms(_pick(words.claims[cues.claim], rng), gender)
    claim = _fill(template, slots, rng)
    if not cues.address:
        return claim
    return f"{_pick(words.address[gender], rng)}{words.comma}{claim}"


def _write_hashtags(cues: CaptionCues, words: Lexicon, rng: np.random.Generator) -> str:
    tags = list(words.topic_tags[cues.topic][: rng.integers(3)])
    if cues.address:
        tags.append(_pick(words.gender_tags[0 if cues.gender < 0 else 1], rng))
    if cues.brand and rng.random() < 0.5:
        tags.append(cues.brand.split(".")[0])
    if cues.sponsored:
        tags.append(_pick(words.ad_tags, rng))
    return " ".join(f"#{tags[i]}" for i in rng.permutation(len(tags)))


def _filler_slots(words: Lexicon, rng: np.random.Generator) -> dict[str, str]:
    return {
        "adj": _pick(words.adjectives, rng),
        "thing": _pick(words.things, rng),
        "day": _pick(words.days, rng),
    }


def _fill(template: str, slots: dict[str, str], rng: np.random.Generator) -> str:
    """Resolve the choices `[a|b]` at random, then fill the slots `{x}`."""
    chosen = _CHOICE.sub(lambda match: _pick(match.group(1).split("|"), rng), template)
    return chosen.format(**slots)


def _to_sentence(text: str, words: Lexicon) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(("?", "!", ".")) else text + words.stop


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
