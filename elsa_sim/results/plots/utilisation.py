"""Where the bottleneck is, and when: the utilisation of devices and links over simulated time."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ...base.tiers import TIER
from ..frames import Events, Topology, frame, roles, sim_time
from ..run_directory import Results
from ..traffic import transfers
from ..usage import WORK
from .base import Figure, any_sent
from .style import INK, MUTED, axes, finish, natural, styled

Array: TypeAlias = npt.NDArray[np.float64]

_HEAT = LinearSegmentedColormap.from_list("utilisation", ["#f4f4f4", "#f6d9a8", "#f0a24f", "#d9544d", "#7d1538"])
#: Intervals that the simulated time is divided into, and rows of a group at most.
BINS, MOST = 240, 20


def device_utilisation(events: Events, topology: Topology, edges: Array) -> pd.DataFrame:
    """Share of each interval between ``edges`` (s) in which a node computes at least one thing: a row per node.

    What did not end is left out: it may have waited for the device.
    """
    events = frame(events)
    work = events.loc[events["kind"].isin(WORK) & (events["status"] != "in_flight"), ["node", "t_start_s", "t_end_s"]]
    rows = {}
    for name, of in work.groupby(work["node"].astype(str)):
        of = of.sort_values("t_start_s", kind="stable")
        end = of["t_end_s"].to_numpy(float)
        covered = np.maximum.accumulate(end)  # earlier work lasts until then
        start = np.maximum(of["t_start_s"].to_numpy(float), np.concatenate([[-np.inf], covered[:-1]]))
        new = end > start
        rows[str(name)] = _shares(start[new], end[new], np.ones(int(new.sum())), edges)
    names = [node["name"] for node in topology["nodes"]]
    return pd.DataFrame([rows.get(name, np.zeros(len(edges) - 1)) for name in names], index=names)


def link_utilisation(events: Events, topology: Topology, edges: Array) -> pd.DataFrame:
    """Bits carried in each interval between ``edges`` (s) over what the nominal bandwidth could have carried: a row per
    directed link (u, v) that has a bandwidth.

    A message's bits are spread evenly from the end of its route's latency to its arrival, over all links of its route: the
    event table does not hold its rate from moment to moment, so a value can be a little above 1. The mean over the run is
    that of `link_load`.
    """
    ways = {way: (bps, link.get("latency_s", 0.0)) for link in topology["links"] for way, bps in (
        ((link["u"], link["v"]), float(link["up_bps"])), ((link["v"], link["u"]), float(link["down_bps"])))}  # fmt: skip
    carried: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for route, rows in transfers(events).groupby("route", observed=True):
        hops = list(pairwise(str(route).split(">")))
        latency = sum(ways[hop][1] for hop in hops if hop in ways)
        flowing = pd.DataFrame({"from": (rows["t_start_s"] + latency).clip(upper=rows["t_end_s"]), "to": rows["t_end_s"],
                                "bits": 8.0 * rows["bytes"]})  # fmt: skip
        for hop in hops:
            carried.setdefault(hop, []).append(flowing)
    found = {}
    for way, (bps, _) in ways.items():
        if bps > 0:
            of = (
                pd.concat(carried[way])
                if way in carried
                else pd.DataFrame({"from": [], "to": [], "bits": []}, dtype=float)
            )
            start, end, bits = (of[column].to_numpy(float) for column in ("from", "to", "bits"))
            start = np.minimum(start, end - 1e-9 * float(edges[-1] - edges[0]))  # what takes no time has a rate, too
            found[way] = _shares(start, end, bits / bps / (end - start), edges)
    return pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["u", "v"]) if found else None)


def _shares(start: Array, end: Array, rate: Array, edges: Array) -> Array:
    """Per interval between ``edges``: the mean of the sum of rates that hold from ``start`` to ``end`` (s)."""
    times = np.concatenate([start, end])
    if not len(times):
        return np.zeros(len(edges) - 1)
    order = np.argsort(times, kind="stable")
    times, rates = times[order], np.cumsum(np.concatenate([rate, -rate])[order])
    total = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(times))])
    shares: Array = np.diff(np.interp(edges, times, total)) / np.diff(edges)
    return shares.clip(min=0.0)


def _hops(topology: Topology) -> dict[str, float]:
    """Node -> its distance to the nearest cloud (links)."""
    graph: nx.Graph[str] = nx.Graph([(link["u"], link["v"]) for link in topology["links"]])
    clouds = {name for name, role in roles(topology).items() if role == "cloud" and name in graph}
    return dict(nx.multi_source_dijkstra_path_length(graph, clouds, weight=None)) if clouds else {}


def _groups(results: Results, edges: Array, most: int) -> Iterator[tuple[str, list[str], Array]]:
    """Heading, labels and rows of what is drawn together: what works at all, the busiest where there is much of it."""
    topology, role = results.topology, roles(results.topology)
    devices = device_utilisation(results.events, topology, edges)
    yield _busiest("Devices, computing", devices, lambda name: (-TIER.get(role[name], -1), natural(name)), most)
    links, hops = link_utilisation(results.events, topology, edges), _hops(topology)
    ends = {f"{u} → {v}": (hops.get(u, math.inf), hops.get(v, math.inf)) for u, v in links.index}
    links.index = pd.Index(list(ends))
    for heading, way in (("Links towards the cloud", operator.gt), ("Links away from the cloud", operator.lt),
                         ("Links across", operator.eq)):  # fmt: skip
        of = links.loc[[label for label, (u, v) in ends.items() if way(u, v)]]
        yield _busiest(heading, of, lambda label: (min(ends[label]), natural(label)), most)


def _busiest(heading: str, rows: pd.DataFrame, order: Any, most: int) -> tuple[str, list[str], Array]:
    mean = rows.mean(axis=1)
    used = mean[mean > 0]
    kept = sorted(used.nlargest(most).index, key=order)
    more = f" (the {most} busiest of {len(used):,})" if len(used) > most else ""
    return heading + more, kept, rows.loc[kept].to_numpy(float)


@styled
def utilisation(results: Results, ax: Axes | None = None, bins: int = BINS, most: int = MOST) -> Axes:
    """Utilisation (%) of every device and every direction of a link over simulated time (s), and its mean over the run.

    A device is utilised while it computes; a link by the share of its nominal bandwidth. What is never used is left out.
    """
    edges = np.linspace(0.0, sim_time(results.events), bins + 1)
    groups = [group for group in _groups(results, edges, most) if group[1]]
    count = sum(len(labels) for _, labels, _ in groups)
    ax = axes(ax, 7.2, 0.75 + (0.17 if count <= 40 else 0.125) * count + 0.26 * len(groups))
    size = 7.0 if count <= 40 else 6.0
    at, places, names = 0.0, list[float](), list[str]()
    right = ax.get_yaxis_transform()
    for heading, labels, rows in groups:
        ax.text(0.0, at + 0.95, heading, transform=right, fontsize=7.5, fontweight="bold", va="bottom")
        at += 1.2
        ys = at + np.arange(len(labels) + 1)
        drawn = ax.pcolormesh(edges, ys, 100.0 * rows, cmap=_HEAT, vmin=0.0, vmax=100.0, rasterized=True)
        for y in ys[1:-1]:
            ax.axhline(y, color="white", linewidth=0.6)
        for y, mean in zip(ys[:-1] + 0.5, rows.mean(axis=1), strict=True):
            ax.text(
                1.012,
                y,
                f"{mean:.0%}" if mean >= 0.01 else "< 1%",
                transform=right,
                fontsize=size,
                va="center",
                color=INK,
            )
        places += list(ys[:-1] + 0.5)
        names += labels
        at = float(ys[-1]) + 0.3
    ax.text(1.012, 0.95, "mean", transform=right, fontsize=size, color=MUTED, va="bottom")
    ax.set_yticks(places, names)
    ax.set_ylim(at - 0.2, 0.0)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel("Simulated time (s)")
    finish(ax).tick_params(axis="y", length=0, labelsize=size)
    ax.spines[["left", "bottom"]].set_visible(False)
    assert ax.figure is not None
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=min(1.0, 12.0 / (count + 4)), aspect=14, pad=0.06)
    bar.set_label("Utilisation (%)", fontsize=7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, width=0.6, length=2.5)
    return ax


class Utilisation(Figure):
    """Utilisation of every device and link over simulated time: where the bottleneck is, and when."""

    kind: Literal["utilisation"] = "utilisation"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether something was sent."""
        return any_sent(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`utilisation`."""
        return utilisation(runs[0], ax)
