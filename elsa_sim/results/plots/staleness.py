"""Figures of who takes part: how stale asynchronous updates are, and whose count, there and where clients are selected.

Tested in tests/results/test_staleness.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..metrics import Results
from ..staleness import influence, jain, participation, updates
from .base import Figure
from .style import CYCLE, INK, MARKERS, Runs, axes, finish, run_labels, several, styled


@styled
def staleness(results: Runs, ax: Axes | None = None) -> Axes:
    """Share of the merged updates by the versions that had passed since they began."""
    runs = several(results)
    ax = axes(ax, 4.2, 2.7)
    counts = []
    for run in runs:
        found = updates(run.events)
        counts.append(np.bincount(found.loc[found["status"] == "ok", "staleness"].astype(int)))
    longest = max(len(count) for count in counts)
    width = 0.8 / len(runs)
    for i, (count, label) in enumerate(zip(counts, run_labels(runs), strict=True)):
        at = np.arange(len(count)) + (i - (len(runs) - 1) / 2) * width
        ax.bar(at, count / max(1, count.sum()), width, color=CYCLE[i % len(CYCLE)], label=label)
    ax.set_xlim(-0.6, longest - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Staleness (versions)")
    ax.set_ylabel("Share of merged updates")
    if len(runs) > 1:
        ax.legend()
    return finish(ax, "y")


@styled
def participation_by_client(results: Results, ax: Axes | None = None) -> Axes:
    """Merged updates of each client, or rounds for which it was selected and arrived, the most active first; Jain's index."""
    counts = participation(results.events, results.topology).sort_values(ascending=False, kind="stable")
    ax = axes(ax, 4.2, 2.7)
    ax.bar(range(len(counts)), counts.to_numpy(), color=CYCLE[0])
    if len(counts) <= 24:
        ax.set_xticks(range(len(counts)), [str(name) for name in counts.index], rotation=90)
    else:
        ax.set_xlabel("Clients, by how often")
    ax.set_ylabel("Rounds taken part in" if _any(results, "selection") else "Merged updates")
    index = jain(counts)
    if index is not None:
        ax.set_title(f"Jain's index {index:.2f}", loc="left")
    return finish(ax, "y")


@styled
def influence_by_client(results: Runs, ax: Axes | None = None) -> Axes:
    """What a sample of each client counted in all aggregates, the most active client of the first run first; 1: the mean."""
    runs = several(results)
    ax = axes(ax, 4.2, 2.7)
    first = participation(runs[0].events, runs[0].topology).sort_values(ascending=False, kind="stable")
    ax.axhline(1.0, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
    for i, (run, label) in enumerate(zip(runs, run_labels(runs), strict=True)):
        found = influence(run.events, run.topology).reindex(first.index, fill_value=0.0)
        ax.plot(range(len(found)), found.to_numpy(), MARKERS[i % len(MARKERS)], color=CYCLE[i % len(CYCLE)], markersize=4,
                linewidth=0.8, linestyle="-", label=f"{label}: Jain's index {jain(found) or 0:.2f}")  # fmt: skip
    if len(first) <= 24:
        ax.set_xticks(range(len(first)), [str(name) for name in first.index], rotation=90)
    else:
        ax.set_xlabel("Clients, by their updates")
    ax.set_ylabel("Influence of a sample (1: mean)")
    ax.set_ylim(0, 1.08 * ax.dataLim.y1)  # no marker is cut off
    ax.legend()
    return finish(ax, "y")


class Staleness(Figure):
    """How many versions late the merged updates of asynchronous training were."""

    kind: Literal["staleness"] = "staleness"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether asynchronous servers got updates in every run."""
        return all(_any(run, "update") for run in runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`staleness`."""
        return staleness(runs, ax)


class Influence(Figure):
    """What a sample of each client counted in asynchronous merges, or where clients are selected."""

    kind: Literal["influence"] = "influence"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether in every run asynchronous servers got updates, or servers selected clients."""
        return all(_any(run, "update") or _any(run, "selection") for run in runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`influence_by_client`."""
        return influence_by_client(runs, ax)


class Participation(Figure):
    """How often each client took part in asynchronous training, or where clients are selected."""

    kind: Literal["participation"] = "participation"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether a client's update was merged, or a selected client arrived."""
        return bool(participation(runs[0].events, runs[0].topology).any())

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`participation_by_client`."""
        return participation_by_client(runs[0], ax)


def _any(run: Results, kind: str) -> bool:
    return bool((run.events["kind"] == kind).any())
