"""How fast a device computes: one effective speed, or one for each type of numbers.

Which of several counts follows from what a run computes in (``Scenario.number_type``); one number counts whatever that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import PlainValidator, TypeAdapter, WithJsonSchema

from ..base.units import MOST_SPEED, bounded
from ..populations import DrawnAs

#: What can be computed in.
NumberType = Literal["float32", "float16", "bfloat16", "int8"]

PositiveSpeed = Annotated[
    float, *bounded("speed", 1.0, MOST_SPEED, "from a pocket calculator to a thousand of the fastest computers")
]
_ONE: TypeAdapter[float] = TypeAdapter(PositiveSpeed)
_SEVERAL: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, PositiveSpeed])


def _stated(value: Any) -> float | dict[str, float]:
    if not isinstance(value, Mapping):
        return _ONE.validate_python(value)
    valid = get_args(NumberType)
    if not value or (unknown := [key for key in value if key not in valid]):
        what = f"{unknown[0]!r} is not a type of numbers" if value else "no speed is stated"
        raise ValueError(f"{what}; valid: {', '.join(valid)}")
    return _SEVERAL.validate_python(dict(value))


def _schema() -> dict[str, Any]:
    one = _ONE.json_schema()
    several = {"type": "object", "properties": dict.fromkeys(get_args(NumberType), one),
               "additionalProperties": False, "minProperties": 1}  # fmt: skip
    return {"anyOf": [*one["anyOf"], several], "description": f"{one['description']}; or a mapping of types to speeds"}


#: One effective speed (FLOP/s), or several by the type of numbers: ``{float32: 1 TFLOP/s, bfloat16: 4 TFLOP/s}``.
StatedSpeed: TypeAlias = Annotated[
    float | dict[str, float], PlainValidator(_stated), WithJsonSchema(_schema()), DrawnAs(PositiveSpeed)
]


def speed_in(stated: float | Mapping[str, float], numbers: NumberType) -> float:
    """The speed that counts (FLOP/s) where a run computes in ``numbers``.

    Raises:
        ValueError: it is not among several that are stated.
    """
    if not isinstance(stated, Mapping):
        return stated
    if numbers not in stated:
        given = ", ".join(stated)
        raise ValueError(f"this run computes in {numbers}, and no speed is stated for it, only for {given}")
    return stated[numbers]
