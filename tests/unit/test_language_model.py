"""The batch classification of languages, compared with py3langid one caption at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postbias.posts.language_model import LanguageModel

_CAPTIONS = (
    "She is the boss of the kitchen and nobody says a word",
    "J'adore cette nouvelle robe, quel bonheur !",
    "Die neue Kollektion gefällt meiner Mutter sehr",
    "今天天气很好我们去海滩",
    "أحب هذا الفستان الجديد كثيرا لأنه مناسب لكل الفتيات في المدينة",
    "यह पोशाक बहुत सुंदर है",
    "ESTA NUEVA COLECCIÓN ME ENCANTA",
    "",
    " ",
    "🔥",
    "a",
    "\ud800 lone surrogate",
    "e\u0301te\u0301",
    "@brand #ootd https://example.com",
)


_MODEL = LanguageModel({})


@pytest.fixture(scope="module")
def one_by_one() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _check(captions: list[str], one_by_one: Any) -> None:
    codes, probabilities = _MODEL.classify(captions)
    expected = [one_by_one.classify(caption) for caption in captions]
    assert probabilities == pytest.approx([p for _, p in expected], abs=1e-4)
    sure = [i for i, (_, p) in enumerate(expected) if p > 0.502]
    assert [codes[i] for i in sure] == [expected[i][0] for i in sure]


def test_it_equals_py3langid_also_for_odd_and_long_captions(one_by_one: Any) -> None:
    rng = np.random.default_rng(0)
    words = " ".join(_CAPTIONS).split()
    mixed = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 60, 9000)]
    long = [" ".join(rng.choice(words, 4000)) for _ in range(3)]
    _check([*_CAPTIONS, *mixed, *long], one_by_one)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=80))
def test_it_equals_py3langid_for_any_text(one_by_one: Any, captions: list[str]) -> None:
    _check(captions, one_by_one)


def test_the_result_does_not_depend_on_other_captions() -> None:
    model = _MODEL
    together = model.classify(_CAPTIONS * 10)
    for i, caption in enumerate(_CAPTIONS):
        code, probability = model.classify([caption])
        assert (code[0], probability[0]) == (together[0][i], together[1][i])
    assert [len(part) for part in model.classify([])] == [0, 0]


def test_varieties_are_counted_as_their_language() -> None:
    captions = ["佢哋今日去咗邊度食飯呀", "Eg veit ikkje kva eg skal gjere i dag"]
    merged = LanguageModel({"yue": "zh", "nn": "no"})
    assert LanguageModel({}).classify(captions)[0].tolist() == ["yue", "nn"]
    assert merged.classify(captions)[0].tolist() == ["zh", "no"]
