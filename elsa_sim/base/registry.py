"""Options and components: what a scenario file may say, and what it may choose by ``kind``.

A component's fields are its configuration: adding a field adds it to the scenario, the schema and the checks.
Defining a component registers it; a plugin is a module that defines one::

    class Halve(Codec):
        \"\"\"Keep every other coordinate.\"\"\"
        kind: Literal["halve"] = "halve"
        ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from .errors import InputError, unexpected

T = TypeVar("T")

#: A fixed-length or homogeneous sequence in a YAML file becomes a tuple: ``Items[tuple[int, ...]]``.
Items = Annotated[T, Field(strict=False)]


class Options(BaseModel):
    """Frozen, strictly typed options; unknown keys are faults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    gone: ClassVar[Mapping[str, str]] = {}
    """Keys that were here once, and where to look instead: what the fault says of them."""

    @property
    def stated_only(self) -> frozenset[str]:
        """Fields of which only what was given is written out: what was not is no default, but follows from something else."""
        return frozenset()

    @property
    def stated(self) -> frozenset[str]:
        """Fields that were given something else than their default: the same where a scenario is written out in full."""
        fields = type(self).model_fields
        return frozenset(
            n
            for n in self.model_fields_set & fields.keys()
            if getattr(self, n) != fields[n].get_default(call_default_factory=True)
        )


class Component(Options):
    """Something a scenario chooses by ``kind``.

    A direct subclass that sets ``family`` is a *family* (``class Codec(Component): family = "codec"``); a subclass of a
    family that declares ``kind: Literal["name"] = "name"`` is one of its members and registers itself.
    """

    family: ClassVar[str] = ""
    members: ClassVar[dict[str, type[Component]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "family" in cls.__dict__:
            cls.members = {}
            return
        if cls.__pydantic_generic_metadata__["origin"] is not None:
            return  # a member of a generic family for one type of numbers
        field = cls.model_fields.get("kind")
        if field is None or get_args(field.annotation) != (field.default,):
            return  # not Literal["name"] = "name": an abstract intermediate class
        other = cls.members.get(field.default)
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(
                f"{cls.family} kind {field.default!r} is defined twice: in {other.__module__} and {cls.__module__}"
            )
        cls.members[field.default] = cls


def families() -> dict[str, type[Component]]:
    """Name -> family; ``families()[name].members`` are its registered kinds."""
    return {c.family: c for c in Component.__subclasses__() if c.family}


def choice(family: type[Component]) -> Any:
    """The type of a field that holds any registered member of ``family``, told apart by ``kind``."""
    members = [family.members[kind] for kind in sorted(family.members)]
    if len(members) == 1:
        return members[0]
    return Annotated[reduce(or_, members), Field(discriminator="kind")]


def summary(component: type[Component]) -> str:
    """The first line of a component's docstring."""
    return (component.__doc__ or "").strip().partition("\n")[0]


def discover(package: str) -> None:
    """Import every module of ``package``, so that each component in it is registered: a new file is enough."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)


def load_plugin(module: str) -> None:
    """Import a plugin module by its dotted name.

    Raises:
        InputError: the module cannot be imported.
    """
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0]):
            where = "it is looked for where Python looks, in the current folder and beside the scenario"
            raise InputError(f"there is no plugin {module!r}: {where}; name it without .py") from error
        raise InputError(f"plugin {module!r} cannot be imported: {unexpected(error)}") from error


def load_entry_points() -> None:
    """Import the plugins that installed distributions declare in the entry point group ``elsa_sim.plugins``."""
    for entry in entry_points(group="elsa_sim.plugins"):
        load_plugin(entry.value)
