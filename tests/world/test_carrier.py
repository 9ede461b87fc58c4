"""Carrier: bytes and energy of every message are booked, however it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import simpy

from elsa_sim.base.errors import Lost
from elsa_sim.base.streams import Streams
from elsa_sim.devices import Device, DeviceOptions
from elsa_sim.devices.options import PowerOptions
from elsa_sim.network import Network, NetworkOptions
from elsa_sim.results.event_table import Recorder
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.world.carrier import Carrier
from elsa_sim.world.event_log import EventLog
from elsa_sim.world.verb import Verb

LINK = Link("client", "cloud", 8000.0, 8000.0, 1.0)  # 1,000 B/s, 1 s away
PATH = Topology((Node("client", "client"), Node("cloud", "cloud")), (LINK,))


class Lab:
    def __init__(self, **options: Any) -> None:
        self.env, self.recorder = simpy.Environment(), Recorder()
        self.log = EventLog(self.env, self.recorder)
        given = NetworkOptions.model_validate(
            {"transport": {"kind": "fluid", "framing": 40.0, "segment": 65535.0}, **options}
        )
        self.network = Network(self.env, PATH, given)
        power = PowerOptions(transmit=2.0, receive=3.0)
        devices = {
            name: Device(self.env, name, DeviceOptions(speed=1.0, memory=1.0, power=power), Streams(0))
            for name in ("client", "cloud")
        }
        self.carrier = Carrier(self.log, self.network, devices, None)

    def carry(self, payload: int, kind: str = "adapters") -> simpy.Process:
        return self.env.process(self.carrier.carry("client", "cloud", payload, kind, 4, 5))

    @property
    def counted(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Bytes sent, received, aborted."""
        counters = self.log.byte_counters
        return dict(counters.sent), dict(counters.received), dict(counters.aborted)

    def row(self) -> dict[str, Any]:
        (row,) = self.recorder.close().to_pylist()
        return row  # type: ignore[no-any-return]


def test_a_message_is_weighed_with_its_framing_and_paid_by_both_ends() -> None:
    lab = Lab()
    lab.env.run(lab.carry(1960))
    assert lab.counted == ({"adapters": 2000}, {"adapters": 2000}, {})
    row = lab.row()
    assert (row["kind"], row["node"], row["peer"], row["round"], row["step"], row["bytes"], row["detail"]) == (
        "transfer", "client", "cloud", 4, 5, 2000, "adapters")  # fmt: skip
    assert (row["t_start_s"], row["t_end_s"], row["route"], row["status"]) == (0.0, 3.0, "client>cloud", "ok")
    assert (row["energy_j"], row["peer_energy_j"]) == (2 * 2.0 + 2 * 3.0, 2 * 3.0)  # 2 s of sending, 2 s of receiving
    assert (row["attempts"], row["wasted_bytes"], row["metrics"]) == (1, 0, "")


def test_bytes_are_counted_by_kind_and_from_the_start() -> None:
    lab = Lab(transport={"kind": "fluid", "framing": 0.0})
    lab.carry(100)
    lab.carry(300)
    lab.carry(50, "gradient")
    lab.env.run(until=1e-6)
    assert lab.counted == ({"adapters": 400, "gradient": 50}, {}, {})
    lab.env.run()
    assert lab.counted == ({"adapters": 400, "gradient": 50}, {"adapters": 400, "gradient": 50}, {})


def test_a_message_that_is_given_up_is_lost_and_paid_for() -> None:
    lab = Lab(outages=[{"link": ["client", "cloud"], "start": 2.0, "duration": 1e6}], retries=0, stall_timeout=1.0)
    with pytest.raises(Lost, match=r"the message adapters from client to cloud was given up at 3 s \(.*stalled"):
        lab.env.run(lab.carry(1960))
    assert lab.counted == ({"adapters": 2000}, {}, {"adapters": 2000})
    row = lab.row()
    assert (row["status"], row["bytes"], row["t_end_s"], row["wasted_bytes"]) == ("aborted", 2000, 3.0, 1000)
    assert "stalled" in json.loads(row["metrics"])["reason"]
    assert row["energy_j"] == 1 * 2.0 + 1 * 3.0


def test_a_message_that_is_interrupted_is_taken_off_the_network() -> None:
    lab = Lab()
    sending = lab.carry(1960)

    def interrupt() -> Verb:
        yield lab.env.timeout(2.5)
        sending.interrupt("the round closed")

    lab.env.process(interrupt())
    with pytest.raises(simpy.Interrupt):
        lab.env.run(sending)
    assert lab.network.in_flight == ()
    assert lab.counted == ({"adapters": 2000}, {}, {"adapters": 2000})
    row = lab.row()
    assert (row["status"], row["t_end_s"], row["wasted_bytes"]) == ("aborted", 2.5, 1500)
    assert json.loads(row["metrics"]) == {"reason": "the round closed"}
