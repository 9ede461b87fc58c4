"""Known devices: ``profiles.json`` beside this file, with sources, and what of them is unverified."""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator

from ..base.units import format_speed

GIB = 2.0**30
#: Words for the figures of an entry that may be unverified.
_FIGURES = {"peak_flops": "speeds", "memory_gib": "memory", "idle_w": "idle power", "busy_w": "busy power"}


@cache
def known() -> dict[str, dict[str, Any]]:
    """Profile name -> its entry in the data file: ``peak_flops`` is a mapping of types of numbers to FLOP/s."""
    entries: dict[str, dict[str, Any]] = json.loads(files(__package__).joinpath("profiles.json").read_text("utf-8"))[
        "devices"
    ]
    return entries


def profile(name: str) -> dict[str, Any]:
    """The device options of a profile: the speed in a type of numbers is its peak times the stated efficiency.

    Raises:
        ValueError: there is no such profile.
    """
    entry = known().get(name)
    if entry is None:
        near = difflib.get_close_matches(name, known(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known())}"
        raise ValueError(f"there is no device profile {name!r}; {hint}")
    return {
        "speed": {numbers: peak * entry["efficiency"] for numbers, peak in entry["peak_flops"].items()},
        "memory": entry["memory_gib"] * GIB,
        "power": {"idle": entry["idle_w"], "busy": entry["busy_w"]},
    }


def _is_known(name: str) -> str:
    profile(name)
    return name


ProfileName = Annotated[str, AfterValidator(_is_known)]
"""The name of a device that is known."""


def told(name: str) -> str:
    """A profile in one line: effective speeds, memory, power, and which figures are unverified."""
    entry, options = known()[name], profile(name)
    alike: dict[float, list[str]] = {}
    for numbers, speed in options["speed"].items():
        alike.setdefault(speed, []).append(numbers)
    speeds = ", ".join(f"{format_speed(speed)} {' / '.join(types)}" for speed, types in alike.items())
    text = f"{speeds} ({100 * entry['efficiency']:g} % of peak); {entry['memory_gib']:g} GiB; "
    text += f"{entry['idle_w']:g} W idle, {entry['busy_w']:g} W busy"
    doubted = dict.fromkeys(_word(figure) for figure in entry["unverified"])
    return f"{text}; {'unverified: ' + ', '.join(doubted) if doubted else 'verified'}"


def _word(figure: str) -> str:
    """``peak_flops.int8`` -> ``speed in int8``."""
    numbers = figure.partition(".")[2]
    return f"speed in {numbers}" if numbers else _FIGURES[figure]
