"""Readers of topology files: text in; nodes, links and everything that is wrong with them out.

Tested in tests/topology/test_files.py.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import networkx as nx

from ..base.units import parse
from .model import ROLES, Node, Role
from .options import Duplex, profile_fault


@dataclass(frozen=True)
class RawLink:
    """A link as a file gives it; ``None`` where the file does not say. Units as in :class:`Link`."""

    u: str
    v: str
    up: float | None = None
    down: float | None = None
    latency: float | None = None
    duplex: Duplex | None = None
    profile: tuple[tuple[float, float], ...] = ()
    period: float | None = None
    cell: str | None = None
    jitter: float = 0.0
    loss: float = 0.0
    cell_bandwidth: float | None = None


Read = tuple[list[Node], list[RawLink], list[str]]
Reader = Callable[[str], Read]
_NODE_KEYS = {"name", "id", "role", "x", "y", "lat", "lon"}
_LINK_KEYS = {"u", "v", "source", "target", "up", "down", "bandwidth", "latency", "duplex", "profile", "period",
              "cell", "cell_bandwidth", "jitter", "loss"}  # fmt: skip


def read_json(text: str) -> Read:
    """``{"nodes": [{"name", "role", ...}], "links": [{"u", "v", "up", "down", "latency", ...}]}``.

    networkx's ``node_link_data`` keys are understood too: ``id``, ``source``, ``target``, ``edges``.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [], [], [f"not JSON: {error}"]
    if not isinstance(data, dict):
        return [], [], [f"expected an object with 'nodes' and 'links', got {type(data).__name__}"]
    said: list[str] = []
    if data.get("directed") is True:
        said.append("'directed' must not be true; a link has up and down bandwidth instead")
    entries = data.get("links", data.get("edges"))
    nodes = [_node(n, f"nodes[{i}]", said) for i, n in enumerate(_list(data.get("nodes"), "nodes", said))]
    links = [_link(n, f"links[{i}]", said) for i, n in enumerate(_list(entries, "links", said))]
    return [n for n in nodes if n], [n for n in links if n], said


def read_csv(text: str) -> Read:
    """An edge list: a header with ``u,v`` and any of the keys of a link (no profile), ``role_u`` and ``role_v``."""
    said: list[str] = []
    try:
        rows = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        return [], [], [f"not CSV: {error}"]
    if not rows:
        return [], [], ["the file is empty; expected a header such as u,v,up,down,latency"]
    header = [cell.strip() for cell in rows[0]]
    known = (_LINK_KEYS - {"profile", "period"}) | {"role_u", "role_v"}
    strange = [key for key in header if key not in known]
    ends = {"u", "v"} <= set(header) or {"source", "target"} <= set(header)
    if strange or not ends or len(set(header)) < len(header):
        valid = ", ".join(sorted(known))
        return [], [], [f"line 1: expected a header with u, v and any of {valid}; got {', '.join(header)[:200]}"]
    roles: dict[str, str] = {}
    links: list[RawLink] = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            said.append(f"line {number}: expected {len(header)} columns, got {len(row)}")
            continue
        cells: dict[str, Any] = {k: v.strip() for k, v in zip(header, row, strict=True) if v.strip()}
        given = {end: cells.pop(f"role_{end}", None) for end in "uv"}
        if "loss" in cells:
            cells["loss"] = _number(cells["loss"])
        link = _link(cells, f"line {number}", said)
        for end, name in (("u", link.u), ("v", link.v)) if link else ():
            role = given[end]
            if role and roles.get(name) not in (None, "router", role):
                said.append(f"line {number}: {name!r} has the roles {roles[name]!r} and {role!r}")
            roles[name] = role or roles.get(name, "router")
        if link:
            links.append(link)
    nodes = [_node({"name": name, "role": role}, f"node {name!r}", said) for name, role in roles.items()]
    return [n for n in nodes if n], links, said


def read_graphml(text: str) -> Read:
    """GraphML: node ``label`` or id as name, ``role``, ``Latitude``/``Longitude``; edges as :mod:`.files` says."""
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        return [], [], ["a DOCTYPE or entity declaration is refused; GraphML needs none"]
    try:
        graph = nx.parse_graphml(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except Exception as error:  # the parser raises nearly everything on malformed files
        return [], [], [f"not GraphML: {type(error).__name__}: {error}"]
    said: list[str] = []
    labels = [str(d.get("label") or "").strip() for _, d in graph.nodes(data=True)]
    names = {key: label if label and labels.count(label) == 1 else f"{label}_{key}" if label else str(key)
             for (key, _), label in zip(graph.nodes(data=True), labels, strict=True)}  # fmt: skip
    nodes = []
    for key, d in graph.nodes(data=True):
        place = {"lat": "Latitude", "lon": "Longitude", "x": "x", "y": "y"}
        found = {k: number for k, name in place.items() if (number := _number(d.get(name))) is not None}
        nodes.append(_node({"name": names[key], "role": d.get("role", "router")} | found, f"node {names[key]!r}", said))
    merged: dict[tuple[str, str], RawLink] = {}
    directions: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for a, b, d in graph.edges(data=True):
        u, v = names[a], names[b]
        given = {"u": u, "v": v} | {k: d[k] for k in _LINK_KEYS - {"u", "v", "source", "target", "profile"} if k in d}
        speed = _number(d.get("LinkSpeedRaw")) or _labelled(d)
        if "up" not in given and "bandwidth" not in given and speed:
            given["bandwidth"] = speed
        link = _link(given, f"edge {u!r}-{v!r}", said)
        if link is None:
            continue
        key = (v, u) if (v, u) in merged else (u, v)
        before = merged.get(key)
        opposite = before is not None and (u, v) not in directions[key]
        merged[key] = link if before is None else before if opposite else _sum(before, link)
        directions.setdefault(key, set()).add((u, v))
    return [n for n in nodes if n], list(merged.values()), said


def _sum(a: RawLink, b: RawLink) -> RawLink:
    def add(x: float | None, y: float | None) -> float | None:
        return x + y if x is not None and y is not None else x if y is None else y

    latency = min((x for x in (a.latency, b.latency) if x is not None), default=None)
    return replace(a, up=add(a.up, b.up), down=add(a.down, b.down), latency=latency)


def _labelled(attributes: Mapping[str, Any]) -> float | None:
    for key in ("LinkLabel", "label"):
        match = re.search(r"(\d+(?:\.\d+)?)\s*([kMGT])(?:bps|bit/s|b/s)", str(attributes.get(key, "")))
        if match:
            return float(match[1]) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[match[2]]
    return None


def _number(value: Any) -> float | None:
    """A finite number, or ``None``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _list(value: Any, key: str, said: list[str]) -> list[Any]:
    if isinstance(value, list):
        return value
    said.append(f"{key}: expected a list, got {'nothing' if value is None else type(value).__name__}")
    return []


def _name(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return value if isinstance(value, str) and value else None


def _node(value: Any, where: str, said: list[str]) -> Node | None:
    if isinstance(value, str) and value:
        value = {"name": value}
    name = _name(value.get("name", value.get("id"))) if isinstance(value, dict) else None
    if not isinstance(value, dict) or name is None:
        said.append(f"{where}: expected an object with a name, got {str(value)[:60]}")
        return None
    strange = sorted(str(k) for k in set(value) - _NODE_KEYS)
    if strange:
        said.append(f"{where}: unknown keys {', '.join(strange)[:80]}; valid: {', '.join(sorted(_NODE_KEYS))}")
    role = value.get("role", "router")
    if role not in ROLES:
        said.append(f"{where}: role must be one of {', '.join(ROLES)}, got {str(role)[:60]!r}")
        role = "router"
    numbers: dict[str, float] = {}
    for key in ("x", "y", "lat", "lon"):
        if key in value:
            number = None if isinstance(value[key], bool | str) else _number(value[key])
            if number is None:
                said.append(f"{where}: {key} must be a finite number, got {str(value[key])[:60]!r}")
            else:
                numbers[key] = number
    return Node(name, cast(Role, role), **numbers)


def _link(value: Any, where: str, said: list[str]) -> RawLink | None:
    u = _name(value.get("u", value.get("source"))) if isinstance(value, dict) else None
    v = _name(value.get("v", value.get("target"))) if isinstance(value, dict) else None
    if not isinstance(value, dict) or u is None or v is None:
        said.append(f"{where}: expected an object with u and v (names of nodes), got {str(value)[:60]}")
        return None
    strange = sorted(str(k) for k in set(value) - _LINK_KEYS)
    if strange:
        said.append(f"{where}: unknown keys {', '.join(strange)[:80]}; valid: {', '.join(sorted(_LINK_KEYS))}")
    found: dict[str, Any] = {}
    for key, quantity in (("bandwidth", "bandwidth"), ("up", "bandwidth"), ("down", "bandwidth"),
                          ("cell_bandwidth", "bandwidth"), ("latency", "time"), ("jitter", "time"),
                          ("period", "time")):  # fmt: skip
        if value.get(key) is not None:
            try:
                found[key] = parse(value[key], quantity)
            except ValueError as error:
                said.append(f"{where}: {key}: {error}")
    both = found.pop("bandwidth", None)
    if both is not None:
        found = {"up": both, "down": both} | found
    if found.get("jitter", 0.0) < 0:
        said.append(f"{where}: jitter must not be negative, got {found['jitter']:g}")
    for key in ("period", "cell_bandwidth"):
        if found.get(key, 1.0) <= 0:
            said.append(f"{where}: {key} must be above 0, got {found[key]:g}")
    if value.get("duplex") not in (None, "full", "half"):
        said.append(f"{where}: duplex must be full or half, got {str(value['duplex'])[:60]!r}")
    elif value.get("duplex"):
        found["duplex"] = value["duplex"]
    if value.get("cell") is not None and not (isinstance(value["cell"], str) and value["cell"]):
        said.append(f"{where}: cell must be a name, got {str(value['cell'])[:60]!r}")
    elif value.get("cell"):
        found["cell"] = value["cell"]
    loss = value.get("loss", 0.0)
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not 0.0 <= loss < 1.0:
        said.append(f"{where}: loss must be a probability of at least 0 and below 1, got {str(loss)[:60]!r}")
    else:
        found["loss"] = float(loss)
    if value.get("profile") is not None:
        found["profile"] = _profile(value["profile"], where, said)
    fault = profile_fault(found.get("profile", ()), found.get("period"))
    if fault:
        said.append(f"{where}: {fault}")
    return RawLink(u, v, **found)


def _profile(value: Any, where: str, said: list[str]) -> tuple[tuple[float, float], ...]:
    try:
        profile = tuple((parse(t, "time"), parse(b, "bandwidth")) for t, b in value)
    except (TypeError, ValueError) as error:
        said.append(f"{where}: profile must be a list of [time, bandwidth]: {error}")
        return ()
    if any(t < 0 or b < 0 for t, b in profile):
        said.append(f"{where}: the times and bandwidths of a profile must not be negative")
        return ()
    return profile
