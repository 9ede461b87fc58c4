"""Devices: queueing, time, energy, and what bad options are told."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import pytest
import simpy

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.devices import (
    ClientOptions,
    Crash,
    Device,
    DeviceOptions,
    DevicesOptions,
    Execution,
    LogNormal,
    OnOff,
    PowerOptions,
    Scripted,
    Throttling,
)
from elsa_sim.devices.slots import Slots
from elsa_sim.topology import Link, Node, Topology


def device(env: simpy.Environment, **options: Any) -> Device:
    power = PowerOptions(idle=1.0, busy=5.0)
    given = {"speed": 100.0, "memory": 1.0, "power": power} | options
    return Device(env, "client0", DeviceOptions(**given), Streams(0))


def run(env: simpy.Environment, worker: Device, works: list[float]) -> list[Execution]:
    """Queue all pieces of work at time 0 and run to the end."""
    done: list[Execution] = []

    def job(flops: float) -> Generator[simpy.Event, Any, None]:
        done.append((yield from worker.compute(flops)))

    for flops in works:
        env.process(job(flops))
    env.run()
    return done


def test_duration_is_launch_plus_work() -> None:
    env = simpy.Environment()
    (execution,) = run(env, device(env, launch=0.5, slowdown=3.0), [200.0])
    assert execution == Execution(0.0, 0.0, pytest.approx(6.5), pytest.approx(6.5 * 5.0), "ok", 3.0)


def test_slots_are_first_come_first_served() -> None:
    env = simpy.Environment()
    worker = device(env, slots=2)
    done = run(env, worker, [300.0, 100.0, 100.0, 50.0])
    assert [(e.t_queued_s, e.t_start_s, e.t_end_s) for e in done] == [(0, 0, 1), (0, 1, 2), (0, 2, 2.5), (0, 0, 3)]
    assert worker.busy_s == pytest.approx(5.5)
    assert worker.check() == []


def test_energy_adds_up() -> None:
    """Two slots, 5 W busy and 1 W idle: 3 slot-seconds of work in 2 s leave half a second of idling."""
    env = simpy.Environment()
    worker = device(env, slots=2)
    done = run(env, worker, [200.0, 100.0])
    assert sum(e.energy_j for e in done) == pytest.approx(7.5)
    assert worker.energy_j() == pytest.approx({"compute": 7.5, "idle": 0.5})
    assert worker.energy_j(4.0) == pytest.approx({"compute": 7.5, "idle": 2.5})


def test_interrupted_work_gives_its_slot_back() -> None:
    env = simpy.Environment()
    worker = device(env)
    ended: list[float] = []

    def job() -> Generator[simpy.Event, Any, None]:
        try:
            yield from worker.compute(1000.0)
        except simpy.Interrupt:
            ended.append(env.now)

    def after() -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1.0)
        first.interrupt()
        execution = yield from worker.compute(100.0)
        ended.append(execution.t_end_s)

    first = env.process(job())
    env.process(after())
    env.run()
    assert ended == [1.0, 2.0]
    assert worker.busy_s == pytest.approx(2.0)


def test_check_sees_a_device_that_does_two_things_at_once() -> None:
    env = simpy.Environment()
    worker = device(env)
    worker._slots = Slots(env, 2)  # broken on purpose
    run(env, worker, [100.0, 100.0])
    assert len(worker.check()) == 2


TREE = Topology(
    (Node("cloud", "cloud"), Node("r", "router"), *(Node(f"client{i}", "client") for i in range(3))),
    (Link("r", "cloud", 1.0, 1.0), *(Link(f"client{i}", "r", 1.0, 1.0) for i in range(3))),
)


def test_options_per_role_and_node() -> None:
    options = DevicesOptions.model_validate(
        {"client": {"speed": "20 GFLOP/s", "power": {"idle": "1 W"}},
         "overrides": {"client2": {"speed": "4 GFLOP/s", "power": {"busy": 9}}}})  # fmt: skip
    found = options.of(TREE)
    assert set(found) == {"cloud", "client0", "client1", "client2"}
    assert found["client0"].speed == 20e9
    assert found["client2"].speed == 4e9
    assert found["client2"].power == PowerOptions(idle=1.0, busy=9.0)
    assert found["client2"].memory == ClientOptions().memory


def test_faults_of_overrides_are_all_listed() -> None:
    options = DevicesOptions(overrides={"clint1": {}, "r": {}, "client0": {"speed": 0, "memory": "much", "sped": 1}})
    with pytest.raises(InputFaults) as caught:
        options.of(TREE)
    paths = ["clint1", "r", "client0.speed", "client0.memory", "client0.sped"]
    assert [f.path for f in caught.value.faults] == [f"overrides.{path}" for path in paths]
    assert "did you mean 'client1'?" in str(caught.value)


def started(works: list[tuple[float, float]], seed: int = 0, **options: Any) -> tuple[Device, list[Execution]]:
    """Queue (start, flops) on a device of 100 FLOP/s and run to the end."""
    env = simpy.Environment()
    worker = Device(env, "client0", DeviceOptions(speed=100.0, memory=1.0, **options), Streams(seed))
    done: list[Execution] = []

    def job(start: float, flops: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(start)
        done.append((yield from worker.compute(flops)))

    for work in works:
        env.process(job(*work))
    env.run()
    assert worker.check() == []
    return worker, done


def test_slowdowns_multiply() -> None:
    stragglers = (Scripted(steps=((0.0, 2.0),)), Throttling(factor=5.0, period=10.0, share=1.0))
    _, (execution,) = started([(0.0, 100.0)], slowdown=3.0, stragglers=stragglers)
    assert execution.slowdown == 30.0
    assert execution.t_end_s == 30.0


def test_work_is_lost_when_the_device_goes_away_and_waits_until_it_is_back() -> None:
    """Away from 1 to 4: work of 2 s from 0 is lost at 1; what waited in line starts at 4; energy is that of the time spent."""
    worker, done = started([(0.0, 200.0), (0.5, 100.0)], downtimes=(Crash(at=1.0, duration=3.0),))
    assert [(e.t_start_s, e.t_end_s, e.status) for e in done] == [(0.0, 1.0, "lost"), (4.0, 5.0, "ok")]
    assert done[0].energy_j == pytest.approx(6.0)
    assert worker.lost == 1
    power = worker.options.power
    assert worker.energy_j(10.0)["idle"] == pytest.approx((10.0 - 2.0 - 3.0) * power.idle)  # nothing while it is away
    assert worker.energy_j(2.0)["idle"] == 0.0
    assert [worker.away_s(until) for until in (0.5, 2.0, 10.0)] == [0.0, 1.0, 3.0]


def test_a_device_that_never_comes_back_loses_all_work_at_once() -> None:
    worker, done = started([(2.0, 100.0), (3.0, 100.0)], downtimes=(Crash(at=1.0),))
    assert [(e.t_end_s, e.status) for e in done] == [(2.0, "lost"), (3.0, "lost")]
    assert worker.lost == 2
    assert not worker.available
    assert list(worker.downtimes()) == [(1.0, math.inf)]


def test_devices_meet_the_same_fate_under_one_seed() -> None:
    options: dict[str, Any] = {"stragglers": (LogNormal(),), "downtimes": (OnOff(on=5.0, off=1.0),)}
    works = [(float(i), 80.0) for i in range(30)]
    assert started(works, **options)[1] == started(works, **options)[1]
    assert started(works, **options)[1] != started(works, seed=1, **options)[1]
