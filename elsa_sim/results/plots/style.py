"""How every figure looks: one restrained style, one colour-blind-safe palette, units on every axis.

Figures are plain ``matplotlib.figure.Figure`` objects; nothing here touches pyplot's global state or needs a display.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..columns import scaled as scaled
from ..labels import run_labels as run_labels
from ..metrics import Results

P = ParamSpec("P")
T = TypeVar("T")

#: One run, or several to compare.
Runs: TypeAlias = Results | Sequence[Results]

INK, MUTED, BAND, ALERT = "#222222", "#777777", "#f1f1f1", "#c2410c"
#: Runs compared (Okabe and Ito, without black and yellow).
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
#: Of bars and of lines, when all colours were used.
HATCHES, DASHES = ("", "////", "....", "xxxx"), ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
UP, DOWN, LATERAL = "#0072b2", "#8cc5e8", "#b8b8b8"
ROLE = {"cloud": ("#1b2a49", "s", 90.0), "edge": ("#0072b2", "D", 52.0), "router": ("#9a9a9a", ".", 30.0),
        "client": ("#9fd3f2", "o", 34.0)}  # fmt: skip
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 8.5, "axes.labelsize": 8.0,
    "legend.fontsize": 7.0, "xtick.labelsize": 7.0, "ytick.labelsize": 7.0,
    "axes.titlelocation": "left", "axes.titlepad": 8.0,
    "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
    "ytick.major.size": 2.5, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
    "grid.color": "#e3e3e3", "grid.linewidth": 0.5, "axes.axisbelow": True, "legend.frameon": False,
    "legend.handlelength": 1.4, "legend.columnspacing": 1.4, "lines.linewidth": 1.4, "lines.markersize": 3.6,
    "pdf.fonttype": 42, "svg.fonttype": "none", "figure.dpi": 110.0, "savefig.dpi": 220.0,
    "text.parse_math": False,  # a name with $ in it is no formula
}  # fmt: skip


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw inside this style, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return inner


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or those of a new figure of that size (inches)."""
    return ax if ax is not None else Figure(figsize=(width, height), layout="constrained").add_subplot()


def legend_above(ax: Axes, labels: Sequence[str]) -> None:
    """A legend above the axes, in as many columns as its ``labels`` leave room for."""
    columns = max(1, min(len(labels), 60 // (max(map(len, labels), default=0) + 6)))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


def finish(ax: Axes, grid: str = "") -> Axes:
    """Ticks and grid as in the style, also where the axes are drawn outside of it."""
    ax.tick_params(labelsize=STYLE["xtick.labelsize"], width=0.6, length=2.5, color=MUTED, labelcolor=INK)
    if grid:
        ax.grid(True, axis=grid, color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"])  # type: ignore[arg-type]
        ax.set_axisbelow(True)
    return ax


def several(runs: Runs) -> list[Results]:
    """The runs as a list."""
    return [runs] if isinstance(runs, Results) else list(runs)


def amount(value: float) -> str:
    """At least three significant digits: ``2.4`` -> ``"2.40"``, ``26`` -> ``"26.0"``, ``1234.5`` -> ``"1,234"``."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def natural(name: str) -> list[Any]:
    """The sort key in which ``client2`` comes before ``client10``."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name)]
