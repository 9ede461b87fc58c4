"""Figures of joint optimisation: where the delay goes, how it converges, what a resource is worth, rounds over ranks.

They take plain numbers (see `elsa_sim.joint`), all delays in s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import CYCLE, INK, MARKERS, MUTED, amount, axes, finish, legend_above, styled

#: Parts of a round, in the order of time: label and colour. Clients compute in blue, links carry in orange, servers in grey.
_PARTS = {
    "broadcast": ("adapters down", "#f6d5b0"), "forward": ("client forward", "#0072b2"),
    "up": ("activations up", "#d55e00"), "server_forward": ("server forward", "#9a9a9a"),
    "server_backward": ("server backward", "#5f5f5f"), "gradient": ("gradients down", "#e69f00"),
    "backward": ("client backward", "#56b4e9"), "adapters": ("adapters up", "#cc79a7"),
    "aggregate": ("aggregation", "#009e73"),
}  # fmt: skip


@styled
def delay_parts(
    systems: Mapping[str, Mapping[str, float]], ax: Axes | None = None, what: str = "Delay of a round"
) -> Axes:
    """One horizontal bar per system, stacked from the parts of its delay (s): ``{"optimised": {"up": 3.1, ...}, ...}``.

    Parts are those of ``Breakdown.critical``; what is 0 everywhere is left out.
    """
    n = len(systems)
    ax = axes(ax, 5.0, 1.15 + 0.26 * max(n, 2))
    left = np.zeros(n)
    for part, (label, colour) in _PARTS.items():
        width = np.array([parts.get(part, 0.0) for parts in systems.values()])
        if width.any():
            ax.barh(np.arange(n), width, 0.68, left=left, color=colour, label=label)
            left = left + width
    for y, total in enumerate(left.tolist()):
        ax.annotate(amount(total), (total, y), xytext=(3, -0.4), textcoords="offset points", va="center", fontsize=6.5,
                    color=INK)  # fmt: skip
    ax.set_yticks(np.arange(n), list(systems))
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlim(0, float(left.max(initial=0.0)) * 1.12 or 1.0)
    ax.set_xlabel(f"{what} (s)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    finish(ax, "x").tick_params(axis="y", length=0)
    return ax


@styled
def convergence(
    histories: Mapping[str, Sequence[tuple[str, float]]] | Sequence[tuple[str, float]], ax: Axes | None = None
) -> Axes:
    """The total delay (s) after each step of the optimiser: ``(step, s)`` in order, of one search or of several by name.

    A single search has its steps named on the axis.
    """
    one = not isinstance(histories, Mapping)
    lines = histories if isinstance(histories, Mapping) else {"": histories}
    ax = axes(ax, 4.2, 2.7)
    for i, (label, steps) in enumerate(lines.items()):
        ax.plot(range(len(steps)), [total for _, total in steps], color=CYCLE[i % len(CYCLE)], label=label,
                marker=MARKERS[i % len(MARKERS)], markeredgecolor="white", markeredgewidth=0.5, zorder=3)  # fmt: skip
    if one:
        names = [name for name, _ in lines[""]]
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("Steps of the optimiser")
        legend_above(ax, list(lines))
    ax.set_ylabel("Total delay (s)")
    return finish(ax, "y")


@styled
def delay_over(
    values: Sequence[float],
    systems: Mapping[str, Sequence[float] | Sequence[Sequence[float]]],
    resource: str,
    ax: Axes | None = None,
) -> Axes:
    """The total delay (s) over a resource, a line per system; with several numbers per value, their mean and range.

    ``resource`` is the axis label, with its unit: ``"Bandwidth of a subchannel (MHz)"``.
    """
    ax = axes(ax, 4.2, 2.7)
    for i, (label, totals) in enumerate(systems.items()):
        each = [np.atleast_1d(np.asarray(total, dtype=float)) for total in totals]
        colour = CYCLE[i % len(CYCLE)]
        if any(len(numbers) > 1 for numbers in each):
            ax.fill_between(
                values, [e.min() for e in each], [e.max() for e in each], color=colour, alpha=0.15, linewidth=0
            )
        ax.plot(values, [e.mean() for e in each], color=colour, label=label, marker=MARKERS[i % len(MARKERS)],
                markeredgecolor="white", markeredgewidth=0.5, zorder=3)  # fmt: skip
    ax.set_ylim(bottom=0)
    ax.set_xlabel(resource)
    ax.set_ylabel("Total delay (s)")
    legend_above(ax, list(systems))
    return finish(ax, "both")


@styled
def rounds_over_rank(
    points: Sequence[tuple[int, float]], law: Callable[[float], float], ax: Axes | None = None, title: str = ""
) -> Axes:
    """Rounds to the target over the LoRA rank: every measured run ``(rank, rounds)``, and the fitted law between them."""
    ax = axes(ax, 4.2, 2.7)
    ranks = sorted({rank for rank, _ in points})
    at = np.geomspace(ranks[0], ranks[-1], 100)
    ax.plot(at, [law(rank) for rank in at], color=MUTED, label="fitted", zorder=2)
    ax.scatter([rank for rank, _ in points], [rounds for _, rounds in points], s=16, color=CYCLE[0], edgecolors="white",
               linewidths=0.5, label="measured", zorder=3)  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks(ranks, [str(rank) for rank in ranks])
    ax.minorticks_off()
    ax.set_ylim(0, max(rounds for _, rounds in points) * 1.1)
    ax.set_xlabel("LoRA rank")
    ax.set_ylabel("Rounds to the target")
    ax.set_title(title)
    ax.legend()
    return finish(ax, "y")
