"""`postbias plan`: ratings and labels for an interval of a given width."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.scored_repo import write_scored_repo
from tests.small_repo import set_params
from tests.unit.test_people_report import rate

from postbias.cli import main
from postbias.errors import CorpusError, InputError
from postbias.params import load_params
from postbias.paths import Paths
from postbias.people.planning import PlanRequest, RatingPlan, plan_ratings


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = write_scored_repo(tmp_path_factory.mktemp("repo"))
    rate(paths, shift=0.5, sponsored=1.0, noise=1.0)
    set_params(paths.root, {"rating.file": "ratings.csv"})
    return paths


def _plan(paths: Paths, half_width: float, **changes: object) -> RatingPlan:
    fields: dict[str, object] = {
        "quantity": "bias", "compare": None, "each": None,
        "usd_per_rating": 0.1, "usd_per_label": 0.01,
    }  # fmt: skip
    request = PlanRequest(half_width=half_width, **(fields | changes))  # type: ignore[arg-type]
    return plan_ratings(paths, load_params(paths.params), request)


def test_a_narrower_interval_costs_more_and_is_reached(paths: Paths) -> None:
    mixes = [_plan(paths, width).cheapest for width in (0.6, 0.4, 0.3)]
    costs = [mix.cost for mix in mixes if mix]
    assert len(costs) == 3
    assert costs == sorted(costs)
    for mix, width in zip(mixes, (0.6, 0.4, 0.3), strict=True):
        assert mix is not None
        assert max(mix.half_widths.values()) <= width
        assert mix.rated <= mix.labels
    assert _plan(paths, 1e-4).cheapest is None


def test_a_difference_or_each_group_costs_more_than_the_mean(paths: Paths) -> None:
    one = _plan(paths, 0.8).cheapest
    for change in ({"compare": "sponsored"}, {"each": "half"}):
        more = _plan(paths, 0.8, **change).cheapest
        assert one is not None
        assert more is not None
        assert more.cost > one.cost


def test_dear_ratings_lead_to_more_labels(paths: Paths) -> None:
    cheap, dear = (_plan(paths, 0.25, usd_per_rating=usd).cheapest for usd in (0.001, 10.0))
    assert cheap is not None
    assert dear is not None
    assert dear.rated <= cheap.rated


def test_what_cannot_be_planned_is_named(paths: Paths) -> None:
    with pytest.raises(InputError, match=r"--quantity names nothing.*allowed: bias"):
        _plan(paths, 0.1, quantity="share_of_what")
    with pytest.raises(InputError, match="--compare names nothing"):
        _plan(paths, 0.1, compare="time")
    with pytest.raises(CorpusError, match="too few rated posts in the group"):
        _plan(paths, 0.1, each="time")


def test_the_command_prints_a_plan_and_draws_the_curve(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.root)
    chart = tmp_path / "plan.png"
    command = ["plan", "--half-width", "0.3", "--quantity", "share_high", "--chart", str(chart)]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "pilot: 150 rated and 425 labelled of 472 posts"
    assert lines[1].startswith("cheapest for 0.3: ")
    assert "hours of rating" in lines[1]
    with Image.open(chart) as image:
        assert min(image.size) > 100
    set_params(paths.root, {"rating.file": None})
    try:
        result = CliRunner().invoke(main, command)
    finally:
        set_params(paths.root, {"rating.file": "ratings.csv"})
    assert result.exit_code == 1
    assert "needs the ratings of a pilot" in result.output
