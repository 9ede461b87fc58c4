"""A map of the network: nodes by role, links by what they carried.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ...base.tiers import TIER
from .. import metrics as table
from ..metrics import Results, Topology
from .base import Figure
from .style import INK, ROLE, amount, axes, natural, scaled, styled

Point: TypeAlias = tuple[float, float]

_HEAT = LinearSegmentedColormap.from_list("heat", ["#d4d4d4", "#f0b45f", "#d9544d", "#8c1c3a"])


@styled
def topology_map(results: Results, ax: Axes | None = None) -> Axes:
    """Nodes by role; a link's colour is the mean utilisation of its busier direction, its width the bytes it carried.

    Nodes stand where the topology says (m, or degrees), else in layers, the cloud on top.
    """
    topology = results.topology
    place, unit = positions(topology)
    load = table.link_load(results.events, topology)
    carried, use = load["bytes"].to_numpy(float), load["utilisation"].to_numpy(float)
    carried, use = carried[0::2] + carried[1::2], np.maximum(use[0::2], use[1::2])
    ax = axes(ax, 7.2, 4.6 if unit is not None else 3.0)
    lines = [(place[link["u"]], place[link["v"]]) for link in topology["links"]]
    heaviest = carried.max(initial=0.0)
    widest = 2.6 * min(1.0, 20.0 / max(len(lines), 1)) + 0.3
    width = 0.5 + widest * (carried / heaviest if heaviest > 0 else carried)
    shades = Normalize(0.0, max(use.max(initial=0.0) * 100.0, 1e-9))
    drawn = LineCollection(lines, array=use * 100.0, cmap=_HEAT, norm=shades, linewidths=width, zorder=1)
    ax.add_collection(drawn)
    _nodes(ax, topology, place, layered=unit is None)
    assert ax.figure is not None
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.75, aspect=18, pad=0.02)
    bar.set_label("Mean utilisation of the busier direction (%)", fontsize=7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, width=0.6, length=2.5)
    factor, size = scaled(heaviest, "B")
    if heaviest > 0:
        ax.set_title(f"Line width: data carried, both directions (widest: {amount(heaviest / factor)} {size})", pad=20)
    if unit is None or not unit[0]:
        ax.set_axis_off()
        ax.margins(*((0.03, 0.12) if unit is None else (0.06, 0.06)))
        if unit is not None:
            ax.set_aspect("equal")
    else:
        for axis, name, part in ((ax.xaxis, "x", unit[0]), (ax.yaxis, "y", unit[1])):
            axis.set_label_text(f"{name} ({part})" if part == "m" else part)
        ax.set_aspect("equal" if unit[0] == "m" else 1.0 / max(math.cos(math.radians(_middle(place))), 0.1))
        ax.margins(0.08)
    return ax


def _middle(place: dict[str, Point]) -> float:
    return float(np.mean([y for _, y in place.values()])) if place else 0.0


def positions(topology: Topology) -> tuple[dict[str, Point], tuple[str, str] | None]:
    """Node -> (x, y), and the units of the two axes: empty for a drawn graph, ``None`` for layers."""
    nodes: list[dict[str, Any]] = list(topology["nodes"])
    for keys, units in ((("x", "y"), ("m", "m")), (("lon", "lat"), ("longitude (°)", "latitude (°)"))):
        if nodes and all(isinstance(n.get(k), int | float) for n in nodes for k in keys):
            return {n["name"]: (float(n[keys[0]]), float(n[keys[1]])) for n in nodes}, units
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(n["name"] for n in nodes)
    graph.add_edges_from((link["u"], link["v"]) for link in topology["links"])
    roles = {n["name"]: n.get("role", "router") for n in nodes}
    if "router" in roles.values() or len(set(roles.values())) < 2:
        place = nx.kamada_kawai_layout(graph) if len(graph) <= 150 else nx.spring_layout(graph, seed=0)
        points = np.array([place[name] for name in graph])
        wide = np.linalg.svd(points - points.mean(axis=0))[2]  # turned so that it is widest from left to right
        return {name: (float(x), float(y)) for name, (x, y) in zip(graph, points @ wide.T, strict=True)}, ("", "")
    return _layers(graph, roles), None


def _layers(graph: nx.Graph[str], roles: dict[str, str]) -> dict[str, Point]:
    """Cloud on top, edge servers below, clients at the bottom, each client under its server."""
    layer = {name: TIER[role] for name, role in roles.items()}
    order = sorted(roles, key=natural)
    parent = {n: next((m for m in sorted(graph[n], key=natural) if layer[m] > layer[n]), "") for n in order}
    place: dict[str, Point] = {}
    at = 0.0
    for server in [*(n for n in order if layer[n] == 1), *(n for n in order if layer[n] == 2), ""]:
        mine = [n for n in order if layer[n] == 0 and parent[n] == server]
        for client in mine:
            place[client] = (at, 0.0)
            at += 1.0
        if layer.get(server) == 1:
            place[server] = (at - 0.5 - len(mine) / 2.0 if mine else at, 1.0)
            at += 0.7 if mine else 1.7
    width = max(at - 1.0, 0.0)
    tops = [n for n in order if layer[n] == 2]
    for i, top in enumerate(tops, 1):
        place[top] = (width * i / (len(tops) + 1), 2.0)
    return place


def _nodes(ax: Axes, topology: Topology, place: dict[str, Point], layered: bool) -> None:
    by_role: dict[str, list[str]] = {}
    for node in topology["nodes"]:
        by_role.setdefault(node.get("role", "router"), []).append(node["name"])
    near: dict[str, list[Point]] = {}
    for link in topology["links"]:
        near.setdefault(link["u"], []).append(place[link["v"]])
        near.setdefault(link["v"], []).append(place[link["u"]])
    handles = []
    for role, (colour, marker, area) in ROLE.items():
        names = by_role.get(role, [])
        if not names:
            continue
        crowded = len(names) > 60
        x, y = zip(*(place[n] for n in names), strict=True)
        size = area / (3.0 if crowded else 1.0)
        ax.scatter(x, y, s=size, c=colour, marker=marker, edgecolors=INK, linewidths=0.5, zorder=3)
        label = f"{role} ({len(names)})"
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, markeredgecolor=INK,
                              markeredgewidth=0.5, markersize=math.sqrt(area) * 0.75, label=label))  # fmt: skip
        if not crowded and role != "router":
            _name(ax, names, place, near, layered)
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0, handletextpad=0.4)


def _free(x: float, y: float, around: list[Point]) -> Point:
    """The direction in the middle of the widest gap between the links of a node."""
    angles = sorted(math.atan2(b - y, a - x) for a, b in around) or [-math.pi / 2]
    gaps = [(after - angle, angle) for angle, after in pairwise([*angles, angles[0] + 2 * math.pi])]
    gap, angle = max(gaps)
    return math.cos(angle + gap / 2), math.sin(angle + gap / 2)


def _name(ax: Axes, names: list[str], place: dict[str, Point], near: dict[str, list[Point]], layered: bool) -> None:
    """Labels where no link runs: below clients, beside edge servers; else on the side away from the neighbours."""
    halo = [withStroke(linewidth=1.6, foreground="white")]
    middle = float(np.mean([x for x, _ in place.values()]))
    small = 5.5 if len(names) > 30 else 6.5
    for name in names:
        x, y = place[name]
        dx, dy = _free(x, y, near.get(name, []))
        turn = 0
        if layered:
            dx, dy = ((-1.0 if x < middle else 1.0), 0.0) if 0.0 < y < 2.0 else (0.0, math.copysign(1.0, y - 1.0))
            turn = 90 if y == 0.0 and len(names) > 10 else 0
        ha = "center" if abs(dx) < 0.5 else "left" if dx > 0 else "right"
        va = "center" if abs(dy) < 0.5 else "bottom" if dy > 0 else "top"
        beside = (7 * dx, 7 * dy if dy > 0 else 5 * dy)
        ax.annotate(name, (x, y), xytext=beside, textcoords="offset points", ha=ha, va=va, fontsize=small,
                    rotation=turn, zorder=4, path_effects=halo)  # fmt: skip


class TopologyMap(Figure):
    """A map of the network: nodes by role, links by what they carried."""

    kind: Literal["topology_map"] = "topology_map"
    shows = "one"

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`topology_map`."""
        return topology_map(runs[0], ax)
