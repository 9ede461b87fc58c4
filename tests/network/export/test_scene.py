"""Cases as scenes: routes, bytes on the wire, payload, and what cannot be exported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import TWO

from elsa_sim.base.errors import InputFaults
from elsa_sim.network import NetworkOptions
from elsa_sim.network.export import Scene, of_case
from elsa_sim.network.export.scene import Message, interruptions
from elsa_sim.transports import Fluid, Tcp


def case(**more: Any) -> dict[str, Any]:
    links = [
        {"u": u, "v": v, "bandwidth_bps": 8e6, "latency_s": s}
        for u, v, s in (("a", "b", 0.1), ("b", "c", 0.1), ("a", "c", 1))
    ]
    flows = [{"id": "near", "src": "a", "dst": "c", "bytes": 3000, "start_s": 0.5},
             {"id": "far", "src": "a", "dst": "c", "bytes": 3000, "route": ["a", "c"]}]  # fmt: skip
    return {"nodes": ["a", "b", "c"], "links": links, "flows": flows, **more}


def test_messages_have_their_routes_and_bytes_on_the_wire() -> None:
    plain, framed = of_case(case()), of_case(case(transport="tcp"))
    assert plain.messages == (Message("near", ("a", "b", "c"), 3000, 0.5), Message("far", ("a", "c"), 3000, 0.0))
    assert [message.nbytes for message in framed.messages] == [3000 + 3 * 66] * 2
    assert (plain.transport, framed.transport, plain.max_min) == (Fluid(), Tcp(), True)
    assert of_case(case(), NetworkOptions(model="proportional")).max_min is False


def test_faults_of_the_case_are_told() -> None:
    with pytest.raises(InputFaults):
        of_case({"nodes": ["a"]})


@given(st.integers(1, 10**9), st.integers(1, 9000), st.integers(0, 200))
def test_payload_is_what_was_framed(payload: int, segment: int, framing: int) -> None:
    transport = Tcp(segment=float(segment), framing=float(framing))
    message = Message("f", ("a", "b"), transport.wire_bytes(payload), 0.0)
    assert Scene(TWO, (), transport).payload(message) == payload


def test_outages_and_failures_are_beyond() -> None:
    options = NetworkOptions.model_validate({
        "outages": [{"node": "a", "start": 1.0, "duration": 1.0}], "failures": [{"links": "all", "mtbf": 1.0, "mttr": 1.0}]
    })  # fmt: skip
    assert [fault.path for fault in interruptions(options)] == ["network.outages", "network.failures"]
    assert of_case(case(), options).beyond == interruptions(options)
    assert interruptions(NetworkOptions()) == ()
