"""Draws are of named streams: nothing else moves them; and what is drawn out of bounds is a fault."""

from __future__ import annotations

from drawables import Device

from elsa_sim.base.streams import Streams
from elsa_sim.populations.drawing import Drawer, distributions

SPEED = {"kind": "lognormal", "median": "20 GFLOP/s", "sigma": 1.0}
UP = {"kind": "uniform", "low": 1e6, "high": 2e6}


def drawn(given: dict[str, object], node: str, seed: int = 0, role: str = "client") -> Device:
    return Drawer(Streams(seed)).of(Device.model_validate(given), node, "devices", role)


def test_neither_another_key_nor_where_it_stands_moves_a_draw() -> None:
    alone = drawn({"speed": SPEED}, "client3").speed
    assert (
        drawn({"speed": SPEED, "up": UP, "factor": {"kind": "uniform", "low": 0.0, "high": 1.0}}, "client3").speed
        == alone
    )
    assert drawn({"speed": SPEED}, "client3", role="overrides.client3").speed == alone
    assert drawn({"speed": SPEED}, "client4").speed != alone
    assert drawn({"speed": SPEED}, "client3", seed=1).speed != alone
    assert drawn({"speed": SPEED | {"median": "40 GFLOP/s"}}, "client3").speed == 2.0 * alone


def test_options_without_distributions_are_the_same_object() -> None:
    plain = Device(speed=2.0)
    assert Drawer(Streams(0)).of(plain, "client0", "devices", "client") is plain
    assert [*distributions(plain)] == []
    assert [key for key, _ in distributions(Device.model_validate({"speed": SPEED, "up": UP}))] == ["speed", "up"]


def test_draws_out_of_bounds_are_one_fault_a_key() -> None:
    drawer = Drawer(Streams(0))
    wild = Device.model_validate({"speed": {"kind": "lognormal", "median": "1e21 FLOP/s", "sigma": 1.0}})
    for i in range(20):
        drawer.of(wild, f"client{i}", "devices", "client")
    (fault,) = drawer.faults()
    assert fault.path == "client.speed"
    assert "at most 1e+21" in fault.message
    assert "more); bound it with at_least and at_most" in fault.message
