"""What the attributes of an edge say about its bandwidth and latency, in files of other programs.

Understood, the first that is there: ``up``/``down``/``bandwidth`` (bit/s, or with a unit); ``capacity`` (with a unit); the
Zoo's ``LinkSpeedRaw`` (bit/s), its ``LinkSpeed`` with ``LinkSpeedUnits``, and a ``LinkLabel`` or ``label`` that is a speed and no
more: ``10 Gbps``, ``2 x 10 Mbps``, ``10 Gbit/s + 155 Mbps``. What looks like a speed and is not plainly one (``34-155 Mbps``,
``< 10 Gbps``, ``10Mb``) is unclear, and the scenario has to decide. Designations of carriers (``OC-192``) are not speeds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ...base.units import parse
from ..spellings import bandwidth_unit, time_unit
from .raw import LINK_KEYS, PROFILES, Asked, number_of

#: Attributes that say how an edge is drawn or called.
HARMLESS = {"id", "key", "label", "name", "url", "description", "desc", "type", "color", "colour", "style", "graphics",
            "LabelGraphics", "LinkLabel", "LinkType", "LinkNote", "LinkStatus", "Note", "edge_id", "directed"}  # fmt: skip
QUANTITIES = {"capacity", "LinkSpeed", "LinkSpeedUnits", "LinkSpeedRaw", "delay"}
OWN = LINK_KEYS - PROFILES - {"u", "v", "source", "target"}
_LABELS = ("LinkLabel", "label")
_NOTES = ("LinkNote", "Note", "LinkType", "type", "name", "description", "desc")
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_TERM = re.compile(rf"\s*(?:(\d+)\s*[xX×*]\s*)?({_NUMBER})\s*([^\d+]+?)\s*")
#: A number with something behind it that begins like a unit of speed.
_LIKE = re.compile(r"\d\s*(?:[kKmMgGtT]?i?[bB](?:ps|/s|its?|ytes?)\b|[kKmMgGtT]i?[bB][eE]?\b|[kKMGT]\b|(?:G|Gig)E\b"
                   r"|(?:kilo|mega|giga|tera)b|[kKmMgGtT]?BPS\b)")  # fmt: skip
_LONGEST = 200


def stated(
    attributes: Mapping[str, str], asked: Asked, where: str, said: list[str]
) -> tuple[dict[str, Any], str | None]:
    """The keys of a link that an edge's attributes amount to, and what is unclear about its bandwidth.

    Attributes that are not known are faults, added to ``said``: what they mean would be lost without a word.
    """
    attributes = {key: text for key, text in attributes.items() if key not in asked.ignore}
    strange = sorted(set(attributes) - HARMLESS - QUANTITIES - OWN)
    if strange:
        known = ", ".join(sorted(OWN | QUANTITIES))
        said.append(f"{where}: unknown attributes {', '.join(strange)[:80]}; list those that do not count under 'ignore' in the "
                    f"scenario; those that do are called {known}")  # fmt: skip
    found: dict[str, Any] = {key: attributes[key] for key in OWN if key in attributes}
    if "loss" in found:
        found["loss"] = number_of(found["loss"])
    if "delay" in attributes:
        delay = _with_unit(attributes["delay"], "time", asked.delay_unit)
        if isinstance(delay, str):
            said.append(f"{where}: delay {delay}")
        elif "latency" in found:
            said.append(f"{where}: it has both a delay and a latency; leave one out")
        else:
            found["latency"] = delay
    unclear: list[str] = []
    speed = _speed(attributes, asked, unclear)
    if "bandwidth" not in found and "up" not in found:
        if speed is not None:
            found["bandwidth"] = speed
        return found, unclear[0] if unclear else None
    own = _plain(found.get("bandwidth"))
    if (
        QUANTITIES & set(attributes) - {"delay"}
        and speed is not None
        and own is not None
        and not math.isclose(own, speed, rel_tol=0.01)
    ):
        return found, f"it states several speeds: {own:g} bit/s and, by another attribute, {speed:g} bit/s"
    return found, None


def _plain(value: Any) -> float | None:
    """The bit/s of a stated bandwidth, if it can be read (else it is told elsewhere)."""
    try:
        return parse(value, "bandwidth") if number_of(value) is None else float(value)
    except ValueError:
        return None


def _speed(attributes: Mapping[str, str], asked: Asked, unclear: list[str]) -> float | None:
    """The bandwidth (bit/s) that the first attribute with one states; what cannot be read is added to ``unclear``."""
    states: dict[str, float] = {}
    for key, read in (("capacity", _capacity), ("LinkSpeedRaw", _raw), ("LinkSpeed", _link_speed)):
        if key in attributes:
            value = read(attributes, asked)
            if not isinstance(value, str):
                states[key] = value
            elif not states:
                unclear.append(f"{key} {value}")
                return None
    if states:
        if not all(math.isclose(one, other, rel_tol=0.01) for one in states.values() for other in states.values()):
            unclear.append(
                "it states several speeds: " + ", ".join(f"{key} {value:g} bit/s" for key, value in states.items())
            )
            return None
        return next(iter(states.values()))
    for key in _LABELS:
        text = attributes.get(key, "")
        label = label_speed(text)
        if label is not None:
            return label
        if looks_like_speed(text) or (key == "LinkLabel" and number_of(text) is not None):
            unclear.append(f"{key} {text[:60]!r} is not a plain speed, such as '10 Gbps' or '2 x 155 Mbps'")
            return None
    for key in _NOTES:
        if looks_like_speed(attributes.get(key, "")):
            unclear.append(f"{key} {attributes[key][:60]!r} looks like a speed, but is a note")
            return None
    return None


def _capacity(attributes: Mapping[str, str], asked: Asked) -> float | str:
    return _with_unit(attributes["capacity"], "bandwidth", asked.capacity_unit)


def _raw(attributes: Mapping[str, str], asked: Asked) -> float | str:
    raw = number_of(attributes["LinkSpeedRaw"])
    return f"{attributes['LinkSpeedRaw'][:40]!r} is not a number of bit/s" if raw is None else raw


def _link_speed(attributes: Mapping[str, str], asked: Asked) -> float | str:
    """The Zoo's ``LinkSpeed`` in the unit of its ``LinkSpeedUnits`` (``G``, ``M``, ``K``, or a whole unit)."""
    text, units = attributes["LinkSpeed"], attributes.get("LinkSpeedUnits")
    if units is None or number_of(text) is None:
        return _with_unit(text, "bandwidth", asked.capacity_unit)
    factor = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}.get(units.lower(), bandwidth_unit(units))
    return f"{text} has the unknown LinkSpeedUnits {units[:20]!r}" if factor is None else float(text) * factor


def _with_unit(text: str, quantity: str, unit: float | None) -> float | str:
    """A quantity with a unit of its own, or a bare number in ``unit``; else what is wrong with it."""
    number = number_of(text)
    if number is not None:
        if unit is not None:
            return number * unit
        option, usual = ("capacity_unit", "Mbit/s") if quantity == "bandwidth" else ("delay_unit", "ms")
        return (
            f"{text[:40]!r} has no unit; write one behind it, or say {option}: {usual} (or what it is) in the scenario"
        )
    match = _TERM.fullmatch(text[:_LONGEST])
    factor = None
    if match and match[1] is None:
        factor = bandwidth_unit(match[3]) if quantity == "bandwidth" else time_unit(match[3])
    if match and factor is not None:
        return float(match[2]) * factor
    try:
        return parse(text, quantity)
    except ValueError as error:
        return str(error)


def label_speed(text: str) -> float | None:
    """The bit/s of a label that is a speed and nothing else, or a sum of such, each perhaps a number of times; or ``None``."""
    total = 0.0
    if len(text) > _LONGEST:
        return None
    for term in text.split("+"):
        match = _TERM.fullmatch(term)
        factor = bandwidth_unit(match[3]) if match else None
        if match is None or factor is None:
            return None
        total += int(match[1] or 1) * float(match[2]) * factor
    return total


def looks_like_speed(text: str) -> bool:
    """Whether a text has a number in what may be a unit of speed."""
    return _LIKE.search(text) is not None
