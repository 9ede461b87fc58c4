"""A device that would take years for its part of a step is a fault; one that just does not is none."""

from __future__ import annotations

import pytest
from small_runs import loaded

from elsa_sim.base.errors import ScenarioError
from elsa_sim.base.units import MOST_TIME
from elsa_sim.learning.backbone.flops import pass_flops
from elsa_sim.learning.backbone.options import whole
from elsa_sim.run.checks import check


def told(*changes: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        check(loaded(*changes))
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(("protocol", "role", "names"), [
    ("elsa", "client", "'client0', 'client1', 'client2'"), ("elsa", "edge", "'edge0', 'edge1'"),
    ("fedavg", "client", "'client0', 'client1', 'client2'"), ("splitfed_v2", "cloud", "'cloud'"),
    ("centralized", "cloud", "'cloud'"),
])  # fmt: skip
def test_each_device_is_held_to_its_own_part(protocol: str, role: str, names: str) -> None:
    changes = (f"protocol={protocol}", f"devices.{role}.speed=1 FLOP/s", f"devices.{role}.slowdown=1e6")
    (fault,) = told(*changes)
    assert fault.startswith(f"line 14: devices: {names} at 1e-06 FLOP/s would take ")
    assert "FLOP of one local step; at most 1e+08 s" in fault


def test_the_bound_is_that_of_a_run() -> None:
    """The whole model's forward and backward pass takes its FLOPs divided by the speed."""
    plan = check(loaded("protocol=fedavg"))
    task = plan.scenario.task
    work = pass_flops(plan.outline, whole(3), "learn", task.batch_size, task.max_length)
    slowdown = 1e3 * MOST_TIME / work
    check(loaded("protocol=fedavg", "devices.client.speed=1000", f"devices.client.slowdown={0.99 * slowdown}"))
    told("protocol=fedavg", "devices.client.speed=1000", f"devices.client.slowdown={1.01 * slowdown}")


def test_nobody_is_asked_for_what_is_trained_elsewhere() -> None:
    check(loaded("protocol=centralized", "devices.client.speed=1 FLOP/s", "devices.client.slowdown=1e6"))


AIR = "wireless={association: strongest, bandwidth: 1 MHz, place: area%s}"


@pytest.mark.parametrize(("more", "message"), [
    (", power: 1.0e-15, path_loss: {kind: log_distance, exponent: 6}", "would send to edge"),
    (", power: 1.0e-15, power_control: min_delay, allocator: min_delay", "is drowned in noise"),
])  # fmt: skip
def test_clients_that_nothing_is_heard_of_are_a_fault(more: str, message: str) -> None:
    assert [fault for fault in told(AIR % more) if "wireless: " in fault and message in fault]
    check(loaded(AIR % ""))


ON_THE_AIR = ("topology={kind: star, clients: 2, access: {up: 1 Mbit/s}}", "protocol={kind: splitfed_v1}",
       "wireless={stations: [cloud], subchannels: 2, bandwidth: 100 kHz, coherence: 100 ms, nodes: {cloud: {at: [500, 500]}, "
       "client0: {at: [400, 500]}, client1: {at: [600, 500]}}}")  # fmt: skip


def test_a_channel_that_takes_more_blocks_than_a_run_can_play_is_a_fault() -> None:
    check(loaded(*ON_THE_AIR))
    (fault,) = told(*ON_THE_AIR, "wireless.power=1e-9")
    assert "wireless: client0 would send " in fault
    assert "blocks of 100 ms (so do 1 more); at most 100000" in fault
    check(loaded(*ON_THE_AIR, "wireless.power=1e-9", "wireless.coherence=1000"))  # as slow, in fewer blocks
