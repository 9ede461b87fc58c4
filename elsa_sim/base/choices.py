"""Fields that hold a member of a family: which kinds a scenario may choose is known once all components are defined.

Tested in tests/scenario/test_model.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .registry import Component, Options, choice

O = TypeVar("O", bound=Options)


def key_of(family: type[Component]) -> str:
    """The key by which a scenario chooses a member of ``family``: ``kind``, unless the family has another ``key``."""
    return str(getattr(family, "key", "kind"))


def any_of(family: type[Component]) -> Any:
    """The type of a field that holds any member of ``family`` that is registered now."""
    key = key_of(family)
    for member in family.members.values():
        field = member.model_fields["kind"]
        if (field.alias or "kind") != key:
            field.alias = field.validation_alias = field.serialization_alias = key
            member.model_rebuild(force=True)
    return Annotated[choice(family), _ByName(key, tuple(sorted(family.members)))]


def member_of(family: type[Component]) -> BeforeValidator:
    """Makes a field hold a member of ``family``, given as it is, by its name, or by a mapping with its ``kind``.

    Kinds are looked up when a value is checked: for options that are made from Python, before all components are known.
    """

    def resolve(value: Any) -> Any:
        if isinstance(value, family):
            return value
        given = {"kind": value} if isinstance(value, str) else value
        kind = given.get("kind") if isinstance(given, dict) else None
        member = family.members.get(kind) if isinstance(kind, str) else None
        if member is None:
            what, valid = family.family.replace("_", " "), ", ".join(sorted(family.members))
            raise ValueError(f"expected a {what}, one of {valid}; got {str(kind or value)[:60]!r}")
        return member.model_validate(given)

    return BeforeValidator(resolve)


def with_choices(model: type[O], /, **types: Any) -> type[O]:
    """``model`` with other types for some of its fields; their defaults and descriptions stay."""
    fields: dict[str, Any] = {name: (kind, _same(model.model_fields[name], kind)) for name, kind in types.items()}
    return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields)


def _same(field: FieldInfo, kind: Any) -> Any:
    if field.is_required():
        return Field(description=field.description)
    default = field.get_default(call_default_factory=True)
    return Field(default=_as(kind, default), description=field.description)


def _as(kind: Any, value: Any) -> Any:
    """Options as those of ``kind``, if that is a model with other types for some of its fields; within them, too."""
    if not (isinstance(kind, type) and issubclass(kind, Options) and isinstance(value, Options)):
        return value
    if isinstance(value, kind):
        return value
    return kind(
        **{name: _as(kind.model_fields[name].annotation, getattr(value, name)) for name in type(value).model_fields}
    )


@dataclass(frozen=True)
class AnyOf:
    """Marks a component's field that holds any member of ``family``, or null where its type says so.

    The kinds are those that are registered when the component's model is built; :func:`renewed` builds it again.
    """

    family: type[Component]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        made = handler.generate_schema(any_of(self.family))
        return core_schema.nullable_schema(made) if type(None) in get_args(source) else made


def renewed(family: type[Component]) -> type[Component]:
    """``family``, the choices within its members brought up to date."""
    for member in family.members.values():
        if any(isinstance(mark, AnyOf) for field in member.model_fields.values() for mark in field.metadata):
            member.model_rebuild(force=True)
    return family


@dataclass(frozen=True)
class _ByName:
    """A bare name stands for a mapping with that kind: ``partition: iid``. A mapping must name its kind."""

    key: str
    kinds: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"enum": list(self.kinds)}, handler(schema)]}

    def _mapping(self, value: Any) -> Any:
        if isinstance(value, str):
            return {self.key: value}
        if isinstance(value, dict) and self.key not in value:
            raise PydanticCustomError("union_tag_not_found", "no kind is given")
        return value
