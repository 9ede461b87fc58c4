"""The table and the figure of predictions over measurements."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from predictions import Compared, percentile

from elsa_sim.results.plots.style import ALERT, CYCLE, INK, MUTED, axes, finish, styled

Groups = Mapping[str, Mapping[str, Sequence[Compared]]]


def grouped(rows: Iterable[Compared]) -> dict[str, dict[str, list[Compared]]]:
    """Group -> transport -> its rows, in their order."""
    found: dict[str, dict[str, list[Compared]]] = {}
    for row in rows:
        found.setdefault(row.group, {}).setdefault(row.transport, []).append(row)
    return found


def table(rows: Iterable[Compared]) -> str:
    """Per group the spread of the repetitions; per transport the median ratio, and the median, 90th percentile and worst error."""
    lines = [f"{'':<16} {'':>9} {'spread of repetitions':>23} {'predicted / measured':>22} {'error':>26}",
             f"{'measured':<16} {'messages':>9} {'median':>14} {'p90':>8} {'transport':>13} {'median':>8} "
             f"{'median':>9} {'p90':>8} {'worst':>7}"]  # fmt: skip
    for group, by_transport in grouped(rows).items():
        for transport, found in by_transport.items():
            errors = [abs(row.ratio - 1.0) for row in found]
            spreads = [row.spread for row in found]
            lines.append(
                f"{group:<16} {len(found):>9} {percentile(spreads, 0.5):>14.1%} {percentile(spreads, 0.9):>8.1%} {transport:>13} "
                f"{statistics.median(row.ratio for row in found):>8.3f} {percentile(errors, 0.5):>9.1%} "
                f"{percentile(errors, 0.9):>8.1%} {max(errors):>7.0%}"
            )
    return "\n".join(lines)


@styled
def figure(rows: Iterable[Compared], path: Path | None = None, ax: Axes | None = None) -> Axes:
    """Predicted over measured, a column per group and transport; hollow: segments were sent again. Written to ``path`` if given."""
    groups = grouped(rows)
    ax = axes(ax, max(4.2, 1.6 + 0.85 * len(groups)), 3.2)
    transports = list(dict.fromkeys(t for by_transport in groups.values() for t in by_transport))
    chance = random.Random(0)
    for x, by_transport in enumerate(groups.values()):
        for k, transport in enumerate(transports):
            found = by_transport.get(transport, ())
            middle = x + (k - (len(transports) - 1) / 2) * 0.36
            for again, face in ((False, CYCLE[k]), (True, "none")):
                chosen = [row.ratio for row in found if (row.retransmissions > 0) == again]
                places = [middle + chance.uniform(-0.11, 0.11) for _ in chosen]
                ax.scatter(places, chosen, s=11, marker="o", facecolors=face, edgecolors=CYCLE[k], linewidths=0.7)
            if found:
                ax.plot(
                    [middle - 0.16, middle + 0.16],
                    [statistics.median(row.ratio for row in found)] * 2,
                    color=INK,
                    linewidth=1.4,
                )
    for k, transport in enumerate(transports):
        ax.scatter([], [], s=11, color=CYCLE[k], label=transport)
    ax.scatter([], [], s=11, facecolors="none", edgecolors=MUTED, linewidths=0.7, label="segments were sent again")
    ax.axhline(1.0, color=ALERT, linewidth=0.7, zorder=0)
    ax.set_yscale("log")
    ticks = [0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0]
    ratios = [row.ratio for by_transport in groups.values() for found in by_transport.values() for row in found]
    low, high = min([0.9, *ratios]) / 1.05, max([1.1, *ratios]) * 1.05
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
    ax.set_ylim(low, high)
    ax.set_xticks(range(len(groups)), [_label(group) for group in groups])
    ax.set_ylabel("predicted / measured")
    ax.set_title("Time to deliver, predicted over measured on kernel TCP")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, -0.34), ncols=len(transports) + 1)
    finish(ax, "y")
    if path is not None:
        for suffix in (".png", ".pdf"):
            ax.figure.savefig(path.with_suffix(suffix), bbox_inches="tight")  # type: ignore[union-attr]
    return ax


def _label(group: str) -> str:
    """``warm gap 0.15`` in words."""
    if group.startswith("warm gap"):
        return f"warm, idle\nfor {float(group.split()[-1]):g} s"
    return group.replace(" ", "\n", 1)
