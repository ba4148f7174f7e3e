"""The result of a post depends exactly on the post alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

from postbias.scoring.scorer import PostInput, Scorer

_RNG = np.random.default_rng(0)
_IMAGES = [*(jpeg(_RNG) for _ in range(6)), b"", b"not an image"]

_SENTENCES = [
    "She leads the team, he brings the coffee.",
    "Heute backen wir einen Kuchen im Garten.",
    "El tiempo en el jardín es muy bueno hoy.",
]

posts = st.builds(
    PostInput,
    st.text(max_size=80) | st.sampled_from(_SENTENCES),
    st.lists(st.sampled_from(_IMAGES), max_size=6).map(tuple),
)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=["fusion", "text", "image", "fusion by language"])
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder: Path = tmp_path_factory.mktemp("student") / "artifact"
    modality, _, by_language = request.param.partition(" ")
    write_tiny_artifact(folder, modality, by_language=bool(by_language))
    return Scorer.open(folder, threads=2)


@quick
@given(batch=st.lists(posts, min_size=1, max_size=30), data=st.data())
def test_the_result_of_a_post_does_not_depend_on_other_posts_or_their_order(
    scorer: Scorer, batch: list[PostInput], data: st.DataObject
) -> None:
    together = scorer.score(batch)
    order = data.draw(st.permutations(range(len(batch))))
    shuffled = scorer.score([batch[row] for row in order])
    assert [together[row] for row in order] == shuffled
    row = data.draw(st.sampled_from(range(len(batch))))
    assert scorer.score([batch[row]]) == [together[row]]


@quick
@given(batch=st.lists(posts, max_size=10))
def test_every_post_is_either_scored_on_all_axes_or_has_a_reason(
    scorer: Scorer, batch: list[PostInput]
) -> None:
    results = scorer.score(batch)
    assert len(results) == len(batch)
    for result in results:
        if result.status == "ok":
            assert set(result.scores) == set(scorer.axes)
            for value, lo, hi in result.scores.values():
                assert lo is not None
                assert hi is not None
                assert 0 <= lo <= value <= hi <= 10
            assert (result.n_images > 0) == ("image" in str(result.modalities))
        else:
            assert result.status in {"no_content", "unreadable"}
            assert result.detail
            assert not result.scores
