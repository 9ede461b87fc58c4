"""The timeline of a run as a Chrome trace, which https://ui.perfetto.dev and chrome://tracing open.

Process "nodes" has a track per node, process "links" one per directed link that carried something; a message of several
hops is drawn on each of them. Things that overlap on a track (messages that share a link) go to further lanes of it,
"client0 → edge0 (2)". Process "metrics" has a counter per measured quantity. Times are rounded to whole microseconds,
which the viewers keep exactly; the exact times are among the arguments of a slice.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ..base.writing import replacing
from .metrics import Events, Topology, frame

NODES, LINKS, METRICS = 1, 2, 3
#: Rows that a trace shows at most: a viewer in a browser does not open much more.
LIMIT = 500_000


def write_trace(events: Events, topology: Topology, path: str | Path, limit: int = LIMIT) -> Path:
    """Write the trace of the events (of the first ``limit``) to ``path``; ``otherData`` says how many were left out."""
    table = frame(events)
    left_out = max(0, len(table) - limit)
    table = table.sort_values("t_start_s", kind="stable").head(limit)
    other = {"clock": "simulated time", "events": len(table), "events_left_out": left_out}
    path = Path(path)
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as out:
        out.write(f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(other)}, "traceEvents": [\n')
        between = ""
        for event in _events(table, topology):
            out.write(between + json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
            between = ",\n"
        out.write("\n]}\n")
    return path


class _Tracks:
    """Gives every slice a lane of its track in which nothing else is running (slices come by their start)."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[int, str], int] = {}
        self._ids: dict[tuple[int, str, int], int] = {}
        self._busy: dict[tuple[int, str], list[tuple[int, int]]] = {}  # (end, lane)
        self._free: dict[tuple[int, str], list[int]] = {}

    def add(self, process: int, name: str) -> None:
        """Declare a track, so that it has a place even if nothing happens on it."""
        self.lanes.setdefault((process, name), 1)

    def lane(self, process: int, name: str, start: int, end: int) -> int:
        """The thread id of a free lane."""
        track = (process, name)
        busy, free = self._busy.setdefault(track, []), self._free.setdefault(track, [])
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        self.lanes[track] = max(self.lanes.get(track, 1), lane + 1)
        return self.thread(process, name, lane)

    def thread(self, process: int, name: str, lane: int = 0) -> int:
        """The id of a lane."""
        return self._ids.setdefault((process, name, lane), len(self._ids) + 1)

    def names(self) -> Iterator[dict[str, Any]]:
        """Metadata: the names of the tracks in the order in which they were declared, lanes beside each other."""
        order = 0
        for (process, name), lanes in self.lanes.items():
            for lane in range(lanes):
                order += 1
                label = name if lane == 0 else f"{name} ({lane + 1})"
                about = {"ph": "M", "pid": process, "tid": self.thread(process, name, lane)}
                yield {**about, "name": "thread_name", "args": {"name": label}}
                yield {**about, "name": "thread_sort_index", "args": {"sort_index": order}}


def _events(table: pd.DataFrame, topology: Topology) -> Iterator[dict[str, Any]]:
    for process, name in ((NODES, "nodes"), (LINKS, "links"), (METRICS, "metrics")):
        yield {"ph": "M", "pid": process, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": process, "tid": 0, "name": "process_sort_index", "args": {"sort_index": process}}
    tracks = _Tracks()
    for node in topology["nodes"]:
        tracks.add(NODES, node["name"])
    for row in table.astype(dict.fromkeys(table.select_dtypes("category"), object)).itertuples(index=False):
        yield from _row(row, tracks)
    yield from tracks.names()


def _row(row: Any, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    start, end = round(row.t_start_s * 1e6), round(row.t_end_s * 1e6)
    args: dict[str, Any] = {"t_start_s": row.t_start_s, "t_end_s": row.t_end_s, "round": row.round, "step": row.step}
    args |= {name: value for name in ("bytes", "flops", "energy_j", "peer", "route") if (value := getattr(row, name))}
    name = row.detail or row.kind
    if row.status != "ok":
        name, args["status"] = f"{name} ({row.status.replace('_', ' ')})", row.status
    measured = json.loads(row.metrics) if row.metrics else {}
    if row.kind == "selection":
        end = start  # a mark: as slices they would hide what the server does
        name, measured, args = f"{row.peer} selected ({row.detail})", {}, args | measured
    if row.kind == "update":
        name = f"{name} of {row.peer}" if row.peer else name
        name += f" from version {measured['base']}" if "base" in measured else ""
        args |= measured
        measured = {what: value for what, value in measured.items() if what == "staleness"}
    for what, value in measured.items():
        if isinstance(value, int | float) and math.isfinite(value):
            yield {"ph": "C", "pid": METRICS, "tid": 0, "ts": end, "name": what, "args": {what: value}}
    places = [(NODES, row.node)]
    if row.kind == "transfer":
        hops = (row.route or f"{row.node}>{row.peer}").split(">")
        places = [(LINKS, f"{u} → {v}") for u, v in pairwise(hops)]
    elif row.kind == "fault" and row.peer:  # a link that is down, in both directions
        places = [(LINKS, f"{u} → {v}") for u, v in ((row.node, row.peer), (row.peer, row.node))]
    for process, track in places:
        common = {"pid": process, "ts": start, "name": name, "cat": row.kind, "args": args}
        if end > start:
            yield {"ph": "X", "tid": tracks.lane(process, track, start, end), "dur": end - start, **common}
        else:
            tracks.add(process, track)
            yield {"ph": "i", "s": "t", "tid": tracks.thread(process, track), **common}
