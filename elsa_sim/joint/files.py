"""What was optimised, as files: tables, figures, and the scenario that plays the decision.

Tested in tests/cli/test_optimise.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results.plots import convergence, delay_over, delay_parts, rounds_over_rank
from ..results.plots.save import write_figure
from ..scenario import dump
from . import PARTS
from .study import Found, Sweep


def save(found: Found, folder: Path) -> list[Path]:
    """Write tables (CSV), figures (PNG, PDF) and ``scenario.yaml`` into a folder that exists; returns their paths."""
    tables = {"delay": found.table} | {f"delay_over_{sweep.key}": sweep.table for sweep in found.sweeps}
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        table.to_csv(written[-1], index=False)
    written.append(folder / "scenario.yaml")
    written[-1].write_text(dump.dump(found.played), encoding="utf-8")
    for name, draw in figures(found).items():
        figure = draw().figure
        assert isinstance(figure, Figure)
        written += write_figure(figure, folder / name)
    return written


def figures(found: Found) -> dict[str, Callable[[], Axes]]:
    """Name -> what draws it."""
    history = [(step.name, step.total_s) for step in found.result.history]
    drawn: dict[str, Callable[[], Axes]] = {
        "delay_parts": lambda: delay_parts(parts(found.table)),
        "convergence": lambda: convergence(history),
    }
    for sweep in found.sweeps:
        if all(isinstance(value, float) for value in sweep.table["value"]):
            drawn[f"delay_over_{sweep.key}"] = partial(over, sweep)
    fit = found.choice.rounds
    if fit is not None and len(fit.means) > 1:
        points = [(point.rank, point.rounds) for point in fit.points if point.rounds is not None]
        drawn["rounds_over_rank"] = lambda: rounds_over_rank(points, fit.law)
    return drawn


def parts(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """System -> mean of the parts of a round (s)."""
    means = table.groupby("system", sort=False)[list(PARTS)].mean()
    return {str(system): {part: float(row[part]) for part in PARTS} for system, row in means.iterrows()}


def over(sweep: Sweep) -> Axes:
    """Total delay of every system over the resource of a sweep."""
    values = list(dict.fromkeys(sweep.table["value"]))
    systems = {
        str(system): [rows.loc[rows["value"] == value, "total_s"].tolist() for value in values]
        for system, rows in sweep.table.groupby("system", sort=False)
    }
    label, scale = axis(sweep.key)
    return delay_over([value / scale for value in values], systems, label)


def axis(key: str) -> tuple[str, float]:
    """The label of a resource's axis, and what one unit of it is in SI."""
    last = key.rpartition(".")[2].replace("_", " ")
    units = {"bandwidth": ("MHz", 1e6), "power": ("W", 1.0), "total power": ("W", 1.0), "speed": ("GFLOP/s", 1e9),
             "downlink": ("Mbit/s", 1e6)}  # fmt: skip
    unit, scale = units.get(last, ("", 1.0))
    where = key.rpartition(".")[0].replace(".", " ")
    return f"{where} {last}" + (f" ({unit})" if unit else ""), scale
