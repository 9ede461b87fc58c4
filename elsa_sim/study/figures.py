"""Figures of a study: accuracy over simulated time with its spread, and bars of the metrics; a panel per combination of
the axes that are not compared.

Tested in tests/study/test_tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import measures
from ..results.plots.save import write_figure
from ..results.plots.style import CYCLE, INK, amount, finish, scaled, styled
from . import metrics
from .cells import Cell
from .options import Study

POINTS = 200
#: Characters that fit in a line of a panel's title.
TITLE = 28
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1, 1.2)))
Array = npt.NDArray[np.float64]


def panels(study: Study, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and rows of each combination of the axes that are not compared."""
    others = [axis for axis in study.axes if axis != study.series]
    if not others:
        yield "", table
        return
    for labels, rows in table.groupby(others, sort=False):
        texts = [f"{axis} {label}" for axis, label in zip(others, labels, strict=True)]
        yield (", " if sum(map(len, texts)) < TITLE else ",\n").join(texts), rows


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3 if count != 4 else 2)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    return figure, axes


def over_time(curves: Sequence[pd.DataFrame], column: str) -> tuple[Array, Array, Array]:
    """Mean and standard deviation of several runs over simulated time, up to where the first of them ends.

    Between its evaluations a run's value is interpolated linearly.
    """
    end = min(float(curve["sim_time_s"].iloc[-1]) for curve in curves)
    time = np.linspace(0.0, end, POINTS)
    values = np.array([np.interp(time, curve["sim_time_s"], curve[column]) for curve in curves])
    return time, values.mean(axis=0), values.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(POINTS)


@styled
def curves(study: Study, cells: Sequence[Cell], column: str = "accuracy") -> Figure:
    """``column`` of the tables of rounds over simulated time, mean and one standard deviation over the seeds."""
    done = [cell for cell in cells if cell.state == "done"]
    rows = pd.DataFrame([{**cell.labels, "cell": cell} for cell in done])
    shown, counts = list(panels(study, rows)), set[int]()
    figure, axes = _grid(len(shown), 3.4 if len(shown) > 1 else 5.2, 2.6)  # a legend stands beside the panels
    for ax, (title, panel) in zip(axes, shown, strict=True):
        for i, label in enumerate(study.axes[study.series]):
            tables = [metrics.rounds_of(cell.folder) for cell in panel.loc[panel[study.series] == label, "cell"]]
            if not tables:
                continue
            counts.add(len(tables))
            time, mean, spread = over_time(tables, column)
            colour = CYCLE[i % len(CYCLE)]
            ax.plot(time, mean, color=colour, linestyle=DASHES[i // len(CYCLE) % len(DASHES)], label=label)
            ax.fill_between(time, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        ax.set_title(title)
        ax.set_xlabel("Simulated time (s)")
        ax.set_ylabel(f"Test {column}")
        ax.set_xlim(left=0)
        if column == "accuracy":
            ax.set_ylim(0, 1)
        finish(ax, "both")
    handles = {text: handle for ax in axes for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    few, many = min(counts), max(counts)  # of a study that is not finished some have fewer
    title = "mean ± 1 std, " + (f"{few} to " if few < many else "") + f"{many} seed{'s' if many > 1 else ''}"
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", title=title, title_fontsize=6.5)
    return figure


@styled
def bars(study: Study, table: pd.DataFrame, metric: str) -> Figure:
    """A metric's mean and standard deviation over the seeds, from the tidy table."""
    rows = table[(table["metric"] == metric) & (table["n"] > 0)]
    shown = list(panels(study, rows))
    labels = list(study.axes[study.series])
    figure, axes = _grid(max(len(shown), 1), 3.4, 0.9 + 0.2 * len(labels))
    largest = float((rows["mean"] + rows["std"].fillna(0.0)).abs().max()) if len(rows) else 0.0
    factor, text = scaled(largest, measures.unit(metric)) if measures.unit(metric) else (1.0, "")
    for ax, (title, panel) in zip(axes, shown, strict=False):
        means = panel.set_index(study.series)["mean"].reindex(labels) / factor
        spread = panel.set_index(study.series)["std"].reindex(labels).fillna(0.0) / factor
        at = np.arange(len(labels))
        colours = [CYCLE[i % len(CYCLE)] for i in range(len(labels))]
        ax.barh(at, means.fillna(0.0), 0.7, color=colours, xerr=spread, error_kw={"elinewidth": 0.8, "ecolor": INK})
        for y, (mean, wide) in enumerate(zip(means, spread, strict=True)):
            words = "no value" if math.isnan(mean) else amount(float(mean))
            ax.annotate(words, (0 if math.isnan(mean) else mean + wide, y), xytext=(3, 0), textcoords="offset points",
                        va="center", fontsize=6)  # fmt: skip
        ax.set_yticks(at, labels)
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.set_xlim(0, 1.18 * largest / factor if largest else 1.0)
        ax.set_title(title)
        ax.set_xlabel(f"{measures.words(metric)} ({text})" if text else measures.words(metric))
        finish(ax, "x").tick_params(axis="y", length=0)
    return figure


def save(study: Study, cells: Sequence[Cell], table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write every figure for which there is something to draw; returns the paths."""
    written: list[Path] = []
    if (table["n"] > 0).any():
        folder.mkdir(parents=True, exist_ok=True)
        done = [metrics.rounds_of(cell.folder) for cell in cells if cell.state == "done"]
        column = next(
            (c for c in ("accuracy", "perplexity", "loss") if all(c in t and t[c].notna().any() for t in done)), None
        )
        if column is not None:
            written += write_figure(curves(study, cells, column), folder / f"{column}_over_time")
        for metric in study.options.metrics:
            if (table.loc[table["metric"] == metric, "n"] > 0).any():
                written += write_figure(bars(study, table, metric), folder / metric.replace(".", "_"))
    return written
