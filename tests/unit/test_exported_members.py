"""What each package says it exports is what it exports."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import postbias

_PACKAGES = [
    "postbias",
    *(p.name for p in pkgutil.walk_packages(postbias.__path__, "postbias.") if p.ispkg),
]


def _own_names(module: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).startswith("postbias")
    }


@pytest.mark.parametrize("name", _PACKAGES)
def test_all_names_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [each for each in exported if not hasattr(module, each)] == []
    assert _own_names(module) - set(exported) == set()


def test_the_package_lists_its_names_and_refuses_others() -> None:
    assert set(postbias.__all__) <= set(dir(postbias))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = postbias.nothing
