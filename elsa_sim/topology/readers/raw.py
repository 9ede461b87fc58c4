"""What a reader of topology files gives: nodes, links as the file has them, and everything that is wrong.

Tested in tests/topology/test_files.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ...base.units import parse
from ..model import ROLES, Node, Role
from ..options import Duplex, Profile


@dataclass(frozen=True)
class RawLink:
    """A link as a file gives it; ``None`` where the file does not say. Units as in :class:`..model.Link`."""

    u: str
    v: str
    up: float | None = None
    down: float | None = None
    latency: float | None = None
    duplex: Duplex | None = None
    profile: Profile = ()
    period: float | None = None
    cell: str | None = None
    jitter: float | None = None
    loss: float | None = None
    cell_bandwidth: float | None = None
    profile_down: Profile | None = None
    period_down: float | None = None
    directed: bool = False
    """It is an edge from ``u`` to ``v`` only; its opposite is the other direction of the link."""
    unclear: str | None = None
    """What the file says about its bandwidth, where that can be read in several ways or in none."""


@dataclass(frozen=True)
class Asked:
    """What the scenario says about how to read a file."""

    capacity_unit: float | None = None
    """bit/s of a capacity that the file gives without a unit."""
    delay_unit: float | None = None
    """s of a delay that the file gives without a unit."""
    ignore: frozenset[str] = frozenset()
    """Attributes of edges that do not count."""


@dataclass
class Read:
    """What was read; ``parallel`` if several edges of two nodes are one link of the sum of their bandwidths."""

    nodes: list[Node] = field(default_factory=list)
    links: list[RawLink] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    parallel: bool = False


Reader = Callable[[bytes, Asked], Read]

NODE_KEYS = {"name", "id", "role", "x", "y", "lat", "lon"}
PROFILES = {"profile", "period", "profile_down", "period_down"}
LINK_KEYS = {"u", "v", "source", "target", "up", "down", "bandwidth", "latency", "duplex", "cell", "cell_bandwidth", "jitter",
             "loss"} | PROFILES  # fmt: skip
_QUANTITY = {"bandwidth": "bandwidth", "up": "bandwidth", "down": "bandwidth", "cell_bandwidth": "bandwidth", "latency": "time",
             "jitter": "time", "period": "time", "period_down": "time"}  # fmt: skip


def number_of(value: Any) -> float | None:
    """A finite number, or ``None``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _name(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return value if isinstance(value, str) and value else None


def node_of(value: Any, where: str, said: list[str]) -> Node | None:
    """The node that a mapping or a bare name describes; what is wrong with it is added to ``said``."""
    if isinstance(value, str) and value:
        value = {"name": value}
    name = _name(value.get("name", value.get("id"))) if isinstance(value, dict) else None
    if not isinstance(value, dict) or name is None:
        said.append(f"{where}: expected an object with a name, got {str(value)[:60]}")
        return None
    strange = sorted(str(k) for k in set(value) - NODE_KEYS)
    if strange:
        said.append(f"{where}: unknown keys {', '.join(strange)[:80]}; valid: {', '.join(sorted(NODE_KEYS))}")
    role = value.get("role", "router")
    if role not in ROLES:
        said.append(f"{where}: role must be one of {', '.join(ROLES)}, got {str(role)[:60]!r}")
        role = "router"
    numbers: dict[str, float] = {}
    for key in ("x", "y", "lat", "lon"):
        if key in value:
            number = None if isinstance(value[key], bool | str) else number_of(value[key])
            most = {"lat": 90.0, "lon": 360.0}.get(key, math.inf)
            if number is None or abs(number) > most:
                bound = "" if most == math.inf else f" of at most {most:g} degrees"
                said.append(f"{where}: {key} must be a finite number{bound}, got {str(value[key])[:60]!r}")
            else:
                numbers[key] = number
    return Node(name, cast(Role, role), **numbers)


def link_of(value: Any, where: str, said: list[str]) -> RawLink | None:
    """The link that a mapping describes; what is wrong with it is added to ``said``, but for what is out of range."""
    u = _name(value.get("u", value.get("source"))) if isinstance(value, dict) else None
    v = _name(value.get("v", value.get("target"))) if isinstance(value, dict) else None
    if not isinstance(value, dict) or u is None or v is None:
        said.append(f"{where}: expected an object with u and v (names of nodes), got {str(value)[:60]}")
        return None
    strange = sorted(str(k) for k in set(value) - LINK_KEYS)
    if strange:
        said.append(f"{where}: unknown keys {', '.join(strange)[:80]}; valid: {', '.join(sorted(LINK_KEYS))}")
    found: dict[str, Any] = {}
    for key, quantity in _QUANTITY.items():
        if value.get(key) is not None:
            try:
                found[key] = parse(value[key], quantity)
            except ValueError as error:
                said.append(f"{where}: {key}: {error}")
    both = found.pop("bandwidth", None)
    if both is not None:
        found = {"up": both, "down": both} | found
    if value.get("duplex") not in (None, "full", "half"):
        said.append(f"{where}: duplex must be full or half, got {str(value['duplex'])[:60]!r}")
    elif value.get("duplex"):
        found["duplex"] = value["duplex"]
    if value.get("cell") is not None and not (isinstance(value["cell"], str) and value["cell"]):
        said.append(f"{where}: cell must be a name, got {str(value['cell'])[:60]!r}")
    elif value.get("cell"):
        found["cell"] = value["cell"]
    loss = value.get("loss")
    if loss is None:
        pass
    elif isinstance(loss, bool) or not isinstance(loss, int | float):
        said.append(f"{where}: loss must be a probability, got {str(loss)[:60]!r}")
    else:
        found["loss"] = math.inf if number_of(loss) is None else float(loss)
    for key in ("profile", "profile_down"):
        if value.get(key) is not None:
            found[key] = _profile(value[key], f"{where}: {key}", said)
    if found.get("duplex") == "half" and found.get("down", found.get("up")) != found.get("up"):
        said.append(f"{where}: down: both directions of a half-duplex link share one channel of bandwidth up")
    if found.get("duplex") == "half" and "profile_down" in found:
        said.append(f"{where}: profile_down: both directions of a half-duplex link share one channel")
    return RawLink(u, v, **found)


def _profile(value: Any, where: str, said: list[str]) -> Profile:
    try:
        return tuple((parse(t, "time"), parse(b, "bandwidth")) for t, b in value)
    except (TypeError, ValueError) as error:
        said.append(f"{where} must be a list of [time, bandwidth]: {error}")
        return ()


def texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that say something, as text."""
    return {key: text for key, value in attributes.items() if value is not None and (text := str(value).strip())}
