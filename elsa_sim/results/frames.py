"""The event table in pandas, and what every metric starts from.

A topology is a mapping with ``nodes`` (``name``, ``role``) and ``links`` (``u``, ``v``, ``up_bps`` for u -> v, ``down_bps`` for
v -> u).

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

Events: TypeAlias = pd.DataFrame | pa.Table
Topology: TypeAlias = Mapping[str, Any]


def frame(events: Events) -> pd.DataFrame:
    """The event table in pandas; text columns become categories, so that millions of rows stay small and fast."""
    if isinstance(events, pd.DataFrame):
        return events
    for i, column in enumerate(events.schema):
        if column.type == pa.string():
            events = events.set_column(i, column.name, events.column(i).dictionary_encode())
    result: pd.DataFrame = events.to_pandas()
    return result


def sim_time(events: Events) -> float:
    """The time at which the last thing ended (s)."""
    return float(frame(events)["t_end_s"].max()) if len(events) else 0.0


def roles(topology: Topology) -> dict[str, str]:
    """Node -> its role: client, edge, cloud, or router where the topology says nothing."""
    return {node["name"]: node.get("role", "router") for node in topology["nodes"]}


def number(value: Any) -> float | None:
    """A finite float, or ``None``."""
    return float(value) if value is not None and math.isfinite(value) else None
