"""What work costs that is interrupted: the part of the device that it had, for as long as it had it."""

from __future__ import annotations

import pytest
from small_runs import played, work, world_of

PROTOCOL = "protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}"
TIMING = "execution.mode=timing"


@pytest.mark.parametrize("slots", [1, 4])
def test_a_slot_draws_its_share_of_the_power(slots: int) -> None:
    """Half a step of a client that goes away: 6 W times half its time for the whole device, a quarter of it per slot."""
    power = f"slots: {slots}, power: {{busy: 6 W}}"
    steps = work(played(PROTOCOL, TIMING, f"devices.overrides.client1={{{power}}}").events)
    one = steps[(steps["kind"] == "compute") & (steps["node"] == "client1")].iloc[1]
    at = float(one["t_start_s"] + one["t_end_s"]) / 2.0
    gone = f"devices.overrides.client1={{{power}, downtimes: [{{kind: crash, at: {at!r}, duration: 5.0}}]}}"
    run, world = world_of(PROTOCOL, TIMING, gone)
    rows = work(run.events)
    (lost,) = rows[(rows["kind"] == "compute") & (rows["status"] == "aborted")].to_dict("records")
    assert (lost["node"], lost["t_end_s"]) == ("client1", at)
    assert lost["energy_j"] == pytest.approx((at - one["t_start_s"]) * 6.0 / slots, rel=1e-9)
    mine = rows[(rows["kind"] == "compute") & (rows["node"] == "client1")]["energy_j"].sum()
    assert mine == pytest.approx(world.devices["client1"].energy_j()["compute"], rel=1e-9)
