"""Score gender bias in social-media posts with a small, validated student.

Example:
    import postbias

    with postbias.load("build/champion") as model:
        model.score("Real men don't cook.").scores["bias"]      # one post
        model.score(pandas.DataFrame({"caption": captions}))    # a table
        for result in model.score(read_posts()): ...            # a stream
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postbias.loading import Model, load
    from postbias.scoring.scorer import AxisScore, PostInput, PostScore

__version__ = "0.1.0"
__all__ = ["AxisScore", "Model", "PostInput", "PostScore", "__version__", "load"]

# Imported on first use: `import postbias` must be fast.
_MODULES = {
    "AxisScore": "postbias.scoring.scorer",
    "Model": "postbias.loading",
    "PostInput": "postbias.scoring.scorer",
    "PostScore": "postbias.scoring.scorer",
    "load": "postbias.loading",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names
    if name not in _MODULES:
        raise AttributeError(f"module 'postbias' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
