"""Where bytes and energy went: bars by message kind, link, node and role.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...base.tiers import TIER
from .. import metrics as table
from ..metrics import Results, Topology
from .base import Figure, any_energy, any_sent
from .style import (
    CYCLE,
    DOWN,
    HATCHES,
    INK,
    LATERAL,
    MUTED,
    UP,
    Runs,
    amount,
    axes,
    finish,
    legend_above,
    natural,
    run_labels,
    scaled,
    several,
    styled,
)


@styled
def bytes_by_kind(results: Runs, ax: Axes | None = None) -> Axes:
    """Bytes sent per message kind: by direction for one run, in total for runs compared."""
    runs = several(results)
    if len(runs) > 1:
        sums = [pd.Series(table.bytes_by_kind(run.events), dtype=float) for run in runs]
        return _compared(runs, sums, "Data sent", "B", ax)
    ways = table.bytes_by_direction(runs[0].events, runs[0].topology)
    ways = ways.loc[ways.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    parts = [("towards the cloud", "uplink", UP), ("away from the cloud", "downlink", DOWN),
             ("between equals", "lateral", LATERAL)]  # fmt: skip
    return _stacked(ways, [p for p in parts if p[1] != "lateral" or ways["lateral"].any()], "Data sent", "B", ax)


@styled
def bytes_by_link(results: Results, ax: Axes | None = None, most: int = 30) -> Axes:
    """Bytes carried per link and direction, of the ``most`` heaviest links."""
    links = table.bytes_by_link(results.events)
    ends = _oriented(links, results.topology)
    up = np.array([u == low for (low, _), u in zip(ends, links["u"], strict=True)], bool)
    names = [f"{low} – {high}" for low, high in ends]
    both = pd.DataFrame({"link": names, "up": links["bytes"].where(up, 0), "down": links["bytes"].where(~up, 0)})
    both = both.groupby("link").sum()
    both = both.loc[sorted(both.index, key=lambda name: (-both.loc[name].sum(), natural(name)))]
    title = f"{most} heaviest of {len(both)} links" if len(both) > most else ""
    parts = [("towards the cloud", "up", UP), ("away from the cloud", "down", DOWN)]
    ax = _stacked(both.head(most), parts, "Data carried", "B", ax)
    ax.set_title(title, pad=16)
    return ax


def _oriented(links: pd.DataFrame, topology: Topology) -> list[tuple[str, str]]:
    """Per row the two ends of its link, the one further from the cloud (in hops) first."""
    graph: nx.Graph[str] = nx.Graph([(link["u"], link["v"]) for link in topology["links"]])
    hops: dict[str, int] = {}
    for node in topology["nodes"]:
        if node.get("role") == "cloud" and node["name"] in graph:
            hops |= nx.single_source_shortest_path_length(graph, node["name"])
    key = {name: (-hops.get(name, 0), natural(name)) for name in {*links["u"], *links["v"]}}
    return [(u, v) if key[u] < key[v] else (v, u) for u, v in zip(links["u"], links["v"], strict=True)]


@styled
def energy_by_node(results: Results, ax: Axes | None = None, most: int = 60) -> Axes:
    """Marginal energy per node (J), computing and radio, of the ``most`` hungriest nodes; idle draw in figures beside it."""
    energy = table.energy_by_node(results.events, results.topology)
    energy = energy[energy["total"] > 0].assign(marginal=lambda each: each["compute"] + each["radio"])
    kept = energy.nlargest(most, ["marginal", "idle"]) if len(energy) > most else energy
    roles = {n["name"]: n.get("role", "router") for n in results.topology["nodes"]}
    kept = kept.loc[sorted(kept.index, key=lambda n: (-TIER.get(roles.get(n, ""), -1), natural(n)))]
    parts = [("computing", "compute", CYCLE[0]), ("radio", "radio", CYCLE[4])]
    ax = _stacked(kept, parts, "Marginal energy", "J", ax, _idle(kept["idle"]))
    if len(energy) > most:
        ax.set_title(f"{most} hungriest of {len(energy)} nodes", pad=16)
    return ax


@styled
def energy_by_role(results: Runs, ax: Axes | None = None) -> Axes:
    """Marginal energy per role (J), computing and radio, for runs compared; idle draw in figures beside it."""
    runs = several(results)
    by_role = [table.energy_by_role(run.events, run.topology) for run in runs]
    return _compared(runs, [each["marginal"] for each in by_role], "Marginal energy", "J", ax,
                     [each["idle"] for each in by_role])  # fmt: skip


def _idle(joules: pd.Series) -> list[str]:
    """What is written beside bars of marginal energy."""
    scales = [scaled(value, "J") for value in joules]
    return [f"+ {amount(value / factor)} {unit} idle" if value else ""
            for value, (factor, unit) in zip(joules, scales, strict=True)]  # fmt: skip


def _values(
    ax: Axes, values: np.ndarray[Any, Any], at: np.ndarray[Any, Any], notes: Sequence[str] | None = None
) -> None:
    """The value at the end of each bar, and a note after it."""
    for y, value, note in zip(at, values, notes or [""] * len(at), strict=True):
        text = ax.annotate(amount(value), (value, y), xytext=(3, -0.4), textcoords="offset points", va="center",
                           fontsize=6.5, color=INK)  # fmt: skip
        if note:
            ax.annotate(note, (1, 0), xycoords=text, xytext=(4, 0.8), textcoords="offset points", va="bottom",
                        fontsize=6.0, color=MUTED)  # fmt: skip


def _stacked(
    values: pd.DataFrame,
    parts: Sequence[tuple[str, str, str]],
    what: str,
    unit: str,
    ax: Axes | None,
    notes: Sequence[str] | None = None,
) -> Axes:
    """Horizontal bars, one per row of ``values``, stacked from the (label, column, colour) of ``parts``."""
    values = values[[column for _, column, _ in parts]]
    totals = values.sum(axis=1).to_numpy(float)
    factor, text = scaled(totals.max(initial=0.0), unit)
    n = len(values)
    ax = axes(ax, 4.6, 0.8 + (0.24 if n <= 16 else 0.15) * max(n, 2))
    left = np.zeros(n)
    for label, column, colour in parts:
        width = values[column].to_numpy(float) / factor
        ax.barh(np.arange(n), width, 0.68, left=left, color=colour, label=label)
        left = left + width
    _values(ax, totals / factor, np.arange(n), notes)
    ax.set_yticks(np.arange(n), list(values.index))
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlim(0, max(totals.max(initial=0.0) / factor * (1.4 if notes else 1.12), 1e-9))
    ax.set_xlabel(f"{what} ({text})")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    finish(ax, "x").tick_params(axis="y", length=0, labelsize=7 if n <= 16 else 6)
    return ax


def _compared(
    runs: list[Results],
    values: list[pd.Series],
    what: str,
    unit: str,
    ax: Axes | None,
    idle: list[pd.Series] | None = None,
) -> Axes:
    """Groups of horizontal bars, one group per index entry, one bar per run."""
    frame = pd.concat(values, axis=1, sort=False).fillna(0.0)
    frame = frame.loc[frame.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    factor, text = scaled(float(frame.to_numpy().max(initial=0.0)), unit)
    n, m = frame.shape
    ax = axes(ax, 4.6, 0.8 + 0.17 * n * (m + 1))
    thick = 0.84 / m
    labels = run_labels(runs)
    for i, label in enumerate(labels):
        width = frame.iloc[:, i].to_numpy(float) / factor
        y = np.arange(n) + (i - (m - 1) / 2) * thick
        hatch = HATCHES[i // len(CYCLE) % len(HATCHES)]
        ax.barh(
            y, width, thick * 0.9, color=CYCLE[i % len(CYCLE)], hatch=hatch, edgecolor="white", linewidth=0, label=label
        )
        _values(ax, width, y, None if idle is None else _idle(idle[i].reindex(frame.index).fillna(0.0)))
    ax.set_yticks(np.arange(n), [str(name) for name in frame.index])
    ax.set_ylim(n - 0.45, -0.55)
    ax.set_xlim(0, max(float(frame.to_numpy().max(initial=0.0)) / factor * (1.4 if idle else 1.12), 1e-9))
    ax.set_xlabel(f"{what} ({text})")
    legend_above(ax, labels)
    finish(ax, "x").tick_params(axis="y", length=0)
    return ax


class BytesByKind(Figure):
    """Data sent per message kind, by direction or run."""

    kind: Literal["bytes_by_kind"] = "bytes_by_kind"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether something was sent in every run."""
        return any_sent(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`bytes_by_kind`."""
        return bytes_by_kind(runs, ax)


class BytesByLink(Figure):
    """Data carried per link and direction, of the heaviest links."""

    kind: Literal["bytes_by_link"] = "bytes_by_link"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether something was sent."""
        return any_sent(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`bytes_by_link`."""
        return bytes_by_link(runs[0], ax)


class EnergyByNode(Figure):
    """Energy per node: computing, radio, and idle beside them."""

    kind: Literal["energy_by_node"] = "energy_by_node"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether energy was spent."""
        return any_energy(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`energy_by_node`."""
        return energy_by_node(runs[0], ax)


class EnergyByRole(Figure):
    """Marginal energy of clients, edge servers and the cloud, compared."""

    kind: Literal["energy_by_role"] = "energy_by_role"
    shows = "several"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether energy was spent in every run."""
        return any_energy(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`energy_by_role`."""
        return energy_by_role(runs, ax)
