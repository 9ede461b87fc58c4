"""From a document to validated options: every fault at once, each with what is wrong and what would be valid.

What is valid at a place is read from the model itself, so a component that adds a field or a kind needs nothing here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..base.errors import Fault
from .document import Document
from .yaml_reader import Place, brief

M = TypeVar("M", bound=BaseModel)

#: pydantic's error type -> what would have been right.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
    "string_type": "text",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def examine(model: type[M], document: Document) -> tuple[M | None, list[Fault]]:
    """The options that ``document`` holds, if they can be made, and its faults in the order of their lines."""
    faults = list(document.faults)
    instance: M | None = None
    try:
        instance = model.model_validate(dict(document.data))
    except ValidationError as error:
        faults += [
            document.fault(place, message)
            for place, message in explain(model, error)
            if not any(place[: len(bad)] == bad for bad in document.faulty)
        ]
    return instance, in_order(faults)


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Each fault once, by line, those without a line last."""
    return sorted(dict.fromkeys(faults), key=lambda fault: (fault.line is None, fault.line or 0))


def explain(model: type[BaseModel], error: ValidationError) -> list[tuple[Place, str]]:
    """The place and the message of every fault that pydantic found in data for ``model``."""
    guide = _Guide()
    expected: dict[Place, tuple[list[str], str]] = {}  # wrong types: those of a union are one fault
    found: list[tuple[Place, str]] = []
    for each in error.errors(include_url=False):
        place, schema = guide.follow(model.__pydantic_core_schema__, each["loc"])
        kind, got, context = each["type"], each["input"], each.get("ctx", {})
        if kind == "too_short" and context.get("actual_length") != len(got):
            continue  # elements that are faults themselves were not counted
        if kind in _EXPECTED:
            key, kinds = _tags(schema) if kind.startswith("model_") else ("", [])
            more = f"; valid: {', '.join(kinds)}" if kinds else ""
            names, _ = expected.setdefault(place, ([], f", got {brief(got)}{more}"))
            names.append(_EXPECTED[kind] + (f" with a {key}" if kinds else ""))
            continue
        found.append(_message(place, kind, got, context, each["msg"], schema))
    return found + [(place, f"expected {_either(names)}{rest}") for place, (names, rest) in expected.items()]


def hint(name: object, valid: Iterable[str]) -> str:
    """``"; did you mean 'sketch'? valid: sketch, ssop"``; without a question if no name is near."""
    names = list(valid)
    near = difflib.get_close_matches(str(name)[:100], names, 1)
    return f"; did you mean {near[0]!r}? valid: {', '.join(names)}" if near else f"; valid: {', '.join(names)}"


def _either(names: list[str]) -> str:
    return " or ".join(dict.fromkeys(names))


def _unknown(key: str, got: Any, valid: list[str]) -> str:
    if isinstance(got, str):
        told = hint(got, valid)
        plugin = (
            "" if "did you mean" in told or key not in ("kind", "policy") else "; one of a plugin needs --plugin MODULE"
        )
        return f"unknown {key} {brief(got)}{told}{plugin}"
    return f"expected one of {', '.join(valid)}, got {brief(got)}"


def _message(
    place: Place, kind: str, got: Any, context: Mapping[str, Any], text: str, schema: Any
) -> tuple[Place, str]:
    """Place and message of one error that is not a wrong type; ``schema`` is that of the place or of its parent."""
    if kind == "extra_forbidden":
        names, what = _keys(schema)
        gone = getattr(schema.get("cls"), "gone", {}).get(place[-1])
        if gone is not None:
            return place, f"{brief(place[-1])} is gone: {gone}"
        return place, f"unknown key {brief(place[-1])}{what}{hint(place[-1], names)}"
    if kind == "missing":
        key, names = _tags(schema)
        return place, "required, but not given" + (f"; valid for its {key}: {', '.join(names)}" if names else "")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        key, names = _tags(schema)
        if kind == "union_tag_not_found":
            return (*place, key), f"required, but not given; valid: {', '.join(names)}"
        tag = got.get(key) if isinstance(got, dict) else got
        return (*place, key), _unknown(key, tag, names)
    if kind == "literal_error":
        valid = [str(value) for value in schema.get("expected", ())] or [context["expected"]]
        key = next(
            (each for each in reversed(place) if isinstance(each, str)), "value"
        )  # of a list's element: the list's
        return place, _unknown(key, got, valid)
    if kind in _BOUNDS:
        sign, bound = _BOUNDS[kind]
        return place, f"must be {sign} {context[bound]}, got {brief(got)}"
    if kind in ("value_error", "assertion_error"):
        return place, str(context["error"])
    if kind in ("string_too_short", "too_short", "string_too_long", "too_long"):
        unit, size = ("characters", len(got)) if isinstance(got, str) else ("elements", context.get("actual_length"))
        most, limit = ("most", context.get("max_length")) if kind.endswith("long") else ("least", context["min_length"])
        return place, f"must have at {most} {limit} {unit}, has {size}"
    return place, f"{text.replace('Input should', 'should')}, got {brief(got)}"


@dataclass
class _Guide:
    """Follows pydantic's locations through its core schema: they name union members, which a file does not."""

    definitions: dict[str, Any] = field(default_factory=dict)

    def follow(self, schema: Any, loc: tuple[int | str, ...]) -> tuple[Place, Any]:
        """The place that ``loc`` means, and the schema there (of an unknown key: the mapping that has it)."""
        place: Place = ()
        for element in loc:
            schema = self.bare(schema)
            form = schema.get("type")
            if form == "tagged-union":
                schema = schema["choices"].get(element, {})
            elif form == "union":
                schema = self._member(schema, element)
            elif element == "[key]":
                continue
            else:
                place = (*place, element)
                schema = self._inside(schema, form, element)
        return place, self.bare(schema)

    def bare(self, schema: Any) -> Any:
        """``schema`` without defaults, validators and references around it; models stay as they are."""
        while schema.get("type") != "model":
            if schema.get("type") == "definitions":
                self.definitions.update({each["ref"]: each for each in schema["definitions"]})
            if schema.get("type") == "definition-ref":
                schema = self.definitions[schema["schema_ref"]]
            elif isinstance(schema.get("schema"), dict):
                schema = schema["schema"]
            else:
                break
        return schema

    def _inside(self, schema: Any, form: str | None, element: int | str) -> Any:
        if form == "model":
            return _fields(schema).get(str(element)) or _model(schema).get("extras_schema") or schema
        if form in ("list", "set"):
            return schema.get("items_schema", {})
        if form == "tuple":
            items = schema["items_schema"]
            return items[element if isinstance(element, int) and element < len(items) else -1]
        if form == "dict":
            return schema.get("values_schema", {})
        return {}

    def _member(self, schema: Any, label: int | str) -> Any:
        for choice in schema["choices"]:
            member = choice[0] if isinstance(choice, tuple) else choice
            bare = self.bare(member)
            if label in (bare.get("type"), getattr(bare.get("cls"), "__name__", None)):
                return member
        return {}


def _model(schema: Any) -> dict[str, Any]:
    """What is in a model: its ``fields``, and what other keys may hold."""
    while schema.get("type") != "model-fields":
        schema = schema["schema"]
    return schema  # type: ignore[no-any-return]


def _model_fields(schema: Any) -> dict[str, Any]:
    return _model(schema)["fields"]  # type: ignore[no-any-return]


def _fields(schema: Any) -> dict[str, Any]:
    """Key in the file -> schema of a model's field."""
    return {_alias(name, each): each["schema"] for name, each in _model_fields(schema).items()}


def _alias(name: str, each: Any) -> str:
    alias = each.get("validation_alias")
    return alias if isinstance(alias, str) else name


def _keys(schema: Any) -> tuple[list[str], str]:
    """The keys of a model, and of which kind it is."""
    if schema.get("type") != "model":
        return [], ""
    key, kinds = _tags(schema)
    rest = [name for name in _fields(schema) if name != key]
    return ([key, *rest], f" ({key}: {kinds[0]})") if len(kinds) == 1 else (list(_fields(schema)), "")


def _tags(schema: Any) -> tuple[str, list[str]]:
    """The key that chooses a kind, and the kinds; none if there is nothing to choose."""
    if schema.get("type") == "tagged-union":
        key = schema["discriminator"]
        if callable(key):
            return "kind", []  # a value, or a distribution
        while not isinstance(key, str):
            key = key[-1]  # [["kind"], ["policy"]]: the last one is the alias
        return key, list(schema["choices"])
    if schema.get("type") == "model":
        fields = _model_fields(schema)
        if "kind" in fields:
            literal = _Guide().bare(fields["kind"]["schema"])
            return _alias("kind", fields["kind"]), [str(kind) for kind in literal.get("expected", ())]
    return "kind", []
