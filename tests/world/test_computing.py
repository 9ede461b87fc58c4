"""Work on devices: what it takes, what it costs, and what is left of work that is interrupted or lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import simpy

from elsa_sim.base.errors import Lost
from elsa_sim.base.streams import Streams
from elsa_sim.devices import Crash, Device, DeviceOptions
from elsa_sim.devices.options import PowerOptions
from elsa_sim.learning.execution.executor import Executor
from elsa_sim.learning.execution.work import Ref, Work
from elsa_sim.results.event_table import Recorder
from elsa_sim.world.computing import Computing
from elsa_sim.world.event_log import EventLog
from elsa_sim.world.verb import Verb


class Lab:
    """One device of 10 FLOP/s and 6 W, and work on it."""

    def __init__(self, **options: Any) -> None:
        self.env, self.recorder = simpy.Environment(), Recorder()
        given = {"speed": 10.0, "memory": 1.0, "power": PowerOptions(busy=6.0), **options}
        self.device = Device(self.env, "node", DeviceOptions(**given), Streams(0))
        self.log = EventLog(self.env, self.recorder)
        self.computing = Computing(self.log, {"node": self.device}, Executor())
        self.ended: list[tuple[float, Any]] = []

    def begin(self, flops: float, kind: Any = "compute") -> simpy.Process:
        """A piece of work that gives 1; when it ends, and how, is kept."""
        work = Work("count", lambda: (1,), (), (None,), flops)

        def run() -> Verb:
            try:
                (ref,) = yield from self.computing.compute("node", work, round=2, step=3, kind=kind)
                found: Any = ref.value if isinstance(ref, Ref) else None
            except (Lost, simpy.Interrupt) as error:
                found = error
            self.ended.append((float(self.env.now), found))

        return self.env.process(run())

    def rows(self) -> list[dict[str, Any]]:
        """The event table so far."""
        return self.recorder.close().to_pylist()  # type: ignore[no-any-return]

    def interrupt(self, process: simpy.Process, at: float) -> None:
        def run() -> Verb:
            yield self.env.timeout(at)
            process.interrupt("the round closed")

        self.env.process(run())


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["kind"], row["status"], row["t_start_s"], row["t_end_s"], row["energy_j"]


def test_work_takes_its_time_and_has_a_row() -> None:
    lab = Lab()
    lab.begin(20.0)
    lab.begin(10.0, "aggregation")
    lab.env.run()
    assert lab.ended == [(2.0, 1), (3.0, 1)]
    first, second = lab.rows()
    assert told(first) == ("compute", "ok", 0.0, 2.0, 12.0)
    assert told(second) == ("aggregation", "ok", 2.0, 3.0, 6.0)
    assert (first["flops"], first["round"], first["step"], first["detail"]) == (20.0, 2, 3, "count")


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_interrupted_work_costs_its_slots_share_of_the_power(slots: int) -> None:
    """6 W for the whole device, so 6 / slots for one slot, for as long as it was held."""
    lab = Lab(slots=slots)
    lab.interrupt(lab.begin(100.0), at=3.0)
    lab.env.run()
    ((at, error),) = lab.ended
    assert at == 3.0
    assert isinstance(error, simpy.Interrupt)
    (row,) = lab.rows()
    assert told(row) == ("compute", "aborted", 0.0, 3.0, 3.0 * 6.0 / slots)
    assert json.loads(row["metrics"]) == {"reason": "the round closed"}
    assert row["energy_j"] == lab.device.energy_j()["compute"]


def test_work_that_is_interrupted_in_the_queue_costs_nothing() -> None:
    lab = Lab()
    lab.begin(50.0)
    lab.interrupt(lab.begin(20.0), at=3.0)
    lab.begin(10.0)
    lab.env.run()
    assert [at for at, _ in lab.ended] == [3.0, 5.0, 6.0]  # the slot goes to the next in line
    waited, *others = lab.rows()
    assert told(waited) == ("compute", "aborted", 3.0, 3.0, 0.0)
    assert [told(row)[2:] for row in others] == [(0.0, 5.0, 30.0), (5.0, 6.0, 6.0)]


def test_work_is_lost_with_its_device() -> None:
    lab = Lab(downtimes=(Crash(at=4.0),))
    lab.begin(100.0)
    lab.env.run()
    ((at, error),) = lab.ended
    assert at == 4.0
    assert isinstance(error, Lost)
    assert str(error) == "node went away at 4 s and lost its work count"
    (row,) = lab.rows()
    assert told(row) == ("compute", "aborted", 0.0, 4.0, 24.0)
    assert json.loads(row["metrics"]) == {"reason": "the device went away"}


def test_what_is_lost_is_never_computed() -> None:
    lab = Lab(downtimes=(Crash(at=4.0),))
    seen: list[int] = []
    work = Work("count", lambda: (seen.append(1),), (), (None,), 100.0)
    process = lab.env.process(lab.computing.compute("node", work, round=0, step=0))
    with pytest.raises(Lost):
        lab.env.run(process)
    assert not seen
