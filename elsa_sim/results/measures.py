"""The numbers of a run by their paths in its summary: units, names for people, and two that need a target accuracy.

Tested in tests/results/test_table.py and tests/study/test_tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

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
    "selection.": "",
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


class Measure(NamedTuple):
    """A number that runs are compared by."""

    path: str
    """Where it is in the summary, or one of `OF_TARGET`."""
    column: str
    """What its column is called in a table of SI numbers."""
    words: str
    """What people call it; its unit is added where numbers are shown."""
    learned: bool = False
    """Whether it is about what was learned, so that runs of other tasks have it on no common axis."""


#: What runs are compared by, in the order of a table.
COMPARED = (
    Measure("accuracy", "accuracy", "accuracy", True),
    Measure("clean_accuracy", "clean_accuracy", "accuracy without codecs", True),
    Measure("best_accuracy", "best_accuracy", "best accuracy", True),
    Measure("loss", "loss", "test loss", True),
    Measure("perplexity", "perplexity", "perplexity", True),
    Measure("time_to_target_s", "time_to_target_s", "time to target", True),
    Measure("bytes_to_target", "bytes_to_target", "bytes to target", True),
    Measure("sim_time_s", "sim_time_s", "simulated time"),
    Measure("rounds", "rounds", "rounds"),
    Measure("bytes.total", "total_bytes", "bytes"),
    Measure("bytes.uplink", "uplink_bytes", "bytes uplink"),
    Measure("bytes.downlink", "downlink_bytes", "bytes downlink"),
    Measure("energy_j", "total_energy_j", "energy"),
    Measure("energy_j.marginal", "marginal_energy_j", "energy without idle"),
    Measure("energy_j.compute", "compute_energy_j", "energy computing"),
    Measure("energy_j.radio", "radio_energy_j", "energy radio"),
    Measure("energy_j.idle", "idle_energy_j", "energy idle"),
    Measure("host.wall_s", "host_time_s", "host time"),
)


def words(metric: str) -> str:
    """What people call a metric; its path, if it has no other name."""
    return next((each.words for each in COMPARED if each.path == metric), metric)
