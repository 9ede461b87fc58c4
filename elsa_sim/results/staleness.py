"""What asynchronous servers received, and who took part, there and where clients are selected: from the event table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .metrics import Events, Topology, frame, utilisation


def updates(events: Events) -> pd.DataFrame:
    """One row per update that a server received.

    Columns: ``arrived_s``, ``merged_s``, ``server``, ``member``, ``status`` (ok: merged; aborted: rejected; in_flight:
    waiting at the end), ``base`` (the version it was trained from), ``staleness`` (versions that had passed when it was
    merged), ``weight`` (what it counted in the merge), ``samples`` (of its member) and ``reason`` of a rejection.
    """
    rows = (events := frame(events))[(events["kind"] == "update") & (events["detail"] == "update")]
    facts = [json.loads(text) if text else {} for text in rows["metrics"]]
    table = {"arrived_s": rows["t_start_s"], "merged_s": rows["t_end_s"], "server": rows["node"], "member": rows["peer"],
             "status": rows["status"]}  # fmt: skip
    told = {name: [fact.get(name) for fact in facts] for name in ("base", "staleness", "weight", "samples", "reason")}
    return pd.DataFrame({name: np.asarray(column) for name, column in (table | told).items()})


def counted(events: Events) -> pd.DataFrame:
    """One row per update that was merged and per selected client that arrived: ``member``, ``weight``, ``samples``."""
    events = frame(events)
    kinds, details = events["kind"], events["detail"]
    rows = events[((kinds == "selection") | (kinds == "update") & (details == "update")) & (events["status"] == "ok")]
    facts = [json.loads(text) for text in rows["metrics"]]
    told = {name: np.array([fact[name] for fact in facts], float) for name in ("weight", "samples")}
    return pd.DataFrame({"member": rows["peer"].astype(str).to_numpy(), **told})


def participation(events: Events, topology: Topology) -> pd.Series:
    """Client -> its updates that were merged, or the rounds for which it was selected and arrived."""
    return counted(events)["member"].value_counts().reindex(_clients(topology), fill_value=0)


def influence(events: Events, topology: Topology) -> pd.Series:
    """Client -> what a sample of it has counted: the weights of its merged updates over its samples; 1 is the clients' mean.

    Synchronous FedAvg with everyone gives all samples of all clients the same. Of a selected client, it is the weight in its
    server's aggregate, before trust.
    """
    found = counted(events)
    each = (found["weight"] / found["samples"]).groupby(found["member"]).sum()
    each = each.reindex(_clients(topology), fill_value=0.0)
    return each / each.mean() if each.any() else each


def _clients(topology: Topology) -> list[str]:
    return [node["name"] for node in topology["nodes"] if node.get("role") == "client"]


def jain(values: Iterable[float]) -> float | None:
    """Jain's index (sum x)^2 / (n sum x^2) (Jain, Chiu, Hawe 1984): 1 if all are equal, 1/n if one has everything."""
    x = np.asarray(list(values), float)
    square = len(x) * float((x**2).sum())
    return float(x.sum()) ** 2 / square if square else None


def summary(events: Events, topology: Topology) -> dict[str, Any]:
    """What ``summary.json`` tells of updates; empty where there are none."""
    found = updates(events)
    if not len(found):
        return {}
    merged = found[found["status"] == "ok"]
    staleness = merged["staleness"].astype(float)
    idle = utilisation(events, topology)
    return {"updates": {
        "merged": len(merged),
        "rejected": int((found["status"] == "aborted").sum()),
        "waiting": int((found["status"] == "in_flight").sum()),
        "staleness_mean": float(staleness.mean()) if len(merged) else None,
        "staleness_max": int(staleness.max()) if len(merged) else None,
        "participation_jain": jain(participation(events, topology)),
        "influence_jain": jain(shares := influence(events, topology)),
        "influence_min": float(shares.min()),
        "client_idle": float(idle.loc[idle["role"] == "client", "idle"].mean()),
    }}  # fmt: skip
