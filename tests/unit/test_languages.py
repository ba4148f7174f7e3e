"""The language of captions is identified, or said to be unknown."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.demo.caption_writer import CaptionCues, write_caption
from postbias.demo.ground_truth import CLAIMS, LANGUAGES, TOPICS
from postbias.posts.languages import UNKNOWN, identify_languages


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_identified_or_unknown(language: str) -> None:
    rng = np.random.default_rng(8)
    captions = [
        write_caption(
            CaptionCues(language, topic, claim, 1, address=False, brand="auralane", sponsored=True),
            rng,
        )
        for topic in TOPICS
        for claim in range(len(CLAIMS))
    ]
    found = identify_languages(captions)
    assert set(found) <= {language, UNKNOWN}
    assert found.count(language) > 0.8 * len(captions)


def test_parts_of_sentences_are_rarely_identified_wrongly() -> None:
    rng = np.random.default_rng(9)
    n_found = n_wrong = 0
    for language in ("en", "es", "fr", "de", "pt", "ar", "hi"):
        for _ in range(150):
            topic = TOPICS[int(rng.integers(len(TOPICS)))]
            claim = int(rng.integers(len(CLAIMS)))
            cues = CaptionCues(language, topic, claim, -1, False, None, False)
            words = write_caption(cues, rng).split()
            start, n = int(rng.integers(len(words))), int(rng.integers(1, 5))
            (found,) = identify_languages([" ".join(words[start : start + n])])
            n_found += found != UNKNOWN
            n_wrong += found not in {language, UNKNOWN}
    assert n_found > 200
    assert n_wrong / n_found < 0.03


@pytest.mark.parametrize(
    "caption",
    ["", "  ", "☕ 🔥", "123", "ok", "Paris", "@some.one", "https://example.org/a-nice-day"],
)
def test_what_has_no_language_is_unknown(caption: str) -> None:
    assert identify_languages([caption]) == [UNKNOWN]


def test_mentions_and_addresses_do_not_decide() -> None:
    plain = "Heute backen wir einen Kuchen und gehen danach in den Garten."
    noisy = f"@the_english_kitchen {plain} https://example.org/this-is-the-english-address"
    assert identify_languages([plain, noisy]) == ["de", "de"]


def test_varieties_count_as_their_language() -> None:
    # Written in the orthography of every variety, so that no single one is probable enough.
    assert identify_languages(["وقت هادئ في البنك. فيديو جديد، الرابط في الصفحة."]) == ["ar"]
