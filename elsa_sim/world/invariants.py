"""The invariants of a run, checked after it: a violated one is a failed run, never a quiet number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .world import World


def invariants(world: World) -> list[str]:
    """What does not hold of: bytes conserved per kind, links and slots within capacity, adapters finite."""
    wrong = [*world.network.check()]
    for device in world.devices.values():
        wrong += device.check()
    if world.radio is not None:
        wrong += world.radio.check()
    under_way: dict[str, int] = {}
    for row in world.event_log.in_flight.values():
        if row["kind"] == "transfer":
            under_way[row["detail"]] = under_way.get(row["detail"], 0) + row["bytes"]
    byte_counters = world.event_log.byte_counters
    for kind, sent in byte_counters.sent.items():
        ended = byte_counters.received[kind] + byte_counters.aborted[kind] + under_way.get(kind, 0)
        if sent != ended:
            wrong.append(
                f"bytes of kind {kind!r} are not conserved: {sent} sent, {ended} received, aborted or in flight"
            )
    return [*wrong, *world.computing.lineage.wrong, *world.latest.broken]


def event_log_faults(table: pa.Table, begun: int) -> list[str]:
    """What does not hold of the event table: time runs forwards, and whatever was begun has a row with its end."""
    start, end = table["t_start_s"].to_numpy(), table["t_end_s"].to_numpy()
    wrong = []
    if not np.isfinite(start).all() or not np.isfinite(end).all() or (start < 0.0).any():
        wrong.append("the event table has a time that is not a finite number of at least 0 s")
    if (end < start).any():
        row = int(np.argmax(end < start))
        wrong.append(f"time runs backwards: row {row} starts at {start[row]:g} s and ends at {end[row]:g} s")
    if (np.diff(end) < 0.0).any():
        row = int(np.argmax(np.diff(end) < 0.0)) + 1
        wrong.append(
            f"time runs backwards: row {row} ends at {end[row]:g} s, after one that ends at {end[row - 1]:g} s"
        )
    ended = int(pc.sum(pc.is_in(table["kind"], pa.array(["compute", "transfer", "aggregation"]))).as_py() or 0)
    if ended != begun:
        wrong.append(f"{begun} transfers and pieces of work were begun, {ended} ended, were aborted or are in flight")
    return wrong


def link_faults(table: pa.Table, world: World) -> list[str]:
    """The links that carried more than they can while messages drained over them without a pause.

    It looks at the event table only, so it holds whatever computed the rates to what they may be.
    """
    if not world.network.options.model.shares:
        return []  # the ideal network on purpose carries more
    rows = table.filter(pc.and_(pc.equal(table["kind"], "transfer"), pc.equal(table["status"], "ok")))
    routes = rows["route"].combine_chunks().dictionary_encode()
    start, end = rows["t_start_s"].to_numpy(), rows["t_end_s"].to_numpy()
    of, size, whole = (
        routes.indices.to_numpy(),
        rows["bytes"].to_numpy(),
        not world.network.options.model.store_and_forward,
    )
    links: dict[tuple[str, str], int] = {}
    capacities: list[float] = []
    crossed: list[tuple[int, int, float]] = []  # (route, link, latency of the route)
    for i, route in enumerate(routes.dictionary.to_pylist()):
        hops = list(pairwise(route.split(">")))
        on = [world.network.topology.link(u, v) for u, v in hops]
        latency = sum(link.latency for link in on) if whole and not any(link.jitter for link in on) else 0.0
        for (u, v), link in zip(hops, on, strict=True):
            if world.radio is not None and (u in world.radio or v in world.radio):
                continue  # what the air carries changes with place and time; the engine watches it
            if (u, v) not in links:
                links[u, v] = len(links)
                capacities.append(link.most_from(u))
            crossed.append((i, links[u, v], latency))
    if not crossed:
        return []
    route_of, link_of, latencies = (np.array(column) for column in zip(*crossed, strict=True))
    by_route = np.argsort(of, kind="stable")
    cuts = np.searchsorted(of[by_route], np.arange(len(routes.dictionary) + 1))
    count = (cuts[1:] - cuts[:-1])[route_of]
    first = np.repeat(cuts[route_of] - np.cumsum(count) + count, count)
    mine, link_of, latencies = (
        by_route[first + np.arange(len(first))],
        *(np.repeat(x, count) for x in (link_of, latencies)),
    )
    kept = size[mine] > 0
    mine, link_of, begin = mine[kept], link_of[kept], (start[mine] + latencies)[kept]
    order = np.lexsort((mine, begin, link_of))
    mine, link_of, begin = mine[order], link_of[order], begin[order]
    if not len(mine):
        return []
    until, load = pd.Series(end[mine]).groupby(link_of).cummax().to_numpy(), size[mine]
    fresh = (link_of[1:] != link_of[:-1]) | (begin[1:] > until[:-1])  # another link, or a pause has ended
    first = np.flatnonzero(np.concatenate([[True], fresh]))
    last = np.concatenate([first[1:] - 1, [len(begin) - 1]])
    could = np.array(capacities)[link_of[first]] / 8.0 * (until[last] - begin[first])
    carried = np.add.reduceat(load, first)
    over = carried > could * (1.0 + 1e-6) + 1.0
    names, wrong, told = list(links), [], set[int]()
    for i in np.flatnonzero(over).tolist():
        which = int(link_of[first[i]])
        if which not in told:
            told.add(which)
            u, v = names[which]
            wrong.append(f"the link {u}>{v} carried {carried[i]} B between {begin[first[i]]:g} s and "
                         f"{until[last[i]]:g} s, more than its {capacities[which]:g} bit/s")  # fmt: skip
    return wrong
