"""What a study can tabulate: the numbers of a run's summary, by their path in it, and two that need a target accuracy.

Tested in tests/study/test_tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pyarrow import ArrowException
from pyarrow.parquet import read_metadata

from ..results.event_table import TABLE

#: Path in ``summary.json`` -> unit ("" for a ratio or a count).
UNITS: Mapping[str, str] = {
    "accuracy": "",
    "best_accuracy": "",
    "clean_accuracy": "",
    "macro_f1": "",
    "clean_macro_f1": "",
    "loss": "",
    "clean_loss": "",
    "train_loss": "",
    "perplexity": "",
    "clean_perplexity": "",
    "sim_time_s": "s",
    "rounds": "",
    "bytes.total": "B",
    "bytes.uplink": "B",
    "bytes.downlink": "B",
    "bytes.aborted": "B",
    "bytes.wasted": "B",
    "retries": "",
    "missing": "",
    "energy_j": "J",
    "energy_j.total": "J",
    "energy_j.marginal": "J",
    "energy_j.compute": "J",
    "energy_j.radio": "J",
    "energy_j.idle": "J",
    "host.wall_s": "s",
    "host.math_s": "s",
    "host.peak_rss_bytes": "B",
    "time_to_target_s": "s",
    "bytes_to_target": "B",
}
#: Beginnings of paths whose rest depends on the scenario.
OPEN: Mapping[str, str] = {
    "bytes.by_kind.": "B",
    "energy_j.by_role.": "J",
    "energy_by_node.": "J",
    "privacy.": "",
    "clustering.": "",
    "updates.": "",
    "training.": "",
    "client_accuracy_": "",
}
#: Told by the table of rounds for the study's own target.
OF_TARGET = ("time_to_target_s", "bytes_to_target")


def unit(metric: str) -> str:
    """The unit of a metric."""
    return UNITS.get(metric) or next((u for start, u in OPEN.items() if metric.startswith(start)), "")


def known(metric: str) -> bool:
    """Whether a run may have this metric."""
    return metric in UNITS or any(metric.startswith(start) and metric != start for start in OPEN)


def value(summary: Mapping[str, Any], metric: str) -> float:
    """A metric of a run's summary; NaN where it was not measured or not reached."""
    here: Any = summary
    rest = f"{metric}.total" if isinstance(summary.get(metric), Mapping) and metric == "energy_j" else metric
    while rest:
        if not isinstance(here, Mapping):
            return math.nan
        if rest in here:  # the rest may hold dots
            here, rest = here[rest], ""
            continue
        key, _, rest = rest.partition(".")
        here = here.get(key)
    return float(here) if isinstance(here, int | float) else math.nan


def at_target(rounds: pd.DataFrame, target: float) -> dict[str, float]:
    """Simulated time and bytes (up and down, every message once) at the first evaluation that reaches ``target``."""
    reached = rounds[rounds["accuracy"] >= target]
    if reached.empty:
        return dict.fromkeys(OF_TARGET, math.nan)
    first = reached.iloc[0]
    return {"time_to_target_s": float(first["sim_time_s"]),
            "bytes_to_target": float(first["uplink_bytes"] + first["downlink_bytes"])}  # fmt: skip


#: What tables and figures of a study need of a table of rounds.
_NEEDED = ("sim_time_s", "accuracy", "uplink_bytes", "downlink_bytes")


def rounds_of(folder: Path) -> pd.DataFrame:
    """The table of rounds of a finished run."""
    return pd.read_csv(folder / "rounds.csv")


def readable(folder: Path) -> bool:
    """Whether a folder has a table of rounds that studies can read, and an event table behind it."""
    try:
        rounds = rounds_of(folder)
    except (OSError, ValueError):
        return False
    try:
        read_metadata(folder / TABLE)
    except (OSError, ArrowException):
        return False
    return len(rounds) > 0 and all(name in rounds and is_numeric_dtype(rounds[name]) for name in _NEEDED)
