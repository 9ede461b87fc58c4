"""The family of distributions, and the type of a field that may hold one in the place of a value.

A distribution is its quantile function: a client has one uniform number for each key, from a stream of its own name and
the key's, and what it draws is that quantile. So another client, another key or another parameter moves nothing else.

Tested in tests/populations/test_kinds.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Self, TypeAlias, TypeVar, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ..base.context import Context
from ..base.registry import Component
from ..base.units import quantity_of

Q = TypeVar("Q")
_MARK = "kind"
_VALUE, _DRAWN = "a value", "a distribution"


def _kind_is_required(schema: dict[str, Any]) -> None:
    schema["required"] = [_MARK, *(name for name in schema.get("required", ()) if name != _MARK)]


@dataclass(frozen=True)
class DrawnAs:
    """Marks a type with more values than a distribution can have: distributions are of ``values``."""

    values: Any


class Distribution(Component, Generic[Q]):
    """What the clients of a population have of one key; ``Q`` is the type of a value, with its unit and bounds."""

    # Docstrings of fields would be looked for again for every type of values, which takes a second of every start.
    model_config = ConfigDict(json_schema_extra=_kind_is_required, use_attribute_docstrings=False)
    family: ClassVar[str] = "distribution"
    #: Whether it can stand where text does, as well as numbers.
    of_text: ClassVar[bool] = False
    #: Whether it can be a part of a mixture.
    part: ClassVar[bool] = True

    def quantile(self, u: float) -> Q:
        """The value below which the share ``u`` in (0, 1) of a population lies (SI)."""
        raise NotImplementedError

    def loaded(self, context: Context, key: str) -> Self:
        """This distribution with its files read.

        Raises:
            InputFaults: a file is missing or wrong; the faults are at ``key``.
        """
        return self

    @property
    def shared(self) -> str | None:
        """What names the stream, instead of the key, of all that a client draws together."""
        return None

    def valid(self, value: Any) -> Q:
        """``value`` as the field takes it.

        Raises:
            ValidationError: it is none that the field may have.
        """
        found: Q = _adapter(type(self)).validate_python(value)
        return found

    @classmethod
    def values(cls) -> Any:
        """The type of a value."""
        return next(iter(cls.__pydantic_generic_metadata__["args"]), Any)

    @classmethod
    def quantity(cls) -> str | None:
        """Which quantity the values are; ``None`` of plain numbers, and of text."""
        return quantity_of(cls.values())

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        what = quantity_of(params[0]) or ("text" if is_text(params[0]) else "number")
        return f"{cls.__name__}Of{what.title().replace(' ', '')}"


@cache
def _adapter(kind: type[Distribution[Any]]) -> TypeAdapter[Any]:
    return TypeAdapter(kind.values(), config=ConfigDict(strict=True, allow_inf_nan=False))


def is_text(values: Any) -> bool:
    """Whether a type of values is text."""
    return str in (values, *get_args(values)) or any(is_text(each) for each in get_args(values) if each is not values)


if TYPE_CHECKING:
    #: ``Drawable[Speed]``: a speed, or a distribution of speeds. Whoever is given options of one device, or of one link, has
    #: values, so that is all that type checkers see; distributions are in scenarios only (:mod:`.drawing`).
    Drawable: TypeAlias = Annotated[Q, "or a distribution"]
    Part: TypeAlias = Annotated[Q, "or a distribution that is no mixture"]
else:

    class Drawable(Generic[Q]):
        """A value, or a distribution of such values, told by its ``kind``."""

        parts = False

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            (values,) = get_args(source)
            if isinstance(values, TypeVar):
                return core_schema.any_schema()
            drawn = next((each.values for each in get_args(values)[1:] if isinstance(each, DrawnAs)), values)
            text = is_text(drawn)
            kinds = [kind[drawn] for _, kind in sorted(Distribution.members.items())
                     if (kind.of_text or not text) and (kind.part or not cls.parts)]  # fmt: skip
            choice = Annotated[reduce(or_, kinds), Field(discriminator=_MARK)]
            forms = {_VALUE: handler.generate_schema(values), _DRAWN: handler.generate_schema(choice)}

            def own(value: Any) -> Any:
                """Distributions that were made in Python, of no type yet, become those of this one."""
                if isinstance(value, Distribution) and type(value) not in kinds:
                    return value.model_dump(exclude_unset=True) | {_MARK: value.kind}
                return value

            return core_schema.no_info_before_validator_function(own, core_schema.tagged_union_schema(forms, _form))

        @classmethod
        def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
            made = handler(schema)
            value, drawn = made.get("oneOf", (made, made))
            told = {"description": f"{value['description']}; or a distribution"} if "description" in value else {}
            values = value["anyOf"] if value.keys() <= {"anyOf", "description"} else [value]
            return {"anyOf": [*values, drawn]} | told

    class Part(Drawable[Q]):
        """A value, or a distribution that is no mixture."""

        parts = True


def is_distribution(value: Any) -> bool:
    """Whether an option that type checkers take for a value is still to be drawn."""
    return isinstance(value, Distribution)


def place(loc: tuple[int | str, ...]) -> list[str]:
    """The keys in the location of an error, without the names that the model has for forms and kinds of a value."""
    keys: list[str] = []
    of_kind = False
    for each in loc:
        if each not in (_VALUE, _DRAWN) and not of_kind:
            keys.append(str(each))
        of_kind = each == _DRAWN
    return keys


def _form(value: Any) -> str:
    if isinstance(value, Distribution) or (isinstance(value, Mapping) and _MARK in value):
        return _DRAWN
    return _VALUE
