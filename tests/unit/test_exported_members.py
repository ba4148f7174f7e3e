"""The names in `__all__` of each package are the names that it exports."""

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
def test_all_lists_exactly_the_public_names(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [export for export in exported if not hasattr(module, export)] == []
    assert _own_names(module) - set(exported) == set()


def test_dir_lists_the_public_names_and_other_names_raise() -> None:
    assert set(postbias.__all__) <= set(dir(postbias))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = postbias.nothing
