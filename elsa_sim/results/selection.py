"""Whom servers selected, and who of them arrived: what ``summary.json`` tells of it, from the event table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .frames import Events, Topology, frame
from .staleness import influence, jain, participation


def selections(events: Events) -> pd.DataFrame:
    """One row per client that a server selected for a round, in the order in which rounds closed.

    Columns: ``round``, ``server``, ``client``, ``since_s`` (when it was selected), ``until_s`` (when the round closed) and
    ``status`` (ok: it arrived; aborted: it did not; in_flight: the run ended before).
    """
    rows = (events := frame(events))[events["kind"] == "selection"]
    return pd.DataFrame({"round": rows["round"].to_numpy("int64"), "server": rows["node"].astype(str).to_numpy(),
                         "client": rows["peer"].astype(str).to_numpy(), "since_s": rows["t_start_s"].to_numpy(),
                         "until_s": rows["t_end_s"].to_numpy(), "status": rows["status"].astype(str).to_numpy()})  # fmt: skip


def summary(events: Events, topology: Topology) -> dict[str, Any]:
    """What ``summary.json`` tells of selections; empty where everyone takes part."""
    found = selections(events)
    if not len(found):
        return {}
    clients = sum(node.get("role") == "client" for node in topology["nodes"])
    counts = participation(events, topology)
    return {"selection": {
        "selected": len(found),
        "arrived": int((found["status"] == "ok").sum()),
        "never_selected": clients - found["client"].nunique(),
        "never_arrived": int((counts == 0).sum()),
        "participation_jain": jain(counts),
        "influence_jain": jain(influence(events, topology)),
    }}  # fmt: skip
