"""Units at the door: ``"100 Mbit/s"``, ``"20 ms"``, ``"4 GFLOP/s"``, ``"300 MiB"`` become SI floats, and only here.

Inside the program every quantity is a float in s, bit/s, byte, FLOP/s, J, W, Hz, m. A bare number is in that unit.
Decimal prefixes k, M, G, T are powers of 1000; Ki, Mi, Gi, Ti powers of 1024. Powers may be in dBm or dBW, noise
densities in dBm/Hz; gains and losses stay in dB. ``format_*`` go the other way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_PREFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
           "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}  # fmt: skip
_SMALL = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}


def _scaled(unit: str, prefixes: dict[str, float], factor: float = 1.0) -> dict[str, float]:
    return {prefix + unit: scale * factor for prefix, scale in prefixes.items()}


#: quantity -> {unit text: factor to the SI unit}; the first entry of each is the SI unit itself.
UNITS: dict[str, dict[str, float]] = {
    "bandwidth": {**_scaled("bit/s", _PREFIX), **_scaled("bps", _PREFIX), **_scaled("B/s", _PREFIX, 8.0)},
    "time": {"s": 1.0, **_scaled("s", _SMALL), "min": 60.0, "h": 3600.0, "d": 86400.0},
    "size": {"B": 1.0, **_scaled("B", _PREFIX), "byte": 1.0, "bytes": 1.0},
    "speed": {"FLOP/s": 1.0, **_scaled("FLOP/s", _PREFIX), **_scaled("FLOPS", _PREFIX)},
    "power": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
    "frequency": {"Hz": 1.0, **_scaled("Hz", _PREFIX)},
    "distance": {"m": 1.0, "km": 1e3},
    "noise density": {"W/Hz": 1.0},
    "level": {"dB": 1.0, "dBi": 1.0},
}
#: quantity -> {unit text: what 0 of it is in the SI unit}; 10 more of it is ten times as much.
LOGARITHMIC: dict[str, dict[str, float]] = {
    "power": {"dBm": 1e-3, "dBW": 1.0},
    "noise density": {"dBm/Hz": 1e-3, "dBW/Hz": 1.0},
}
#: Possessive quantifiers: a text is read once, however long it is.
_NUMBER = re.compile(r"\s*+([+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)\s*+(\S*+)\s*+")


def parse(value: Any, quantity: str) -> float:
    """Convert ``value`` (a number in SI, or text such as ``"20 ms"``) to a finite SI float.

    Raises:
        ValueError: the text is not a number with a unit of ``quantity``, or not finite.
    """
    units = UNITS[quantity]
    si = next(iter(units))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a {quantity} such as '10 {_example(quantity)}', got {value!r}")
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise ValueError(
                f"{value!r} is not a {quantity}; write a number and a unit, such as '10 {_example(quantity)}'"
            )
        number, unit = match.groups()
        levels = LOGARITHMIC.get(quantity, {})
        if unit and unit not in units and unit not in levels:
            raise ValueError(f"{unit!r} is not a unit of {quantity}; valid: {', '.join([*units, *levels])}")
        if unit in levels:
            exponent = float(number) / 10.0
            result = levels[unit] * 10.0**exponent if exponent < 300.0 else math.inf
        else:
            result = float(number) * units[unit or si]
    else:
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is not a finite {quantity}")
    return result


def is_number(text: str) -> bool:
    """Whether a text is a number without a unit."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _example(quantity: str) -> str:
    usual = {"bandwidth": "Mbit/s", "time": "ms", "size": "MiB", "speed": "GFLOP/s", "frequency": "MHz"}
    usual["noise density"] = "dBm/Hz"
    return usual.get(quantity, next(iter(UNITS[quantity])))


def _parser(quantity: str) -> Callable[[Any], float]:
    return lambda value: parse(value, quantity)


@dataclass(frozen=True)
class Quantity:
    """Marks a type of number: which quantity it is, and so its units."""

    name: str


def quantity_of(number: Any) -> str | None:
    """The quantity of a type that :func:`bounded` made, or ``None``: of plain numbers, and of text."""
    return next((each.name for each in get_args(number)[1:] if isinstance(each, Quantity)), None)


def bounded(quantity: str, least: float, most: float, why: str) -> tuple[Any, ...]:
    """What makes a field hold a ``quantity`` from ``least`` to ``most`` (SI); ``why`` is said to who is out of bounds.

    ``Latency = Annotated[float, *bounded("time", 0.0, 1e5, "...")]``
    """
    si = next(iter(UNITS[quantity]))

    def check(value: float) -> float:
        if not least <= value <= most:
            raise ValueError(f"must be at least {least:g} and at most {most:g} {si} ({why}), got {value:g}")
        return value

    text = f"{quantity}: a number in {si}, or text such as '10 {_example(quantity)}'; {least:g} to {most:g} {si}"
    number = {"type": "number", "minimum": least, "maximum": most}
    schema = WithJsonSchema({"anyOf": [number, {"type": "string"}], "description": text})
    return AfterValidator(check), BeforeValidator(_parser(quantity)), schema, Quantity(quantity)


#: Far beyond anything real: what lies outside is a slip of the pen, or ends in infinite times and runs without end.
MOST_BANDWIDTH, MOST_TIME, MOST_BYTES, MOST_SPEED = 1e15, 1e8, 1e18, 1e21  # bit/s, s, bytes, FLOP/s
#: Of rounds, steps, texts and the like, and of factors, exponents and learning rates.
MOST_COUNT, MOST_FACTOR = 10**9, 1e30  # single precision ends at 3e38
CABLE = "all fibres of a cable together carry some 1e15"
YEARS = "some three years; times count from the start of the run, not from 1970"

Bandwidth = Annotated[float, *bounded("bandwidth", 0.0, MOST_BANDWIDTH, CABLE)]
Seconds = Annotated[float, *bounded("time", 0.0, MOST_TIME, YEARS)]
Size = Annotated[float, *bounded("size", 0.0, MOST_BYTES, "a thousand of the largest data centres' memories")]
Speed = Annotated[float, *bounded("speed", 0.0, MOST_SPEED, "the fastest computers do some 1e18")]
Power = Annotated[float, *bounded("power", 0.0, 1e10, "the largest power station")]
Frequency = Annotated[float, *bounded("frequency", 0.0, 1e15, "that of light")]
Distance = Annotated[float, *bounded("distance", 0.0, 1e9, "beyond the moon")]
NoiseDensity = Annotated[float, *bounded("noise density", 0.0, 1.0, "thermal noise has some 4e-21")]
Decibels = Annotated[float, *bounded("level", -300.0, 300.0, "a factor of 1e30")]


def _format(value: float, unit: str, step: float, prefixes: str) -> str:
    for prefix in ["", *prefixes.split()]:
        if abs(value) < step or prefix == prefixes.split()[-1]:
            return f"{value:.4g} {prefix}{unit}"
        value /= step
    raise AssertionError("unreachable")


def format_bytes(value: float) -> str:
    """``12345678`` -> ``"12.35 MB"``."""
    return _format(value, "B", 1000.0, "k M G T")


def format_bandwidth(value: float) -> str:
    """``2e7`` -> ``"20 Mbit/s"``."""
    return _format(value, "bit/s", 1000.0, "k M G T")


def format_speed(value: float) -> str:
    """``4e9`` -> ``"4 GFLOP/s"``."""
    return _format(value, "FLOP/s", 1000.0, "k M G T P")


def format_flops(value: float) -> str:
    """``4e9`` -> ``"4 GFLOP"``."""
    return _format(value, "FLOP", 1000.0, "k M G T P")


def format_energy(value: float) -> str:
    """``1234.5`` -> ``"1.234 kJ"``."""
    return _format(value, "J", 1000.0, "k M G")


def format_seconds(value: float) -> str:
    """``0.0123`` -> ``"12.3 ms"``, ``75`` -> ``"1 min 15.0 s"``, ``7385`` -> ``"2 h 03 min 05 s"``."""
    if abs(value) < 1.0:
        return f"{value * 1e3:.4g} ms"
    if abs(value) < 60.0:
        return f"{value:.4g} s"
    if abs(value) < 3600.0:
        minutes, seconds = divmod(round(value, 1), 60.0)
        return f"{minutes:.0f} min {seconds:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes // 60:.0f} h {minutes % 60:02.0f} min {seconds:02.0f} s"


_TOLD = {"bandwidth": "bit/s kbit/s Mbit/s Gbit/s Tbit/s", "speed": "FLOP/s MFLOP/s GFLOP/s TFLOP/s PFLOP/s",
         "size": "B kB MB GB TB", "time": "us ms s", "power": "mW W kW", "frequency": "Hz kHz MHz GHz",
         "distance": "m km"}  # fmt: skip


def unit_for(value: float, quantity: str) -> tuple[str, float]:
    """The unit in which values of about ``value`` are told together, and what one of it is in SI: ``("Mbit/s", 1e6)``."""
    units = UNITS[quantity]
    names = _TOLD.get(quantity, next(iter(units))).split()
    return next(((name, units[name]) for name in reversed(names) if value >= units[name]), (names[0], units[names[0]]))
