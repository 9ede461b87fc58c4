"""What the nodes of a run drew from the distributions of its scenario: for tables and files.

Nothing of a run depends on it: devices and links have what they drew.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ..base.errors import Fault
from ..base.listing import listed
from ..base.units import UNITS, unit_for
from ..devices import DeviceOptions
from ..populations import Drawer, distributions, loaded
from ..scenario.model import Scenario
from .checks import Plan

#: Shares of a population below the quantiles that are told.
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: What a drawn profile decides, and the quantity of each.
_OF_PROFILE = {"speed": "speed", "memory": "size", "power.idle": "power", "power.busy": "power"}


@dataclass(frozen=True)
class Drawn:
    """What nodes have of one key that a distribution, or one that decides it, is given for."""

    key: str
    """``devices.client.speed``, ``topology.access.up``"""
    quantity: str | None
    values: Mapping[str, Any]
    """Node -> value (SI), or text; of every node of the role, whether it drew or has a value of its own."""

    def quantiles(self) -> tuple[str | None, list[str]]:
        """The quantiles at ``SHARES`` of numbers, and their unit, if they have one."""
        found = np.quantile(np.array([*self.values.values()], dtype=np.float64), SHARES)
        unit, factor = (None, 1.0) if self.quantity is None else unit_for(float(found[len(SHARES) // 2]), self.quantity)
        return unit, [_number(each / factor) for each in found]

    def shares(self) -> str:
        """How many nodes have each value, of text."""
        return listed([f"{count} {value}" for value, count in Counter(self.values.values()).most_common()], 8)

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return any(isinstance(each, str) for each in self.values.values())


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e3 <= value < 1e7 else f"{value:.3g}"


def asked(scenario: Scenario) -> Iterator[tuple[str, str | None]]:
    """The keys of distributions that a scenario has, without overrides of single nodes, and their quantities."""
    for section in ("devices", "topology"):
        for key, each in distributions(getattr(scenario, section)):
            yield f"{section}.{key}", each.quantity()


def drawn(plan: Plan) -> list[Drawn]:
    """What was drawn, by key in the order of the scenario."""
    wanted: dict[str, str | None] = {}
    for key, quantity in asked(plan.scenario):
        section, role, rest = key.split(".", 2)
        wanted[key] = quantity
        if section == "devices" and rest == "profile":
            wanted |= {f"devices.{role}.{name}": quantity for name, quantity in _OF_PROFILE.items()}
    return [Drawn(key, quantity, dict(_values(plan, key))) for key, quantity in wanted.items()]


def _values(plan: Plan, key: str) -> Iterator[tuple[str, Any]]:
    section, where, rest = key.split(".", 2)
    if section == "devices":
        for name in plan.topology.names(where):  # type: ignore[arg-type]
            value = _at(plan.devices[name], rest)
            if value is not None:
                yield name, value
        return
    if rest == "trace":
        yield from _traces(plan, where) if where != "core" else ()
        return
    for link in plan.topology.links:
        roles = (plan.topology.role(link.u), plan.topology.role(link.v))
        if where == ("access" if roles[0] == "client" else "core" if roles == ("router", "router") else "backhaul"):
            yield link.u if where != "core" else f"{link.u}-{link.v}", getattr(link, rest)


def _traces(plan: Plan, where: str) -> Iterator[tuple[str, str]]:
    """The trace that each node without one of its own draws: links have what is in the file, so it is drawn once more."""
    topology, faults = plan.scenario.topology, list[Fault]()
    trace = loaded(getattr(topology, where), plan.context, where, faults).trace
    own = {name for name, changes in getattr(topology, "overrides", {}).items() if "trace" in changes}
    drawer = Drawer(plan.context.streams)
    for node in plan.topology.names("client" if where == "access" else "edge"):
        if node not in own:
            drawn = drawer.value(trace, node, f"{where}.trace", where)
            yield node, drawn if isinstance(drawn, str) else ", ".join(each.file for each in drawn.files() if each)


def _at(device: DeviceOptions, key: str) -> Any:
    """The value at ``power.idle`` or ``downtimes.0.on``; ``None`` where a device has something else there."""

    def inner(value: Any, name: str) -> Any:
        if isinstance(value, tuple):
            return value[int(name)] if int(name) < len(value) else None
        return getattr(value, name, None)

    return reduce(inner, key.split("."), device)


def table(plan: Plan) -> str | None:
    """All that was drawn as CSV: a row per node, a column per key with its unit (SI); ``None`` where nothing was."""
    found = drawn(plan)
    if not found:
        return None
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [each.key + (f" ({next(iter(UNITS[each.quantity]))})" if each.quantity else "") for each in found]
    writer.writerow(["node", *heads])
    nodes = dict.fromkeys(node for each in found for node in each.values)
    for node in nodes:
        cells = [each.values.get(node, "") for each in found]
        writer.writerow([node, *(repr(cell) if isinstance(cell, float) else cell for cell in cells)])
    return out.getvalue()
