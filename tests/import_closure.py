"""The modules of the package that a stage can import, lazy imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: What runs a stage without deciding what it computes: errors, paths, parameters (their values are
#: in dvc.lock already) and MLflow. A change here must not retrain anything.
FRAME = frozenset({"src/postbias/__init__.py", "src/postbias/errors.py", "src/postbias/paths.py"})
_FRAME_PACKAGES = ("src/postbias/params/", "src/postbias/tracking/")


def reachable_modules(script: Path) -> list[str]:
    """List the modules that can change what a stage computes.

    Returns:
        Sorted paths relative to the repository, without the modules of `FRAME`.
    """
    found: set[str] = set()
    todo = [script]
    while todo:
        for module in _imported(todo.pop()):
            name = module.relative_to(ROOT).as_posix()
            if name not in found and name not in FRAME and not name.startswith(_FRAME_PACKAGES):
                found.add(name)
                todo.append(module)
    return sorted(found)


def _imported(file: Path) -> Iterator[Path]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "postbias":
                yield from _files(name)


def _files(name: str) -> Iterator[Path]:
    base = ROOT / "src" / Path(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        # An __init__ that only has a docstring computes nothing.
        if file.is_file() and (file.name != "__init__.py" or len(_body(file)) > 1):
            yield file


def _body(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body


def write_deps() -> None:
    """Update the code deps of dvc.yaml; other deps stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = ROOT / "dvc.yaml"
    pipeline = yaml.load(file)
    for stage in pipeline["stages"].values():
        data = [dep for dep in stage["deps"] if not dep.endswith(".py")]
        script = next(word for word in stage["cmd"].split() if word.startswith("stages/"))
        stage["deps"][:] = [*data, script, *reachable_modules(ROOT / script)]
    yaml.dump(pipeline, file)


if __name__ == "__main__":
    write_deps()
