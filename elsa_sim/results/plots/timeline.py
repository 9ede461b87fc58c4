"""A Gantt chart of nodes over simulated time: who computes, who sends, and who waits for whom.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from ...base.errors import InputError
from ...base.tiers import TIER
from .. import metrics as table
from ..metrics import Results
from .base import Figure
from .style import ALERT, BAND, INK, MUTED, axes, finish, natural, styled

#: First part of a work label -> (light, mid, dark); "forward" is light, "backward" dark, anything else mid.
_WORK = {"part1": ("#8cc5e8", "#3f93c7", "#0b5a8f"), "part2": ("#8fd6bd", "#2fa37c", "#00694a"),
         "part3": ("#d9b3d9", "#b06fb0", "#7a3b7d")}  # fmt: skip
_MORE_WORK = (("#a9b8d6", "#6f86b8", "#3f568c"), ("#bcd39b", "#86a653", "#56732a"), ("#b5b5d9", "#7c7cba", "#4a4a8c"))
_MESSAGES = {"activation": "#f0a202", "gradient": "#d1495b", "adapters": "#6b4f3a"}
_MORE_MESSAGES = ("#f2cc5c", "#e07a5f", "#a44a3f", "#c9a27e")
_OTHER = "#9e9e9e"
_CODEC = {"encode": "#5f6b7a", "decode": "#a7b0bb"}
_MARKS = {"aggregation": ("v", "#000000"), "evaluation": ("*", "#000000"), "fault": ("X", ALERT)}
#: A client that computes longer than this times the median of the clients in view stands out.
SLOW = 1.5


def colours(labels: Iterable[str], kind: str) -> dict[str, str]:
    """Work or message label -> colour; the same labels always get the same colours."""
    labels = sorted(labels)
    if kind == "transfer":
        new = [label for label in labels if label not in _MESSAGES]
        return {**_MESSAGES, **dict(zip(new, [*_MORE_MESSAGES, *[_OTHER] * len(new)], strict=False))}
    labels = [label for label in labels if label not in _CODEC]
    stems = [s for s in dict.fromkeys(label.split(".")[0] for label in labels) if s not in _WORK]
    hues = {**_WORK, **dict(zip(stems, [*_MORE_WORK, *[(_OTHER,) * 3] * len(stems)], strict=False))}
    shade = {label: 2 if "backward" in label else 0 if "forward" in label else 1 for label in labels}
    return {**_CODEC, **{label: hues[label.split(".")[0]][shade[label]] for label in labels}}


def _shown(label: str) -> str:
    """The label that stands in the legend: codecs are told apart by what they do, not for which message."""
    verb = label.rpartition(".")[2]
    return verb if verb in _CODEC else label


def first_round(events: pd.DataFrame) -> tuple[int, float, float]:
    """The first round in which something is computed or sent, its first start and its last end (s), evaluation included.

    Raises:
        InputError: nothing is computed or sent.
    """
    work = events[events["kind"].isin(["compute", "transfer"])]
    if work.empty:
        raise InputError("there is nothing to draw: nothing is computed or sent in this run")
    computed = work.loc[work["kind"] == "compute", "round"]
    number = int((computed if len(computed) else work["round"]).min())
    rows = work[work["round"] == number]
    ends = events["kind"].isin(["aggregation", "evaluation"]) & (events["round"] == number)
    last = max(float(rows["t_end_s"].max()), float(events.loc[ends, "t_end_s"].max()) if ends.any() else 0.0)
    return number, float(rows["t_start_s"].min()), last


@styled
def timeline(
    results: Results, ax: Axes | None = None, window: tuple[float, float] | None = None, most: int = 60
) -> Axes:
    """Nodes over simulated time (s) within ``window``, by default the first round.

    A node's thick bars are what it computes, the thin ones below what it sends; grey is waiting. The column on the
    right is the share of the window in which it computes. Of more than ``most`` nodes, the servers and an even choice
    of clients from the fastest to the slowest are shown.
    """
    events = results.events
    end = table.sim_time(events)
    if window is None:
        number, *window_ = first_round(events)
        window, what = (window_[0], window_[1]), f"Round {number}"
    else:
        what = "Window"
    start, stop = window
    seen = events[(events["t_end_s"] >= start) & (events["t_start_s"] <= stop)]
    busy = table.busy_seconds_by_node(seen, results.topology, window)
    roles = {n["name"]: n.get("role", "router") for n in results.topology["nodes"]}
    nodes, shown = _choose(busy, roles, most)
    place, at = {}, 0.0
    for i, node in enumerate(nodes):
        at += 0.0 if i == 0 else 1.0 if roles.get(node) == roles.get(nodes[i - 1]) else 1.35
        place[node] = at
    ax = axes(ax, 7.2, 1.25 + (0.27 if len(nodes) <= 20 else 0.15) * (at + 1))
    ax.barh(list(place.values()), stop - start, 0.86, left=start, color=BAND, zorder=0)
    handles: list[Artist] = [*_bars(ax, seen, place, window, "compute"), *_bars(ax, seen, place, window, "transfer")]
    handles += _marks(ax, seen, place, window)
    clients = busy[[n for n in busy.index if roles.get(n) == "client"]]
    slow = {n for n in nodes if roles.get(n) == "client" and busy[n] > SLOW * clients.median() > 0}
    _decorate(ax, place, {n: busy[n] / (stop - start) if stop > start else 0.0 for n in nodes}, slow)
    ax.set_xlim(start, stop if stop > start else start + 1.0)
    ax.set_ylim(at + 0.6, -0.6)
    ax.set_xlabel("Simulated time (s)")
    ax.set_title(f"{what}: {start:.4g} s to {stop:.4g} s of {end:.4g} s simulated{shown}")
    if slow:
        label = f"computes > {SLOW:g} × the clients' median"
        handles.append(Line2D([], [], linestyle="", label=label))
    below = ax.transAxes + ScaledTranslation(0, -0.42, ax.figure.dpi_scale_trans)
    legend = ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=4,
                       borderaxespad=0)  # fmt: skip
    if slow:
        legend.get_texts()[-1].set(color=ALERT, fontweight="bold")
    return ax


def _choose(busy: pd.Series, roles: dict[str, str], most: int) -> tuple[list[str], str]:
    """The nodes to draw, cloud first, and a remark for the title when some are left out."""
    rank = {name: TIER.get(roles.get(name, ""), -1) for name in busy.index}
    names = sorted((n for n in busy.index if roles.get(n) != "router"), key=lambda n: (-rank[n], natural(n)))
    if len(names) <= most:
        return names, ""
    servers = [n for n in names if rank[n] > 0][: most // 2]
    clients = sorted((n for n in names if rank[n] <= 0), key=lambda n: busy[n])
    chosen = [clients[i] for i in np.linspace(0, len(clients) - 1, min(most - len(servers), len(clients))).astype(int)]
    return [*servers, *sorted(chosen, key=natural)], f" ({len(servers) + len(chosen)} of {len(names):,} nodes)"


def _bars(ax: Axes, seen: pd.DataFrame, place: dict[str, float], window: tuple[float, float], kind: str) -> list[Patch]:
    rows = seen[(seen["kind"] == kind) & seen["node"].isin(list(place)) & (seen["t_end_s"] > seen["t_start_s"])]
    top, bottom = (-0.40, 0.14) if kind == "compute" else (0.19, 0.40)
    shown = rows["detail"].astype(str).map(_shown)
    palette = colours(shown.unique(), kind)
    handles = []
    for label in sorted(shown.unique(), key=_reading_order):
        of = rows[shown == label]
        left, right = (of[c].clip(*window).to_numpy(float) for c in ("t_start_s", "t_end_s"))
        y = np.array([place[node] for node in of["node"]])
        corners = [(left, y + top), (right, y + top), (right, y + bottom), (left, y + bottom)]
        vertices = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
        bars = PolyCollection(list(vertices), facecolors=palette[label], edgecolors=palette[label], linewidths=0.15,
                              label=label, zorder=2, rasterized=len(of) > 5000)  # fmt: skip
        ax.add_collection(bars, autolim=False)
        handles.append(Patch(facecolor=palette[label], label=label if kind == "compute" else f"send {label}"))
    return handles


def _reading_order(label: str) -> tuple[int, str, bool, str]:
    """Known messages as they follow each other, then the rest by name, forward before backward, codecs last."""
    known = list(_MESSAGES).index(label) if label in _MESSAGES else len(_MESSAGES) + (label in _CODEC)
    stem, _, rest = label.partition(".")
    return (known, stem, "backward" in rest, rest)


def _marks(ax: Axes, seen: pd.DataFrame, place: dict[str, float], window: tuple[float, float]) -> list[Line2D]:
    handles = []
    for kind, (marker, colour) in _MARKS.items():
        rows = seen[(seen["kind"] == kind) & seen["node"].isin(list(place)) & seen["t_end_s"].between(*window)]
        if len(rows):
            size = 5.0 if marker == "*" else 3.4
            look: dict[str, Any] = {"linestyle": "", "marker": marker, "color": colour, "markersize": size}
            ax.plot(rows["t_end_s"], [place[n] for n in rows["node"]], clip_on=False, zorder=4, **look)
            handles.append(Line2D([], [], label=kind, **look))
    return handles


def _decorate(ax: Axes, place: dict[str, float], share: dict[str, float], slow: set[str]) -> None:
    """Node names on the left, what stands out among them, and the share of computing on the right."""
    size = 7.0 if len(place) <= 20 else 6.0
    ax.set_yticks(list(place.values()), list(place))
    finish(ax, "x").tick_params(axis="y", length=0, labelsize=size)
    right = ax.get_yaxis_transform()
    ax.text(1.012, -0.72, "computing", transform=right, fontsize=size, color=MUTED, va="bottom", clip_on=False)
    for tick, (node, at) in zip(ax.get_yticklabels(), place.items(), strict=True):
        strong: dict[str, Any] = {"color": ALERT, "fontweight": "bold"} if node in slow else {"color": INK}
        tick.set(**strong)
        text = f"{share[node]:.0%}"
        ax.text(1.012, at, text, transform=right, fontsize=size, va="center", clip_on=False, **strong)
    ax.spines["left"].set_visible(False)


class Timeline(Figure):
    """A Gantt chart of the first round: who computes, who sends, who waits."""

    kind: Literal["timeline"] = "timeline"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether something is computed or sent."""
        return bool(runs[0].events["kind"].isin(["compute", "transfer"]).any())

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`timeline`."""
        return timeline(runs[0], ax)
