"""Which files a run depends on: those that its scenario names, its checkpoint's, and the modules of its plugins.

A plugin's modules are those that define a component which the scenario uses, or one of its bases; those of their package
that were imported; and modules beside a plugin that is a single file. Not seen: files that a plugin opens without
`Context.read`, and modules that it imports only while it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..base import files
from ..base.context import Context
from ..base.errors import InputFaults
from ..base.registry import Component
from ..learning.backbone.options import locate
from ..learning.backbone.weights import files_of
from ..scenario.dump import FILE_OPTIONS
from ..scenario.model import Loaded, Scenario

_HERE = __name__.partition(".")[0]
_INSTALLED = ("site-packages", "dist-packages")


def named(loaded: Loaded) -> dict[str, str]:
    """SHA-256 of every file that the scenario names, by absolute path, of its checkpoint's files, and of its plugins' modules.

    What cannot be read is left out: that is a fault which a check tells.
    """
    scenario, context = loaded.scenario, loaded.context
    found: dict[str, Path] = {}
    for name in type(scenario).model_fields:
        for key, text in _texts(name, getattr(scenario, name)):
            if key not in FILE_OPTIONS and not os.path.isabs(text):
                continue
            try:
                path = context.file(text, "")
            except InputFaults:
                continue
            found[str(path)] = path
    try:
        source = locate(scenario.backbone, context)
        of_backbone = files_of(source, timing=scenario.execution.mode == "timing")
        found |= {f"backbone/{name}": path for name, path in of_backbone.items()}
    except InputFaults:
        pass
    digests = {}
    for name, path in (found | {**scenario.task.files()} | modules(scenario)).items():
        try:
            digests[name] = files.digest(path)[0]
        except files.Unreadable:
            continue
    return dict(sorted(digests.items()))


def note_modules(scenario: Scenario, context: Context) -> None:
    """Add the modules of the scenario's plugins to the context's inputs."""
    for name, path in modules(scenario).items():
        context.inputs.will_be_read(name, path, "")


def modules(scenario: Scenario) -> dict[str, Path]:
    """The files of the modules outside this package that the scenario's components are made of, named as one imports them."""
    roots = {
        base.__module__
        for component in _components(scenario)
        for base in type(component).__mro__
        if issubclass(base, Component) and base.__module__.partition(".")[0] != _HERE
    }
    found: dict[str, Path] = {}
    for root in roots:
        top, folder = root.partition(".")[0], _folder(root)
        for name, module in list(sys.modules.items()):
            path = _file(module)
            if path is None or name.partition(".")[0] == _HERE:
                continue
            if name.partition(".")[0] == top or (folder is not None and path.is_relative_to(folder)):
                found[_as_path(name, path)] = path
    return found


def _folder(module: str) -> Path | None:
    """The folder of a plugin that is a file of its own, not one of a package or of what is installed."""
    path = _file(sys.modules.get(module))
    if path is None or "." in module or path.name == "__init__.py" or any(part in _INSTALLED for part in path.parts):
        return None
    return path.parent


def _file(module: Any) -> Path | None:
    name = getattr(module, "__file__", None)
    if not isinstance(name, str):
        return None
    path = Path(name)
    return path if path.suffix == ".py" and path.is_file() else None


def _as_path(name: str, path: Path) -> str:
    tail = "/__init__.py" if path.name == "__init__.py" else path.suffix
    return name.replace(".", "/") + tail


def _components(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
    for _, each in _inside(value):
        yield from _components(each)


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    for name, each in _inside(value):
        yield from _texts(name or key, each)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """The values in options, with their keys."""
    if isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
        yield from (value.model_extra or {}).items()
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from (("", each) for each in value)
