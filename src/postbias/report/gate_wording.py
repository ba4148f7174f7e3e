"""What the report says of the gate: conditions in words, numbers and limits as they are read.

Takes lines of the gate by name, as `evaluate.json` has them; decides nothing.
"""

from __future__ import annotations

from postbias.report.wording import DASH, MINUS

#: What each line of the gate asks, in words; `{axis}` and the like come from the line's name.
_GATE = {
    "beats_constant": "better than the best constant (p-value)",
    "beats_tfidf_ridge": "better than TF-IDF + ridge (p-value)",
    "spread": "spread of scores over spread of labels",
    "int8_loss": "part of the main metric that int8 costs",
    "no_leakage": "authors and near-duplicates in two folds",
    "odd_captions": "odd captions that misbehave",
    "repeat_change": "change when a caption is written twice",
    "swap_change": "change when gendered words are swapped",
    "swap_direction": "orientation follows swapped words (p-value)",
}

#: Lines of the gate whose numbers are shares, and those that ask for at least their limit.
_SHARES = ("coverage_", "int8_loss", "repeat_change", "swap_change")
_AT_LEAST = ("coverage_", "spread")


def gate_line(name: str) -> str:
    """Name a line of the gate in words.

    Args:
        name: As in `evaluate.json`.

    Returns:
        What it asks.
    """
    if name in _GATE:
        return _GATE[name]
    kind, _, what = name.partition("_")
    if kind == "coverage":
        return f"intervals of {what} hold the label"
    if kind == "uses":
        return f"looks at the {what} (p-value)"
    return name.replace("_", " ")


def gate_number(name: str, number: float | None) -> str:
    """Write what a line of the gate saw.

    Args:
        name: As in `evaluate.json`.
        number: What was seen, or None.

    Returns:
        A percentage, a p-value or a plain number, as the line asks for.
    """
    if number is None:
        return DASH
    if name.startswith(_SHARES):
        return f"{100 * number:.1f}%".replace("-", MINUS)
    return f"{number:.3g}".replace("-", MINUS)


def gate_limit(name: str, limit: float | None) -> str:
    """Write the limit of a line of the gate.

    Args:
        name: As in `evaluate.json`.
        limit: Its limit, or None.

    Returns:
        The limit, with which side of it passes.
    """
    if limit is None:
        return DASH
    side = "at least" if name.startswith(_AT_LEAST) else "at most"
    return (
        f"{'below' if gate_line(name).endswith('(p-value)') else side} {gate_number(name, limit)}"
    )
