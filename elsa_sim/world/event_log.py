"""The event log of a run: what has begun and not ended, bytes per kind of message, and the rows of the event table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import simpy

from ..devices import Device
from ..results.event_table import Recorder


@dataclass
class ByteCounters:
    """Bytes per message kind, for the conservation law."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    aborted: Counter[str] = field(default_factory=Counter)


#: Kinds of rows that are work on a device.
WORK = frozenset({"compute", "aggregation"})
#: Those and transfers.
TAKES_TIME = WORK | {"transfer"}


class EventLog:
    """Begins an entry with work, a transfer or a fault; its row is written when that ends."""

    def __init__(self, env: simpy.Environment, recorder: Recorder) -> None:
        self.env, self.recorder = env, recorder
        self.byte_counters = ByteCounters()
        self.in_flight: dict[int, dict[str, Any]] = {}
        self.begun = 0
        """Transfers and pieces of work that were started."""
        self.ended = 0
        """Transfers and pieces of work that have ended, well or not."""
        self._entries = 0
        self._worked: defaultdict[str, float] = defaultdict(float)  # node -> energy of the work that has a row (J)

    def begin(self, **row: Any) -> int:
        """Begin an entry with the columns of its ``row``; returns its number."""
        self._entries += 1
        self.begun += row["kind"] in TAKES_TIME
        row["t_start_s"] = float(self.env.now)
        self.in_flight[self._entries] = row
        return self._entries

    def end(self, entry: int, **facts: Any) -> None:
        """End an entry now; ``facts`` are further columns of its row, or replace earlier ones."""
        row = self.in_flight.pop(entry)
        row.update(facts)
        kind = row["kind"]
        self.ended += kind in TAKES_TIME
        if kind in WORK:
            self._worked[row["node"]] += row.get("energy_j", 0.0)
        row["t_end_s"] = float(self.env.now)
        self.recorder.append(row)

    def close(self, devices: Mapping[str, Device]) -> None:
        """Close the log: list what is still under way, and the energy of idle time."""
        now = float(self.env.now)
        working = Counter(row["node"] for row in self.in_flight.values() if row["kind"] in WORK)
        energy = {name: device.energy_j(now) for name, device in devices.items()}
        share = {
            node: max(0.0, energy[node]["compute"] - self._worked[node]) / count for node, count in working.items()
        }
        for entry, row in list(self.in_flight.items()):
            spent = {"energy_j": share[row["node"]]} if row["kind"] in WORK else {}
            self.end(entry, status="in_flight", **spent)
        for name in devices:
            self.recorder.add("idle", 0.0, now, name, energy_j=energy[name]["idle"], detail="idle power")
