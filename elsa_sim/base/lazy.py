"""Modules imported at first use, so that `elsa-sim check` and `elsa-sim --help` need no tensor library.

Use::

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy("torch")
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)  # introspection (inspect, pickle, doctest) must not trigger the import
        return getattr(importlib.import_module(self.__name__), attribute)


def lazy(name: str) -> ModuleType:
    """A stand-in for the module ``name`` that imports it when one of its attributes is first read."""
    return _LazyModule(name)


def lazy_names(package: str, module: str, names: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a ``module`` whose public names are imported from ``package`` at first use.

    Args:
        names: public name -> (module within ``package``, name there; "" for the module itself).
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        where, attribute = names[name]
        loaded = importlib.import_module(f"{package}.{where}")
        return getattr(loaded, attribute) if attribute else loaded

    return get
