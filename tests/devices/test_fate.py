"""Slow and absent devices: the laws of every straggler and downtime, and what becomes of work."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.intervals import Presence
from elsa_sim.base.streams import Streams
from elsa_sim.devices import (
    AvailabilityTrace,
    Background,
    Crash,
    Device,
    DeviceOptions,
    DevicesOptions,
    Downtime,
    Execution,
    LogNormal,
    OnOff,
    Scripted,
    ShiftedExponential,
    Straggler,
    Throttling,
    known,
)
from elsa_sim.topology import Link, Node, Topology

PAIR = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1.0, 1.0),))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", sorted(Straggler.members))
def test_every_straggler_is_seeded_and_positive(kind: str) -> None:
    """The law of the family: positive factors that depend on the seed and the times of start only."""
    straggler = Straggler.members[kind]()
    assert isinstance(straggler, Straggler)
    times = np.cumsum(rng(1).exponential(5.0, 300)).tolist()
    one, other = straggler.start(rng()), straggler.start(rng())
    factors = [one(t) for t in times]
    assert factors == [other(t) for t in times]
    assert min(factors) > 0.0
    assert all(map(math.isfinite, factors))


def mean_factor(straggler: Straggler, step: float = 1.0) -> float:
    factor = straggler.start(rng(3))
    return float(np.mean([factor(i * step) for i in range(20_000)]))


def test_means_are_those_of_theory() -> None:
    assert mean_factor(LogNormal(sigma=0.5)) == pytest.approx(math.exp(0.125), rel=0.03)
    assert mean_factor(ShiftedExponential(mean=0.7)) == pytest.approx(1.7, rel=0.03)
    assert mean_factor(Background(factor=3.0, on=30.0, off=90.0), 3.0) == pytest.approx(1.5, rel=0.05)
    assert mean_factor(Throttling(factor=2.0, period=60.0, share=0.25)) == pytest.approx(1.25, rel=0.01)


def test_scripted_factors() -> None:
    factor = Scripted(steps=((10.0, 4.0), (20.0, 0.5))).start(rng())
    assert [factor(t) for t in (0.0, 9.9, 10.0, 19.9, 20.0, 99.0)] == [1.0, 1.0, 4.0, 4.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="must increase"):
        Scripted(steps=((2.0, 1.0), (1.0, 1.0)))


@pytest.mark.parametrize("kind", sorted(set(Downtime.members) - {"crash", "trace"}))
def test_every_downtime_is_seeded_and_in_order(kind: str) -> None:
    """The law of the family: intervals in order that do not overlap, the same for the same seed."""
    downtime = Downtime.members[kind]()
    assert isinstance(downtime, Downtime)
    found = list(itertools.islice(downtime.intervals(rng()), 50))
    assert found == list(itertools.islice(downtime.intervals(rng()), 50))
    flat = [time for interval in found for time in interval]
    assert flat == sorted(flat)
    assert all(start < end for start, end in found)


def test_on_off_share() -> None:
    away = sum(
        min(end, 1e6) - start
        for start, end in itertools.takewhile(lambda i: i[0] < 1e6, OnOff(on=600, off=200).intervals(rng(2)))
    )
    assert away / 1e6 == pytest.approx(0.25, rel=0.1)
    assert list(itertools.islice(OnOff(on=3, off=1, times="fixed").intervals(rng()), 2)) == [(3, 4), (7, 8)]


def test_presence_joins_all_downtimes_and_may_be_asked_at_any_time() -> None:
    presence = Presence([iter([(1.0, 3.0), (8.0, 9.0)]), iter([(2.0, 5.0), (20.0, math.inf)])])
    for _ in range(2):
        assert [presence.back(t) for t in (0.0, 1.0, 2.5, 4.0, 5.0, 8.5, 21.0)] == [
            0.0,
            5.0,
            5.0,
            5.0,
            5.0,
            9.0,
            math.inf,
        ]
        assert [presence.leaves(t) for t in (0.0, 2.0, 5.0, 9.0, 30.0)] == [1.0, 1.0, 8.0, 20.0, 20.0]
    assert list(presence.intervals()) == [(1.0, 5.0), (8.0, 9.0), (20.0, math.inf)]


def run(works: list[tuple[float, float]], seed: int = 0, **options: Any) -> tuple[Device, list[Execution]]:
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
    _, (execution,) = run([(0.0, 100.0)], slowdown=3.0, stragglers=stragglers)
    assert execution.slowdown == 30.0
    assert execution.t_end_s == 30.0


def test_work_is_lost_when_the_device_goes_away_and_waits_until_it_is_back() -> None:
    """Away from 1 to 4: work of 2 s from 0 is lost at 1; what waited in line starts at 4; energy is that of the time spent."""
    worker, done = run([(0.0, 200.0), (0.5, 100.0)], downtimes=(Crash(at=1.0, duration=3.0),))
    assert [(e.t_start_s, e.t_end_s, e.status) for e in done] == [(0.0, 1.0, "lost"), (4.0, 5.0, "ok")]
    assert done[0].energy_j == pytest.approx(6.0)
    assert worker.lost == 1


def test_a_device_that_never_comes_back_loses_all_work_at_once() -> None:
    worker, done = run([(2.0, 100.0), (3.0, 100.0)], downtimes=(Crash(at=1.0),))
    assert [(e.t_end_s, e.status) for e in done] == [(2.0, "lost"), (3.0, "lost")]
    assert worker.lost == 2
    assert not worker.available
    assert list(worker.downtimes()) == [(1.0, math.inf)]


def test_devices_meet_the_same_fate_under_one_seed() -> None:
    options: dict[str, Any] = {"stragglers": (LogNormal(),), "downtimes": (OnOff(on=5.0, off=1.0),)}
    works = [(float(i), 80.0) for i in range(30)]
    assert run(works, **options)[1] == run(works, **options)[1]
    assert run(works, **options)[1] != run(works, seed=1, **options)[1]


def test_kappa_f_cubed() -> None:
    power = {"idle": 1.0, "busy": 99.0, "kappa": 1e-27, "frequency": "2 GHz"}
    worker, (execution,) = run([(0.0, 200.0)], power=power)
    assert execution.energy_j == pytest.approx(2.0 * (1.0 + 8.0))
    assert worker.energy_j()["compute"] == pytest.approx(18.0)


def load(tmp_path: Path, text: str, **options: Any) -> DeviceOptions:
    (tmp_path / "p.csv").write_text(text)
    downtime = {"kind": "trace", "file": "p.csv", **options}
    devices = DevicesOptions.model_validate({"client": {"downtimes": [downtime]}})
    return devices.of(PAIR, Context(Streams(0), tmp_path))["client0"]


def test_presence_from_a_trace(tmp_path: Path) -> None:
    (downtime,) = load(tmp_path, "seconds,state\n0,1\n2,0\n3,0\n5,1\n8,0\n").downtimes
    assert list(downtime.intervals(rng())) == [(2.0, 5.0), (8.0, math.inf)]
    (again,) = load(tmp_path, "0,1\n2,0\n5,1\n8,1\n", repeat=True).downtimes
    assert list(itertools.islice(again.intervals(rng()), 2)) == [(2.0, 5.0), (10.0, 13.0)]
    assert isinstance(again, AvailabilityTrace)


def test_faults_of_traces(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match=r"client\.downtimes\.0\.file"):
        load(tmp_path, "0,1\n0,1\n")
    with pytest.raises(InputFaults, match="needs 2 or more"):
        load(tmp_path, "0,1\n", repeat=True)


def test_options_by_name_and_their_faults() -> None:
    options = DevicesOptions.model_validate(
        {"client": {"stragglers": ["lognormal", {"kind": "throttling", "factor": 4}]}}
    )
    assert options.client.stragglers == (LogNormal(), Throttling(factor=4.0))
    with pytest.raises(ValueError, match="one of background, lognormal"):
        DevicesOptions.model_validate({"client": {"stragglers": ["lognormall"]}})
    with pytest.raises(ValueError, match="did you mean 'raspberry-pi-4'"):
        DevicesOptions.model_validate({"client": {"profile": "rasberry-pi-4"}})


@pytest.mark.parametrize("name", known())
def test_every_profile_makes_a_device_and_names_its_source(name: str) -> None:
    options = DeviceOptions.model_validate({"profile": name})
    entry = known()[name]
    assert options.speed == pytest.approx(entry["peak_flops"] * entry["efficiency"])
    assert 0 < options.power.idle < options.power.busy
    assert len(entry["source"]) > 20
    assert set(entry["unverified"]) <= entry.keys()


def test_profiles_give_way_to_what_is_stated() -> None:
    options = DevicesOptions.model_validate(
        {
            "client": {"profile": "jetson-nano", "speed": "1 GFLOP/s"},
            "overrides": {"client0": {"profile": "raspberry-pi-5"}},
        }
    )
    assert (options.client.speed, options.client.memory) == (1e9, 4 * 2.0**30)
    assert options.of(PAIR)["client0"].speed == pytest.approx(38.4e9)
