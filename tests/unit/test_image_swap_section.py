"""The scenes that the report shows."""

from __future__ import annotations

from postbias.report.image_swap_section import MAX_SCENES, list_largest_scenes


def test_the_scored_scenes_with_the_largest_change_are_shown() -> None:
    scenes = {f"s{n}": {"n": 2, "change": {"value": n / 100}} for n in range(15)}
    scenes["unscored"] = {"n": 0, "change": {"value": None}}
    shown = list_largest_scenes({"scenes": scenes})
    assert [scene["name"] for scene in shown] == [f"s{n}" for n in range(14, 14 - MAX_SCENES, -1)]
    assert list_largest_scenes({"scenes": {}}) == []
