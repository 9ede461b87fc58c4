"""A study as tables: one row per run, and one row per configuration and metric with mean and spread over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..base.writing import replacing
from ..results import measures
from ..results.columns import Column, numbers, texts
from ..results.labels import labelled
from . import metrics
from .cells import Cell, summary
from .options import Study


def runs(study: Study, cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per cell: the labels of the axes, ``seed``, ``run`` (its directory), ``state``, ``reason``, the metrics."""
    rows = []
    for cell in cells:
        row: dict[str, object] = {**cell.labels, "seed": cell.seed, "run": cell.key, "state": cell.state,
                                  "reason": cell.reason}  # fmt: skip
        rows.append(row | (_measured(study, cell) if cell.state == "done" else {}))
    columns = [*study.axes, "seed", "run", "state", "reason", *study.options.metrics]
    return pd.DataFrame(rows).reindex(columns=columns)


def _measured(study: Study, cell: Cell) -> dict[str, float]:
    found = summary(cell)
    target, of_target = study.target(cell.labels), dict[str, float]()
    if not math.isnan(target):
        of_target = measures.at_target(metrics.rounds_of(cell.folder), target)
    return {
        name: of_target[name] if name in of_target else measures.value(found, name) for name in study.options.metrics
    }


def tidy(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """One row per configuration and metric, from the rows of :func:`runs`.

    Columns: the axes, ``metric``, ``unit``, ``mean``, ``std`` (of the sample; NaN for one value), ``min``, ``max``, ``n``
    (how many seeds have a value; a target that was not reached has none), ``seeds`` (how many were played), ``runs`` (their
    directories, by seed).
    """
    axes, names = list(study.axes), list(study.options.metrics)
    done = table[table["state"] == "done"]
    rows = []
    for labels, group in done.groupby(axes, sort=False):
        for name in names:
            values = group[name].astype(float)
            rows.append({**dict(zip(axes, labels, strict=True)), "metric": name, "unit": measures.unit(name),
                         "mean": values.mean(), "std": values.std(ddof=1), "min": values.min(), "max": values.max(),
                         "n": int(values.notna().sum()), "seeds": len(group), "runs": " ".join(group["run"])})  # fmt: skip
    columns = [*axes, "metric", "unit", "mean", "std", "min", "max", "n", "seeds", "runs"]
    return pd.DataFrame(rows, columns=columns)


def columns(table: pd.DataFrame) -> list[Column]:
    """The rows of :func:`tidy` as people read them: a row per configuration, a column per metric, with the unit in its head."""
    axes = list(table.columns[: list(table.columns).index("metric")])
    rows = [
        (dict(zip(axes, map(str, labels), strict=True)), group) for labels, group in table.groupby(axes, sort=False)
    ]
    found = [texts("configuration", [labelled(labels) for labels, _ in rows])]
    for name in dict.fromkeys(table["metric"]):
        of = [group[group["metric"] == name].iloc[0] for _, group in rows]
        counts = [(int(each["n"]), int(each["seeds"])) for each in of]
        found.append(numbers(measures.words(name), measures.unit(name), [each["mean"] for each in of],
                             [each["std"] for each in of], counts))  # fmt: skip
    return found


def write(table: pd.DataFrame, runs_table: pd.DataFrame, folder: Path) -> None:
    """``table.csv``, ``table.parquet`` and ``runs.csv``, each as a whole."""
    with replacing(folder / "table.csv") as path:
        table.to_csv(path, index=False)
    with replacing(folder / "table.parquet") as path:
        table.to_parquet(path, index=False)
    with replacing(folder / "runs.csv") as path:
        runs_table.to_csv(path, index=False)
