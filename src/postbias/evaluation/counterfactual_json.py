"""Convert the effects of changed captions and images to the content of `reports/evaluate.json`."""

from __future__ import annotations

from typing import Any

from postbias.evaluation.counterfactuals import CounterfactualResult
from postbias.evaluation.image_swaps import ImageSwapResult, SceneSwapResult
from postbias.stats.bootstrap import Array, summarize_replicates

Json = dict[str, Any]


def counterfactuals_to_json(result: CounterfactualResult) -> Json:
    """Convert the effects of changed captions."""
    swaps = result.swaps
    directed = {"shift": swaps.shift, "right": swaps.right}
    return {
        "swap": {
            "n": swaps.n,
            **swaps.authors.as_dict(),
            "languages": dict(swaps.languages),
            "unswapped": dict(swaps.unswapped),
            "unaudited": dict(swaps.unaudited),
            "judged": swaps.is_enough,
            "change": _summarize(swaps.change),
            "n_directed": swaps.n_directed,
        }
        | {name: None if x is None else _summarize(x) for name, x in directed.items()},
        "repeated": {"n": result.n_repeated, "change": _summarize(result.repeat_change)},
        "odd": dict(result.odd),
        "faults": list(result.faults),
    }


def image_swaps_to_json(result: ImageSwapResult) -> Json:
    """Convert the effects of a swapped person in images."""
    directed = {"shift": result.shift, "right": result.right}
    return {
        "unscored": result.unscored,
        "units": result.units,
        "judged": result.is_enough,
        "spread": result.spread,
        "control": None if result.control is None else _summarize(result.control),
        **_scene_to_json(result.overall),
        **{name: None if x is None else _summarize(x) for name, x in directed.items()},
        "scenes": {name: _scene_to_json(scene) for name, scene in result.scenes.items()},
    }


def _scene_to_json(result: SceneSwapResult) -> Json:
    return {
        "n": result.n,
        "change": _summarize(result.change),
        "difference": _summarize(result.difference),
    }


def _summarize(replicates: Array) -> Json:
    return dict(summarize_replicates(replicates).as_dict())
