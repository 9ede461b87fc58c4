"""The event log: a row for whatever has ended, and for what has not when the run ends, with the energy it took."""

from __future__ import annotations

from typing import Any

import pytest
import simpy

from elsa_sim.results.event_table import Recorder
from elsa_sim.world.event_log import EventLog


class Meter:
    """A device of which only the energy is known."""

    def __init__(self, compute: float, idle: float = 0.0) -> None:
        self.compute, self.idle = compute, idle

    def energy_j(self, now: float) -> dict[str, float]:
        return {"compute": self.compute, "idle": self.idle + now}


class Lab:
    def __init__(self) -> None:
        self.env, self.recorder = simpy.Environment(), Recorder()
        self.log = EventLog(self.env, self.recorder)

    def at(self, time: float) -> None:
        self.env.run(until=time)

    def closed(self, **devices: Meter) -> list[dict[str, Any]]:
        self.log.close(devices)  # type: ignore[arg-type]
        return self.recorder.close().to_pylist()  # type: ignore[no-any-return]


def test_an_entry_becomes_a_row_when_it_ends() -> None:
    lab = Lab()
    entry = lab.log.begin(kind="fault", node="a", detail="away")
    lab.at(5.0)
    assert [row["node"] for row in lab.log.in_flight.values()] == ["a"]
    lab.log.end(entry, status="aborted", detail="gone")
    (row,) = lab.closed()
    assert (row["kind"], row["t_start_s"], row["t_end_s"], row["status"], row["detail"]) == (
        "fault", 0.0, 5.0, "aborted", "gone")  # fmt: skip
    assert not lab.log.in_flight


def test_work_and_transfers_are_counted_and_nothing_else() -> None:
    lab = Lab()
    entries = [lab.log.begin(kind=kind, node="a") for kind in ("compute", "aggregation", "transfer", "fault", "update")]
    assert (lab.log.begun, lab.log.ended) == (3, 0)
    for entry in entries:
        lab.log.end(entry)
    assert (lab.log.begun, lab.log.ended) == (3, 3)


@pytest.mark.parametrize("kind", ["compute", "aggregation"])
def test_what_a_device_has_worked_without_a_row_goes_to_what_is_under_way(kind: str) -> None:
    """Of 100 J, 30 J are those of work that has ended, of either kind; the rest is shared by what is under way."""
    lab = Lab()
    for done, energy in (("compute", 10.0), ("aggregation", 20.0)):
        lab.log.end(lab.log.begin(kind=done, node="a"), energy_j=energy)
    lab.log.end(lab.log.begin(kind="transfer", node="a"), energy_j=5.0)  # the radio's, not the processor's
    for _ in range(2):
        lab.log.begin(kind=kind, node="a")
    lab.log.begin(kind="transfer", node="a")
    lab.log.begin(kind="compute", node="b")
    lab.at(3.0)
    rows = lab.closed(a=Meter(100.0, idle=7.0), b=Meter(4.0))
    open_ = [(row["node"], row["kind"], row["energy_j"]) for row in rows if row["status"] == "in_flight"]
    assert open_ == [("a", kind, 35.0), ("a", kind, 35.0), ("a", "transfer", 0.0), ("b", "compute", 4.0)]
    assert [(row["node"], row["energy_j"]) for row in rows if row["kind"] == "idle"] == [("a", 10.0), ("b", 3.0)]
    own = [row["energy_j"] for row in rows if row["node"] == "a" and row["kind"] in ("compute", "aggregation")]
    assert sum(own) == 100.0


def test_rounding_never_makes_energy_negative() -> None:
    lab = Lab()
    lab.log.end(lab.log.begin(kind="compute", node="a"), energy_j=10.0 + 1e-12)
    lab.log.begin(kind="compute", node="a")
    (row,) = [row for row in lab.closed(a=Meter(10.0)) if row["status"] == "in_flight"]
    assert row["energy_j"] == 0.0
