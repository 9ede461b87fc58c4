"""Bytes on the network: by message kind, by direction, by link.

Bytes are those of every transfer row, whatever became of it: what was aborted or is still in flight was charged to the
wire too. In totals a message counts once, however many hops it takes; in `bytes_by_link` on each hop of its route.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..base.tiers import TIER
from .frames import Events, Topology, frame, roles, sim_time


def transfers(events: Events) -> pd.DataFrame:
    """The rows of transfers."""
    return (events := frame(events))[events["kind"] == "transfer"]


def bytes_by_kind(events: Events) -> dict[str, int]:
    """Message kind -> bytes, headers included."""
    sums = transfers(events).groupby("detail", observed=True)["bytes"].sum()
    return {kind: int(total) for kind, total in sorted((str(kind), total) for kind, total in sums.items())}


def direction(events: pd.DataFrame, topology: Topology) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Per row: 1 towards the cloud, -1 away from it, 0 neither (equal roles, or no transfer)."""
    role, ends = roles(topology), []
    for column in ("node", "peer"):
        text = events[column].astype("category")
        rank = np.array([TIER.get(role.get(name, ""), math.nan) for name in text.cat.categories] + [math.nan])
        ends.append(rank[text.cat.codes.to_numpy()])
    sign = np.nan_to_num(np.sign(ends[1] - ends[0])).astype(np.int8)
    return np.where((events["kind"] == "transfer").to_numpy(), sign, np.int8(0))


def bytes_by_direction(events: Events, topology: Topology) -> pd.DataFrame:
    """Bytes per message kind (index) and direction: ``uplink``, ``downlink``, ``lateral`` (between equal roles)."""
    rows = transfers(events)
    way, sent = direction(rows, topology), rows["bytes"]
    ways = {"uplink": sent.where(way == 1, 0), "downlink": sent.where(way == -1, 0), "lateral": sent.where(way == 0, 0)}
    table = pd.DataFrame(ways).groupby(rows["detail"], observed=True).sum().astype("int64")
    table.index = table.index.astype(str)
    return table.sort_index()


def bytes_lost(events: Events) -> dict[str, int]:
    """``aborted``: bytes of the messages that did not arrive; ``wasted``: bytes that went over wires for nothing.

    Wasted are attempts that failed, in part or in full, and packets sent again. What was aborted before it was sent is
    not wasted.
    """
    rows = transfers(events)
    return {"aborted": int(rows.loc[rows["status"] == "aborted", "bytes"].sum()),
            "wasted": int(rows["wasted_bytes"].sum())}  # fmt: skip


def bytes_by_link(events: Events) -> pd.DataFrame:
    """Bytes per directed link: ``u``, ``v``, ``bytes``; a transfer's bytes count on each hop of its route."""
    load: dict[tuple[str, str], int] = {}
    for route, total in transfers(events).groupby("route", observed=True)["bytes"].sum().items():
        hops = str(route).split(">")
        for hop in pairwise(hops):
            load[hop] = load.get(hop, 0) + int(total)
    return pd.DataFrame([(u, v, n) for (u, v), n in sorted(load.items())], columns=["u", "v", "bytes"])


def link_load(events: Events, topology: Topology) -> pd.DataFrame:
    """Both directions of every link: ``u``, ``v``, ``bytes``, ``capacity_bps`` (bit/s), ``utilisation``.

    Utilisation is the mean over the run: bits carried over what the nominal bandwidth could have carried by then.
    """
    load = {(u, v): n for u, v, n in bytes_by_link(events).itertuples(index=False)}
    ways = [way for link in topology["links"] for way in (
        (link["u"], link["v"], link["up_bps"]), (link["v"], link["u"], link["down_bps"]))]  # fmt: skip
    table = pd.DataFrame([(u, v, load.get((u, v), 0), float(bps)) for u, v, bps in ways],
                         columns=["u", "v", "bytes", "capacity_bps"])  # fmt: skip
    could = table["capacity_bps"] * sim_time(events)
    table["utilisation"] = (8.0 * table["bytes"] / could.where(could > 0)).fillna(0.0)
    return table
