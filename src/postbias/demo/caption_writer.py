"""Captions of the demo corpus, written from cues.

A caption has one sentence that carries the claim, maybe a call on a group before it, and sentences
around it that carry nothing. Knows nothing of pictures, labels and files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postbias.demo.ground_truth import BRANDS, CLAIMS, LANGUAGES, NEUTRAL, TOPICS, Cues
from postbias.demo.lexicon import Lexicon
from postbias.demo.lexicon_en import ENGLISH
from postbias.demo.lexicon_es_fr import FRENCH, SPANISH

_LEXICONS = dict(zip(LANGUAGES, (ENGLISH, SPANISH, FRENCH), strict=True))
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_EMOJI = ("✨", "🌿", "☀️", "😂", "🙌", "💛", "📸", "🎉", "☕", "🔥", "😍", "👀", "🍋", "🌈", "💫")


@dataclass(frozen=True, slots=True)
class Line:
    """What one caption has to say.

    Attributes:
        language: One of `LANGUAGES`.
        topic: One of `TOPICS`.
        claim: Index into `CLAIMS`.
        gender: 1 feminine, -1 masculine, 0 nobody.
        address: Whether to call on the group first.
        brand: A brand's name, or None.
        sponsored: Whether to mark the post as paid for.
    """

    language: str
    topic: str
    claim: int
    gender: int
    address: bool
    brand: str | None
    sponsored: bool


def line_of(cues: Cues, row: int) -> Line:
    """Return what the caption of one post has to say.

    Args:
        cues: The cues of n posts.
        row: Which of them.

    Returns:
        Its caption's cues.
    """
    brand = int(cues.brand[row])
    return Line(
        language=LANGUAGES[int(cues.language[row])],
        topic=TOPICS[int(cues.topic[row])],
        claim=int(cues.claim[row]),
        gender=int(cues.gender[row]),
        address=bool(cues.address[row]),
        brand=BRANDS[brand] if brand >= 0 else None,
        sponsored=bool(cues.sponsored[row]),
    )


def write_caption(line: Line, rng: np.random.Generator) -> str:
    """Write one caption.

    Args:
        line: What it has to say.
        rng: Source of randomness.

    Returns:
        Two to four sentences, often with emoji, and hashtags.
    """
    words = _LEXICONS[line.language]
    core = _core(line, words, rng)
    sentences = [_sentence(core)]
    fillers = rng.permutation(len(words.fillers))[: 1 + rng.integers(2)]
    said = [_fill(words.fillers[i], _filler_slots(words, rng), rng) for i in fillers]
    if line.brand:
        said.append(_fill(_pick(words.brand_lines, rng), {"brand": line.brand}, rng))
    for sentence in said:
        sentences.insert(int(rng.integers(len(sentences) + 1)), sentence)
    for _ in range(rng.integers(3)):
        sentences.insert(int(rng.integers(1, len(sentences) + 1)), _pick(_EMOJI, rng))
    text = " ".join(sentences)
    if rng.random() < 0.12:
        text = text.lower()
    tags = _tags(line, words, rng)
    return text + _pick((" ", "\n", "\n.\n", "\n\n"), rng) + tags if tags else text


def write_giveaway(language: str, rng: np.random.Generator) -> str:
    """Pick one of the captions that many authors post word for word.

    Args:
        language: One of `LANGUAGES`.
        rng: Source of randomness.

    Returns:
        The caption.
    """
    return _pick(_LEXICONS[language].giveaways, rng)


def edit_caption(caption: str, rng: np.random.Generator) -> str:
    """Edit a caption a little, as a repost does.

    Args:
        caption: What was posted.
        rng: Source of randomness.

    Returns:
        The same words with another end or another beginning.
    """
    edits = (
        f"Repost: {caption}",
        f"{caption} {_pick(_EMOJI, rng)}",
        f"{caption} #repost",
        caption.replace("\n", " "),
    )
    return _pick(edits, rng)


def _core(line: Line, words: Lexicon, rng: np.random.Generator) -> str:
    """Return the sentence that carries the claim."""
    activities, place = words.topics[line.topic]
    slots = {"act": _pick(activities, rng), "place": place}
    if line.gender == 0:
        if line.claim != NEUTRAL:
            raise ValueError(f"a {CLAIMS[line.claim]} claim needs somebody to speak of")
        return _fill(_pick(words.plain, rng), slots, rng)
    side = 0 if line.gender < 0 else 1
    they, poss, them = words.pronouns[side]
    person = _pick(words.persons[side], rng)
    slots |= {
        "G": _pick(words.groups[side], rng),
        "S": person,
        "S1": person.split(" ", 1)[-1],
        "K": _pick(words.kin[side], rng),
        "they": they,
        "poss": poss,
        "them": them,
    }
    core = _fill(_pick(words.claims[line.claim], rng), slots, rng)
    if not line.address:
        return core
    return f"{_pick(words.address[side], rng)}, {core}"


def _tags(line: Line, words: Lexicon, rng: np.random.Generator) -> str:
    tags = list(words.topic_tags[line.topic][: rng.integers(3)])
    if line.address:
        tags.append(_pick(words.gender_tags[0 if line.gender < 0 else 1], rng))
    if line.brand and rng.random() < 0.5:
        tags.append(line.brand.split(".")[0])
    if line.sponsored:
        tags.append(_pick(words.ad_tags, rng))
    return " ".join(f"#{tags[i]}" for i in rng.permutation(len(tags)))


def _filler_slots(words: Lexicon, rng: np.random.Generator) -> dict[str, str]:
    return {
        "adj": _pick(words.adjectives, rng),
        "thing": _pick(words.things, rng),
        "day": _pick(words.days, rng),
    }


def _fill(template: str, slots: dict[str, str], rng: np.random.Generator) -> str:
    """Choose among `[a|b]`, then fill the slots."""
    chosen = _CHOICE.sub(lambda match: _pick(match.group(1).split("|"), rng), template)
    return chosen.format(**slots)


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(("?", "!", ".")) else text + "."


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
