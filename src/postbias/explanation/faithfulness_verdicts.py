"""Whether a student's explanations were tested, and with what result.

`evaluate` tests them on the test fold and writes the results to `reports/evaluate.json`; they are
part of the registered model too.
"""

# Ships inside the registered model.

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from postbias.scoring.artifact import Artifact

Json = dict[str, Any]

#: Parts of an explanation that are tested.
Part = Literal["words", "regions"]
PARTS: tuple[Part, ...] = ("words", "regions")

#: File beside those of an artifact in a registered model; not part of its digest.
VERDICTS = "explanations.json"

_REMOVAL = {"words": "removing words", "regions": "filling image regions"}


@dataclass(frozen=True, slots=True)
class FaithfulnessVerdicts:
    """Results of the tests of one student's explanations.

    Attributes:
        digest: Digest of the student.
        axis: The axis whose explanations were tested.
        is_faithful: By tested part, whether its order changes the score faster than random order.
    """

    digest: str
    axis: str
    is_faithful: Mapping[str, bool]

    def as_json(self) -> Json:
        """Convert to the content of `explanations.json`."""
        return {"digest": self.digest, "axis": self.axis, "faithful": dict(self.is_faithful)}


def read_verdicts(artifact: Artifact) -> FaithfulnessVerdicts | None:
    """Read the test results of a student's explanations.

    They are in `explanations.json` in the artifact's folder, or in the `reports/evaluate.json` of
    the repository that contains it.

    Returns:
        The results; None if the explanations of this student were not tested.
    """
    found = _read_json(artifact.folder / VERDICTS)
    if _is_of(found, artifact):
        return FaithfulnessVerdicts(found["digest"], found["axis"], found["faithful"])
    for folder in artifact.folder.resolve().parents:
        if not (folder / "dvc.yaml").is_file():
            continue
        report = _read_json(folder / "reports" / "evaluate.json")
        for name, result in report.get("explanations", {}).items():
            if report["students"][name]["digest"] == artifact.digest:
                parts: dict[str, bool] = {
                    part: result[part]["faithful"]
                    for part in PARTS
                    if part in result and result[part]["faithful"] is not None
                }
                return FaithfulnessVerdicts(artifact.digest, report["main"]["axis"], parts)
        break
    return None


def is_refused(verdicts: FaithfulnessVerdicts | None, part: Part, axis: str) -> bool:
    """Tell whether a part of explanations failed its test and must not be shown."""
    return (
        verdicts is not None and verdicts.axis == axis and verdicts.is_faithful.get(part) is False
    )


def note_on_verdict(verdicts: FaithfulnessVerdicts | None, part: Part, axis: str) -> str | None:
    """Say what the reader of an explanation must know about its test.

    Returns:
        A sentence; None if the part passed.
    """
    if is_refused(verdicts, part, axis):
        return (
            f"the {part} are not shown: for this student, {_REMOVAL[part]} in the order of their "
            "contributions changes scores no faster than in random order"
        )
    if verdicts is None or part not in verdicts.is_faithful:
        return f"for this student it was not tested whether the {part} are better than random order"
    if verdicts.axis != axis:
        return f"the {part} were tested on the axis {verdicts.axis} only, not on {axis}"
    return None


def _read_json(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_of(found: Json, artifact: Artifact) -> bool:
    return {"axis", "faithful"} <= set(found) and found.get("digest") == artifact.digest
