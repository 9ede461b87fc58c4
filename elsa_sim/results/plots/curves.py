"""What was learned, over simulated time and over the bytes that it took.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ...base.errors import InputError
from .. import metrics as table
from ..differences import other_task
from ..metrics import Results
from .base import Figure, any_sent
from .style import CYCLE, DASHES, MARKERS, MUTED, Runs, axes, finish, legend_above, run_labels, scaled, several, styled

_NAMES = {"accuracy": "Test accuracy", "perplexity": "Test perplexity", "loss": "Test loss"}
#: Perplexities that spread by more than this factor are drawn on a logarithmic axis.
_WIDE = 10.0


def measure(runs: list[Results]) -> str | None:
    """What all of the runs measured, if that is on a common axis: accuracy, else perplexity, else loss."""
    if other_task(runs) is not None:
        return None
    return next((m for m in _NAMES if runs and all(m in r.rounds and r.rounds[m].notna().any() for r in runs)), None)


@styled
def accuracy_over_time(results: Runs, ax: Axes | None = None, target: float | None = None) -> Axes:
    """Accuracy (perplexity or loss where there is none) over simulated time (s).

    ``target`` adds a line at that accuracy and, for a run that reaches it, a mark at its time-to-target.
    """
    ax = _curves(several(results), ax, "sim_time_s", 1.0)
    ax.set_xlabel("Simulated time (s)")
    if target is not None:
        ax.axhline(target, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for i, run in enumerate(several(results)):
            reached = table.time_to_target(run.events, target)
            if reached is not None:
                ax.plot([reached, reached], [0, target], color=CYCLE[i % len(CYCLE)], linewidth=0.8, linestyle=":")
    return ax


@styled
def accuracy_over_bytes(results: Runs, ax: Axes | None = None) -> Axes:
    """Accuracy (perplexity or loss where there is none) over the bytes sent up to then, each message counted once."""
    runs = several(results)
    factor, unit = scaled(max((table.accuracy_curve(r.events)["bytes"].max() for r in runs), default=0.0), "B")
    ax = _curves(runs, ax, "bytes", factor)
    ax.set_xlabel(f"Data sent ({unit})")
    return ax


@styled
def accuracy_over_rounds(results: Runs, ax: Axes | None = None) -> Axes:
    """Accuracy (perplexity or loss where there is none) over rounds: what is learned, whatever time it takes."""
    ax = _curves(several(results), ax, "round", 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Rounds")
    return ax


def _curves(runs: list[Results], ax: Axes | None, x: str, factor: float) -> Axes:
    what = measure(runs)
    if (why := other_task(runs)) is not None:
        raise InputError(f"the runs' accuracies are on no common axis: {why}")
    if what is None:
        raise InputError("there is nothing to draw: the runs have no evaluation with an accuracy, perplexity or loss")
    ax = axes(ax, 4.2, 2.7)
    labels = run_labels(runs)
    for i, (run, label) in enumerate(zip(runs, labels, strict=True)):
        curve = table.accuracy_curve(run.events)
        marker = MARKERS[i % len(MARKERS)] if len(curve) <= 40 else ""
        ax.plot(curve[x] / factor, curve[what], color=CYCLE[i % len(CYCLE)], linestyle=DASHES[i // len(CYCLE) % len(DASHES)],
                marker=marker, markeredgecolor="white", markeredgewidth=0.5, label=label, zorder=3)  # fmt: skip
    ax.set_xlim(left=-0.02 * max(ax.get_xlim()[1], 1e-9))  # room for a mark at 0
    if what == "accuracy":
        ax.set_ylim(0, 1)
    low, high = ax.get_ylim()
    if what == "perplexity" and high > _WIDE * max(low, 1.0):  # falls from that of a guess over the whole vocabulary
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel(_NAMES[what])
    if len(runs) > 1:
        legend_above(ax, labels)
    return finish(ax, "both")


class AccuracyOverTime(Figure):
    """Accuracy (perplexity, loss) over simulated time."""

    kind: Literal["accuracy_over_time"] = "accuracy_over_time"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether all runs measured the same."""
        return measure(list(runs)) is not None

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`accuracy_over_time`."""
        return accuracy_over_time(runs, ax)


class AccuracyOverBytes(Figure):
    """Accuracy (perplexity, loss) over the data sent."""

    kind: Literal["accuracy_over_bytes"] = "accuracy_over_bytes"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether all runs measured the same, and sent something."""
        return measure(list(runs)) is not None and any_sent(runs)

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`accuracy_over_bytes`."""
        return accuracy_over_bytes(runs, ax)


class AccuracyOverRounds(Figure):
    """Accuracy (perplexity, loss) over rounds, compared."""

    kind: Literal["accuracy_over_rounds"] = "accuracy_over_rounds"
    shows = "several"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether all runs measured the same."""
        return measure(list(runs)) is not None

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`accuracy_over_rounds`."""
        return accuracy_over_rounds(runs, ax)
