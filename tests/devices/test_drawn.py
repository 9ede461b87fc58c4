"""Devices of a population: each client has values, from its own streams, whatever else is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.devices import DeviceOptions, DevicesOptions, OnOff, profile
from elsa_sim.topology import Node, Topology

SPEED = {"kind": "lognormal", "median": "20 GFLOP/s", "sigma": 0.8}
PROFILES = {"kind": "choice", "of": ["raspberry-pi-4", "jetson-agx-orin-64gb"], "weights": [3, 1]}


def made(
    client: dict[str, Any], clients: int = 40, folder: Path = Path(), seed: int = 0, **more: Any
) -> dict[str, DeviceOptions]:
    nodes = (Node("cloud", "cloud"), *(Node(f"client{i}", "client") for i in range(clients)))
    options = DevicesOptions.model_validate({"client": client, **more})
    found = options.of(Topology(nodes, ()), Context(Streams(seed), folder))
    return {name: each for name, each in found.items() if name != "cloud"}


def test_every_field_of_a_device_is_drawn_and_those_of_what_it_holds() -> None:
    found = made({
        "speed": SPEED, "memory": {"kind": "choice", "of": ["2 GiB", "4 GiB"]}, "launch": {"kind": "uniform", "low": 0, "high": 1},
        "slowdown": {"kind": "uniform", "low": 1, "high": 4}, "power": {"idle": {"kind": "uniform", "low": "1 W", "high": "2 W"}},
        "stragglers": [{"kind": "throttling", "phase": {"kind": "uniform", "low": 0, "high": "60 s"}}],
        "downtimes": [{"kind": "crash", "at": 5.0}, {"kind": "on_off", "on": {"kind": "lognormal", "median": "600 s", "sigma": 1}}],
    })  # fmt: skip
    assert len({each.speed for each in found.values()}) == 40
    assert {each.memory for each in found.values()} == {2.0 * 2**30, 4.0 * 2**30}
    for each in found.values():
        throttling, (crash, on_off) = each.stragglers[0], each.downtimes
        assert 1.0 <= each.slowdown <= 4.0
        assert 1.0 <= each.power.idle <= 2.0
        assert 0.0 <= each.launch <= 1.0
        assert isinstance(throttling.phase, float)  # type: ignore[attr-defined]
        assert isinstance(on_off.on, float)  # type: ignore[attr-defined]
        assert (crash.at, each.power.busy) == (5.0, 6.0)  # type: ignore[attr-defined]


def test_other_clients_and_other_options_move_nothing() -> None:
    few, many = made({"speed": SPEED}, 3), made({"speed": SPEED, "memory": {"kind": "choice", "of": [1e9, 2e9]}}, 40)
    assert [each.speed for each in few.values()] == [many[name].speed for name in few]
    again = made({"speed": SPEED}, 3, overrides={"client1": {"slots": 4}})
    assert [each.speed for each in again.values()] == [each.speed for each in few.values()]
    assert again["client1"].slots == 4
    assert made({"speed": SPEED}, 3, seed=1) != few


def test_overrides_may_be_values_or_distributions_of_their_own() -> None:
    own = {"kind": "uniform", "low": 1e9, "high": 2e9}
    found = made({"speed": SPEED}, 3, overrides={"client0": {"speed": "4 GFLOP/s"}, "client1": {"speed": own}})
    assert found["client0"].speed == 4e9
    assert 1e9 <= found["client1"].effective_speed <= 2e9
    with pytest.raises(InputFaults, match="not a unit of speed") as caught:
        made({"speed": SPEED}, 3, overrides={"client1": {"speed": {"kind": "uniform", "low": "2 W", "high": 1e10}}})
    assert [each.path for each in caught.value.faults] == ["overrides.client1.speed.low"]


def test_profiles_by_share_and_what_goes_before_them() -> None:
    found = made({"profile": PROFILES, "power": {"transmit": "3 W"}}, 400)
    names = [each.profile for each in found.values()]
    assert np.mean([name == "raspberry-pi-4" for name in names]) == pytest.approx(0.75, abs=0.08)
    for each in found.values():
        known = profile(str(each.profile))
        assert each.speed == known["speed"]["float32"]
        assert each.memory == known["memory"]
        assert (each.power.idle, each.power.busy) == (known["power"]["idle"], known["power"]["busy"])
        assert each.power.transmit == 3.0
    drawn = made({"profile": PROFILES, "speed": SPEED}, 400)
    assert [each.profile for each in drawn.values()] == names
    assert len({each.speed for each in drawn.values()}) == 400
    assert {each.memory for each in drawn.values()} == {each.memory for each in found.values()}


def test_a_profile_that_lacks_the_speed_that_counts_is_a_fault() -> None:
    options = DevicesOptions.model_validate({"client": {"profile": {"kind": "choice", "of": ["raspberry-pi-4"]}}})
    nodes = (Node("cloud", "cloud"), Node("client0", "client"))
    with pytest.raises(InputFaults, match="no speed is stated for it") as caught:
        options.of(Topology(nodes, ()), Context(Streams(0)), "bfloat16")
    assert [each.path for each in caught.value.faults] == ["client.speed"]
    with pytest.raises(ValueError, match="did you mean 'raspberry-pi-4'"):
        DevicesOptions.model_validate({"client": {"profile": {"kind": "choice", "of": ["rasberry-pi-4"]}}})


def test_a_missing_file_is_told_although_nobody_can_draw(tmp_path: Path) -> None:
    column = {"kind": "column", "file": "none.csv", "column": "a"}
    with pytest.raises(InputFaults, match="no such file") as caught:
        made({"speed": column, "profile": PROFILES}, folder=tmp_path)
    assert [each.path for each in caught.value.faults] == ["client.speed.file"]


def test_the_phase_of_fixed_times() -> None:
    def first(phase: float) -> list[tuple[float, float]]:
        times = OnOff(on=10.0, off=5.0, times="fixed", phase=phase).intervals(np.random.default_rng(0))
        return [next(times) for _ in range(2)]

    assert first(0.0) == [(10.0, 15.0), (25.0, 30.0)]
    assert first(4.0) == first(19.0) == [(6.0, 11.0), (21.0, 26.0)]
    assert first(12.0) == [(0.0, 3.0), (13.0, 18.0)]
    assert first(15.0) == first(0.0)
    with pytest.raises(ValueError, match="phase is of fixed times"):
        OnOff(phase=3.0)
