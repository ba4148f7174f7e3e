"""Convert the faithfulness of explanations to the content of `evaluate.json`."""

from __future__ import annotations

from typing import Any

from postbias.evaluation.faithfulness import CueResult, FaithfulnessResult, OrderResult
from postbias.stats.bootstrap import one_sided_p_value, summarize_replicates

Json = dict[str, Any]


def faithfulness_to_json(result: FaithfulnessResult) -> Json:
    """Convert to the entry of one student in `evaluate.json`."""
    return {
        "n": result.n,
        **{part: _order_to_json(order) for part, order in result.orders.items()},
        "planted": {cue: _cue_to_json(found) for cue, found in result.cues.items()},
    }


def _order_to_json(order: OrderResult) -> Json:
    return {
        "n": order.n,
        "deletion": summarize_replicates(order.deletion).as_dict()
        | {"p": one_sided_p_value(order.deletion)},
        "insertion": summarize_replicates(order.insertion).as_dict()
        | {"p": one_sided_p_value(order.insertion)},
        "faithful": order.is_faithful,
    }


def _cue_to_json(result: CueResult) -> Json:
    return {
        "n": result.n,
        "found": summarize_replicates(result.found).as_dict(),
        "chance": result.chance,
    }
