"""What devices did: the time in which they compute, and their energy.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .frames import Events, Topology, frame, roles, sim_time

#: The kinds of rows that keep a device busy.
WORK = ("compute", "aggregation")
#: What energy is spent on.
SPENT = ("compute", "radio", "idle")


def busy_seconds_by_node(events: Events, topology: Topology, window: tuple[float, float] | None = None) -> pd.Series:
    """Seconds in which a node computes at least one thing, in all or within a window of time (s).

    What did not end is left out: it may have waited for the device.
    """
    events = frame(events)
    rows = events["kind"].isin(WORK) & (events["status"] != "in_flight")
    work = events.loc[rows, ["node", "t_start_s", "t_end_s"]]
    if window is not None:
        work = work.assign(t_start_s=work["t_start_s"].clip(*window), t_end_s=work["t_end_s"].clip(*window))
    work = work.sort_values(["node", "t_start_s"], kind="stable")
    by_node = work.groupby("node", observed=True)["t_end_s"]
    covered = by_node.cummax().groupby(work["node"], observed=True).shift()  # earlier work lasts until then
    new = (work["t_end_s"] - np.fmax(work["t_start_s"], covered)).clip(lower=0.0)
    return _per_node(new.groupby(work["node"], observed=True).sum().to_frame("busy_s"), topology)["busy_s"]


def utilisation(events: Events, topology: Topology) -> pd.DataFrame:
    """Per node: ``role``, ``busy_s``, ``utilisation`` and ``idle`` (shares of the simulated time)."""
    busy, horizon = busy_seconds_by_node(events, topology), sim_time(events)
    share = busy / horizon if horizon > 0 else busy * 0.0
    known = roles(topology)
    role = busy.index.map(lambda name: known.get(name, ""))
    return pd.DataFrame({"role": role, "busy_s": busy, "utilisation": share, "idle": 1.0 - share}, index=busy.index)


def energy_by_node(events: Events, topology: Topology) -> pd.DataFrame:
    """Energy per node (J): ``compute`` (aggregation too), ``radio`` (sending and receiving), ``idle``, ``total``.

    ``compute`` is all that a device draws while it computes, ``idle`` what it draws while it is there and computes
    nothing. A router draws nothing.
    """
    events = frame(events)
    kind = np.select([events["kind"].isin(WORK), events["kind"] == "transfer"], ["compute", "radio"], "idle")
    received = events["peer_energy_j"]
    own = (events["energy_j"] - received).groupby([events["node"].astype(str), kind]).sum().unstack(fill_value=0)
    peers = received.groupby(events["peer"].astype(str)).sum().drop("", errors="ignore").rename("radio").to_frame()
    table = own.add(peers, fill_value=0.0).fillna(0.0)
    table = _per_node(table.reindex(columns=list(SPENT), fill_value=0.0), topology)
    return table.assign(total=table.sum(axis=1)).rename_axis(columns=None)


def energy_by_role(events: Events, topology: Topology) -> pd.DataFrame:
    """Energy per role (J), clients first: ``marginal`` (computing and radio: what the training itself takes), and the
    columns of :func:`energy_by_node`. Roles without any energy are left out."""
    by_node, known = energy_by_node(events, topology), roles(topology)
    table = by_node.groupby([known.get(name, "router") for name in by_node.index]).sum()
    table = table.loc[[role for role in ("client", "edge", "cloud", "router") if role in table.index]]
    table.insert(0, "marginal", table["compute"] + table["radio"])
    return table[table["total"] > 0].rename_axis("role")


def _per_node(values: pd.DataFrame, topology: Topology) -> pd.DataFrame:
    """Rows for every node of the topology, in its order; what else has a row comes after."""
    values.index = values.index.astype(str)
    names = [node["name"] for node in topology["nodes"]]
    known = set(names)
    return values.reindex([*names, *(n for n in values.index if n not in known)], fill_value=0.0).rename_axis("node")
