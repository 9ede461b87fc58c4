"""Known devices."""

from __future__ import annotations

import pytest

from elsa_sim.devices import (
    DeviceOptions,
    DevicesOptions,
    known,
)
from elsa_sim.topology import Link, Node, Topology

PAIR = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1.0, 1.0),))


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
