"""What was learned by when: evaluations in the order of time, and who was missing from which round.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from .frames import Events, Topology, frame, number
from .traffic import direction


def rounds_table(events: Events, topology: Topology) -> pd.DataFrame:
    """One row per evaluation; bytes and energy are those of everything that ended up to then.

    Columns: ``round``, ``sim_time_s``, ``accuracy``, ``loss``, ``uplink_bytes``, ``downlink_bytes``, ``energy_j``, and
    whatever else the evaluation measured (``macro_f1``, ``perplexity``). What it did not measure is NaN.
    """
    events = frame(events)
    way = direction(events, topology)
    table, rows, order = _evaluations(events)
    for name, sign in (("uplink_bytes", 1), ("downlink_bytes", -1)):
        table[name] = np.cumsum(np.where(way == sign, events["bytes"], 0)[order])[rows]
    table["energy_j"] = np.cumsum(events["energy_j"].to_numpy()[order])[rows]
    first = ["round", "sim_time_s", "accuracy", "loss", "uplink_bytes", "downlink_bytes", "energy_j"]
    return table[first + [c for c in table.columns if c not in first]]


def accuracy_curve(events: Events) -> pd.DataFrame:
    """One row per evaluation: ``round``, ``sim_time_s``, ``bytes`` sent by then, ``accuracy``, ``loss`` and others."""
    events = frame(events)
    table, rows, order = _evaluations(events)
    table.insert(2, "bytes", np.cumsum(np.where(events["kind"] == "transfer", events["bytes"], 0)[order])[rows])
    return table


def _evaluations(events: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The evaluations, where they stand among all rows by time of ending, and that order of the rows."""
    ends = events["t_end_s"].to_numpy()
    order = np.argsort(ends, kind="stable") if (np.diff(ends) < 0).any() else np.arange(len(ends))
    rows = np.flatnonzero((events["kind"] == "evaluation").to_numpy()[order])
    found = events.iloc[order[rows]]
    measured = [json.loads(text) if text else {} for text in found["metrics"]]
    names = dict.fromkeys(["accuracy", "loss", *sorted({name for m in measured for name in m})])
    columns = {name: [v if isinstance(v := m.get(name), int | float) else math.nan for m in measured] for name in names}
    table = pd.DataFrame({"round": found["round"].to_numpy("int64"), "sim_time_s": found["t_end_s"].to_numpy(),
                          **{name: np.array(values, float) for name, values in columns.items()}})  # fmt: skip
    unmeasured = [n for n in list(names)[2:] if table[n].isna().all()]  # a list, or a text
    return table.drop(columns=unmeasured), rows, order


def time_to_target(events: Events, accuracy: float) -> float | None:
    """The simulated time (s) of the first evaluation that reaches ``accuracy``; ``None`` when none does."""
    curve = accuracy_curve(events)
    return number(curve.loc[curve["accuracy"] >= accuracy, "sim_time_s"].min())


def missing(events: Events) -> pd.DataFrame:
    """Who was missing from which round: ``round``, ``node``, ``since_s`` (when the round began), ``at_s``, ``reason``."""
    events = frame(events)
    rows = events[(events["kind"] == "fault") & (events["detail"] == "missing")]
    reasons = [json.loads(text).get("reason", "") if text else "" for text in rows["metrics"]]
    return pd.DataFrame({"round": rows["round"].to_numpy("int64"), "node": rows["node"].astype(str).to_numpy(),
                         "since_s": rows["t_start_s"].to_numpy(), "at_s": rows["t_end_s"].to_numpy(),
                         "reason": reasons})  # fmt: skip
