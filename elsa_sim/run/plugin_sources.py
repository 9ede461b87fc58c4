"""The files that the components of a scenario are made of, where they are not this package's.

For each component that a scenario uses, and each base of it: all modules of the package that defines it, or, where a plugin
is a file of its own, that file and the modules beside it that it imports, directly or not. They are found in the files, not
among what this process happens to have imported, so every process finds the same. Not seen: modules that are imported by
a computed name, data files of a plugin, other installed packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..base.files import Unreadable, Version, read, version
from ..base.registry import Component
from ..scenario.model import Scenario

_HERE = __name__.partition(".")[0]
_MOST_BYTES = 16 * 2**20


def plugin_sources(scenario: Scenario) -> dict[str, Path]:
    """File -> where it is; named from the folder that Python finds it in."""
    used = {
        base.__module__
        for component in _components(scenario)
        for base in type(component).__mro__
        if issubclass(base, Component) and base.__module__.partition(".")[0] != _HERE
    }
    found: dict[str, Path] = {}
    for name in sorted(used):
        if (package := _file(name.partition(".")[0])) is not None and package.name == "__init__.py":
            found |= _all(package.parent)
        elif (module := _file(name)) is not None:
            found |= _imported(module)
    return found


def _file(module: str) -> Path | None:
    name = getattr(sys.modules.get(module), "__file__", None)
    return Path(name) if isinstance(name, str) and Path(name).is_file() else None


def _all(package: Path) -> dict[str, Path]:
    """The modules of a package in a folder."""
    return {path.relative_to(package.parent).as_posix(): path for path in sorted(package.rglob("*.py"))}


def _imported(module: Path) -> dict[str, Path]:
    """A module that is a file of its own, and what it imports of what lies beside it."""
    folder, found, todo = module.parent, {module.name: module}, [module]
    while todo:
        path = todo.pop()
        try:
            names = _imports(path, version(path))
        except (Unreadable, OSError, SyntaxError, ValueError):  # not source text
            continue
        for name in names:
            beside, package = folder / f"{name}.py", folder / name
            more = {beside.name: beside} if beside.is_file() else {}
            if (package / "__init__.py").is_file():
                more = _all(package)
            todo += [path for file, path in more.items() if file not in found]
            found |= more
    return found


@lru_cache(maxsize=1024)
def _imports(path: Path, state: Version) -> frozenset[str]:
    """The packages and modules that a file in that state imports, by the first part of their names."""
    names = set()
    for node in ast.walk(ast.parse(read(path, _MOST_BYTES))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def _components(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
    if isinstance(value, BaseModel):
        inside = [*(getattr(value, name) for name in type(value).model_fields), *(value.model_extra or {}).values()]
    else:
        inside = [*value.values()] if isinstance(value, dict) else [*value] if isinstance(value, list | tuple) else []
    for each in inside:
        yield from _components(each)
